// text.go: one run for people: the verdict in one line, the hops, the cause, what was not checked.
package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"probe/hops"
	"probe/probe/redact"
)

// Text prints a run. The first line is the verdict; a healthy service has little behind it.
func Text(w io.Writer, run *hops.Run, o Options) error {
	clean, _ := redact.Run(run)
	s := &sticky{w: w}
	p := &printer{w: s, o: o, paint: paint(o.Color), run: clean}
	p.verdict()
	if o.Verbose || travelled(clean) {
		p.line("")
		hopTable(s, clean, o)
	}
	p.findings()
	p.notChecked()
	p.rest()
	return s.err
}

// travelled says whether requests tell anything about the hops; a reading of files may have none, and its table would be empty.
func travelled(run *hops.Run) bool { return run.TraceID != "" || len(run.Observations) > 0 }

// printer writes one report.
type printer struct {
	w     io.Writer
	o     Options
	paint paint
	run   *hops.Run
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// cut bounds a summary to the width, less the room that is taken already.
func (p *printer) cut(s string, taken int) string {
	s = clean(s)
	if p.o.Width <= 0 {
		return s
	}
	return hops.Clip(s, max(p.o.Width-taken, 24))
}

// verdict prints "Failed  models/iris  at container (predictor iris-predictor-00001): summary".
func (p *printer) verdict() {
	v := p.run.Verdict
	ref := clean(p.run.Ref.String())
	if p.run.Ref.Name == "" {
		ref = "the service"
	}
	at := ""
	if v.Step.Hop != "" {
		at = "at " + clean(place(v.Step)) + ": "
	}
	taken := len(string(v.State)) + len(ref) + len(at) + 2*gap
	p.line("%s  %s  %s%s", p.paint.state(v.State), p.paint.bold(ref), at, p.cut(v.Summary, taken))
}

// findings prints the root cause first.
func (p *printer) findings() {
	for i, f := range p.run.Verdict.Findings {
		title := "Also"
		switch {
		case f.Severity == hops.Note:
			title = "Note"
		case i == 0:
			title = "Cause"
		}
		p.finding(title, f)
	}
	if p.o.Verbose {
		for _, f := range p.run.Verdict.Hidden {
			p.finding("Explained", f)
		}
	}
}

func (p *printer) finding(title string, f hops.Finding) {
	p.line("")
	where := strings.Join(nonEmpty(clean(place(f.Step)), clean(f.Step.Object.String())), ", ")
	color := map[hops.Severity]string{hops.Error: "1;31", hops.Warning: "33"}[f.Severity]
	p.line("%s: %s (%s%s) at %s", p.paint.bold(title), p.paint.in(color, f.ID), severity(f.Severity), f.Confidence, where)
	p.line("  %s", p.cut(f.Summary, 2))
	for _, e := range f.Evidence {
		p.line("    %s", evidence(e))
	}
	if f.Fix != "" {
		p.line("  %s %s", p.paint.bold("Fix:"), indent(f.Fix, "       "))
	}
	if len(f.Explains) > 0 {
		p.line("  Explains: %s", strings.Join(f.Explains, ", "))
	}
	if !f.Expires.IsZero() {
		p.line("  %s", p.paint.in("33", expiry(f, p.run.Ended)))
	}
}

// severity is said only where it is not the usual one.
func severity(s hops.Severity) string {
	if s == hops.Warning {
		return "warning, "
	}
	return ""
}

// evidence names the source of a fact and quotes it.
func evidence(e hops.Evidence) string {
	ref := clean(e.Ref)
	at := ""
	if !e.At.IsZero() {
		at = " at " + clock(e.At)
	}
	const room = 400
	switch e.Source {
	case hops.FromAbsence:
		return fmt.Sprintf("none in %s, which were all read", dash(clean(cmp.Or(e.Value, e.Ref))))
	case hops.FromEvent:
		return fmt.Sprintf("event of %s: %s%s", ref, strings.Join(nonEmpty(clean(e.Field), quote(e.Value, room)), " "), at)
	case hops.FromObject:
		return fmt.Sprintf("%s: %s%s", strings.Join(nonEmpty(ref, clean(e.Field)), " "), quote(e.Value, room), at)
	}
	return fmt.Sprintf("%s: %s%s", ref, strings.Join(nonEmpty(clean(e.Field), quote(e.Value, room)), " "), at)
}

// indent keeps the lines of a fix, which may hold commands.
func indent(s, by string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(clean(lines[i]), " ")
	}
	return strings.Join(lines, "\n"+by)
}

