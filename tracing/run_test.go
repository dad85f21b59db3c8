// run_test.go: runs as the program makes them, for the tests of this package.
package tracing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"probe/hops"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	rootID  = "00f067aa0ba902b7"
	rev     = "iris-predictor-00001"
	pod     = "iris-predictor-00001-deployment-6c9f8d7b5-x2x9k"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ms(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// serverless is a Knative service with both doors and one awake revision behind the activator.
func serverless() *hops.Run {
	gateway := func(name string) hops.Target {
		return hops.Target{Kind: "service", Namespace: "istio-system", Name: name, Port: 80}
	}
	service := func(namespace, name string) hops.ObjectRef {
		return hops.ObjectRef{Source: hops.SystemServices, Kind: "Service", Namespace: namespace, Name: name}
	}
	route := hops.ObjectRef{Source: hops.VirtualServices, Kind: "VirtualService", Namespace: "demo", Name: "iris"}
	at := hops.Step{Component: hops.Predictor, Revision: rev, Weight: 100}
	step := func(h hops.Hop, o hops.ObjectRef) hops.Step {
		s := at
		s.Hop, s.Object = h, o
		return s
	}
	podRef := hops.ObjectRef{Source: hops.Pods, Kind: "Pod", Namespace: "demo", Name: pod}
	flow := hops.Flow{Ref: hops.Ref{Namespace: "demo", Name: "iris"}, Mode: hops.Knative, Routing: hops.VirtualServices, Protocol: "v1", Model: "iris",
		EntryPoint: hops.Predictor,
		Doors: []hops.DoorState{
			{Door: hops.Outside, URL: "http://iris.demo.example.com", Host: "iris.demo.example.com", Gateway: gateway("istio-ingressgateway")},
			{Door: hops.ClusterLocal, URL: "http://iris.demo.svc.cluster.local", Host: "iris.demo.svc.cluster.local", Gateway: gateway("knative-local-gateway")}},
		Components: []hops.ComponentState{{Name: hops.Predictor, Service: "iris-predictor", Host: "iris-predictor.demo.example.com", LocalHost: "iris-predictor.demo.svc.cluster.local",
			Revisions: []hops.RevisionState{{Name: rev, Weight: 100, Latest: true, Ready: true, ViaProxy: true, Pods: []string{pod}}}, Port: 8080}},
		Steps: []hops.Step{
			{Hop: hops.Client, Door: hops.Outside},
			{Hop: hops.IngressGateway, Door: hops.Outside, Object: service("istio-system", "istio-ingressgateway")},
			{Hop: hops.KServeRoute, Door: hops.Outside, Object: route},
			{Hop: hops.Client, Door: hops.ClusterLocal},
			{Hop: hops.LocalGateway, Door: hops.ClusterLocal, Object: service("istio-system", "knative-local-gateway")},
			{Hop: hops.KServeRoute, Door: hops.ClusterLocal, Object: route},
			{Hop: hops.LocalGateway, Component: hops.Predictor, Object: service("istio-system", "knative-local-gateway")},
			{Hop: hops.KnativeRoute, Component: hops.Predictor, Object: hops.ObjectRef{Source: hops.KnativeIngresses, Kind: "Ingress", Namespace: "demo", Name: "iris-predictor"}},
			step(hops.Revision, hops.ObjectRef{Source: hops.Revisions, Kind: "Revision", Namespace: "demo", Name: rev}),
			step(hops.Activator, service("knative-serving", "activator-service")),
			step(hops.QueueProxy, podRef),
			step(hops.Container, podRef),
		}}
	return &hops.Run{Ref: flow.Ref, Started: start, Ended: start.Add(ms(180)), TraceID: traceID, SpanID: rootID, Flow: flow, Reads: 14, ReadTook: ms(62)}
}

// sent adds what a request at the flow's step with this id saw: its defaults are a good answer of a model behind Istio.
func sent(r *hops.Run, stepID string, asked hops.Asked, change func(*hops.Observation)) {
	n := len(r.Observations) + 1
	o := hops.Observation{Asked: asked, Vantage: hops.PortForward, Target: "pod istio-system/istio-ingressgateway-7d5f-abcde:8080", Method: "GET", Scheme: "http",
		Host: "iris.demo.example.com", Path: "/v1/models/iris", Peer: "127.0.0.1:41234", Start: start.Add(ms(65 + float64(n)/4)), Took: ms(9.5),
		Phases: hops.Phases{Connect: ms(1), Write: ms(0.1), Wait: ms(8), Body: ms(0.4)}, Proto: "HTTP/1.1", Status: 200,
		Header: map[string]string{"server": "istio-envoy", "x-envoy-upstream-service-time": "7", "content-type": "application/json"},
		Body:   `{"name":"iris","ready":true}`, BodyBytes: 28, Outcome: hops.Answered, TraceID: traceID, SpanID: fmt.Sprintf("a1b2c3d4e5f600%02x", n)}
	for _, s := range r.Flow.Steps {
		if s.ID() == stepID {
			o.Step = s
		}
	}
	if asked == hops.Knock {
		o.Path, o.Body, o.BodyBytes = "/healthz", "", 0
		o.Header["k-network-hash"] = "7f6c1a"
	}
	if change != nil {
		change(&o)
	}
	r.Observations = append(r.Observations, o)
}

// judged gives the run a verdict. Its rows are written here, not computed, so that these tests are about spans alone: a step with a request is
// dialled, the others are inferred with the reason in passed, or not checked with that in skipped.
func judged(r *hops.Run, state hops.State, summary string, passed, skipped map[string]string, findings ...hops.Finding) *hops.Run {
	r.Verdict = hops.Verdict{State: state, Summary: summary, Findings: findings}
	for _, door := range []hops.Door{hops.Outside, "", hops.ClusterLocal} {
		for _, s := range r.Flow.Steps {
			if s.Door == door {
				r.Verdict.Rows = append(r.Verdict.Rows, rowOf(r, s, passed[s.ID()], skipped[s.ID()]))
			}
		}
	}
	if len(findings) > 0 && state != hops.OK {
		r.Verdict.Step = findings[0].Step
	}
	return r
}

func rowOf(r *hops.Run, s hops.Step, passed, skipped string) hops.Row {
	row := hops.Row{Step: s, State: hops.RowInferred, How: hops.Inferred, Why: passed, Observation: -1}
	if skipped != "" {
		row.State, row.How, row.Why = hops.RowNotChecked, hops.Unseen, skipped
	}
	for i := range r.Observations {
		if o := &r.Observations[i]; o.Step.ID() == s.ID() {
			row = hops.Row{Step: s, State: hops.RowOK, How: hops.Dialled, Why: o.Describe(), Observation: i}
			if !o.OK() {
				row.State = hops.RowFailed
			}
		}
	}
	return row
}

// every gives one text for all steps but those named.
func every(r *hops.Run, why string, but ...string) map[string]string {
	out := map[string]string{}
	for _, s := range r.Flow.Steps {
		if !slices.Contains(but, s.ID()) {
			out[s.ID()] = why
		}
	}
	return out
}

const behind = "predictor/" + rev + "/"

// healthy is a run in which both doors answer, with knocks at the inner hops.
func healthy() *hops.Run {
	r := serverless()
	sent(r, "outside/ingress-gateway", hops.RealRequest, nil)
	sent(r, "cluster-local/local-gateway", hops.RealRequest, func(o *hops.Observation) {
		o.Host, o.Target = "iris.demo.svc.cluster.local", "pod istio-system/knative-local-gateway-6b8-fghij:8081"
	})
	sent(r, "predictor/local-gateway", hops.Knock, func(o *hops.Observation) {
		o.Host, o.Target = "iris-predictor.demo.svc.cluster.local", "pod istio-system/knative-local-gateway-6b8-fghij:8081"
	})
	sent(r, behind+"queue-proxy", hops.Knock, func(o *hops.Observation) {
		o.Host, o.Target = "iris-predictor.demo.svc.cluster.local", "pod demo/"+pod+":8012"
		delete(o.Header, "server")
		delete(o.Header, "x-envoy-upstream-service-time")
		o.Took, o.Phases = ms(1.6), hops.Phases{Connect: ms(1), Wait: ms(0.5)}
	})
	return judged(r, hops.OK, "iris answers", every(r, "the request at the ingress gateway passed it"), nil)
}

// killed is a run whose container was killed for its memory: the front door fails three times, so do the requests further in.
func killed() *hops.Run {
	r := serverless()
	r.Ended = start.Add(ms(3400))
	for attempt := 1; attempt <= 3; attempt++ {
		sent(r, "outside/ingress-gateway", hops.RealRequest, func(o *hops.Observation) {
			o.Status, o.Body, o.BodyBytes, o.Attempt = 503, "no healthy upstream", 19, attempt
			o.Start = start.Add(ms(float64(attempt) * 900))
		})
	}
	sent(r, behind+"container", hops.RealRequest, func(o *hops.Observation) {
		*o = hops.Observation{Step: o.Step, Asked: o.Asked, Vantage: hops.PortForward, Target: "pod demo/" + pod + ":8080", Method: "GET", Host: "iris-predictor.demo.svc.cluster.local",
			Path: "/v1/models/iris", Start: start.Add(ms(2800)), Took: ms(3), Phases: hops.Phases{Connect: ms(2.5)}, Outcome: hops.Refused,
			Err: "dial tcp 127.0.0.1:8080: connect: connection refused", TraceID: traceID, SpanID: o.SpanID}
	})
	r.Warnings = []string{"no rights to read pods in knative-serving"}
	podRef := hops.ObjectRef{Source: hops.Pods, Kind: "Pod", Namespace: "demo", Name: pod}
	oom := hops.Finding{ID: "oom-killed", Step: hops.Step{Hop: hops.Container, Component: hops.Predictor, Revision: rev, Object: podRef, Weight: 100}, Severity: hops.Error, Confidence: hops.Certain,
		Summary: "kserve-container was killed: it used more memory than its limit of 256Mi", Fix: "raise resources.limits.memory of the predictor",
		Evidence: []hops.Evidence{
			{Source: hops.FromObject, Ref: "pod/" + pod, Field: "status.containerStatuses[kserve-container].lastState.terminated.reason", Value: "OOMKilled", At: start.Add(-time.Minute)},
			{Source: hops.FromLine, Ref: "log pod/" + pod + " kserve-container", Value: "loading model"}}}
	quota := hops.Finding{ID: "quota-exceeded", Step: hops.Step{Hop: hops.Pod, Component: hops.Predictor}, Severity: hops.Warning, Confidence: hops.Likely, Summary: "the namespace's quota leaves no room for a second pod",
		Fix: "raise the quota", Evidence: []hops.Evidence{{Source: hops.FromEvent, Ref: "replicaset/x", Field: "FailedCreate", Value: "exceeded quota"}}}
	unseen := every(r, "no request was sent")
	for id := range unseen {
		if !strings.HasPrefix(id, string(hops.ClusterLocal)) {
			delete(unseen, id)
		}
	}
	judged(r, hops.Failed, oom.Summary, every(r, "the request that failed passed it"), unseen, oom, quota)
	for i := range r.Verdict.Rows {
		row := &r.Verdict.Rows[i]
		switch row.Step.ID() {
		case "outside/ingress-gateway":
			row.State, row.Why = hops.RowOK, "it answers: 503 no healthy upstream"
		case behind + "revision":
			row.State, row.Why = hops.RowFailed, "503 no healthy upstream"
		case behind + "activator", behind + "queue-proxy":
			row.State, row.How, row.Why = hops.RowNotChecked, hops.Unseen, "the request did not get here"
		}
	}
	r.Verdict.NotChecked = []hops.NotChecked{{What: "pods in knative-serving", Why: "forbidden for user dev"}}
	return r
}

// asleep is a run of a service at zero: knocks at the doors only, all behind them is inferred or not checked.
func asleep() *hops.Run {
	r := serverless()
	v := &r.Flow.Components[0].Revisions[0]
	v.Asleep, v.ScaleToZero, v.Pods = true, true, nil
	sent(r, "outside/ingress-gateway", hops.Knock, nil)
	unseen := every(r, "no request was sent", "outside/client", "outside/kserve-route", "predictor/local-gateway", "predictor/knative-route", behind+"revision", behind+"activator")
	unseen[behind+"queue-proxy"] = "asleep: nothing was sent, so as not to wake it"
	unseen[behind+"container"] = unseen[behind+"queue-proxy"]
	judged(r, hops.OK, "iris is asleep (scaled to zero); the route to it works, the container was not checked", every(r, "the knock at the ingress gateway passed it"), unseen)
	r.Verdict.Asleep = true
	return r
}

// downstream is what gateways, activator and queue-proxy add to a healthy run's first request, as a trace store gives it back.
func downstream(r *hops.Run) []hops.Span {
	first := &r.Observations[0]
	var out []hops.Span
	add := func(id, parent, service, name string, from, took float64, tags map[string]string) {
		out = append(out, hops.Span{TraceID: r.TraceID, SpanID: id, ParentID: parent, Service: service, Name: name, Start: first.Start.Add(ms(from)), Took: ms(took), Tags: tags})
	}
	flags := map[string]string{"response_flags": "-", "upstream_cluster": "outbound|80||x", "component": "proxy"}
	add("b000000000000001", first.SpanID, "istio-ingressgateway.istio-system", "knative-local-gateway.istio-system.svc.cluster.local:80/*", 1.2, 7.8, flags)
	add("b000000000000002", "b000000000000001", "istio-ingressgateway.istio-system", "router outbound|80||knative-local-gateway; egress", 1.3, 7.6, flags)
	add("b000000000000003", "b000000000000002", "knative-local-gateway.istio-system", "iris-predictor-00001.demo.svc.cluster.local:80/*", 1.8, 7, flags)
	add("b000000000000004", "b000000000000003", "activator", "handle", 2.4, 6, nil)
	add("b000000000000005", "b000000000000004", "activator", "throttler_try", 2.5, 0.1, nil)
	add("b000000000000006", "b000000000000004", "activator", "activator_proxy", 2.7, 5.5, nil)
	add("b000000000000007", "b000000000000006", "iris-predictor", "queue", 3.2, 4.8, nil)
	add("b000000000000008", "b000000000000007", "iris-predictor", "HTTP GET", 3.4, 4.4, nil)
	return out
}
