// line.go: one run in one line, for where there is no room for more: the end of a log, a pod's termination message.
package report

import (
	"strings"

	"probe/hops"
	"probe/probe/redact"
)

// Line says "Failed  models/iris  at container (predictor iris-predictor-00001): summary (oom-killed; trace 4bf92f...)", without a line break.
func Line(run *hops.Run) string {
	safe, _ := redact.Run(run)
	var b strings.Builder
	p := &printer{w: &b, run: safe}
	p.verdict()
	line := strings.TrimRight(b.String(), "\n ")
	var more []string
	if f := safe.Verdict.Findings; len(f) > 0 && f[0].Severity != hops.Note {
		more = append(more, clean(f[0].ID))
	}
	if safe.TraceID != "" {
		more = append(more, "trace "+clean(safe.TraceID))
	}
	if len(more) == 0 {
		return line
	}
	return line + " (" + strings.Join(more, "; ") + ")"
}
