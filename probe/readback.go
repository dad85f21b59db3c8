// readback.go: what gateways, activator and queue-proxy added to the run's trace, as further evidence.
package probe

import (
	"context"

	"probe/hops"
)

// readBack waits for the spans of other programs and asks the rules again with them. The run has ended before: the wait is not part of it.
func (r *runner) readBack(ctx context.Context) {
	if r.Spans == nil || r.o.Unrecorded {
		return
	}
	r.say("waiting for spans of gateways, activator and queue-proxy")
	spans, remarks := r.Spans.Spans(ctx, &r.run)
	r.run.Warnings = append(r.run.Warnings, remarks...)
	if len(spans) == 0 {
		return
	}
	r.run.Spans = spans
	r.run.Verdict = hops.Diagnose(r.run.Facts(), r.run.Ended, r.Rules)
}
