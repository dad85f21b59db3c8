package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"probe/hops"
	"probe/probe"
	"probe/probe/agent/settings"
	"probe/probe/agent/state"
	"probe/probe/dial"
	"probe/probe/read"
)

// looker reads a cluster in which every service says that it is ready.
type looker struct {
	mu    sync.Mutex
	looks int
	alls  int
	gone  bool
	away  bool
	zero  bool // the services may go to zero
	// rolling says that a newer revision is not ready yet.
	rolling bool
}

func (l *looker) First(_ context.Context, ref hops.Ref) (hops.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	switch {
	case l.gone:
		return hops.Snapshot{}, &read.NotFoundError{Ref: ref}
	case l.away:
		return hops.Snapshot{}, fmt.Errorf("the API server does not answer")
	}
	annotations := map[string]any{"serving.kserve.io/deploymentMode": "Knative"}
	at := func(source hops.Source, version, kind, name string, tree map[string]any) hops.Object {
		meta, _ := tree["metadata"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
		}
		meta["name"], meta["namespace"] = name, ref.Namespace
		tree["apiVersion"], tree["kind"], tree["metadata"] = version, kind, meta
		return hops.Object{Source: source, APIVersion: version, Kind: kind, Namespace: ref.Namespace, Name: name, Tree: tree}
	}
	ready := []any{map[string]any{"type": "Ready", "status": "True"}}
	owned := map[string]any{"serving.kserve.io/inferenceservice": ref.Name, "component": "predictor", "serving.knative.dev/service": ref.Name + "-predictor"}
	newest := ref.Name + "-predictor-00001"
	if l.rolling {
		newest = ref.Name + "-predictor-00002"
	}
	revision, least := ref.Name+"-predictor-00001", "1"
	if l.zero {
		least = "0"
	}
	objects := []hops.Object{
		at(hops.InferenceServices, "serving.kserve.io/v1beta1", "InferenceService", ref.Name, map[string]any{"metadata": map[string]any{"annotations": annotations},
			"spec": map[string]any{"predictor": map[string]any{"model": map[string]any{}}},
			"status": map[string]any{"url": "http://" + ref.Name + "." + ref.Namespace + ".example.com", "conditions": ready,
				"components": map[string]any{"predictor": map[string]any{"latestReadyRevision": revision, "latestCreatedRevision": revision,
					"traffic": []any{map[string]any{"revisionName": revision, "percent": 100, "latestRevision": true}}}}}}),
		at(hops.KnativeServices, "serving.knative.dev/v1", "Service", ref.Name+"-predictor", map[string]any{"metadata": map[string]any{"labels": owned},
			"status": map[string]any{"conditions": ready, "latestReadyRevisionName": revision, "latestCreatedRevisionName": newest,
				"traffic": []any{map[string]any{"revisionName": revision, "percent": 100, "latestRevision": true}}}}),
		at(hops.Revisions, "serving.knative.dev/v1", "Revision", revision, map[string]any{"metadata": map[string]any{"labels": owned,
			"annotations": map[string]any{"autoscaling.knative.dev/min-scale": least}}, "status": map[string]any{"conditions": ready}}),
	}
	var full []hops.Source
	for _, o := range objects {
		full = append(full, o.Source)
	}
	return hops.Snapshot{Time: time.Now(), Objects: objects, Full: full}, nil
}

func (l *looker) All(ctx context.Context, services []hops.Object) func(hops.Ref) (hops.Snapshot, bool) {
	l.mu.Lock()
	l.alls++
	l.mu.Unlock()
	return func(ref hops.Ref) (hops.Snapshot, bool) {
		there := slices.ContainsFunc(services, func(o hops.Object) bool {
			return o.Name == ref.Name && o.Namespace == ref.Namespace && o.APIVersion != ""
		})
		snap, err := l.First(ctx, ref)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.looks--
		return snap, there && err == nil
	}
}

func (l *looker) Want(context.Context, hops.Facts, []hops.Source) hops.Snapshot {
	return hops.Snapshot{Time: time.Now()}
}

func (l *looker) Reads() (int, time.Duration) { return 0, 0 }

func (l *looker) Pods(context.Context, hops.Target) ([]dial.PodAddress, error) {
	return nil, fmt.Errorf("no pods here")
}

// gateway answers as Envoy in front of a model server does. It is a probe.Sender.
type gateway struct {
	mu     sync.Mutex
	status int
	body   string
	slow   time.Duration
	knocks int
	asked  []dial.Request
}

