package tracing

import (
	"slices"
	"strings"
	"testing"
	"time"

	"probe/hops"
)

// answered changes a request's answer: status, body, who wrote it.
func answered(status int, body string, header ...string) func(*hops.Observation) {
	return func(o *hops.Observation) {
		o.Status, o.Body, o.BodyBytes, o.Header = status, body, int64(len(body)), map[string]string{}
		for _, h := range header {
			k, v, _ := strings.Cut(h, "=")
			o.Header[k] = v
		}
	}
}

// asking is a run with one request at a step.
func asking(flow *hops.Run, stepID string, asked hops.Asked, change func(*hops.Observation)) *hops.Run {
	sent(flow, stepID, asked, change)
	return flow
}

// straight is serverless without the activator in the path.
func straight() *hops.Run {
	r := serverless()
	r.Flow.Components[0].Revisions[0].ViaProxy = false
	return r
}

// sleeping is serverless at zero; woken says that a request may wake it.
func sleeping() *hops.Run {
	r := straight()
	r.Flow.Components[0].Revisions[0].Asleep = true
	return r
}

// canary is serverless with a second revision, the one with the activator before it, the other without.
func canary() *hops.Run {
	r := serverless()
	c := &r.Flow.Components[0]
	c.Revisions[0].Weight = 90
	c.Revisions = append(c.Revisions, hops.RevisionState{Name: "iris-predictor-00002", Weight: 10})
	return r
}

// transformed is serverless with a transformer before the predictor, straight to its pods.
func transformed() *hops.Run {
	r := serverless()
	r.Flow.EntryPoint = hops.Transformer
	r.Flow.Components = append(r.Flow.Components, hops.ComponentState{Name: hops.Transformer, Revisions: []hops.RevisionState{{Name: "iris-transformer-00001", Weight: 100}}})
	for _, h := range []hops.Hop{hops.LocalGateway, hops.Revision, hops.Activator, hops.QueueProxy, hops.Container} {
		s := hops.Step{Hop: h, Component: hops.Transformer}
		if h != hops.LocalGateway {
			s.Revision = "iris-transformer-00001"
		}
		r.Flow.Steps = append(r.Flow.Steps, s)
	}
	return r
}

// standardMode has no Knative: gateway, route, Service, container; the cluster-local door is the Service.
func standardMode() *hops.Run {
	r := serverless()
	r.Flow.Mode = hops.Standard
	r.Flow.Steps = []hops.Step{{Hop: hops.Client, Door: hops.Outside}, {Hop: hops.IngressGateway, Door: hops.Outside}, {Hop: hops.KServeRoute, Door: hops.Outside},
		{Hop: hops.Client, Door: hops.ClusterLocal}, {Hop: hops.Revision, Component: hops.Predictor}, {Hop: hops.Container, Component: hops.Predictor}}
	return r
}

