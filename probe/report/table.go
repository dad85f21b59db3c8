// table.go: columns, the table of hops, and the sweep over many services.
package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"probe/hops"
	"probe/probe/redact"
)

// table aligns columns. Colours are put on whole rows after aligning, so that they take no room.
type table struct {
	rows  [][]string
	color []string // ANSI code of a row, "" for none
	// elastic are the columns that are cut, in this order, when the table is wider than it may be, and how far.
	elastic []elastic
	// middle is the column that is cut in its middle, since both ends of its names tell; -1 for none.
	middle int
}

type elastic struct{ column, least int }

func (t *table) add(color string, cells ...string) {
	t.rows = append(t.rows, cells)
	t.color = append(t.color, color)
}

const gap = 2

// widths gives the width of every column; a column without any content has none.
func (t *table) widths(limit int) []int {
	var w []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(w) {
				w = append(w, 0)
			}
			w[i] = max(w[i], utf8.RuneCountInString(c))
		}
	}
	total := -gap
	for _, n := range w {
		total += n + gap
	}
	for _, e := range t.elastic {
		if limit > 0 && total > limit && w[e.column] > e.least {
			cut := min(total-limit, w[e.column]-e.least)
			w[e.column] -= cut
			total -= cut
		}
	}
	return w
}

func (t *table) print(w io.Writer, limit int, p paint) {
	widths := t.widths(limit)
	for i, r := range t.rows {
		var b strings.Builder
		for c, cell := range r {
			if cell = hops.Clip(cell, len(cell)+1); c == t.middle {
				cell = clipMiddle(cell, widths[c])
			}
			cell = hops.Clip(cell, max(widths[c], 1))
			b.WriteString(cell + strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell)+gap))
		}
		line := strings.TrimRight(b.String(), " ")
		if t.color[i] != "" {
			line = p.in(t.color[i], line)
		}
		fmt.Fprintln(w, line)
	}
}

// clipMiddle cuts the middle out of a name that is longer than n runes.
func clipMiddle(s string, n int) string {
	r := []rune(s)
	if len(r) <= n || n < 3 {
		return s
	}
	tail := (n - 1) / 2
	return string(r[:n-1-tail]) + "…" + string(r[len(r)-tail:])
}

// marks and colours of a row's state.
func mark(s hops.RowState) (sign, color string) {
	switch s {
	case hops.RowOK:
		return "✓", "32"
	case hops.RowFailed:
		return "✗", "1;31"
	case hops.RowDegraded:
		return "!", "33"
	case hops.RowInferred:
		return "~", ""
	}
	return "-", "2"
}

// hopTable prints a row a hop.
func hopTable(w io.Writer, run *hops.Run, o Options) {
	if len(run.Verdict.Rows) == 0 {
		return
	}
	t := &table{middle: 3, elastic: []elastic{{5, 30}, {3, 36}, {6, 40}, {3, 24}, {5, 16}, {6, 24}, {3, 12}, {5, 8}, {6, 8}}}
	t.add("1", " ", "HOP", "DOOR", "OBJECT", "HOW", "SENT", "RESULT", "TIME")
	for _, r := range run.Verdict.Rows {
		sign, color := mark(r.State)
		seen := observed(run, r)
		time := ""
		if seen != nil {
			time = took(seen.Took)
			if o.Verbose {
				time = strings.Join(nonEmpty(time, phases(seen.Phases)), " = ")
			}
		}
		t.add(color, sign, string(r.Step.Hop), dash(string(r.Step.Door)), dash(object(r.Step)), how(r.How), dash(sent(seen)), dash(result(r, seen, o.Verbose)), dash(time))
	}
	t.print(w, o.Width, paint(o.Color))
}

