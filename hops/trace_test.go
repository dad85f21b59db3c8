package hops_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"probe/hops"
)

const (
	edge  = "istio-ingressgateway.istio-system"
	inner = "knative-local-gateway.istio-system"
)

// caused is a span of another program: id under parent, as long as ms says.
func caused(id, parent, service, name string, ms int, tags ...string) hops.Span {
	s := hops.Span{SpanID: id, ParentID: parent, Service: service, Name: name, Start: when0, Took: time.Duration(ms) * time.Millisecond, Tags: map[string]string{}}
	for _, t := range tags {
		k, v, _ := strings.Cut(t, "=")
		s.Tags[k] = v
	}
	return s
}

// passed is a gateway's span of a request that it passed on, with the client's span below it.
func passed(id, parent, service string, ms int) []hops.Span {
	return []hops.Span{caused(id, parent, service, "x", ms, "response_flags=-", "span.kind=server"),
		caused(id+"c", id, service, "router x; egress", ms-1, "response_flags=-", "span.kind=client")}
}

// knativePath are the spans of a request that every hop took part in; the container took ms.
func knativePath(ms int, of string) []hops.Span {
	out := append(passed("1", "a1", edge, ms+50), passed("2", "1c", inner, ms+40)...)
	return append(out, caused("3", "2c", "activator", "handle", ms+30, "span.kind=server"), caused("4", "3", "activator", "throttler_try", 1),
		caused("5", "3", "activator", "GET /v1", ms+20, "span.kind=client"), caused("6", "5", of, "queue", ms+10, "span.kind=server"),
		caused("7", "6", of, "HTTP GET", ms, "span.kind=client"))
}

// traced are the facts of a live run whose outside door was asked as given, its request's span id a1.
func traced(mode hops.Mode, change func(*hops.Observation), spans ...hops.Span) hops.Facts {
	o := hops.Observation{Step: hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}, Asked: hops.RealRequest, Outcome: hops.Answered, Status: 200, SpanID: "A1",
		Took: 2100 * time.Millisecond, Vantage: hops.PortForward, Header: map[string]string{"server": "istio-envoy", "x-envoy-upstream-service-time": "3"}}
	if change != nil {
		change(&o)
	}
	return hops.Facts{Ref: hops.Ref{Namespace: "default", Name: "iris"}, Live: true, Observations: []hops.Observation{o}, Spans: spans,
		Flow: hops.Flow{Mode: mode, EntryPoint: hops.Predictor, Components: []hops.ComponentState{{Name: hops.Predictor}}}}
}

func failed(status int, body string) func(*hops.Observation) {
	return func(o *hops.Observation) { o.Status, o.Body, o.BodyBytes = status, body, int64(len(body)) }
}

func timedOut(o *hops.Observation) {
	o.Outcome, o.Status, o.Header, o.Took = hops.Timeout, 0, nil, 10*time.Second
}

