// readback.go: a finished run's trace as the trace store has it, waited for as long as spans that its requests let expect are not there.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"probe/hops"
)

// ReadBack reads the spans that other programs added to a run's trace.
type ReadBack struct {
	Jaeger *Jaeger
	// Wait bounds the reading, its polls included; DefaultWait when 0.
	Wait time.Duration
}

// DefaultWait is enough for programs that send their spans every few seconds: Envoy's OpenTelemetry tracer does so after 5 s at the latest
// (tracing.opentelemetry.flush_interval_ms), OpenTelemetry's batch processor too (OTEL_BSP_SCHEDULE_DELAY).
const DefaultWait = 8 * time.Second

// Spans waits until every predicted span is there. Remarks are about tracing: what did not come, or why nothing could be read. A run that sent
// nothing that could leave a span is not asked for.
func (r ReadBack) Spans(ctx context.Context, run *hops.Run) (spans []hops.Span, remarks []string) {
	if !expects(run) {
		return nil, nil
	}
	wait := r.Wait
	if wait <= 0 {
		wait = DefaultWait
	}
	spans, err := r.Jaeger.Wait(ctx, run.TraceID, Complete(run), wait)
	spans = slices.DeleteFunc(spans, func(s hops.Span) bool { return s.Service == serviceName }) // of an earlier export: the run itself tells more
	switch {
	case ctx.Err() != nil:
		return spans, []string{"tracing: the wait for spans was cut short"}
	case errors.Is(err, ErrNoTrace):
		return nil, []string{fmt.Sprintf("tracing: nothing of this trace came to %s within %s: sampling is off, or gateways and Knative export elsewhere; a longer --jaeger-wait brings what is late", r.Jaeger.show(), wait)}
	case err != nil && !errors.Is(err, ErrIncomplete):
		remarks = append(remarks, "tracing: "+err.Error())
		if spans == nil {
			return nil, remarks
		}
	}
	for _, line := range JoinSpans(run, spans).Remarks(run, wait) {
		remarks = append(remarks, "tracing: "+line)
	}
	return spans, remarks
}

// expects says whether any span is predicted.
func expects(run *hops.Run) bool {
	for i := range run.Observations {
		if len(Predicted(run, i)) > 0 {
			return true
		}
	}
	return false
}