func (g *gateway) Send(ctx context.Context, r dial.Request) hops.Observation {
	if r.Asked == hops.RealRequest {
		time.Sleep(g.slow) // not under the lock: the clock of a test stands still while somebody waits for one
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	o := hops.Observation{Step: r.Entry.Step, Asked: r.Asked, Host: r.Entry.Host, Path: r.Path, Start: time.Now(), Outcome: hops.Answered, Status: 200, Vantage: hops.InPod,
		Attempt: r.Attempt, TraceID: r.TraceID, SpanID: r.SpanID, ColdStart: r.ColdStart,
		Header: map[string]string{"server": "istio-envoy", "x-envoy-upstream-service-time": "1", "content-type": "application/json"}}
	switch {
	case ctx.Err() != nil:
		o.Outcome = hops.Cancelled
		return o
	case r.Entry.Step.Door == "" && r.Entry.Step.Hop != hops.LocalGateway:
		o.Outcome = hops.NoWay
		return o
	case r.Asked == hops.Knock:
		g.knocks++
		o.Header["k-network-hash"] = "abc"
		return o
	}
	g.asked = append(g.asked, r)
	o.Status, o.Body, o.Took = g.status, g.body, g.slow
	if r.Keep != nil {
		r.Keep([]byte(g.body))
	}
	return o
}

func (g *gateway) set(status int, body string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status, g.body = status, body
}

// bench is an agent whose probes are made by hand, one at a time.
type bench struct {
	*testing.T
	a       *Agent
	l       *looker
	g       *gateway
	changes []*state.Change
	ref     hops.Ref
}

func newBench(t *testing.T, annotations map[string]string) *bench {
	t.Helper()
	b := &bench{T: t, l: &looker{}, g: &gateway{status: 200, body: `{"name": "iris", "ready": true}`}, ref: hops.Ref{Namespace: "models", Name: "iris"}}
	b.a = New(Config{Connect: func(*hops.Flow, dial.PodFinder) probe.Sender { return b.g }, Lookers: []Looker{b.l}, Rules: hops.Rules(),
		Defaults: settings.Defaults(), Store: settings.NewStore(fake.NewClientset().CoreV1(), time.Now), Record: 4, Now: time.Now,
		Seen: func(*state.Result, state.Status) {}, Changed: func(c *state.Change) { b.changes = append(b.changes, c) },
		Log: func(line string) { t.Log(line) }})
	b.a.Upsert(b.service(annotations), true)
	return b
}

func (b *bench) service(annotations map[string]string) state.Service {
	return state.Service{Ref: b.ref, UID: "1", APIVersion: "serving.kserve.io/v1beta1", Annotations: annotations, Created: time.Now().Add(-time.Hour)}
}

// open looks at the services whose path is not known.
func (b *bench) open() {
	ctx, cancel := context.WithCancel(b.Context())
	go func() {
		synctest.Wait()
		cancel()
	}()
	b.a.open(ctx)
}

// probe probes once and says what came of it.
func (b *bench) probe() state.Result {
	b.Helper()
	b.a.mu.Lock()
	t := b.a.targets[b.ref]
	b.a.mu.Unlock()
	res, told := b.a.prober.probe(b.Context(), t, time.Now(), nil)
	if !told {
		b.Fatal("no result")
	}
	return res
}

func (b *bench) want(what string, res state.Result, st hops.State, reason string, further bool) {
	b.Helper()
	if res.State != st || res.Reason != reason || res.Further != further {
		b.Errorf("%s: %s %q (looked further: %v, %s), want %s %q (%v)", what, res.State, res.Reason, res.Further, res.Summary, st, reason, further)
	}
}

// A healthy service costs the API server one look, and then nothing.
func TestHealthyCostsNoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.want("the first", b.probe(), hops.OK, "", true)
		for range 5 {
			b.want("a later one", b.probe(), hops.OK, "", false)
		}
		if b.l.looks != 1 {
			t.Errorf("%d looks", b.l.looks)
		}
		before := len(b.g.asked)
		b.probe()
		if n := len(b.g.asked) - before; n != 2 {
			t.Errorf("%d requests a probe, want one a front door", n)
		}
		b.a.Upsert(b.service(nil), true)
		b.want("after a change", b.probe(), hops.OK, "", true)
	})
}