// expiry says until when the evidence can be looked at.
func expiry(f hops.Finding, now time.Time) string {
	what := "the evidence"
	for _, e := range f.Evidence {
		if strings.HasPrefix(e.Ref, "pod/") || strings.HasPrefix(e.Ref, "log pod/") {
			what = "the pod"
		}
	}
	if !now.IsZero() && f.Expires.Before(now) {
		return fmt.Sprintf("%s was to be deleted at about %s UTC.", upper(what), clock(f.Expires))
	}
	return fmt.Sprintf("%s goes at about %s UTC; `--save DIR` keeps it.", upper(what), clock(f.Expires))
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// notChecked groups what the verdict does not cover by the reason.
func (p *printer) notChecked() {
	var order []string
	groups := map[string][]hops.NotChecked{}
	for _, n := range p.run.Verdict.NotChecked {
		if groups[n.Why] == nil {
			order = append(order, n.Why)
		}
		groups[n.Why] = append(groups[n.Why], n)
	}
	if len(order) == 0 {
		return
	}
	p.line("")
	for _, why := range order {
		var what, rules []string
		for _, n := range groups[why] {
			what = append(what, clean(n.What))
			rules = append(rules, n.Rules...)
		}
		slices.Sort(rules)
		rules = slices.Compact(rules)
		p.line("%s", p.paint.dim(p.group(clean(why), what, rules)))
		if p.o.Verbose && len(rules) > 0 {
			p.line("%s", p.paint.dim("  so not: "+strings.Join(rules, ", ")))
		}
	}
}

// group is one line: "Not checked: pods in istio-system, nodes and 3 more (forbidden): 7 rules, -v lists them".
func (p *printer) group(why string, what, rules []string) string {
	const shown = 3
	more := ""
	if !p.o.Verbose && len(what) > shown+1 {
		more = fmt.Sprintf(" and %d more", len(what)-shown)
		what = what[:shown]
	}
	out := "Not checked: " + strings.Join(what, ", ") + more
	if why != "" {
		out += " (" + why + ")"
	}
	switch {
	case p.o.Verbose || len(rules) == 0:
	case len(rules) == 1:
		out += "; so not " + rules[0]
	default:
		out += fmt.Sprintf("; %d rules, listed with --verbose", len(rules))
	}
	return out
}

// rest prints what is about the run rather than about the service.
func (p *printer) rest() {
	var lines []string
	for _, n := range p.run.Verdict.Notes {
		lines = append(lines, "Note: "+clean(n))
	}
	for _, n := range p.run.Warnings {
		lines = append(lines, p.paint.in("33", "Warning: ")+clean(n))
	}
	if id := clean(p.run.TraceID); id != "" {
		trace := "Trace: " + id
		if p.o.Trace != nil {
			trace = strings.Join(nonEmpty(trace, clean(p.o.Trace(id))), "  ")
		}
		lines = append(lines, trace)
	}
	if p.o.Verbose && p.run.Reads > 0 {
		lines = append(lines, fmt.Sprintf("Read: %d requests to the API server in %s", p.run.Reads, cmp.Or(took(p.run.ReadTook), "no time")))
	}
	if len(lines) == 0 {
		return
	}
	p.line("")
	for _, l := range lines {
		p.line("%s", l)
	}
}
