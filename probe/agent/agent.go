// agent.go: the loop: who is there, who is due, what a probe said, who is told.
package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"probe/hops"
	"probe/probe"
	"probe/probe/agent/schedule"
	"probe/probe/agent/settings"
	"probe/probe/agent/state"
	"probe/probe/dial"
)

// Config is what an agent needs from outside and may be told. Fields without a default are needed.
type Config struct {
	// Connect gives the sender for a path, with the pods behind a target as the finder knows them. The path is nil for that of all light probes.
	Connect func(*hops.Flow, dial.PodFinder) probe.Sender
	// FrontOnly says that only front doors can be reached from here.
	FrontOnly bool
	// Lookers are as many as full looks may go on at one time.
	Lookers []Looker
	Rules   []hops.Rule
	// Defaults are the settings of services whose annotations say nothing.
	Defaults settings.Settings
	// Store reads what settings name.
	Store *settings.Store
	// Owns says whether this replica probes a service; nil is always.
	Owns func(hops.Ref) bool
	// Record is of how many healthy runs the mesh records one; 20.
	Record int
	// Workers is how many services are probed at one time; 512. A probe mostly waits.
	Workers int
	// Grace is how long running probes may go on after the end; 10 s.
	Grace time.Duration
	Now   func() time.Time

	// Sink takes the run of each recorded or failed probe; it may be nil. It must not wait.
	Sink probe.Sink
	// Seen takes each result with what the service's status is now.
	Seen func(*state.Result, state.Status)
	// Changed takes each change of a status.
	Changed func(*state.Change)
	// Gone takes the services that are no longer probed here.
	Gone func(hops.Ref)
	// Log takes a line about the agent itself.
	Log func(string)
}

// Agent probes services again and again.
type Agent struct {
	c         Config
	prober    *prober
	opening   *opening
	scheduler *schedule.Scheduler

	mu      sync.Mutex
	targets map[hops.Ref]*target
}

// New makes an agent. Run runs it.
func New(c Config) *Agent {
	a := &Agent{c: c, targets: map[hops.Ref]*target{}, opening: &opening{waiting: map[string]map[hops.Ref]bool{}, wake: make(chan struct{}, 1)}}
	pods := &addresses{pods: map[string]dial.PodAddress{}, of: map[hops.Ref][]string{}}
	a.prober = &prober{connect: c.Connect, frontOnly: c.FrontOnly, light: c.Connect(nil, pods), pods: pods, lookers: make(chan Looker, len(c.Lookers)),
		rules: c.Rules, now: c.Now, id: func(b []byte) { rand.Read(b) }, record: uint64(cmp.Or(c.Record, 20)), store: c.Store}
	for _, l := range c.Lookers {
		a.prober.lookers <- l
	}
	a.scheduler = schedule.New(cmp.Or(c.Workers, 512), a.once)
	return a
}

// Run probes until ctx ends. Running probes then get the grace period; what they saw is told.
func (a *Agent) Run(ctx context.Context) {
	looking, enough := context.WithCancel(context.WithoutCancel(ctx))
	defer enough()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.open(looking)
	}()
	a.scheduler.Run(ctx)
	a.scheduler.Drain(cmp.Or(a.c.Grace, 10*time.Second))
	enough()
	<-stopped
}

// Alive says why the loop does not run as it should; nil when it does.
func (a *Agent) Alive() error { return a.scheduler.Alive() }

// Skipped counts the probes that were due and left out since the start, because the last one still ran or the process stood still.
func (a *Agent) Skipped() uint64 { return a.scheduler.Stats().Skipped }

// Upsert takes a service that is new or has changed. pathChanged says that more than its settings did.
func (a *Agent) Upsert(svc state.Service, pathChanged bool) {
	set, problems := settings.Parse(svc.Annotations, a.c.Defaults)
	a.mu.Lock()
	t := a.targets[svc.Ref]
	if t != nil && t.service.UID != svc.UID { // another service of the same name
		a.drop(svc.Ref)
		t = nil
	}
	if t == nil {
		t = &target{}
		a.targets[svc.Ref] = t
	}
	a.mu.Unlock()
	t.mu.Lock()
	again := t.settings != set && t.settings.Enabled
	t.service, t.settings, t.problems = svc, set, problems
	t.stale = t.stale || pathChanged || again
	t.mu.Unlock()
	within := set.Interval
	if a.c.Now().Sub(svc.Created) < young { // somebody waits for it
		within = min(within, soon)
	}
	a.place(svc.Ref, set, within)
	if pathChanged || again {
		a.scheduler.Soon(svc.Ref)
	}
}

