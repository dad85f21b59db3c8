// prober.go: one probe of one service by the agent: light while all is well, a full look where something is not.
package agent

import (
	"context"
	"sync"
	"time"

	"probe/hops"
	"probe/probe"
	"probe/probe/agent/settings"
	"probe/probe/agent/state"
	"probe/probe/dial"
)

const (
	// eager is how many probes in a row that do not pass get a full look each; later ones do when the answers change, or lookAgain has gone by.
	// Most outages tell their cause in the first minutes, and a service that stays broken for a week must not cost the API server sixty reads
	// a probe.
	eager     = 5
	lookAgain = 5 * time.Minute
	// A service that answers while something of it is under way, as a new revision that does not get ready, is looked at again: half the time that it
	// has gone on for later, within these bounds.
	soonestAgain, latestAgain = 10 * time.Second, 2 * time.Minute
	// youth is how long a service that has never answered may take to start: Knative's default progress deadline.
	youth = 10 * time.Minute
	// lookWait bounds the wait for a turn to look.
	lookWait = 10 * time.Second
)

// Looker reads a cluster for full looks. It serves one run at a time, and finds the pods behind what that run dials.
type Looker interface {
	probe.Reader
	dial.PodFinder
	// All is that of probe.Cluster: what First reads of one service, of many of a namespace. Like First it begins anew; what it gives can then be used by
	// several runs at once.
	All(ctx context.Context, services []hops.Object) func(hops.Ref) (hops.Snapshot, bool)
}

// prober probes.
type prober struct {
	connect   func(*hops.Flow, dial.PodFinder) probe.Sender
	frontOnly bool
	light     probe.Sender // serves all light probes
	pods      *addresses   // of the pods that light probes dial
	lookers   chan Looker  // those that are free
	rules     []hops.Rule
	now       func() time.Time
	id        func([]byte)
	record    uint64 // one healthy run in so many is recorded by the mesh
	store     *settings.Store
}

// target is what the agent remembers of one service between two probes of it. Only its one probe at a time and the watcher use it.
type target struct {
	busy     sync.Mutex // held while it is probed
	mu       sync.Mutex
	service  state.Service
	settings settings.Settings
	problems []string
	stale    bool // the path may have changed since it was resolved

	flow    *hops.Flow // nil until it was resolved
	last    verdict    // of the last full look
	looked  time.Time
	moving  time.Time // since when something was under way at each look; zero when nothing was at the last
	inARow  int       // probes that did not pass, one after the other
	answers uint64    // digest of what the front doors said at the last look
	healthy uint64    // healthy runs so far
	tracker state.Tracker
}

// verdict is what is kept of a run's.
type verdict struct {
	state        hops.State
	asleep       bool
	hop          hops.Hop
	reason       string
	summary, fix string
	certain      bool // a finding that is more than a note, and more than possible
}

// probe probes one service once; first is what was read for a look beforehand, if anything was. It says false when there is no result: the probe was cut
// short, or the service is gone.
func (p *prober) probe(ctx context.Context, t *target, due time.Time, first *given) (res state.Result, told bool) {
	t.mu.Lock()
	svc, set, problems := t.service, t.settings, t.problems
	if t.stale {
		t.flow, t.stale = nil, false
	}
	t.mu.Unlock()
	a := &attempt{prober: p, t: t, set: set, first: first}
	a.res = state.Result{Ref: svc.Ref, UID: svc.UID, Due: due, Started: p.now(), Interval: set.Interval, N: set.N, M: set.M}
	more := a.prepare(ctx)
	a.res.Problems = append(append([]string(nil), problems...), more...)
	a.run(ctx)
	a.res.Ended = p.now()
	if a.gone != nil || ctx.Err() != nil {
		t.flow = nil // nothing was learnt that could be trusted
		return a.res, false
	}
	a.expect()
	a.res.Starting = a.starting(&svc)
	t.remember(&a.res)
	return a.res, true
}

// known says whether the path is.
func (t *target) known() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.stale && t.flow != nil
}

// unsettled says whether something was under way at the last look and it is time to look again.
func (t *target) unsettled(now time.Time) bool {
	return !t.moving.IsZero() && now.Sub(t.looked) >= min(max(t.looked.Sub(t.moving)/2, soonestAgain), latestAgain)
}

// remember keeps what the next probe wants to know of this one.
func (t *target) remember(r *state.Result) {
	if r.State == hops.OK {
		t.inARow = 0
		t.healthy++
		return
	}
	t.inARow++
}
