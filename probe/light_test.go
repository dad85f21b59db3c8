package probe

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// wire keeps what was sent, and answers with status where it is told to, else with 200.
type wire struct {
	status map[string]int // by step

	mu   sync.Mutex
	sent []dial.Request
}

func (w *wire) Send(_ context.Context, r dial.Request) hops.Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, r)
	o := hops.Observation{Step: r.Entry.Step, Asked: r.Asked, Host: r.Entry.Host, Outcome: hops.Answered, Status: 200, TraceID: r.TraceID, SpanID: r.SpanID,
		Attempt: r.Attempt, Vantage: hops.InPod, Header: map[string]string{"server": "istio-envoy", "x-envoy-upstream-service-time": "1", "k-network-hash": "abc"}}
	if s := w.status[r.Entry.Step.ID()]; s != 0 {
		o.Status = s
		delete(w.status, r.Entry.Step.ID()) // it fails once
	}
	if r.Keep != nil {
		r.Keep([]byte("whole"))
	}
	return o
}

// asked lists what was sent: "request outside/ingress-gateway".
func (w *wire) asked() []string {
	var out []string
	for _, r := range w.sent {
		out = append(out, string(r.Asked)+" "+r.Entry.Step.ID())
	}
	slices.Sort(out)
	return out
}

// known is a path with both doors and revisions of these weights.
func known(toZero bool, weights ...int) *hops.Flow {
	f := &hops.Flow{Ref: hops.Ref{Namespace: "demo", Name: "iris"}, Mode: hops.Knative, Protocol: "v1", Model: "iris", EntryPoint: hops.Predictor,
		Doors: []hops.DoorState{{Door: hops.Outside, Host: "iris.demo.example.com"}, {Door: hops.ClusterLocal, Host: "iris.demo.svc.cluster.local"}},
		Entries: []hops.Entry{
			{Step: hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}, Host: "iris.demo.example.com", Request: true, Knock: true},
			{Step: hops.Step{Hop: hops.LocalGateway, Door: hops.ClusterLocal}, Host: "iris.demo.svc.cluster.local", Request: true, Knock: true},
			{Step: hops.Step{Hop: hops.LocalGateway, Component: hops.Predictor}, Host: "iris-predictor.demo", Request: true, Knock: true}}}
	c := hops.ComponentState{Name: hops.Predictor}
	for i, w := range weights {
		name := string(rune('a' + i))
		c.Revisions = append(c.Revisions, hops.RevisionState{Name: name, Weight: w, Ready: true, ScaleToZero: toZero})
		f.Entries = append(f.Entries, hops.Entry{Step: hops.Step{Hop: hops.QueueProxy, Component: hops.Predictor, Revision: name, Weight: w}, Request: true, Knock: true,
			Target: hops.Target{Kind: "pod", Name: "pod-" + name}})
	}
	f.Components = []hops.ComponentState{c}
	return f
}

func single(s Sender) Deps {
	var n atomic.Uint32 // a front door is asked again while inner hops are
	return Deps{Connect: func(*hops.Flow) Sender { return s }, Now: time.Now, ID: func(b []byte) {
		b[0] = byte(n.Add(1))
	}}
}

// A light run costs one request a front door, and one a revision where traffic is split; knocks where a request would keep a service up.
func TestLightCost(t *testing.T) {
	doors := []string{"request cluster-local/local-gateway", "request outside/ingress-gateway"}
	for _, c := range []struct {
		name string
		flow *hops.Flow
		o    Options
		want []string
	}{
		{"one revision", known(false, 100), Options{}, doors},
		{"a canary", known(false, 90, 10), Options{}, append([]string{"request predictor/a/queue-proxy", "request predictor/b/queue-proxy"}, doors...)},
		{"a canary from afar", known(false, 90, 10), Options{FrontOnly: true}, doors},
		{"an old revision without traffic", known(false, 100, 0), Options{}, doors},
		{"one door", known(false, 100), Options{Doors: []hops.Door{hops.Outside}}, doors[1:]},
		{"may sleep", known(true, 100), Options{Spare: true}, []string{"knock cluster-local/local-gateway", "knock outside/ingress-gateway"}},
		{"may sleep, and may be woken", known(true, 100), Options{Wake: true}, doors},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &wire{}
			run, passed := Light(t.Context(), single(w), c.flow, c.o, nil)
			want := slices.Sorted(slices.Values(c.want))
			if !passed || run.Verdict.State != hops.OK || !slices.Equal(w.asked(), want) {
				t.Errorf("passed %v, sent %q, want %q", passed, w.asked(), want)
			}
		})
	}
}

