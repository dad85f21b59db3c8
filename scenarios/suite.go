// suite.go: runs many scenarios on one cluster: what it lacks is skipped, what shares nothing runs side by side, a base service must be OK before
// and after each.
package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"probe/hops"
	"probe/probe"
)

// Runner runs scenarios on one cluster.
type Runner struct {
	Config *rest.Config
	Probe  Prober
	// Values fill in the placeholders of manifests, beside ${NAMESPACE}.
	Values map[string]string
	// AllowShared lets scenarios run that break what other services of the cluster use too.
	AllowShared bool
	// Parallel is how many run side by side; 2 when it is not set.
	Parallel int
	// Looks is how often a healthy scenario is looked at; 3 when it is not set.
	Looks int
	// Say takes progress lines, from several scenarios at once; nil is quiet.
	Say func(string)
	// Done takes each result when it is there, one at a time; it may be nil.
	Done func(Result)
	Now  func() time.Time

	quick   bool // tests wait less
	dead    atomic.Bool
	closing sync.WaitGroup
	mu      sync.Mutex
	left    []error
}

// paces are the runner's waits.
type paces struct{ look, alive, answer, cleanUp time.Duration }

func (r *Runner) pace() paces {
	if r.quick {
		return paces{look: time.Millisecond, alive: 50 * time.Millisecond, answer: time.Millisecond, cleanUp: 3 * time.Second}
	}
	return paces{look: 3 * time.Second, alive: 2*aliveEvery + 5*time.Second, answer: 5 * time.Second, cleanUp: cleanUpWithin}
}

func (r *Runner) say(format string, args ...any) {
	if r.Say != nil {
		r.Say(fmt.Sprintf(format, args...))
	}
}

// leave notes what could not be cleaned up.
func (r *Runner) leave(err error) {
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.left = append(r.left, err)
	}
}

// Summary is how a drill went.
type Summary struct {
	Results []Result // in the order in which they were asked for
	// Left says what is still there of the drill.
	Left []error
	Took time.Duration
}

// Count is the number of results with a status.
func (s *Summary) Count(want Status) int {
	n := 0
	for _, r := range s.Results {
		if r.Status == want {
			n++
		}
	}
	return n
}

// Plan says for each scenario why it cannot run here; "" when it can.
func (r *Runner) Plan(ctx context.Context, list []Scenario) ([]string, error) {
	k, err := newKube(r.Config)
	if err == nil {
		err = k.answers()
	}
	if err != nil {
		return nil, err
	}
	out := make([]string, len(list))
	for i := range list {
		out[i] = r.lacks(ctx, k, &list[i])
	}
	return out, nil
}

// Run runs scenarios. The error says why none could run; whatever ran is in the Summary, also when ctx ends or the cluster dies.
func (r *Runner) Run(ctx context.Context, list []Scenario) (Summary, error) {
	began := r.Now()
	k, err := newKube(r.Config)
	if err == nil {
		err = k.answers()
	}
	if err == nil {
		err = r.leftovers(ctx, k)
	}
	if err != nil {
		return Summary{}, err
	}
	s := &suite{Runner: r, k: k, results: make([]Result, len(list))}
	var alone, together []int
	for i := range list {
		s.results[i] = Result{Scenario: list[i], Status: NotRun}
		switch why := r.lacks(ctx, k, &list[i]); {
		case why != "":
			s.results[i].Status, s.results[i].Why = Skipped, []string{why}
			s.done(i)
		case list[i].Shared:
			alone = append(alone, i)
		default:
			together = append(together, i)
		}
	}
	if len(alone)+len(together) > 0 {
		s.all(ctx, together, alone)
	}
	r.closing.Wait()
	return Summary{Results: s.results, Left: r.left, Took: r.Now().Sub(began)}, nil
}

// suite is one Run.
type suite struct {
	*Runner
	k       *kube
	base    hops.Ref // the service that must be OK before and after each scenario; empty when the cluster cannot have one
	results []Result
	mu      sync.Mutex
}