// A failure is looked into, at first each time, then when the answers change or after some minutes; and so is its end.
func TestFailureIsLookedInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.probe()
		b.g.set(500, "Internal Server Error")
		for i := range eager {
			if res := b.probe(); res.State != hops.Failed || !res.Further || res.Reason == "" || !res.Recorded {
				t.Fatalf("failure %d: %+v", i, res)
			}
		}
		looks := b.l.looks
		res := b.probe()
		if res.State != hops.Failed || res.Further || res.Reason == "" || b.l.looks != looks {
			t.Errorf("the same again was looked into: %+v", res)
		}
		b.g.set(503, "no healthy upstream")
		if res := b.probe(); !res.Further {
			t.Errorf("another answer was not looked into: %+v", res)
		}
		b.probe()
		time.Sleep(lookAgain)
		if res := b.probe(); !res.Further {
			t.Errorf("minutes later it was not looked into: %+v", res)
		}
		b.g.set(200, "{}")
		b.want("well again", b.probe(), hops.OK, "", true)
		b.want("and well", b.probe(), hops.OK, "", false)
	})
}

// A service that answers while a new revision does not get ready is looked at again and again, ever more seldom, until it is settled.
func TestUnsettledIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.l.rolling = true
		b.probe()
		var looks []time.Duration
		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			time.Sleep(5 * time.Second)
			if res := b.probe(); res.Further {
				looks = append(looks, time.Since(began).Round(time.Second))
			}
		}
		if n := len(looks); n < 8 || n > 14 || looks[0] != 10*time.Second || looks[n-1]-looks[n-2] < time.Minute {
			t.Errorf("%d looks: %v", len(looks), looks)
		}
		b.l.rolling = false
		time.Sleep(latestAgain)
		b.want("the last look", b.probe(), hops.OK, "", true)
		time.Sleep(latestAgain)
		b.want("settled", b.probe(), hops.OK, "", false)
	})
}

// An annotation says what answer is right.
func TestExpectations(t *testing.T) {
	for _, c := range []struct {
		name        string
		annotations map[string]string
		status      int
		body        string
		state       hops.State
		reason      string
	}{
		{"the right body", map[string]string{"expect": "body.name == 'iris'"}, 200, `{"name": "iris"}`, hops.OK, ""},
		{"another body", map[string]string{"expect": "body.name == 'iris'"}, 200, `{"name": "other"}`, hops.Failed, state.UnexpectedResponse},
		{"an expected 404", map[string]string{"expect-status": "404", "path": "/none"}, 404, `{"detail": "Not Found"}`, hops.OK, ""},
		{"a 200 for an expected 404", map[string]string{"expect-status": "404", "path": "/none"}, 200, "{}", hops.Failed, state.UnexpectedResponse},
		{"too slow", map[string]string{"max-latency": "1ms"}, 200, "{}", hops.Degraded, state.TooSlow},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, c.annotations)
				b.g.set(c.status, c.body)
				b.g.slow = 5 * time.Millisecond
				for _, at := range []string{"looked into", "light"} {
					if res := b.probe(); res.State != c.state || res.Reason != c.reason {
						t.Errorf("%s: %s %q: %s", at, res.State, res.Reason, res.Summary)
					}
				}
			})
		})
	}
}

// A service that may go to zero is only knocked at; where waking is allowed, whether a request wakes it is read each time.
func TestSleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.l.zero = true
		for range 3 {
			if res := b.probe(); res.State != hops.OK {
				t.Errorf("%+v", res)
			}
		}
		if len(b.g.asked) > 0 || b.g.knocks == 0 {
			t.Errorf("%d requests and %d knocks", len(b.g.asked), b.g.knocks)
		}
		woken := newBench(t, map[string]string{"wake": "true"})
		woken.l.zero = true
		for range 3 {
			woken.want("with leave to wake", woken.probe(), hops.OK, "", true)
		}
		if len(woken.g.asked) != 6 || woken.l.looks != 3 {
			t.Errorf("%d requests, %d looks", len(woken.g.asked), woken.l.looks)
		}
	})
}

// One healthy run in so many asks the mesh to record it.
func TestRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.probe()
		recorded := 0
		for range 8 {
			before := len(b.g.asked)
			res := b.probe()
			flag := !b.g.asked[before].Unrecorded
			if flag != res.Recorded {
				t.Errorf("recorded %v, traceparent %q", res.Recorded, b.g.asked[before].Header.Get("Traceparent"))
			}
			if res.Recorded {
				recorded++
			}
		}
		if recorded != 2 {
			t.Errorf("%d of 8 recorded, want one in four", recorded)
		}
	})
}

// While nobody has time to look, a failure is a failure without a cause; what cannot be read says so.
func TestNoLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.probe()
		b.g.set(500, "Internal Server Error")
		b.l.away = true
		res := b.probe()
		if res.State != hops.Failed || res.Reason != state.NoCause || !strings.Contains(res.Summary, "500") || !strings.Contains(res.Summary, "does not answer") {
			t.Errorf("%+v", res)
		}
		cold := newBench(t, nil)
		cold.l.away = true
		if res := cold.probe(); res.State != hops.Inconclusive || !strings.Contains(res.Summary, "does not answer") {
			t.Errorf("%+v", res)
		}
	})
}

