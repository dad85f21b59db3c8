package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// fakeCluster knows services that say of themselves that they are ready.
type fakeCluster struct {
	gone map[string]bool

	mu    sync.Mutex
	alls  int
	wants map[string]int // by the name of the service, and by "own" or "common"
}

func (c *fakeCluster) All(_ context.Context, services []hops.Object) func(hops.Ref) (hops.Snapshot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alls++
	return func(ref hops.Ref) (hops.Snapshot, bool) {
		ready := "True"
		if strings.Contains(ref.Name, "unready") {
			ready = "False"
		}
		host := ref.Name + "." + ref.Namespace + ".example.com"
		o := hops.Object{Source: hops.InferenceServices, APIVersion: "serving.kserve.io/v1beta1", Kind: "InferenceService", Namespace: ref.Namespace, Name: ref.Name,
			Tree: map[string]any{"kind": "InferenceService", "status": map[string]any{"url": "http://" + host, "conditions": []any{map[string]any{"type": "Ready", "status": ready, "reason": "x"}}}}}
		return hops.Snapshot{Time: time.Now(), Objects: []hops.Object{o}, Full: []hops.Source{hops.InferenceServices}}, !c.gone[ref.Name]
	}
}

func (c *fakeCluster) Want(_ context.Context, f hops.Facts, wants []hops.Source) hops.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wants == nil {
		c.wants = map[string]int{}
	}
	c.wants[f.Ref.Name]++
	if slices.Contains(wants, hops.SystemPods) {
		c.wants["common"]++
	} else {
		c.wants["own"]++
	}
	return hops.Snapshot{Time: time.Now()}
}

// fakeSender answers as each service's name says, and counts what is under way.
type fakeSender struct {
	takes time.Duration
	fails func(service string) bool
	hangs func(service string) bool // until the context ends

	mu           sync.Mutex
	flying, most int
	services     map[string]int // under way, by service
	abreast      int            // the most services under way at one time
}

func (s *fakeSender) begin(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.services == nil {
		s.services = map[string]int{}
	}
	s.flying += n
	if s.services[name] += n; s.services[name] == 0 {
		delete(s.services, name)
	}
	s.most, s.abreast = max(s.most, s.flying), max(s.abreast, len(s.services))
}

func (s *fakeSender) Send(ctx context.Context, r dial.Request) hops.Observation {
	name, _, _ := strings.Cut(r.Entry.Host, ".")
	name = strings.TrimSuffix(name, "-predictor")
	s.begin(name, 1)
	defer s.begin(name, -1)
	o := hops.Observation{Step: r.Entry.Step, Asked: r.Asked, Host: r.Entry.Host, Start: time.Now(), Outcome: hops.Answered, Status: 200, Vantage: hops.InPod,
		Header: map[string]string{"server": "istio-envoy", "x-envoy-upstream-service-time": "1", "k-network-hash": "abc"}}
	if s.hangs != nil && s.hangs(name) {
		<-ctx.Done()
	}
	Pause(ctx, s.takes)
	switch {
	case context.Cause(ctx) == context.Canceled:
		o.Outcome, o.Status = hops.Cancelled, 0
	case ctx.Err() != nil:
		o.Outcome, o.Status = hops.Timeout, 0
	case s.fails != nil && s.fails(name):
		o.Status = 503
	}
	o.Took = time.Since(o.Start)
	return o
}

func listed(names ...string) []hops.Object {
	var out []hops.Object
	for _, n := range names {
		out = append(out, hops.Object{Source: hops.InferenceServices, Kind: "InferenceService", Namespace: "models", Name: n})
	}
	return out
}

func numbered(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%02d", prefix, i))
	}
	return out
}

func deps(c Cluster, s Sender) SweepDeps {
	return SweepDeps{Cluster: c, Connect: func(*hops.Flow) (Sender, func()) { return s, func() {} }, Rules: hops.Rules(), Now: time.Now, ID: func(b []byte) { b[0] = 1 }}
}

// told lists the services with their states, in the order of the sweep.
func told(s Swept) string {
	var out []string
	for _, r := range s.Runs {
		out = append(out, r.Ref.Name+" "+string(r.Verdict.State))
	}
	return strings.Join(out, ", ")
}

func bad(name string) bool { return strings.HasPrefix(name, "bad") }

func TestSweepTellsTheWorstFirst(t *testing.T) {
	c := &fakeCluster{gone: map[string]bool{"left": true}}
	got := Sweep(t.Context(), deps(c, &fakeSender{fails: bad}), listed("good-2", "bad-2", "left", "bad-1", "good-1"), SweepOptions{})
	if want := "bad-1 Failed, bad-2 Failed, good-1 OK, good-2 OK"; told(got) != want || len(got.Missed) > 0 || len(got.Unread) > 0 {
		t.Errorf("got %s, missed %v, unread %v; want %s", told(got), got.Missed, got.Unread, want)
	}
	if len(got.Gone) != 1 || got.Gone[0].Name != "left" || c.alls != 1 {
		t.Errorf("gone: %v, lists read %d times", got.Gone, c.alls)
	}
	for _, r := range got.Runs {
		if len(r.Snapshots) > 0 || r.TraceID == "" {
			t.Errorf("%s keeps %d snapshots, trace %q", r.Ref, len(r.Snapshots), r.TraceID)
		}
	}
}