func TestPredicted(t *testing.T) {
	const envoy, upstream = "server=istio-envoy", "x-envoy-upstream-service-time=3"
	const outside, local, knock, real = "outside/ingress-gateway", "cluster-local/local-gateway", hops.Knock, hops.RealRequest
	gateways := []hops.Hop{hops.IngressGateway, hops.LocalGateway}
	all := append(slices.Clone(gateways), hops.Activator, hops.QueueProxy)
	direct := append(slices.Clone(gateways), hops.QueueProxy)
	refused := func(o *hops.Observation) { o.Outcome, o.Status = hops.Refused, 0 }
	reset := func(o *hops.Observation) { o.Outcome, o.Status = hops.ResetByPeer, 0 }
	late := func(o *hops.Observation) { o.Outcome, o.Status, o.Header = hops.Timeout, 0, nil }
	unsent := func(o *hops.Observation) { late(o); o.Phases = hops.Phases{} }
	pasted := func(o *hops.Observation) { o.From = "request.txt:1" }
	for _, c := range []struct {
		name string
		run  *hops.Run
		want []hops.Hop
	}{
		{"awake, with the activator", asking(serverless(), outside, real, nil), all},
		{"awake, without", asking(straight(), outside, real, nil), direct},
		{"at the cluster-local door", asking(serverless(), local, real, nil), all[1:]},
		{"it wakes the service", asking(sleeping(), outside, real, func(o *hops.Observation) { o.ColdStart = true }), all},
		{"one of two revisions is straight", asking(canary(), outside, real, nil), direct},
		{"at queue-proxy itself", asking(serverless(), behind+"queue-proxy", real, nil), all[3:]},
		{"at the activator itself, though it is not in the path", asking(straight(), behind+"activator", real, nil), all[2:]},
		{"at the container itself", asking(serverless(), behind+"container", real, nil), nil},
		{"a knock: Knative leaves it out", asking(serverless(), outside, knock, nil), gateways},
		{"a knock at the second gateway", asking(serverless(), "predictor/local-gateway", knock, nil), gateways[1:]},
		{"a knock at queue-proxy", asking(serverless(), behind+"queue-proxy", knock, nil), nil},
		{"behind a transformer the trace is lost", asking(transformed(), outside, real, nil), direct},
		{"Standard mode", asking(standardMode(), outside, real, nil), gateways[:1]},
		{"Standard mode, the Service", asking(standardMode(), "cluster-local/client", real, nil), nil},
		{"404 of the first gateway", asking(serverless(), outside, real, answered(404, "", envoy)), gateways[:1]},
		{"503 of the first gateway", asking(serverless(), outside, real, answered(503, "no healthy upstream", envoy)), gateways[:1]},
		{"404 of the second", asking(serverless(), outside, real, answered(404, "", envoy, upstream)), gateways},
		{"503 of the second", asking(serverless(), outside, real, answered(503, "no healthy upstream", envoy, upstream)), gateways},
		{"403 of the second's own policy, asked itself", asking(serverless(), local, real, answered(403, "RBAC: access denied", envoy)), gateways[1:]},
		{"504 of the activator", asking(serverless(), outside, real, answered(504, "activator request timeout", envoy, upstream)), all[:3]},
		{"502 of queue-proxy", asking(serverless(), outside, real, answered(502, "dial tcp 127.0.0.1:8080: connect: connection refused", envoy, upstream)), all},
		{"404 of the model", asking(serverless(), outside, real, answered(404, `{"error":"no such model"}`, envoy, upstream)), all},
		{"503 of a gateway that is no Envoy", asking(standardMode(), outside, real, answered(503, "<center>nginx</center>")), nil},
		{"an answer through one", asking(standardMode(), outside, real, answered(200, "{}")), nil},
		{"302 of something before the gateway", asking(serverless(), outside, real, answered(302, "", "server=nginx")), nil},
		{"no answer in time", asking(serverless(), outside, real, late), gateways[:1]},
		{"no answer in time to nothing written", asking(serverless(), outside, real, unsent), nil},
		{"refused", asking(serverless(), outside, real, refused), nil},
		{"reset", asking(serverless(), outside, real, reset), nil},
		{"not sent by us", asking(serverless(), outside, real, pasted), nil},
	} {
		if got := Predicted(c.run, 0); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestComplete(t *testing.T) {
	run := healthy()
	run.Observations = run.Observations[:1]
	whole := downstream(run)
	if !Complete(run)(whole) {
		t.Errorf("the whole trace is not complete: %v", JoinSpans(run, whole).Remarks(run, time.Second))
	}
	if got := JoinSpans(run, whole).Remarks(run, time.Second); len(got) != 0 {
		t.Errorf("remarks on a whole trace: %q", got)
	}
	cut := slices.Clone(whole[:6]) // queue-proxy's have not come
	if Complete(run)(cut) {
		t.Error("a trace without queue-proxy is complete")
	}
	cut[3].ParentID = "dddddddddddddddd"
	want := []string{"no span of activator came within 1s: sampling is off, it exports elsewhere, or it is late and a longer --jaeger-wait brings it",
		"no span of queue-proxy came within 1s: sampling is off, it exports elsewhere, or it is late and a longer --jaeger-wait brings it",
		"spans of activator hang under no request of ours: their parent dddddddddddddddd was not sent"}
	if got := JoinSpans(run, cut).Remarks(run, time.Second); !slices.Equal(got, want) {
		t.Errorf("remarks\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	two := healthy() // its second request is at the cluster-local door
	want = []string{"no span of activator came within 1s for 1 of 2 requests (cluster-local/local-gateway): it samples, or is late"}
	if got := JoinSpans(two, downstream(two)).Remarks(two, time.Second); !slices.Contains(got, want[0]) {
		t.Errorf("remarks %q, want %q among them", got, want)
	}
}