// all runs what shares nothing side by side, then the others one by one.
func (s *suite) all(ctx context.Context, together, alone []int) {
	closeBase, err := s.openBase(ctx)
	if err != nil {
		for _, i := range slices.Concat(together, alone) {
			s.results[i].Why = []string{err.Error()}
			s.done(i)
		}
	} else {
		s.side(ctx, together, max(1, cmp.Or(s.Parallel, 2)))
		s.side(ctx, alone, 1)
	}
	closeBase()
}

// side runs some scenarios, n at a time.
func (s *suite) side(ctx context.Context, list []int, n int) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for i := range next {
				s.run(ctx, i)
			}
		})
	}
	for _, i := range list {
		next <- i
	}
	close(next)
	workers.Wait()
}

// run runs one scenario between two looks at the base.
func (s *suite) run(ctx context.Context, i int) {
	defer s.done(i)
	res := &s.results[i]
	switch {
	case ctx.Err() != nil:
		res.Why = []string{"interrupted"}
		return
	case s.dead.Load():
		res.Why = []string{"the cluster had died"}
		return
	}
	sc := res.Scenario
	s.say("%s: %s", sc.Name, sc.Title)
	if err := s.baseOK(ctx, "before"); err != nil {
		res.Status, res.Why = Broken, []string{err.Error()}
		s.died(ctx)
		return
	}
	*res = s.one(ctx, s.k, sc)
	if res.Status == Broken && s.died(ctx) {
		res.Why = append(res.Why, "the cluster died meanwhile: it does not answer any more")
		return
	}
	if err := s.baseOK(ctx, "after"); err != nil && ctx.Err() == nil {
		res.Status = Broken
		res.Why = append(res.Why, err.Error())
	}
}

// died says whether the cluster does not answer any more, and remembers it.
func (s *suite) died(ctx context.Context) bool {
	for range 3 {
		if s.k.answers() == nil {
			return false
		}
		if !probe.Pause(ctx, s.pace().answer) {
			return false
		}
	}
	s.dead.Store(true)
	return true
}

// baseOK waits until the base is OK: routes and gateways take a moment to recover from what a scenario did to them.
func (s *suite) baseOK(ctx context.Context, when string) error {
	if s.base == (hops.Ref{}) {
		return nil
	}
	if err := s.ok(ctx, s.base, readyWithin); err != nil {
		return fmt.Errorf("%s the scenario: %w", when, err)
	}
	return nil
}

// baseScenario is the scenario whose service is the base of all.
const baseScenario = "healthy"

// openBase brings the base up. Without values for its manifests there is none, and only what scenarios bring themselves is proven.
func (s *suite) openBase(ctx context.Context) (closeBase func(), err error) {
	sc, err := load(files, baseScenario)
	if err != nil {
		return func() {}, err
	}
	if why := s.lacks(ctx, s.k, &sc); why != "" {
		s.say("no base service that must be OK before and after: %s", why)
		return func() {}, nil
	}
	sp, err := s.k.open(ctx, prefix+"base", nil)
	if err != nil {
		return func() {}, fmt.Errorf("the base: %w", err)
	}
	closeBase = func() {
		if s.dead.Load() {
			s.leave(fmt.Errorf("namespace %s stays: the cluster does not answer; the next drill cleans up", sp.name))
			sp.stop()
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.pace().cleanUp)
		defer cancel()
		s.leave(sp.close(ctx))
	}
	values := map[string]string{"NAMESPACE": sp.name}
	for name, v := range s.Values {
		values[name] = v
	}
	var bad []error
	for _, m := range sc.manifests() {
		bad = append(bad, sp.apply(ctx, m, values, false))
	}
	if err := errors.Join(bad...); err != nil {
		return closeBase, fmt.Errorf("the base: %w", err)
	}
	s.base = hops.Ref{Namespace: sp.name, Name: sc.Service}
	s.say("waiting for the base service %s", s.base)
	return closeBase, s.ok(ctx, s.base, readyWithin)
}

// done hands a result on.
func (s *suite) done(i int) {
	if s.Done != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.Done(s.results[i])
	}
}
