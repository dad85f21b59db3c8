package probe

import (
	"context"
	"slices"
	"testing"
	"time"

	"probe/hops"
)

// backReader is a SpanReader that gives the same always.
type backReader struct {
	spans   []hops.Span
	remarks []string
	asked   int
}

// Spans implements SpanReader.
func (s *backReader) Spans(context.Context, *hops.Run) ([]hops.Span, []string) {
	s.asked++
	return s.spans, s.remarks
}

func TestReadBack(t *testing.T) {
	span := hops.Span{SpanID: "1", ParentID: "a1", Service: "istio-ingressgateway.istio-system", Took: time.Second, Tags: map[string]string{"response_flags": "-"}}
	run := hops.Run{TraceID: "t", Observations: []hops.Observation{{Step: hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}, Asked: hops.RealRequest,
		Outcome: hops.Answered, Status: 200, SpanID: "a1", Took: time.Second}}}
	run.Verdict = hops.Diagnose(run.Facts(), run.Ended, hops.Rules())
	for _, c := range []struct {
		name           string
		reader         *backReader
		unrecorded     bool
		asked, noted   int
		wantSpans      int
		wantedWarnings []string
	}{
		{"spans", &backReader{spans: []hops.Span{span}}, false, 1, 1, 1, nil},
		{"some, and a remark", &backReader{spans: []hops.Span{span}, remarks: []string{"x"}}, false, 1, 1, 1, []string{"x"}},
		{"none", &backReader{remarks: []string{"x"}}, false, 1, 0, 0, []string{"x"}},
		{"nobody asked for a trace", &backReader{spans: []hops.Span{span}}, true, 0, 0, 0, nil},
	} {
		r := &runner{Deps: Deps{Spans: c.reader, Rules: hops.Rules()}, o: Options{Unrecorded: c.unrecorded}, run: run}
		r.readBack(t.Context())
		if v := r.run.Verdict; v.State != run.Verdict.State || len(v.Notes) != c.noted || c.reader.asked != c.asked || len(r.run.Spans) != c.wantSpans ||
			!slices.Equal(r.run.Warnings, c.wantedWarnings) {
			t.Errorf("%s: asked %d times, %d spans, %s, notes %q, warnings %q", c.name, c.reader.asked, len(r.run.Spans), v.State, v.Notes, r.run.Warnings)
		}
	}
	r := &runner{run: run}
	if r.readBack(t.Context()); len(r.run.Spans) != 0 {
		t.Error("spans from nowhere")
	}
}