// Services whose path is not known are read together, a namespace at a time, and their probes wait for nobody else's.
func TestOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		seen := map[string]int{}
		var mu sync.Mutex
		b.a.c.Seen = func(r *state.Result, _ state.Status) {
			mu.Lock()
			defer mu.Unlock()
			seen[string(r.State)]++
		}
		for i := range 9 {
			svc := b.service(nil)
			svc.Ref.Name = fmt.Sprintf("iris-%d", i)
			b.a.Upsert(svc, true)
		}
		for ref := range b.a.targets {
			b.a.once(t.Context(), ref, time.Now())
			b.a.once(t.Context(), ref, time.Now()) // it stands in line already
		}
		if len(seen) > 0 || len(b.a.opening.waiting["models"]) != 10 {
			t.Errorf("%v seen, %d wait", seen, len(b.a.opening.waiting["models"]))
		}
		b.open()
		if b.l.alls != 1 || b.l.looks != 0 || seen["OK"] != 10 {
			t.Errorf("%d reads of all, %d of one, %v", b.l.alls, b.l.looks, seen)
		}
		b.a.once(t.Context(), b.ref, time.Now())
		if seen["OK"] != 11 {
			t.Error("its path is known, and it was not probed")
		}
	})
}

// What is given to another replica while it is probed leaves nothing behind here.
func TestGivenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.probe()
		ours, gone, seen := true, 0, 0
		b.a.c.Owns = func(hops.Ref) bool { return ours }
		b.a.c.Gone = func(hops.Ref) { gone++ }
		b.a.c.Seen = func(*state.Result, state.Status) {
			seen++
			ours = false
		}
		b.a.once(t.Context(), b.ref, time.Now())
		if seen != 1 || gone != 1 {
			t.Errorf("given away while it was told: seen %d, gone %d", seen, gone)
		}
		b.a.once(t.Context(), b.ref, time.Now())
		if seen != 1 {
			t.Error("told of a service that is another's")
		}
	})
}

// A failure that nobody has time to look into is one without a cause; where nothing was sent there is no result.
func TestNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		busy := <-b.a.prober.lookers
		if res, told := b.a.prober.probe(t.Context(), b.a.targets[b.ref], time.Now(), nil); told {
			t.Errorf("%+v", res)
		}
		b.a.prober.lookers <- busy
		b.want("with a turn", b.probe(), hops.OK, "", true)
		<-b.a.prober.lookers
		b.g.set(500, "Internal Server Error")
		if res := b.probe(); res.State != hops.Failed || res.Reason != state.NoCause || res.Further {
			t.Errorf("a failure that nobody looks into: %+v", res)
		}
		b.a.prober.lookers <- busy
	})
}

// A service that gives good answers is not called failed because nobody could look at it: what was known of it stands, less a failure that is over.
func TestAnswersWithoutALook(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(b *bench)
		want   hops.State
	}{
		{"something is under way", func(b *bench) {
			b.l.rolling = true
			b.probe()
			time.Sleep(latestAgain)
		}, hops.OK},
		{"it failed", func(b *bench) {
			b.probe()
			b.g.set(500, "Internal Server Error")
			b.probe()
			b.g.set(200, "{}")
		}, hops.OK},
		{"it was degraded", func(b *bench) {
			b.probe()
			b.a.targets[b.ref].last = verdict{state: hops.Degraded, hop: hops.Pod, reason: "quota-exceeded", certain: true}
		}, hops.Degraded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, why := range []string{"no turn", "no API server"} {
					b := newBench(t, nil)
					c.before(b)
					if why == "no turn" {
						<-b.a.prober.lookers
					}
					b.l.away = true
					if res := b.probe(); res.State != c.want || res.Further || (res.Reason == "") != (c.want == hops.OK) {
						t.Errorf("%s: %s %q: %s", why, res.State, res.Reason, res.Summary)
					}
				}
			})
		})
	}
}

// A service that is gone, and a probe that was cut, give no result.
func TestNoResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.l.gone = true
		if res, told := b.a.prober.probe(t.Context(), b.a.targets[b.ref], time.Now(), nil); told {
			t.Errorf("a service that is not there: %+v", res)
		}
		b.l.gone = false
		b.probe()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if res, told := b.a.prober.probe(ctx, b.a.targets[b.ref], time.Now(), nil); told {
			t.Errorf("a probe that was cut: %+v", res)
		}
		b.want("the next", b.probe(), hops.OK, "", true)
	})
}

