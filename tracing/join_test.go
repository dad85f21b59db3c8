package tracing

import (
	"reflect"
	"slices"
	"strings"
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

func TestPredicted(t *testing.T) {
	all := []hops.Hop{hops.IngressGateway, hops.LocalGateway, hops.Activator, hops.QueueProxy}
	straight := healthy()
	straight.Flow.Components[0].Revisions[0].ViaProxy = false
	failing := killed()
	refused, pasted := healthy(), healthy()
	refused.Observations[0].Outcome, refused.Observations[0].Status = hops.Refused, 0
	pasted.Observations[0].From = "request.txt:1"
	chain := healthy()
	chain.Flow.EntryPoint = hops.Transformer
	for _, c := range []struct {
		name string
		run  *hops.Run
		at   int
		want []hops.Hop
	}{
		{"a request at the front door", healthy(), 0, all},
		{"at the cluster-local door", healthy(), 1, all[1:]},
		{"a knock: Knative leaves it out", healthy(), 2, all[1:2]},
		{"a knock at queue-proxy", healthy(), 3, nil},
		{"the activator is not in the path", straight, 0, []hops.Hop{hops.IngressGateway, hops.LocalGateway, hops.QueueProxy}},
		{"a 503: only the gateway that was asked", failing, 0, all[:1]},
		{"nobody answered", failing, 3, nil},
		{"the gateway did not take the connection", refused, 0, nil},
		{"not sent by us", pasted, 0, nil},
		{"behind a transformer the trace is lost", chain, 0, all[:1]},
	} {
		if got := Predicted(c.run, c.at); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestComplete(t *testing.T) {
	run := healthy()
	run.Observations = run.Observations[:1]
	whole := downstream(run)
	if !Complete(run)(whole) {
		t.Errorf("the whole trace is not complete: %v", JoinSpans(run, whole).Remarks(run))
	}
	if got := JoinSpans(run, whole).Remarks(run); len(got) != 0 {
		t.Errorf("remarks on a whole trace: %q", got)
	}
	cut := slices.Clone(whole[:6]) // queue-proxy's have not come
	if Complete(run)(cut) {
		t.Error("a trace without queue-proxy is complete")
	}
	cut[3].ParentID = "dddddddddddddddd"
	got := strings.Join(JoinSpans(run, cut).Remarks(run), "\n")
	for _, want := range []string{"no span of activator, queue-proxy for the request at outside/ingress-gateway", `span "handle" of activator hangs under no request of ours: its parent dddddddddddddddd`} {
		if !strings.Contains(got, want) {
			t.Errorf("no remark %q in:\n%s", want, got)
		}
	}
}

func TestRole(t *testing.T) {
	run := healthy()
	run.Flow.Doors[1].Gateway.Name = "inner"
	envoy := map[string]string{"response_flags": "NR"}
	for _, c := range []struct {
		span hops.Span
		want hops.Hop
	}{
		{hops.Span{Service: "istio-ingressgateway.istio-system", Tags: envoy}, hops.IngressGateway},
		{hops.Span{Service: "knative-local-gateway.istio-system", Tags: envoy}, hops.LocalGateway},
		{hops.Span{Service: "cluster-local-gateway.x", Tags: envoy}, hops.LocalGateway},
		{hops.Span{Service: "inner.x", Tags: envoy}, hops.LocalGateway},
		{hops.Span{Service: "edge.x", Tags: envoy}, hops.IngressGateway},
		{hops.Span{Service: "activator", Name: "handle"}, hops.Activator},
		{hops.Span{Service: "iris-predictor", Name: "queue"}, hops.QueueProxy},
		{hops.Span{Service: "iris-predictor", Name: "kn.queueproxy.proxy"}, hops.QueueProxy},
		{hops.Span{Service: "iris-predictor", Name: "HTTP POST"}, ""},
	} {
		if got := Role(run, c.span); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.span.Service, c.span.Name, got, c.want)
		}
	}
}
