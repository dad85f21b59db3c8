package hops_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"probe/hops"
)

const rev = "iris-predictor-00001"

// serverless is the flow of a healthy service with one revision.
func serverless(t *testing.T) hops.Facts {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "serverless.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s := hops.Snapshot{Time: when0}
	if err := loadObjects(&s, string(raw)); err != nil {
		t.Fatal(err)
	}
	ref := hops.Ref{Namespace: "default", Name: "iris"}
	return hops.Facts{Ref: ref, Live: true, Snapshots: []hops.Snapshot{s}, Flow: hops.Resolve(&s, ref)}
}

// saw makes an observation at a step.
func saw(f hops.Facts, id string, asked hops.Asked, status int, upstream bool, body string) hops.Observation {
	o := hops.Observation{Asked: asked, Outcome: hops.Answered, Status: status, Body: body, Vantage: hops.InPod, Header: map[string]string{}}
	for _, s := range f.Flow.Steps {
		if s.ID() == id {
			o.Step = s
		}
	}
	if !strings.Contains(id, "queue-proxy") && !strings.Contains(id, "activator") && !strings.HasSuffix(id, "container") {
		o.Header["server"] = "istio-envoy"
	}
	if upstream {
		o.Header["x-envoy-upstream-service-time"] = "2"
	}
	if asked == hops.Knock && status == 200 {
		o.Header["k-network-hash"] = "4be48ffd"
	}
	return o
}

func TestRows(t *testing.T) {
	const (
		outside, local     = "outside/ingress-gateway", "cluster-local/local-gateway"
		inner, kroute      = "predictor/local-gateway", "predictor/knative-route"
		queue, container   = "predictor/" + rev + "/queue-proxy", "predictor/" + rev + "/container"
		activator, service = "predictor/" + rev + "/activator", "predictor/" + rev + "/revision"
	)
	type seen struct {
		id       string
		asked    hops.Asked
		status   int
		upstream bool
		body     string
	}
	for _, c := range []struct {
		name string
		seen []seen
		want map[string]hops.RowState // of the rows that matter
	}{
		{"a good request clears its whole path", []seen{{outside, hops.RealRequest, 200, true, "{}"}}, map[string]hops.RowState{
			outside: hops.RowOK, "outside/kserve-route": hops.RowInferred, inner: hops.RowInferred, kroute: hops.RowInferred, service: hops.RowInferred,
			queue: hops.RowInferred, container: hops.RowInferred, local: hops.RowNotChecked}},
		{"a good knock clears nothing behind activator or queue-proxy", []seen{{outside, hops.Knock, 200, true, ""}}, map[string]hops.RowState{
			kroute: hops.RowInferred, service: hops.RowInferred, activator: hops.RowInferred, queue: hops.RowNotChecked, container: hops.RowNotChecked}},
		{"an inner entry that fails while the door answers is a remark about the vantage",
			[]seen{{outside, hops.RealRequest, 200, true, "{}"}, {inner, hops.RealRequest, 403, false, "RBAC: access denied"}},
			map[string]hops.RowState{outside: hops.RowOK, inner: hops.RowInferred, container: hops.RowInferred}},
		{"no route for the host", []seen{{outside, hops.RealRequest, 404, false, ""}, {inner, hops.RealRequest, 200, true, "{}"}}, map[string]hops.RowState{
			outside: hops.RowOK, "outside/kserve-route": hops.RowFailed, inner: hops.RowOK, kroute: hops.RowNotChecked}},
		{"Knative's route is gone", []seen{{outside, hops.RealRequest, 404, true, ""}, {inner, hops.RealRequest, 404, false, ""}, {queue, hops.RealRequest, 200, false, "{}"}},
			map[string]hops.RowState{"outside/kserve-route": hops.RowInferred, inner: hops.RowOK, kroute: hops.RowFailed, queue: hops.RowOK}},
		{"the local gateway is not there, asked from within it works", []seen{{outside, hops.RealRequest, 503, false, "no healthy upstream"}, {queue, hops.RealRequest, 200, false, "{}"}},
			map[string]hops.RowState{outside: hops.RowOK, "outside/kserve-route": hops.RowInferred, inner: hops.RowFailed, queue: hops.RowOK}},
		{"nobody listens in the container", []seen{{outside, hops.RealRequest, 502, true, "dial tcp 127.0.0.1:8080: connect: connection refused"},
			{queue, hops.RealRequest, 502, false, "dial tcp 127.0.0.1:8080: connect: connection refused"}},
			map[string]hops.RowState{outside: hops.RowOK, inner: hops.RowInferred, queue: hops.RowOK, container: hops.RowFailed}},
		{"nothing was sent", nil, map[string]hops.RowState{outside: hops.RowNotChecked, container: hops.RowNotChecked}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serverless(t)
			for _, s := range c.seen {
				f.Observations = append(f.Observations, saw(f, s.id, s.asked, s.status, s.upstream, s.body))
			}
			got := map[string]hops.Row{}
			for _, r := range hops.Rows(&f) {
				got[r.Step.ID()] = r
			}
			for id, want := range c.want {
				if got[id].State != want {
					t.Errorf("%s: %s (%s), want %s", id, got[id].State, got[id].Why, want)
				}
			}
		})
	}
}
