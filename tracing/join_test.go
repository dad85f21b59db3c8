package tracing

import (
	"reflect"
	"slices"
	"testing"

	"probe/hops"
)

func TestJoinSpans(t *testing.T) {
	run := healthy()
	run.Observations = append(run.Observations, hops.Observation{Step: run.Flow.Steps[0], Outcome: hops.NoWay}) // nothing was sent: no id
	spans := append(downstream(run), flat(Spans(run, Options{}))...)                                            // a store gives ours back as well
	orphan := hops.Span{TraceID: traceID, SpanID: "c1", ParentID: "dddddddddddddddd", Service: "iris-transformer", Name: "queue"}
	ring := hops.Span{TraceID: traceID, SpanID: "c2", ParentID: "c2", Service: "x"}
	root := hops.Span{TraceID: traceID, SpanID: "c3", Service: "y"}
	j := JoinSpans(run, append(spans, orphan, ring, root))
	if len(j.Requests) != len(run.Observations) {
		t.Fatalf("%d requests, want %d", len(j.Requests), len(run.Observations))
	}
	first := j.Requests[0]
	if want := []string{"istio-ingressgateway.istio-system", "knative-local-gateway.istio-system", "activator", "iris-predictor"}; !slices.Equal(first.Services(), want) {
		t.Errorf("services %v, want %v", first.Services(), want)
	}
	if want := []hops.Hop{hops.IngressGateway, hops.LocalGateway, hops.Activator, hops.QueueProxy}; !slices.Equal(first.Hops, want) {
		t.Errorf("hops %v, want %v", first.Hops, want)
	}
	if len(first.Spans) != 8 {
		t.Errorf("%d spans under the first request, want 8", len(first.Spans))
	}
	for _, r := range j.Requests[1:] {
		if len(r.Spans) != 0 {
			t.Errorf("request %d has spans of another: %v", r.Observation, r.Spans)
		}
	}
	stray := map[string]string{}
	for _, s := range j.Stray {
		stray[s.Span.SpanID] = s.Missing
	}
	if want := map[string]string{"c1": "dddddddddddddddd", "c2": "c2", "c3": ""}; !reflect.DeepEqual(stray, want) {
		t.Errorf("strays %v, want %v", stray, want)
	}
}