// A service that was made less than young ago is probed for the first time within soon.
const (
	young = time.Minute
	soon  = 5 * time.Second
)

// place gives a service its turn, or none. The first one is within a time.
func (a *Agent) place(ref hops.Ref, set settings.Settings, within time.Duration) {
	if set.Enabled && (a.c.Owns == nil || a.c.Owns(ref)) {
		a.scheduler.SetWithin(ref, set.Interval, within)
		return
	}
	a.scheduler.Remove(ref)
	a.gone(ref)
}

// Delete takes a service that is no more.
func (a *Agent) Delete(ref hops.Ref) {
	a.mu.Lock()
	a.drop(ref)
	a.mu.Unlock()
	a.gone(ref)
}

// drop forgets a service. The caller holds the lock.
func (a *Agent) drop(ref hops.Ref) {
	delete(a.targets, ref)
	a.scheduler.Remove(ref)
	a.prober.pods.forget(ref)
}

func (a *Agent) gone(ref hops.Ref) {
	if a.c.Gone != nil {
		a.c.Gone(ref)
	}
}

// Reshard looks anew at whose services are whose.
func (a *Agent) Reshard() {
	a.mu.Lock()
	all := make(map[hops.Ref]settings.Settings, len(a.targets))
	for ref, t := range a.targets {
		t.mu.Lock()
		all[ref] = t.settings
		t.mu.Unlock()
	}
	a.mu.Unlock()
	for ref, set := range all {
		a.place(ref, set, set.Interval/2) // who probed it before may have gone a while ago
	}
}

// Services is the number of services known.
func (a *Agent) Services() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.targets)
}

// once probes a service that is due. One whose path is not known waits for its turn to be looked at, and keeps nobody from probing.
func (a *Agent) once(ctx context.Context, ref hops.Ref, due time.Time) {
	t := a.target(ref)
	switch {
	case t == nil:
	case !t.known():
		a.opening.add(ref)
	default:
		a.probeNow(ctx, ref, t, due, nil)
	}
}

func (a *Agent) target(ref hops.Ref) *target {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.targets[ref]
}

// probeNow probes a service and tells what came of it. A panic costs one result, never the agent.
func (a *Agent) probeNow(ctx context.Context, ref hops.Ref, t *target, due time.Time, first *given) {
	if !t.busy.TryLock() {
		return // it is being probed
	}
	defer t.busy.Unlock()
	defer func() {
		if r := recover(); r != nil {
			a.c.Log(fmt.Sprintf("probe of %s panicked: %v", ref, r))
		}
	}()
	res, told := a.prober.probe(ctx, t, due, first)
	if !told || !a.still(ref, t) {
		return
	}
	status, change := t.tracker.Add(&res, res.N, res.M)
	a.tell(&res, status, change)
	if !a.still(ref, t) {
		a.gone(ref) // what was told just now of a service that is no longer ours must not stay
	}
}

// still says whether a service is the one that was probed, and ours to probe: it may have been deleted, made anew, or given to another replica
// meanwhile.
func (a *Agent) still(ref hops.Ref, t *target) bool {
	t.mu.Lock()
	enabled := t.settings.Enabled
	t.mu.Unlock()
	return enabled && a.target(ref) == t && (a.c.Owns == nil || a.c.Owns(ref))
}

// tell hands a result to everybody.
func (a *Agent) tell(res *state.Result, status state.Status, change *state.Change) {
	if a.c.Sink != nil && res.Run != nil && (res.Recorded || res.State != hops.OK) {
		if err := a.c.Sink.Export(context.Background(), res.Run); err != nil {
			a.c.Log(err.Error())
		}
	}
	a.c.Seen(res, status)
	if change != nil {
		a.c.Changed(change)
	}
}