// A change is told when enough probes agree; a service that is made anew starts anew; a bad annotation hurts no probe.
func TestTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, map[string]string{"interval": "soon", "expct": "x"})
		res := b.probe()
		if res.State != hops.OK || len(res.Problems) != 2 {
			t.Errorf("bad annotations: %+v", res)
		}
		for range 2 {
			b.a.once(t.Context(), b.ref, time.Now())
		}
		b.g.set(500, "Internal Server Error")
		for range 3 {
			b.a.once(t.Context(), b.ref, time.Now())
		}
		b.g.set(200, "{}")
		for range 3 {
			b.a.once(t.Context(), b.ref, time.Now())
		}
		var turns []string
		for _, c := range b.changes {
			turns = append(turns, string(c.Was.State)+" to "+string(c.Is.State))
		}
		if !slices.Equal(turns, []string{"OK to Failed", "Failed to OK"}) {
			t.Errorf("%q", turns)
		}
		anew := b.service(nil)
		anew.UID = "2"
		b.a.Upsert(anew, true)
		if got := b.a.targets[b.ref]; got.tracker.Status().State != "" || got.flow != nil {
			t.Errorf("the old one's: %+v", got.tracker.Status())
		}
		b.a.Delete(b.ref)
		b.a.once(t.Context(), b.ref, time.Now())
		if b.a.Services() != 0 {
			t.Errorf("%d services", b.a.Services())
		}
	})
}

// A whole agent runs, probes on time, and ends with nothing left behind.
func TestRunsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan hops.State, 100)
		b := newBench(t, nil)
		b.a.c.Seen = func(r *state.Result, _ state.Status) { seen <- r.State }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			b.a.Run(ctx)
			close(ended)
		}()
		fast := b.service(map[string]string{"interval": "1s", "timeout": "1s"})
		b.a.Upsert(fast, false)
		for range 2 {
			if got := <-seen; got != hops.OK {
				t.Errorf("%s", got)
			}
		}
		if err := b.a.Alive(); err != nil {
			t.Error(err)
		}
		cancel()
		<-ended
	})
}

// begin runs an agent until the test ends. Results are told on the channel.
func (b *bench) begin() <-chan *state.Result {
	seen := make(chan *state.Result, 100)
	b.a.c.Seen = func(r *state.Result, _ state.Status) { seen <- r }
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		b.a.Run(ctx)
		close(ended)
	}()
	b.Cleanup(func() {
		cancel()
		<-ended
	})
	return seen
}

// Somebody waits for a service that was just made, and for what a change of its annotations does: neither waits for a turn of an hour.
func TestNewsAreProbedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, map[string]string{"enabled": "false"})
		seen := b.begin()
		young := b.service(map[string]string{"interval": "1h"})
		young.Created = time.Now()
		began := time.Now()
		b.a.Upsert(young, false)
		<-seen
		if took := time.Since(began); took > soon {
			t.Errorf("the first probe of a new service came after %s", took)
		}
		time.Sleep(20 * time.Minute) // the next is due in the hour
		for len(seen) > 0 {
			<-seen
		}
		changed := young
		changed.Annotations = map[string]string{"interval": "1h", "expect": "status == 418"}
		began = time.Now()
		b.a.Upsert(changed, false)
		if r := <-seen; time.Since(began) > soon || r.Reason != state.UnexpectedResponse {
			t.Errorf("after %s: %s %s", time.Since(began), r.State, r.Reason)
		}
	})
}

// sink counts what is exported.
type sink struct{ runs []*hops.Run }

func (s *sink) Export(_ context.Context, run *hops.Run) error {
	s.runs = append(s.runs, run)
	return nil
}

// Of healthy runs one in Record is exported, of others each one.
func TestOnlySomeHealthyRunsAreExported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		out := &sink{}
		b.a.c.Sink = out
		b.probe() // the path is known from now on
		const runs = 12
		for range runs {
			b.a.once(t.Context(), b.ref, time.Now())
		}
		if n := len(out.runs); n != runs/4 {
			t.Errorf("%d of %d healthy runs, want one in 4", n, runs)
		}
		before := len(out.runs)
		b.g.set(500, "Internal Server Error")
		for range 5 {
			b.a.once(t.Context(), b.ref, time.Now())
		}
		if n := len(out.runs) - before; n != 5 {
			t.Errorf("%d of 5 failed runs", n)
		}
	})
}
