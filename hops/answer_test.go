package hops_test

import (
	"testing"

	"probe/hops"
)

// Each row was seen on a real cluster with one thing broken.
func TestWhoAnsweredAndWhereItEnded(t *testing.T) {
	envoy := map[string]string{"server": "istio-envoy"}
	passed := map[string]string{"server": "istio-envoy", "x-envoy-upstream-service-time": "3"}
	outside := hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}
	inner := hops.Step{Hop: hops.LocalGateway, Component: hops.Predictor}
	queue := hops.Step{Hop: hops.QueueProxy, Component: hops.Predictor, Revision: "iris-predictor-00001"}
	for _, c := range []struct {
		name    string
		at      hops.Step
		status  int
		header  map[string]string
		body    string
		outcome hops.Outcome
		writer  hops.Writer
		suspect hops.Hop
	}{
		{"no route for the host", outside, 404, envoy, "", hops.Answered, hops.ByGateway, hops.KServeRoute},
		{"Knative's route is gone", outside, 404, passed, "", hops.Answered, hops.Behind, hops.KnativeRoute},
		{"the local gateway's Service is gone", outside, 503, envoy, "", hops.Answered, hops.ByGateway, hops.LocalGateway},
		{"the local gateway has no pods", outside, 503, envoy, "no healthy upstream", hops.Answered, hops.ByGateway, hops.LocalGateway},
		{"the revision has no endpoints", outside, 503, passed, "no healthy upstream", hops.Answered, hops.Behind, hops.Revision},
		{"the same, asked at the local gateway", inner, 503, envoy, "no healthy upstream", hops.Answered, hops.ByGateway, hops.Revision},
		{"no Knative route, asked at the local gateway", inner, 404, envoy, "", hops.Answered, hops.ByGateway, hops.KnativeRoute},
		{"policy at the ingress gateway", outside, 403, envoy, "RBAC: access denied", hops.Answered, hops.ByGateway, hops.IngressGateway},
		{"policy at the local gateway", outside, 403, passed, "RBAC: access denied", hops.Answered, hops.Behind, hops.LocalGateway},
		{"token at the ingress gateway", outside, 401, envoy, "Jwt is missing", hops.Answered, hops.ByGateway, hops.IngressGateway},
		{"token at the local gateway", outside, 401, passed, "Jwt is expired", hops.Answered, hops.Behind, hops.LocalGateway},
		{"a proxy in front", outside, 503, map[string]string{"server": "nginx"}, "<html>", hops.Answered, hops.BeforeGateway, hops.Client},
		{"nginx's own page in front", outside, 502, map[string]string{"server": "nginx"}, "<hr><center>nginx/1.25</center>", hops.Answered, hops.BeforeGateway, hops.Client},
		{"slower than the revision's timeout", outside, 504, passed, "request timeout", hops.Answered, hops.ByQueueProxy, hops.Container},
		{"the same while the activator is in the path", outside, 504, passed, "activator request timeout", hops.Answered, hops.ByActivator, hops.Activator},
		{"the container died under the request", outside, 502, passed, "EOF", hops.Answered, hops.ByQueueProxy, hops.Container},
		{"nobody listens in the container", queue, 502, nil, "dial tcp 127.0.0.1:8080: connect: connection refused", hops.Answered, hops.ByQueueProxy, hops.Container},
		{"the model server's own 404", outside, 404, passed, `{"error":"Model with name x does not exist."}`, hops.Answered, hops.ByModel, hops.Container},
		{"wrong feature count", outside, 500, passed, `{"error":"X has 3 features, but SVC is expecting 4 features as input."}`, hops.Answered, hops.ByModel, hops.Container},
		{"refused at the gateway", outside, 0, nil, "", hops.Refused, hops.ByNobody, hops.IngressGateway},
		{"the name does not resolve", outside, 0, nil, "", hops.DNSFailed, hops.ByNobody, hops.Client},
	} {
		o := hops.Observation{Step: c.at, Asked: hops.RealRequest, Outcome: c.outcome, Status: c.status, Header: c.header, Body: c.body}
		if got := hops.WroteIt(&o); got != c.writer {
			t.Errorf("%s: written by %q, want %q", c.name, got, c.writer)
		}
		if got := hops.Suspect(&o); got != c.suspect {
			t.Errorf("%s: ended at %q, want %q", c.name, got, c.suspect)
		}
	}
}

// Where the gateway itself was dialled an nginx is the gateway, not something in front of it.
func TestNginxAsTheGateway(t *testing.T) {
	const page = "<html><hr><center>nginx</center></html>"
	for _, c := range []struct {
		name    string
		vantage hops.Vantage
		status  int
		body    string
		writer  hops.Writer
		suspect hops.Hop
	}{
		{"no endpoints", hops.PortForward, 503, page, hops.ByGateway, hops.Revision},
		{"refused by the pod", hops.InPod, 502, page, hops.ByGateway, hops.Revision},
		{"slow", hops.InPod, 504, page, hops.ByGateway, hops.Revision},
		{"no rule for the host", hops.PortForward, 404, page, hops.ByGateway, hops.KServeRoute},
		{"body too large", hops.PortForward, 413, page, hops.ByGateway, hops.IngressGateway},
		{"passed on", hops.PortForward, 500, "oops", hops.Behind, hops.Revision},
		{"over the network something may stand in front", hops.Network, 503, page, hops.BeforeGateway, hops.Client},
	} {
		o := hops.Observation{Step: hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}, Asked: hops.RealRequest, Vantage: c.vantage, Outcome: hops.Answered,
			Status: c.status, Header: map[string]string{"server": "nginx"}, Body: c.body}
		if got := hops.WroteIt(&o); got != c.writer {
			t.Errorf("%s: written by %q, want %q", c.name, got, c.writer)
		}
		if got := hops.Suspect(&o); got != c.suspect {
			t.Errorf("%s: ended at %q, want %q", c.name, got, c.suspect)
		}
	}
}