// observed is the request that speaks for a row, or else the last one that entered there; nil for none.
func observed(run *hops.Run, r hops.Row) *hops.Observation {
	if r.State == hops.RowNotChecked {
		return nil
	}
	if r.Observation >= 0 && r.Observation < len(run.Observations) {
		return &run.Observations[r.Observation]
	}
	for i := range slices.Backward(run.Observations) {
		if o := &run.Observations[i]; o.Asked == hops.RealRequest && o.Step.ID() == r.Step.ID() {
			return o
		}
	}
	return nil
}

func dash(s string) string { return cmp.Or(s, "-") }

// object names what stands at a step, with its share of the traffic when that is a share.
func object(s hops.Step) string {
	name := s.Object.String()
	if name == "" {
		name = cmp.Or(s.Revision, s.Component)
	}
	if s.Weight > 0 && s.Weight < 100 {
		name += fmt.Sprintf(" %d%%", s.Weight)
	}
	return clean(name)
}

func how(h hops.How) string {
	if h == hops.Unseen {
		return "not checked"
	}
	return string(h)
}

// sent says what was sent, to which host, from where.
func sent(o *hops.Observation) string {
	if o == nil {
		return ""
	}
	what := strings.Join(nonEmpty(o.Method, o.Path), " ")
	if o.Asked == hops.Knock {
		what = "knock"
	}
	if o.Host != "" {
		what += " Host " + o.Host
	}
	if o.Vantage != "" {
		what += " via " + string(o.Vantage)
	}
	return clean(what)
}

// result says what came of it. Why a hop is inferred is of use only when somebody doubts it.
func result(r hops.Row, o *hops.Observation, verbose bool) string {
	switch {
	case r.State == hops.RowOK && o != nil:
		return fmt.Sprint(o.Status)
	case r.State == hops.RowFailed || r.State == hops.RowDegraded:
		if o != nil {
			return clean(o.Describe())
		}
	case r.State == hops.RowInferred && o != nil && !o.OK() && r.Observation < 0: // the answer came from further in
		return "passed on " + clean(o.Describe())
	case r.State == hops.RowInferred && !verbose:
		return "passed"
	}
	return clean(r.Why)
}

// phases lists the parts of a round trip that took any time.
func phases(p hops.Phases) string {
	var out []string
	for _, e := range []struct {
		name string
		took time.Duration
	}{{"dns", p.DNS}, {"connect", p.Connect}, {"tls", p.TLS}, {"write", p.Write}, {"wait", p.Wait}, {"body", p.Body}} {
		if e.took > 0 {
			out = append(out, e.name+" "+took(e.took))
		}
	}
	return strings.Join(out, " + ")
}

// Sweep prints a line a service: for many services at once.
func Sweep(w io.Writer, runs []*hops.Run, o Options) error {
	t := &table{middle: 1, elastic: []elastic{{4, 20}, {1, 16}}}
	t.add("1", "NAMESPACE", "NAME", "STATE", "HOP", "FINDING", "TIME")
	for _, r := range runs {
		run, _ := redact.Run(r)
		color := map[hops.State]string{hops.Failed: "1;31", hops.Degraded: "33", hops.Inconclusive: "36"}[run.Verdict.State]
		t.add(color, dash(clean(run.Ref.Namespace)), dash(clean(run.Ref.Name)), string(run.Verdict.State), dash(string(run.Verdict.Step.Hop)), dash(first(run.Verdict)),
			dash(took(run.Ended.Sub(run.Started))))
	}
	s := &sticky{w: w}
	t.print(s, o.Width, paint(o.Color))
	return s.err
}

// first is what a sweep says of a service: its first finding, else the summary of a state that is not plainly fine.
func first(v hops.Verdict) string {
	switch {
	case len(v.Findings) > 0:
		return v.Findings[0].ID + ": " + clean(v.Findings[0].Summary)
	case v.Asleep && v.State == hops.OK:
		return "asleep"
	case v.State == hops.OK:
		return ""
	}
	return clean(v.Summary)
}

// sticky remembers the first error of a writer.
type sticky struct {
	w   io.Writer
	err error
}

func (s *sticky) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}