func TestTraceNotes(t *testing.T) {
	knative, standard := hops.Knative, hops.Standard
	chain := traced(knative, nil, slices.Concat(knativePath(2000, "iris-transformer"), passed("8", "7", inner, 1800), []hops.Span{
		caused("9", "8c", "iris-predictor", "queue", 1700, "span.kind=server"), caused("b", "9", "iris-predictor", "HTTP POST", 1690, "span.kind=client")})...)
	chain.Flow.EntryPoint = hops.Transformer
	chain.Flow.Components = append(chain.Flow.Components, hops.ComponentState{Name: hops.Transformer})
	twice := traced(knative, failed(503, "no healthy upstream"), caused("1", "a1", edge, "x", 5, "response_flags=UH", "span.kind=server"))
	again := twice.Observations[0]
	again.SpanID, again.Status, again.Body = "a2", 200, ""
	twice.Observations = append(twice.Observations, again)
	ring := []hops.Span{caused("a1", "1", edge, "x", 9), caused("1", "a1", edge, "x", 2000, "response_flags=-"), caused("1", "a1", edge, "x", 2000)}
	for _, c := range []struct {
		name  string
		facts hops.Facts
		want  []string
	}{
		{"the container was slow", traced(knative, nil, knativePath(2000, "iris-predictor")...), []string{"of 2.1s at the ingress gateway: 2s in container"}},
		{"the way there was", traced(knative, nil, knativePath(20, "iris-predictor")...), []string{"of 2.1s at the ingress gateway: 2s on the way to ingress-gateway (port-forward)"}},
		{"the model has spans of its own", traced(knative, nil, append(knativePath(2000, "iris-predictor"), caused("8", "7", "iris", "predict", 1500))...),
			[]string{"of 2.1s at the ingress gateway: 2s in container"}},
		{"a transformer's container and the predictor's", chain, []string{"of 2.1s at the ingress gateway: 1.7s in container of the predictor, 200ms in container of the transformer, 110ms in local-gateway"}},
		{"the activator waited for something without spans", traced(knative, nil, knativePath(1900, "iris-predictor")[:7]...),
			[]string{"of 2.1s at the ingress gateway: 1.9s behind activator, 150ms on the way to ingress-gateway (port-forward)"}},
		{"Standard mode", traced(standard, nil, passed("1", "a1", edge, 2000)...),
			[]string{"of 2.1s at the ingress gateway: 2s in container"}},
		{"a sidecar", traced(knative, nil, append(knativePath(2000, "iris-predictor")[:7], caused("s", "5", "iris-predictor.demo", "inbound", 1990, "response_flags=-"))...),
			[]string{"of 2.1s at the ingress gateway: 2s in iris-predictor.demo"}},
		{"a knock", traced(knative, func(o *hops.Observation) { o.Asked, o.Header["k-network-hash"] = hops.Knock, "7f" }, passed("1", "a1", edge, 2000)...), nil},
		{"no span of ours came", traced(knative, nil, passed("1", "ff", edge, 2000)...), nil},
		{"a ring, and one twice", traced(knative, nil, ring...), []string{"of 2.1s at the ingress gateway: 2s in ingress-gateway"}},
		{"children that outlive their parents", traced(knative, nil, caused("1", "a1", edge, "x", 5000, "response_flags=-"), caused("2", "1", inner, "x", 9000, "response_flags=-")),
			[]string{"of 2.1s at the ingress gateway: 2.1s in local-gateway"}},
		{"the first gateway ended it", traced(knative, failed(404, ""), caused("1", "a1", edge, "x", 5, "response_flags=NR", "span.kind=server")), []string{
			"the trace shows the failed request of the ingress gateway at ingress-gateway; ingress-gateway ended it: NR, it has no route for the host and path",
			"of 2.1s at the ingress gateway: 2.1s on the way to ingress-gateway (port-forward)"}},
		{"the second ended it, after all its tries", traced(knative, failed(503, "no healthy upstream"), append(passed("1", "a1", edge, 2000),
			caused("2", "1c", inner, "x", 1000, "response_flags=UF,URX", "span.kind=server"), caused("2c", "2", inner, "x", 999, "response_flags=UF", "span.kind=client"))...), []string{
			"the trace shows the failed request of the ingress gateway at ingress-gateway, local-gateway; local-gateway ended it: UF and URX, the connection to the next hop failed",
			"of 2.1s at the ingress gateway: 1s in ingress-gateway, 999ms behind local-gateway"}},
		{"it took too long, and the caller hung up", traced(knative, timedOut, caused("1", "a1", edge, "x", 9900, "response_flags=DC,DR", "span.kind=server"),
			caused("1c", "1", edge, "x", 9900, "response_flags=DR", "span.kind=client"), caused("3", "1c", "activator", "throttler_try", 9800)), []string{
			"the trace shows the failed request of the ingress gateway at ingress-gateway, activator", "of 10s at the ingress gateway: 9.8s in activator"}},
		{"failed at first, then answered", twice, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			bare := c.facts
			bare.Spans = nil
			was, is := hops.Diagnose(bare, when0, hops.Rules()), hops.Diagnose(c.facts, when0, hops.Rules())
			if was.State != is.State {
				t.Errorf("%s without spans, %s with them", was.State, is.State)
			}
			got := slices.DeleteFunc(is.Notes, func(n string) bool { return slices.Contains(was.Notes, n) })
			if !slices.Equal(got, c.want) {
				t.Errorf("notes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestTracePlacesTheFailure: a request without an answer stops at the hop furthest in that has a span of it; an answer tells by itself.
func TestTracePlacesTheFailure(t *testing.T) {
	steps := []hops.Step{{Hop: hops.Client, Door: hops.Outside}, {Hop: hops.IngressGateway, Door: hops.Outside}, {Hop: hops.KServeRoute, Door: hops.Outside}}
	for _, h := range []hops.Hop{hops.LocalGateway, hops.KnativeRoute, hops.Revision, hops.Activator, hops.QueueProxy, hops.Container} {
		steps = append(steps, hops.Step{Hop: h, Component: hops.Predictor})
	}
	path := knativePath(9000, "iris-predictor")
	for _, c := range []struct {
		name   string
		change func(*hops.Observation)
		spans  []hops.Span
		want   hops.Hop
	}{
		{"no trace", timedOut, nil, hops.IngressGateway},
		{"of another request", timedOut, passed("1", "ff", edge, 2000), hops.IngressGateway},
		{"the first gateway", timedOut, path[:2], hops.IngressGateway},
		{"the second gateway", timedOut, path[:4], hops.LocalGateway},
		{"the activator", timedOut, path[:6], hops.Activator},
		{"queue-proxy did not hand it over", timedOut, path[:8], hops.QueueProxy},
		{"the container has it", timedOut, path, hops.Container},
		{"a reset", func(o *hops.Observation) { timedOut(o); o.Outcome = hops.ResetByPeer }, path[:6], hops.Activator},
		{"an answer tells by itself", failed(404, ""), path, hops.KnativeRoute},
	} {
		facts := traced(hops.Knative, c.change, c.spans...)
		facts.Flow.Steps = steps
		rows := hops.Rows(&facts)
		at := slices.IndexFunc(rows, func(r hops.Row) bool { return r.State == hops.RowFailed })
		if at < 0 || rows[at].Step.Hop != c.want {
			t.Errorf("%s: row %d of %d failed, want it to be that of %s", c.name, at+1, len(rows), c.want)
			continue
		}
		for _, r := range rows[:at] {
			if r.State != hops.RowInferred && c.name != "an answer tells by itself" {
				t.Errorf("%s: %s, which it passed, is %s: %s", c.name, r.Step.Hop, r.State, r.Why)
			}
		}
	}
}

// TestSpanEvidence: a span stands for the log line of the same request only while that was not read.
func TestSpanEvidence(t *testing.T) {
	facts := traced(hops.Knative, timedOut, append(passed("1", "a1", edge, 9), caused("2", "1c", inner, "x", 5, "response_flags=UH",
		"span.kind=server", "http.status_code=503", "upstream_cluster=outbound|80||iris-predictor-00001.default.svc.cluster.local", "guid:x-request-id=5c6a"),
		caused("2c", "2", inner, "x; egress", 4, "response_flags=UH", "span.kind=client", "upstream_cluster=outbound|80||iris-predictor-00001.default.svc.cluster.local"))...)
	quoted := func() (out []string) {
		for _, f := range hops.Diagnose(facts, when0, hops.Rules()).Findings {
			for _, e := range f.Evidence {
				if f.ID == "no-healthy-backends" && e.Source != hops.FromObservation {
					out = append(out, e.Source+" "+e.Ref+" "+e.Field)
				}
			}
		}
		return out
	}
	if got, want := quoted(), []string{"span span of " + inner + " response_flags"}; !slices.Equal(got, want) {
		t.Errorf("without a log the evidence is %q, want %q", got, want)
	}
	facts.Snapshots = []hops.Snapshot{{Time: when0, Lines: []hops.Line{{Source: hops.AccessLogs, Pod: "gw",
		Text: `[2026-01-01T11:59:45.738Z] "GET /v1/models/iris HTTP/2" 503 UH no_healthy_upstream - "-" 0 19 0 - "-" "probe" "5c6a" "iris-predictor.default.svc.cluster.local" "-" outbound|80||iris-predictor-00001.default.svc.cluster.local - - - - -`}}}}
	if got, want := quoted(), []string{"line log pod/gw "}; !slices.Equal(got, want) {
		t.Errorf("with the log it is %q, want %q", got, want)
	}
}

func TestSpanHop(t *testing.T) {
	gateway := func(name string) hops.Target { return hops.Target{Kind: "service", Name: name} }
	flow := hops.Flow{Doors: []hops.DoorState{{Door: hops.Outside, Gateway: gateway("istio-ingressgateway")}, {Door: hops.ClusterLocal, Gateway: gateway("within")}}}
	for _, c := range []struct {
		service, name, tag string
		want               hops.Hop
	}{
		{edge, "x", "response_flags=NR", hops.IngressGateway},
		{inner, "x", "response_flags=NR", hops.LocalGateway},
		{"cluster-local-gateway.x", "x", "upstream_cluster=y", hops.LocalGateway},
		{"within.x", "x", "component=proxy", hops.LocalGateway},
		{"edge.x", "x", "response_flags=-", hops.IngressGateway},
		{"iris-predictor.demo", "x", "response_flags=-", ""},
		{"store.demo", "x", "response_flags=- node_id=sidecar~10.0.0.1~store", ""},
		{"activator", "handle", "", hops.Activator},
		{"iris-predictor", "queue", "", hops.QueueProxy},
		{"iris-predictor", "kn.queueproxy.proxy", "", hops.QueueProxy},
		{"iris-predictor", "HTTP POST", "", ""},
	} {
		if got := hops.SpanHop(&flow, caused("1", "", c.service, c.name, 1, strings.Fields(c.tag)...)); got != c.want {
			t.Errorf("%s %s %s: %q, want %q", c.service, c.name, c.tag, got, c.want)
		}
	}
}
