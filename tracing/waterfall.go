// waterfall.go: draws a trace as text, so that it can be seen without a trace store.
package tracing

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.38.0"

	"probe/hops"
)

// WaterfallOptions say how a trace is drawn.
type WaterfallOptions struct {
	Options
	Width int // columns; 0 is 100, fewer than 60 are taken as 60
	Color bool
}

// Waterfall draws the run's spans, and those that were read back, as a tree with a bar each on one time axis.
func Waterfall(w io.Writer, run *hops.Run, o WaterfallOptions) error {
	own := flat(Spans(run, o.Options))
	if len(own) == 0 {
		_, err := fmt.Fprintln(w, "no trace: this run sent no request")
		return err
	}
	t := newTree(own, run.Spans)
	d := drawing{opt: o, start: own[0].Start, took: own[0].Took}
	d.layout()
	var b strings.Builder
	fmt.Fprintf(&b, "trace %s\n", own[0].TraceID)
	fmt.Fprintf(&b, "%*s%s\n", d.label+d.time+5, "", d.axis())
	d.node(&b, t, own[0], "", "")
	if strays := t.strays(); len(strays) > 0 {
		fmt.Fprintln(&b, "in the same trace, but under no span of ours:")
		for _, s := range strays {
			d.line(&b, s, "  ")
		}
	}
	fmt.Fprintln(&b, "━ hop  █ request  ▒ phase  ░ span of another program  · no request sent here")
	_, err := io.WriteString(w, b.String())
	return err
}

// tree is spans by parent.
type tree struct {
	own      map[string]bool
	children map[string][]hops.Span
	all      []hops.Span
	drawn    map[string]bool
}

// newTree joins our spans with those read back; of a span that is in both, ours counts. Our children come in the order of the path, others by start.
func newTree(own, back []hops.Span) *tree {
	t := &tree{own: map[string]bool{}, children: map[string][]hops.Span{}, drawn: map[string]bool{}}
	for _, s := range own {
		t.own[s.SpanID] = true
		t.all = append(t.all, s)
	}
	back = slices.Clone(back)
	slices.SortStableFunc(back, func(a, b hops.Span) int { return a.Start.Compare(b.Start) })
	for _, s := range back {
		if !t.own[s.SpanID] {
			t.all = append(t.all, s)
		}
	}
	for _, s := range t.all {
		t.children[s.ParentID] = append(t.children[s.ParentID], s)
	}
	return t
}

// strays are the spans that no chain of parents from our root leads to. They are known after the tree has been drawn.
func (t *tree) strays() []hops.Span {
	return slices.DeleteFunc(slices.Clone(t.all), func(s hops.Span) bool { return t.drawn[s.SpanID] })
}

// drawing holds the columns: label, mark, time, bar.
type drawing struct {
	opt              WaterfallOptions
	start            time.Time
	took             time.Duration
	label, time, bar int
}

func (d *drawing) layout() {
	width := d.opt.Width
	if width <= 0 {
		width = 100
	}
	width = max(width, 60)
	d.time = len("not-checked")
	d.bar = max(width*3/10, 16)
	d.label = width - d.bar - d.time - 6 // two frames, the mark, three spaces
}

// axis shows the time at both ends.
func (d *drawing) axis() string {
	end := short(d.took)
	return "0" + strings.Repeat(" ", max(d.bar-1-len([]rune(end)), 1)) + end
}

func (d *drawing) node(b *strings.Builder, t *tree, s hops.Span, head, below string) {
	if t.drawn[s.SpanID] { // a ring, or an id that was given twice
		return
	}
	t.drawn[s.SpanID] = true
	d.line(b, s, head)
	children := t.children[s.SpanID]
	for i, c := range children {
		if i == len(children)-1 {
			d.node(b, t, c, below+"└─ ", below+"   ")
		} else {
			d.node(b, t, c, below+"├─ ", below+"│  ")
		}
	}
}

// line draws one span: tree and name, mark, time, bar.
func (d *drawing) line(b *strings.Builder, s hops.Span, head string) {
	label := []rune(head + printable(d.opt.clean(name(s))))
	if len(label) > d.label {
		label = append(label[:d.label-1], '…')
	}
	text := string(label) + strings.Repeat(" ", d.label-len(label))
	mark, colour := markOf(s)
	fmt.Fprintf(b, "%s %s %*s │%s│\n", text, d.paint(mark, colour), d.time, timeOf(s), d.paint(d.barOf(s), colour))
}

func (d *drawing) paint(s, colour string) string {
	if !d.opt.Color || colour == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// barOf places a span on the axis. Clocks of other machines may be off: what lies outside is drawn at the edge.
func (d *drawing) barOf(s hops.Span) string {
	from, to := d.column(s.Start), d.column(s.Start.Add(s.Took))
	from = min(from, d.bar-1)
	to = max(to, from+1)
	return strings.Repeat(" ", from) + strings.Repeat(glyph(s), to-from) + strings.Repeat(" ", d.bar-to)
}

func (d *drawing) column(t time.Time) int {
	if d.took <= 0 {
		return 0
	}
	x := float64(t.Sub(d.start)) / float64(d.took) * float64(d.bar)
	return int(min(max(x, 0), float64(d.bar)))
}

func get(s hops.Span, k attribute.Key) string { return s.Tags[string(k)] }

func isHop(s hops.Span) bool { return s.Service == serviceName && get(s, keyHow) != "" }

func isRequest(s hops.Span) bool { return s.Service == serviceName && get(s, keyAsked) != "" }

func glyph(s hops.Span) string {
	switch {
	case isHop(s) && s.Took == 0:
		return "·"
	case isRequest(s):
		return "█"
	case s.Service != serviceName:
		return "░"
	case get(s, keyDuration) != "":
		return "▒"
	}
	return "━"
}

// name is what stands in the tree: of a request also its answer, of a failed hop also its rule, of others also who sent it.
func name(s hops.Span) string {
	switch {
	case isRequest(s):
		out := s.Name
		if get(s, keyAsked) == string(hops.Knock) {
			out = "knock " + out
		}
		return strings.TrimSpace(out + " " + cmp.Or(get(s, semconv.HTTPResponseStatusCodeKey), get(s, semconv.ErrorTypeKey)))
	case isHop(s) && s.Failed:
		return s.Name + " (" + get(s, semconv.ErrorTypeKey) + ")"
	case s.Service != serviceName:
		out := s.Service + ": " + s.Name
		if f := s.Tags["response_flags"]; f != "" && f != "-" {
			out += " [" + f + "]"
		}
		return out
	}
	return s.Name
}

// markOf gives one column and its ANSI colour: green, red, yellow or dim.
func markOf(s hops.Span) (mark, colour string) {
	state := hops.RowState(get(s, keyHopState))
	switch {
	case s.Failed:
		return "✗", "31"
	case state == hops.RowDegraded || get(s, keyState) == string(hops.Degraded):
		return "!", "33"
	case state == hops.RowNotChecked || get(s, keyState) == string(hops.Inconclusive) || isHop(s) && state == "":
		return "?", "2"
	case state == hops.RowInferred:
		return "~", "2"
	case state == hops.RowOK || get(s, keyState) == string(hops.OK) || isRequest(s):
		return "✓", "32"
	}
	return " ", ""
}

// timeOf is a span's length; of a hop without requests, how it was seen.
func timeOf(s hops.Span) string {
	if isHop(s) && s.Took == 0 {
		return get(s, keyHow)
	}
	return short(s.Took)
}

// short gives a length three digits at most before its unit.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// printable keeps a name of another program from moving the cursor or breaking the columns.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