// Waiting for its turn costs a request nothing of its time, or services would fail by the number of their neighbours.
func TestSweepBoundsWhatIsUnderWay(t *testing.T) {
	s := &fakeSender{takes: 20 * time.Millisecond}
	got := Sweep(t.Context(), deps(&fakeCluster{}, s), listed(numbered("good", 40)...), SweepOptions{InFlight: 4, Options: Options{RequestTimeout: 400 * time.Millisecond}})
	if s.most > 4 || s.most < 2 {
		t.Errorf("%d requests were under way at one time, want 4", s.most)
	}
	if len(got.Runs) != 40 || badness(got.Runs[0]) != 0 {
		t.Errorf("got %s", told(got))
	}
	s = &fakeSender{takes: 20 * time.Millisecond}
	Sweep(t.Context(), deps(&fakeCluster{}, s), listed(numbered("good", 12)...), SweepOptions{AtOnce: 3})
	if s.abreast > 3 || s.abreast < 2 {
		t.Errorf("%d services were under way at one time, want 3", s.abreast)
	}
}

// A request that hangs is its own service's fault only.
func TestSweepPastAHangingService(t *testing.T) {
	s := &fakeSender{hangs: bad}
	got := Sweep(t.Context(), deps(&fakeCluster{}, s), listed("good-1", "bad-1", "good-2"), SweepOptions{InFlight: 8, Options: Options{RequestTimeout: 200 * time.Millisecond}})
	if want := "bad-1 Failed, good-1 OK, good-2 OK"; told(got) != want {
		t.Errorf("got %s, want %s", told(got), want)
	}
}

func TestSweepReadsFurtherWithinABound(t *testing.T) {
	c := &fakeCluster{}
	got := Sweep(t.Context(), deps(c, &fakeSender{fails: bad}), listed(append(numbered("bad", 7), "good")...), SweepOptions{Further: 3})
	if c.wants["own"] != 3 || c.wants["common"] != 1 || c.wants["good"] != 0 {
		t.Errorf("reads: %v, want 3 of services' own and 1 in common", c.wants)
	}
	if len(got.Runs) != 8 || len(got.Unread) != 4 {
		t.Fatalf("got %s, unread %v", told(got), got.Unread)
	}
	for _, r := range got.Runs {
		says := fmt.Sprintf("first 3 failing services only; `probe --isvc %s -n models` reads them", r.Ref.Name)
		said := slices.ContainsFunc(r.Verdict.NotChecked, func(n hops.NotChecked) bool { return strings.Contains(n.Why, says) && len(n.Rules) > 0 })
		if said != slices.Contains(got.Unread, r.Ref) {
			t.Errorf("%s says so: %v; not checked: %+v", r.Ref, said, r.Verdict.NotChecked)
		}
	}
}

func TestSweepInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := deps(&fakeCluster{}, &fakeSender{hangs: bad})
	d.Progress = func(done, of int) {
		if done == 2 && of == 4 {
			cancel()
		}
	}
	got := Sweep(ctx, d, listed("good-1", "bad-1", "good-2", "bad-2"), SweepOptions{})
	if told(got) != "good-1 OK, good-2 OK" || len(got.Missed) != 2 {
		t.Errorf("got %s, missed %v", told(got), got.Missed)
	}
}

// What an interrupted probe knows from objects alone is not the verdict that it would have come to.
func TestSweepInterruptedBeforeADoorAnswered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := &fakeCluster{}
	rule := hops.Rule{ID: "not-ready", Hop: hops.Revision, Match: func(v *hops.View) []hops.Match {
		for _, o := range v.Objects(hops.InferenceServices) {
			if cond, ok := o.Condition("Ready"); ok && cond.False() {
				return []hops.Match{{Evidence: []hops.Evidence{hops.ConditionEvidence(o, cond)}}}
			}
		}
		return nil
	}}
	d := deps(c, &fakeSender{hangs: func(string) bool { cancel(); return true }})
	d.Rules = []hops.Rule{rule}
	if got := Sweep(ctx, d, listed("unready"), SweepOptions{}); len(got.Runs) > 0 || len(got.Missed) != 1 {
		t.Errorf("got %s, missed %v", told(got), got.Missed)
	}
}

// The end of the sweep's own time is no fault of a service that was being asked.
func TestSweepEnds(t *testing.T) {
	got := Sweep(t.Context(), deps(&fakeCluster{}, &fakeSender{hangs: bad}), listed("bad-1"), SweepOptions{Whole: 100 * time.Millisecond})
	if len(got.Runs) > 0 || len(got.Missed) != 1 {
		t.Errorf("got %s, missed %v", told(got), got.Missed)
	}
}

// A service that went to zero since the lists were read must not be woken.
func TestSweepReadsAgainWhatIsOld(t *testing.T) {
	for _, tc := range []struct {
		step time.Duration
		want int
	}{{time.Second, 1}, {11 * time.Second, 3}} {
		c := &fakeCluster{}
		d := deps(c, &fakeSender{})
		var mu sync.Mutex
		at := time.Now()
		d.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return at }
		d.Progress = func(int, int) { mu.Lock(); defer mu.Unlock(); at = at.Add(tc.step) }
		got := Sweep(t.Context(), d, listed("good-1", "good-2", "good-3"), SweepOptions{AtOnce: 1})
		if c.alls != tc.want || len(got.Runs) != 3 {
			t.Errorf("a service every %v: lists read %d times, want %d; %s", tc.step, c.alls, tc.want, told(got))
		}
	}
}

func TestSweepWakesNothingThoughAsked(t *testing.T) {
	s := &sweep{o: SweepOptions{Options: Options{Wake: true, Logs: true}}}
	if o := s.options(hops.Ref{Name: "x"}); o.Wake || o.Logs || o.Ref.Name != "x" {
		t.Errorf("got %+v", o)
	}
}
