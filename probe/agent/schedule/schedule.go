// Package schedule says which service is probed when: each on its interval, spread over time, never two probes of one service at once.
//
// schedule.go: the loop that starts what is due.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"probe/hops"
)

// Do probes a service. Due is when the probe should have begun; now less due is the delay that the agent itself caused. The context ends when the
// service is removed (its cause is ErrRemoved) or when the time for finishing is over (ErrDrained). Do must have a deadline of its own.
type Do func(ctx context.Context, ref hops.Ref, due time.Time)

// Why a running probe's context ended.
var (
	ErrRemoved = errors.New("the service is no longer probed here")
	ErrDrained = errors.New("the agent ends")
)

const (
	// stall is how late the loop may wake. Later, the process stood still, and what fell due meanwhile is left out.
	stall = 2 * time.Second
	// stuck is how long the loop may be late, and all workers be busy without one of them ending, before Alive says so.
	stuckLoop    = 30 * time.Second
	stuckWorkers = 5 * time.Minute
)

// Scheduler calls back for each service when it is due. Its clock is the monotonic one: a jump of the wall clock changes nothing.
type Scheduler struct {
	do      Do
	workers int
	began   time.Time
	wake    chan struct{}

	mu      sync.Mutex
	plan    *plan
	running map[hops.Ref]context.CancelCauseFunc // at most workers
	base    context.Context                      // of all probes
	closed  bool
	target  time.Duration // when the loop means to wake; 0: not before it is woken
	ended   time.Duration // when a probe last ended
	drained sync.WaitGroup
}

// New makes a scheduler that has at most so many probes running. Nothing is started before Run.
func New(workers int, do Do) *Scheduler {
	return &Scheduler{do: do, workers: max(workers, 1), began: time.Now(), wake: make(chan struct{}, 1), plan: newPlan(),
		running: map[hops.Ref]context.CancelCauseFunc{}}
}

// Set has a service probed on an interval. The first probe falls somewhere in the first interval, at a place that depends on the service alone:
// right for services that other agents probed until now, and for all those that an agent finds at its start. A service that is set already keeps
// its turn.
func (s *Scheduler) Set(ref hops.Ref, interval time.Duration) { s.SetWithin(ref, interval, interval) }

// SetWithin is Set with the first probe within another time: a few seconds for a service that was just made.
func (s *Scheduler) SetWithin(ref hops.Ref, interval, within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.set(ref, max(interval, time.Millisecond), min(within, interval), s.now())
	s.earlier()
}

// Soon has a service probed as soon as possible, beside its interval: at most once in 10 s, or in one interval when that is shorter. It is no news
// of a service that was not probed yet. A probe that runs already may have begun before whatever happened: another follows it.
func (s *Scheduler) Soon(ref hops.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.soon(ref, s.now())
	s.earlier()
}

// Remove has a service no longer probed. A running probe is cancelled and not waited for.
func (s *Scheduler) Remove(ref hops.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.remove(ref)
	if cancel := s.running[ref]; cancel != nil {
		cancel(ErrRemoved)
	}
}

// Run starts probes until ctx ends. Those that run then go on; Drain waits for them.
func (s *Scheduler) Run(ctx context.Context) {
	s.mu.Lock()
	s.base = context.WithoutCancel(ctx)
	s.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.close()
			return
		case <-s.wake:
		case <-timer.C:
		}
		if due, ok := s.start(); ok {
			timer.Reset(max(nextBeat(due)-s.now(), 0))
		} else {
			timer.Stop()
		}
	}
}

// Drain starts nothing more and gives running probes so long to finish before they are cancelled. It returns when all of them have.
func (s *Scheduler) Drain(grace time.Duration) {
	s.close()
	defer time.AfterFunc(grace, s.cancelAll).Stop()
	s.drained.Wait()
}

// Stats are what a scheduler is doing.
type Stats struct {
	Services int    // that are probed
	Running  int    // probes
	Skipped  uint64 // regular probes that were left out since the start, because the last one still ran or the process stood still
}

// Stats says what the scheduler is doing now.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Services: len(s.plan.entries), Running: len(s.running), Skipped: s.plan.skipped}
}

// Alive says why the loop does not do its work; nil when it does.
func (s *Scheduler) Alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	switch {
	case s.closed:
		return errors.New("scheduler: it was stopped")
	case s.base == nil:
		return errors.New("scheduler: it was not started")
	case s.target > 0 && now-s.target > stuckLoop:
		return fmt.Errorf("scheduler: a probe has been due for %s and was not started", (now - s.target).Round(time.Second))
	case len(s.running) >= s.workers && now-s.ended > stuckWorkers:
		return fmt.Errorf("scheduler: all %d probes have been running for more than %s", s.workers, stuckWorkers)
	}
	return nil
}

// beat is the time between two looks at who is due. What falls due between them starts together: each time that an idle process wakes up costs more
// than half a probe.
const beat = 20 * time.Millisecond

// nextBeat is the first beat that is not before a time.
func nextBeat(at time.Duration) time.Duration { return (at + beat - 1) / beat * beat }

func (s *Scheduler) now() time.Duration { return time.Since(s.began) }

// earlier wakes the loop when something is due before it would wake by itself.
func (s *Scheduler) earlier() {
	if due, ok := s.plan.next(); ok && len(s.running) < s.workers && (s.target == 0 || due < s.target) {
		s.rouse()
	}
}

func (s *Scheduler) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// start starts what is due, and says when to look again; not ok is when somebody wakes the loop.
func (s *Scheduler) start() (next time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.target > 0 && now-s.target > stall {
		s.plan.stalled(now)
	}
	s.target = 0
	for !s.closed && len(s.running) < s.workers {
		ref, due, found := s.plan.take(now, s.runs)
		if !found {
			next, ok = s.plan.next()
			s.target = next
			return next, ok
		}
		ctx, cancel := context.WithCancelCause(s.base)
		s.running[ref] = cancel
		if len(s.running) == s.workers {
			s.ended = now
		}
		s.drained.Add(1)
		go s.one(ctx, ref, time.Now().Add(due-now)) // with today's wall clock, which may have jumped since the scheduler was made
	}
	return 0, false
}

func (s *Scheduler) runs(ref hops.Ref) bool { return s.running[ref] != nil }

// one is one probe of one service.
func (s *Scheduler) one(ctx context.Context, ref hops.Ref, due time.Time) {
	defer s.drained.Done()
	s.do(ctx, ref, due)
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := len(s.running) >= s.workers
	s.running[ref](nil)
	delete(s.running, ref)
	s.ended = s.now()
	if s.plan.done(ref, s.ended) || waiting {
		s.rouse()
	}
}

func (s *Scheduler) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *Scheduler) cancelAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.running {
		cancel(ErrDrained)
	}
}
