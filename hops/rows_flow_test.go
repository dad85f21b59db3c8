package hops_test

import (
	"strings"
	"testing"

	"probe/hops"
)

// answer is an observation at a step of a flow: "500 POST" or "knock" or "GET", all good ones behind Envoy where there is one.
func answer(t *testing.T, f hops.Facts, id, what string) hops.Observation {
	t.Helper()
	o := saw(f, id, hops.RealRequest, 200, true, "")
	if o.Step.Hop == "" {
		t.Fatalf("the flow has no step %s", id)
	}
	if o.Step.Hop == hops.Client {
		delete(o.Header, "server")
		delete(o.Header, "x-envoy-upstream-service-time")
		o.Header["content-type"] = "text/plain"
	}
	switch what {
	case "knock":
		o.Asked, o.Header["k-network-hash"] = hops.Knock, "4be48ffd"
	case "500":
		o.Status, o.Body = 500, "boom"
	case "gateway 503":
		o.Status, o.Body = 503, "no healthy upstream"
		delete(o.Header, "x-envoy-upstream-service-time")
	case "gateway 404":
		o.Status = 404
		delete(o.Header, "x-envoy-upstream-service-time")
	case "nginx 503", "nginx 404":
		o.Status, o.Body = 503, "<hr><center>nginx</center>"
		if what == "nginx 404" {
			o.Status = 404
		}
		o.Header = map[string]string{"server": "nginx", "content-type": "text/html"}
	default:
		o.Method = what
	}
	return o
}

// What the table says of steps that only some kinds of flow have. Each line of want is a step, its state, and a part of the reason.
func TestRowsOfFlows(t *testing.T) {
	const (
		transformer, predictor = "transformer/transformer-transformer-00001/", "predictor/transformer-predictor-00001/"
		canary, stable         = "predictor/can-predictor-00002/", "predictor/can-predictor-00001/"
		explainer              = "explainer/expl-explainer-00001/"
	)
	tests := []struct {
		name, flow string
		seen       [][2]string // step, answer
		want       [][3]string
	}{
		{"a GET does not reach the predictor behind a transformer", "transformer",
			[][2]string{{"outside/ingress-gateway", "GET"}, {"predictor/local-gateway", "knock"}, {predictor + "queue-proxy", "GET"}},
			[][3]string{{transformer + "container", "inferred", "passed"}, {"transformer/component-link", "not-checked", "--data"},
				{"predictor/knative-route", "inferred", "knock at the local-gateway of the predictor"},
				{predictor + "revision", "inferred", "knock at the local-gateway"}, {predictor + "container", "inferred", "request at the queue-proxy"}}},
		{"a POST does", "transformer", [][2]string{{"outside/ingress-gateway", "POST"}},
			[][3]string{{"transformer/component-link", "inferred", "passed"}, {"predictor/knative-route", "inferred", "passed"}, {predictor + "container", "inferred", "passed"}}},
		{"an explainer is off the door's path", "explainer", [][2]string{{"outside/ingress-gateway", "POST"}},
			[][3]string{{"explainer/knative-route", "not-checked", ":explain"}, {explainer + "container", "not-checked", ":explain"},
				{"explainer/component-link", "not-checked", ":explain"}, {"predictor/expl-predictor-00001/container", "inferred", "passed"}}},
		{"one revision of a canary is bad", "canary-serving",
			[][2]string{{"outside/ingress-gateway", "GET"}, {canary + "queue-proxy", "500"}, {stable + "queue-proxy", "GET"}},
			[][3]string{{canary + "queue-proxy", "ok", "it answers"}, {canary + "container", "failed", "boom"}, {stable + "container", "inferred", "queue-proxy"},
				{stable + "revision", "not-checked", "which of the weighted revisions"}}},
		{"Standard mode, the Service has no pods", "standard", [][2]string{{"outside/ingress-gateway", "gateway 503"}},
			[][3]string{{"outside/ingress-gateway", "ok", "it answers"}, {"outside/kserve-route", "inferred", "passed"}, {"predictor/revision", "failed", "no healthy upstream"}}},
		{"Standard mode, no route", "standard", [][2]string{{"outside/ingress-gateway", "gateway 404"}}, [][3]string{{"outside/kserve-route", "failed", "404"}}},
		{"Standard mode, the model fails behind its Service", "standard", [][2]string{{"cluster-local/client", "500"}},
			[][3]string{{"predictor/container", "failed", "boom"}, {"predictor/revision", "inferred", "passed"}}},
		{"Standard mode behind an nginx, the Service has no pods", "ingress-nginx", [][2]string{{"outside/ingress-gateway", "nginx 503"}},
			[][3]string{{"outside/ingress-gateway", "ok", "it answers"}, {"outside/kserve-route", "inferred", "passed"}, {"predictor/revision", "failed", "nginx"}}},
		{"Standard mode behind an nginx, no route", "ingress-nginx", [][2]string{{"outside/ingress-gateway", "nginx 404"}}, [][3]string{{"outside/kserve-route", "failed", "404"}}},
		{"Kourier, no route", "kourier", [][2]string{{"outside/ingress-gateway", "gateway 404"}}, [][3]string{{"transformer/knative-route", "failed", "404"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, ref := objectsOf(t, test.flow)
			f := hops.Facts{Ref: ref, Live: true, Snapshots: []hops.Snapshot{s}, Flow: hops.Resolve(&s, ref)}
			for _, seen := range test.seen {
				f.Observations = append(f.Observations, answer(t, f, seen[0], seen[1]))
			}
			got := map[string]hops.Row{}
			for _, r := range hops.Rows(&f) {
				got[r.Step.ID()] = r
			}
			for _, w := range test.want {
				if r := got[w[0]]; string(r.State) != w[1] || !strings.Contains(r.Why, w[2]) {
					t.Errorf("%s: %s, %q; want %s, %q", w[0], r.State, r.Why, w[1], w[2])
				}
			}
		})
	}
}