// What did not all go well, or was not tried at all, has not passed.
func TestLightFails(t *testing.T) {
	closed := known(false, 100)
	closed.Entries = closed.Entries[1:]
	for name, c := range map[string]struct {
		flow   *hops.Flow
		status map[string]int
	}{
		"a door fails":                {known(false, 100), map[string]int{"outside/ingress-gateway": 503}},
		"a canary's revision fails":   {known(false, 90, 10), map[string]int{"predictor/b/queue-proxy": 502}},
		"a door has no way in":        {closed, nil},
		"nothing is known":            {&hops.Flow{}, nil},
		"an answer cannot be judged":  {known(false, 100), map[string]int{"outside/ingress-gateway": 302}},
		"a knock is answered without": {known(true, 100), map[string]int{"outside/ingress-gateway": 404}},
	} {
		if run, passed := Light(t.Context(), single(&wire{status: c.status}), c.flow, Options{Spare: true}, nil); passed || run.Verdict.State == hops.OK {
			t.Errorf("%s: passed with %+v", name, run.Observations)
		}
	}
}

// A door that was expected to say 404 is in order when it does, and not when it does not.
func TestLightMeets(t *testing.T) {
	expect := func(o *hops.Observation) bool { return o.Status == 404 }
	one := Options{Doors: []hops.Door{hops.Outside}}
	if _, passed := Light(t.Context(), single(&wire{status: map[string]int{"outside/ingress-gateway": 404}}), known(false, 100), one, expect); !passed {
		t.Error("the expected 404 did not pass")
	}
	if _, passed := Light(t.Context(), single(&wire{}), known(false, 100), one, expect); passed {
		t.Error("a 200 passed where 404 was expected")
	}
}

// The mesh is asked to record unless told otherwise, and whoever wants the whole body gets it.
func TestLightRequests(t *testing.T) {
	w, bodies := &wire{}, map[string]string{}
	var mu sync.Mutex
	_, _ = Light(t.Context(), single(w), known(false, 100), Options{Unrecorded: true, Body: func(span string, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		bodies[span] = string(b)
	}}, nil)
	for _, r := range w.sent {
		if !r.Unrecorded || bodies[r.SpanID] != "whole" {
			t.Errorf("%s: unrecorded %v, body %q", r.Entry.Step.ID(), r.Unrecorded, bodies[r.SpanID])
		}
	}
}

// oneReader reads the one snapshot.
type oneReader struct{ fakeCluster }

func (c *oneReader) First(ctx context.Context, ref hops.Ref) (hops.Snapshot, error) {
	s, _ := c.All(ctx, nil)(ref)
	return s, nil
}

func (c *oneReader) Reads() (int, time.Duration) { return 0, 0 }

// A full run goes on from a light one: the same trace, and what failed there is its first attempt.
func TestRunAfterLight(t *testing.T) {
	d := single(&wire{})
	d.Reader, d.Rules = &oneReader{}, hops.Rules()
	ref := hops.Ref{Namespace: "demo", Name: "iris"}
	first, err := Run(t.Context(), d, Options{Ref: ref})
	if err != nil {
		t.Fatal(err)
	}
	light, passed := Light(t.Context(), single(&wire{status: map[string]int{"outside/ingress-gateway": 503}}), &first.Flow, Options{Ref: ref}, nil)
	if passed {
		t.Fatal("the light run passed")
	}
	again := &wire{}
	d = single(again)
	d.Reader, d.Rules = &oneReader{}, hops.Rules()
	run, err := Run(t.Context(), d, Options{Ref: ref, After: &light})
	if err != nil {
		t.Fatal(err)
	}
	if run.TraceID != light.TraceID || !run.Started.Equal(light.Started) {
		t.Errorf("another trace: %s after %s", run.TraceID, light.TraceID)
	}
	var attempts []int
	for i := range run.Observations {
		if o := &run.Observations[i]; o.AtDoor(hops.Outside) && o.Asked == hops.RealRequest {
			attempts = append(attempts, o.Attempt)
		}
	}
	if !slices.Equal(attempts, []int{1, 2}) || run.Verdict.State == hops.OK {
		t.Errorf("attempts %v at the outside door, want the light run's and one more; %s", attempts, run.Verdict.State)
	}
	for _, r := range again.sent {
		if r.Attempt < 2 && r.Entry.Step.Door != "" && r.Asked == hops.RealRequest {
			t.Errorf("%s was asked anew", r.Entry.Step.ID())
		}
	}
}
