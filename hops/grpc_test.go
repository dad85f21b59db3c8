package hops_test

import (
	"testing"

	"probe/hops"
)

// What a gRPC answer says of the place where it was written, at the outside door of a service in Knative mode. The first gateway's own answers carry
// no x-envoy-upstream-service-time; everything is 200.
func TestGRPCAnswers(t *testing.T) {
	tests := []struct {
		name     string
		code     int
		message  string
		upstream bool
		body     string
		ok       bool
		judged   bool
		hop      hops.Hop
		says     string
	}{
		{"ready", 0, "", true, `{"ready":true}`, true, true, "", "200"},
		{"not ready", 0, "", true, `{"ready":false}`, false, true, hops.Container, `200 {"ready":false}`},
		{"no route at the first gateway", 12, "", false, "", false, true, hops.KServeRoute, "200 UNIMPLEMENTED"},
		{"no route at the second", 12, "", true, "", false, true, hops.KnativeRoute, "200 UNIMPLEMENTED"},
		{"no local gateway", 14, "no healthy upstream", false, "", false, true, hops.LocalGateway, "200 UNAVAILABLE no healthy upstream"},
		{"no pods", 14, "no healthy upstream", true, "", false, true, hops.Revision, "200 UNAVAILABLE no healthy upstream"},
		{"model unknown, name made up", 5, "Model with name x does not exist.", true, "", false, false, hops.Container, "200 NOT_FOUND Model with name x does not exist."},
		{"model's own error", 13, "CUDA error", true, "", false, true, hops.Container, "200 INTERNAL CUDA error"},
		{"a gate", 16, "Jwt is missing", false, "", false, false, hops.IngressGateway, "200 UNAUTHENTICATED Jwt is missing"},
		{"no gRPC at all", -1, "", true, "", false, true, hops.Revision, "200 no grpc-status"},
	}
	for _, test := range tests {
		o := hops.Observation{Asked: hops.RealRequest, Outcome: hops.Answered, Status: 200, GRPCStatus: test.code, Body: test.body, Invented: true,
			Step:   hops.Step{Hop: hops.IngressGateway, Door: hops.Outside},
			Header: map[string]string{"server": "istio-envoy", "content-type": "application/grpc", "grpc-message": test.message}}
		if test.upstream {
			o.Header["x-envoy-upstream-service-time"] = "2"
		}
		if o.OK() != test.ok || o.Judged() != test.judged || o.Describe() != test.says {
			t.Errorf("%s: ok %t, judged %t, says %q", test.name, o.OK(), o.Judged(), o.Describe())
		}
		if !test.ok && hops.Suspect(&o) != test.hop {
			t.Errorf("%s: suspected %s, want %s", test.name, hops.Suspect(&o), test.hop)
		}
	}
}
