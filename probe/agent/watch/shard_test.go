// shard_test.go: agents on one API server: who owns what while they come, go, die and lose the API server.
package watch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"probe/hops"
)

// replica is one agent's sharder.
type replica struct {
	*Sharder
	name    string
	cancel  context.CancelFunc
	ended   chan struct{}
	running bool
	off     atomic.Bool // cut off from the API server
	changes atomic.Int32
	told
}

// fleet are the agents of a test, and how the services fared.
type fleet struct {
	a        *api
	replicas map[string]*replica
	services []hops.Ref
	alone    map[hops.Ref]int // seconds without an agent until now
	twice    map[hops.Ref]int // and with two
	// The longest of these since they were last asked for.
	mostAlone, mostTwice int
}

func newFleet(a *api) *fleet {
	f := &fleet{a: a, replicas: map[string]*replica{}, alone: map[hops.Ref]int{}, twice: map[hops.Ref]int{}}
	for i := range 100 {
		f.services = append(f.services, hops.Ref{Namespace: fmt.Sprintf("team-%d", i%7), Name: fmt.Sprintf("model-%d", i)})
	}
	return f
}

// join starts an agent whose wall clock is off by skew.
func (f *fleet) join(t *testing.T, name string, skew time.Duration) *replica {
	t.Helper()
	r := &replica{name: name, ended: make(chan struct{}), running: true}
	cfg := f.a.config()
	next := cfg.Transport
	cfg.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
		if r.off.Load() {
			return nil, errors.New("connection refused")
		}
		return next.RoundTrip(q)
	})
	var err error
	r.Sharder, err = NewSharder(cfg, ShardOptions{Namespace: "probe", Name: name, OnChange: func() { r.changes.Add(1) },
		Log: func(line string) { r.note(&r.log, line) }, Now: func() time.Time { return time.Now().Add(skew) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	f.replicas[name] = r
	go func() {
		r.Run(ctx)
		close(r.ended)
	}()
	synctest.Wait()
	return r
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// leave ends an agent as SIGTERM does, crash as SIGKILL does.
func (f *fleet) leave(name string) {
	r := f.replicas[name]
	r.cancel()
	<-r.ended
	delete(f.replicas, name)
}

func (f *fleet) crash(name string) {
	f.replicas[name].off.Store(true)
	f.leave(name)
}

func (f *fleet) end() {
	for name := range f.replicas {
		f.leave(name)
	}
}

// pass lets time pass and looks each second who owns each service.
func (f *fleet) pass(d time.Duration) {
	for range int(d / time.Second) {
		time.Sleep(time.Second)
		synctest.Wait()
		for _, ref := range f.services {
			owners := 0
			for _, r := range f.replicas {
				if r.Owns(ref) {
					owners++
				}
			}
			f.alone[ref], f.twice[ref] = f.alone[ref]+1, f.twice[ref]+1
			if owners > 0 {
				f.alone[ref] = 0
			}
			if owners < 2 {
				f.twice[ref] = 0
			}
			f.mostAlone, f.mostTwice = max(f.mostAlone, f.alone[ref]), max(f.mostTwice, f.twice[ref])
		}
	}
}

// expect says for how many seconds at most a service had no agent, and for how many two, since the last time; and that all agree now on who there is.
func (f *fleet) expect(t *testing.T, what string, alone, twice int, members ...string) {
	t.Helper()
	if f.mostAlone > alone || f.mostTwice > twice {
		t.Errorf("%s: %d s without an agent, want %d at most; %d s with two, want %d", what, f.mostAlone, alone, f.mostTwice, twice)
	}
	f.mostAlone, f.mostTwice = 0, 0
	for name, r := range f.replicas {
		if got := r.Members(); !slices.Equal(got, members) {
			t.Errorf("%s: %s sees %q, want %q", what, name, got, members)
		}
	}
}

// share runs a test on a fleet.
func share(t *testing.T, f func(t *testing.T, f *fleet)) {
	bubble(t, func(t *testing.T, a *api) {
		all := newFleet(a)
		defer all.end()
		f(t, all)
	})
}

// TestShare: agents come, go and die.
func TestShare(t *testing.T) {
	for _, skew := range []time.Duration{0, 40 * time.Minute} {
		t.Run(fmt.Sprintf("clocks %s apart", skew), func(t *testing.T) {
			share(t, func(t *testing.T, f *fleet) {
				f.join(t, "agent-0", 0)
				f.pass(time.Minute)
				f.expect(t, "one", 0, 0, "agent-0")
				f.join(t, "agent-1", skew)
				f.pass(time.Minute)
				f.expect(t, "two", 0, 5, "agent-0", "agent-1")
				f.join(t, "agent-2", -skew)
				f.pass(time.Minute)
				f.expect(t, "three", 0, 5, "agent-0", "agent-1", "agent-2")
				f.leave("agent-1")
				f.pass(time.Minute)
				f.expect(t, "one left", 5, 5, "agent-0", "agent-2")
				f.crash("agent-2")
				f.pass(time.Minute)
				f.expect(t, "one died", 20, 0, "agent-0")
				f.join(t, "agent-2", skew)
				f.pass(time.Minute)
				f.expect(t, "it came back", 0, 5, "agent-0", "agent-2")
			})
		})
	}
}

// TestShareOrder: an agent has its services before the others can see its Lease and give them up.
func TestShareOrder(t *testing.T) {
	share(t, func(t *testing.T, f *fleet) {
		f.join(t, "agent-0", 0)
		f.a.mu.Lock()
		f.a.answer = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == "POST" && len(f.replicas["agent-1"].Members()) != 2 {
				t.Error("the Lease is written before the services are taken")
			}
			return false
		}
		f.a.mu.Unlock()
		f.join(t, "agent-1", 0)
		f.pass(10 * time.Second)
		f.expect(t, "two", 0, 5, "agent-0", "agent-1")
	})
}

// TestShareAtOnce: a fleet that starts together agrees at once.
func TestShareAtOnce(t *testing.T) {
	share(t, func(t *testing.T, f *fleet) {
		for i := range 6 {
			f.join(t, fmt.Sprintf("agent-%d", i), 0)
		}
		f.pass(time.Minute)
		f.expect(t, "six", 0, 5, "agent-0", "agent-1", "agent-2", "agent-3", "agent-4", "agent-5")
		for name, r := range f.replicas {
			n := 0
			for _, ref := range f.services {
				if r.Owns(ref) {
					n++
				}
			}
			if n < 5 || n > 30 {
				t.Errorf("%s has %d of 100", name, n)
			}
			if c := r.changes.Load(); c > 3 {
				t.Errorf("%s saw %d changes", name, c)
			}
		}
	})
}

// TestShareAway: without the API server the last view stands, and nobody is held dead for not having written meanwhile.
func TestShareAway(t *testing.T) {
	share(t, func(t *testing.T, f *fleet) {
		one := f.join(t, "agent-0", 0)
		f.pass(2 * time.Second)
		two := f.join(t, "agent-1", 0)
		f.pass(64 * time.Second) // agent-0 has looked, agent-1 has not written since
		f.expect(t, "two", 0, 5, "agent-0", "agent-1")
		changes := one.changes.Load() + two.changes.Load()
		f.a.leave(true)
		f.pass(10*time.Minute + 2*time.Second) // agent-0 is the first to look again
		f.expect(t, "away", 0, 0, "agent-0", "agent-1")
		if err := one.Trouble(); err == nil || !strings.Contains(err.Error(), "shards: the API server does not answer") {
			t.Errorf("trouble %v", err)
		}
		if n := len(one.logged()); n < 8 || n > 11 {
			t.Errorf("%d lines in ten minutes", n)
		}
		f.a.leave(false)
		f.pass(time.Minute)
		f.expect(t, "back", 0, 0, "agent-0", "agent-1")
		if n := one.changes.Load() + two.changes.Load() - changes; n > 0 || one.Trouble() != nil {
			t.Errorf("%d changes, trouble %v", n, one.Trouble())
		}
	})
}

// TestShareDiedAway: one that died while the API server was away is missed soon after it is back.
func TestShareDiedAway(t *testing.T) {
	share(t, func(t *testing.T, f *fleet) {
		f.join(t, "agent-0", 0)
		f.join(t, "agent-1", 0)
		f.pass(time.Minute)
		f.a.leave(true)
		f.crash("agent-1")
		f.pass(time.Minute)
		f.a.leave(false)
		f.pass(25 * time.Second)
		f.mostAlone, f.mostTwice = 0, 0
		f.expect(t, "noticed", 0, 0, "agent-0")
	})
}

// TestShareCutOff: an agent that the others no longer hear goes on with its part; the others take it too.
func TestShareCutOff(t *testing.T) {
	share(t, func(t *testing.T, f *fleet) {
		f.join(t, "agent-0", 0)
		two := f.join(t, "agent-1", 0)
		f.pass(time.Minute)
		f.expect(t, "two", 0, 5, "agent-0", "agent-1")
		two.off.Store(true)
		f.pass(2 * time.Minute)
		if f.mostAlone > 0 {
			t.Errorf("%d s without an agent", f.mostAlone)
		}
		if got := f.replicas["agent-0"].Members(); !slices.Equal(got, []string{"agent-0"}) {
			t.Errorf("the other one sees %q", got)
		}
		two.off.Store(false)
		f.pass(10 * time.Second)
		f.mostTwice = 0
		f.pass(time.Minute)
		f.expect(t, "joined again", 0, 0, "agent-0", "agent-1")
	})
}

// TestShareForbidden: an agent without rights on Leases takes every service and says what it lacks.
func TestShareForbidden(t *testing.T) {
	for _, verb := range []string{"GET", "POST"} {
		t.Run(verb, func(t *testing.T) {
			share(t, func(t *testing.T, f *fleet) {
				f.a.answer = func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == verb {
						refuse(w, 403, "Forbidden", "leases is forbidden")
					}
					return r.Method == verb
				}
				one := f.join(t, "agent-0", 0)
				two := f.join(t, "agent-1", 0)
				f.pass(time.Minute)
				if f.mostAlone > 0 {
					t.Errorf("%d s without an agent", f.mostAlone)
				}
				for _, ref := range f.services {
					if !one.Owns(ref) || !two.Owns(ref) {
						t.Fatalf("%s is not owned by both", ref)
					}
				}
				if log := one.logged(); len(log) == 0 || !strings.Contains(log[0], "a right on leases.coordination.k8s.io is missing") {
					t.Errorf("log %q", log)
				}
			})
		})
	}
}

// TestShareLease: what the Lease looks like, that a graceful end deletes it, and that one which a dead pod left behind goes in the end.
func TestShareLease(t *testing.T) {
	share(t, func(t *testing.T, f *fleet) {
		f.join(t, "agent-0", 0)
		f.join(t, "agent-1", 0)
		f.pass(time.Minute)
		o := f.a.lease("agent-0")
		meta, spec := o["metadata"].(tree), o["spec"].(tree)
		if o["apiVersion"] != "coordination.k8s.io/v1" || o["kind"] != "Lease" || meta["labels"].(tree)[ShardLabel] != "probe-agent" ||
			spec["holderIdentity"] != "agent-0" || spec["leaseDurationSeconds"] != 15.0 {
			t.Errorf("lease %v", o)
		}
		f.crash("agent-1")
		after(50 * time.Minute)
		if f.a.lease("agent-1") == nil {
			t.Error("the Lease of one that died was deleted within an hour")
		}
		after(15 * time.Minute)
		if f.a.lease("agent-1") != nil {
			t.Error("the Lease of one that died is still there after an hour")
		}
		f.leave("agent-0")
		if o := f.a.lease("agent-0"); o != nil {
			t.Errorf("left behind: %v", o)
		}
	})
}

// TestShareOthers: Leases of another set, and others in the namespace, are none of ours.
func TestShareOthers(t *testing.T) {
	share(t, func(t *testing.T, f *fleet) {
		f.a.put(leases, "leases", tree{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
			"metadata": tree{"namespace": "probe", "name": "leader", "labels": tree{ShardLabel: "other"}}, "spec": tree{}})
		f.join(t, "agent-0", 0)
		f.pass(time.Minute)
		f.expect(t, "alone", 0, 0, "agent-0")
	})
}

// TestNewSharder: names that Kubernetes would refuse.
func TestNewSharder(t *testing.T) {
	a := &api{}
	for _, o := range []ShardOptions{{Name: "agent-0"}, {Namespace: "probe"}, {Namespace: "probe", Name: "Agent_0"}} {
		if _, err := NewSharder(a.config(), o); err == nil || !strings.Contains(err.Error(), "downward API") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestFixed: every service has one owner, whoever is asked.
func TestFixed(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10} {
		counts := make([]int, n)
		for i := range 3000 {
			ref := hops.Ref{Namespace: "demo", Name: fmt.Sprintf("model-%d", i)}
			owners := 0
			for k := range n {
				m, err := Fixed(fmt.Sprintf("%d/%d", k, n))
				if err != nil {
					t.Fatal(err)
				}
				if m.Owns(ref) {
					owners++
					counts[k]++
				}
			}
			if owners != 1 {
				t.Fatalf("%s has %d owners of %d", ref, owners, n)
			}
		}
		for k, c := range counts {
			if c < 3000/n*8/10 || c > 3000/n*12/10 {
				t.Errorf("%d/%d has %d of 1000", k, n, c)
			}
		}
	}
	for _, bad := range []string{"", "auto", "1", "3/3", "-1/3", "1/0", "a/3", "1/3/4", "0/1001"} {
		if _, err := Fixed(bad); err == nil || !strings.Contains(err.Error(), "write I/N") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestOwnerStays: the weights are a contract between versions: agents of both run at once during an update.
func TestOwnerStays(t *testing.T) {
	m := Members{all: []string{"agent-0", "agent-1", "agent-2", "agent-3"}}
	var got []string
	for i := range 8 {
		got = append(got, m.owner(hops.Ref{Namespace: "demo", Name: fmt.Sprintf("model-%d", i)}))
	}
	// Computed apart from this code.
	equal(t, "owners", got, []string{"agent-3", "agent-3", "agent-3", "agent-0", "agent-0", "agent-0", "agent-1", "agent-1"})
	moved := 0
	fewer := Members{all: m.all[:3]}
	for i := range 1000 {
		ref := hops.Ref{Namespace: "demo", Name: fmt.Sprintf("model-%d", i)}
		if was := m.owner(ref); was != "agent-3" && was != fewer.owner(ref) {
			moved++
		}
	}
	if moved > 0 {
		t.Errorf("%d services of others moved when one agent left", moved)
	}
}
