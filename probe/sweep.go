// sweep.go: many services side by side: how many at once, how many requests in flight, in which order they are told.
package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// SweepOptions are a sweep's choices. The zero value of each field means its default.
type SweepOptions struct {
	// Options are those of each probe. Ref, Wake and Logs are not looked at: a sweep wakes nothing, and does not wait for access logs.
	Options
	// AtOnce is how many services are probed side by side; 64. A probe mostly waits, and longest where something is broken.
	AtOnce int
	// InFlight is how many requests are under way at one time, of all services together; 64.
	InFlight int
	// Further is of how many failing services more is read, and of how many that answer but look odd; 20.
	Further int
	// Whole bounds the whole sweep; 5 min. What is under way then is dropped as if interrupted.
	Whole time.Duration
}

func (o SweepOptions) whole() time.Duration { return cmp.Or(o.Whole, 5*time.Minute) }

// SweepDeps are what a sweep needs from outside.
type SweepDeps struct {
	Cluster Cluster
	// Connect gives the sender for a path, and what to do when its service is done.
	Connect func(*hops.Flow) (Sender, func())
	Rules   []hops.Rule
	Now     func() time.Time
	ID      func([]byte) // as of Deps, for several goroutines
	// Progress takes how many services are done; nil is quiet.
	Progress func(done, of int)
}

// Swept is what a sweep saw.
type Swept struct {
	// Runs are worst first, then by name. They hold no snapshots: those of many services would be too much to keep.
	Runs []*hops.Run
	// Missed were not probed to an end before the sweep was interrupted; Gone were deleted meanwhile.
	Missed, Gone []hops.Ref
	// Unread were not looked into further, to keep the number of reads bounded: their cause may lie deeper than what was found.
	Unread []hops.Ref
}

// Sweep probes the services, which Cluster listed. It ends early, with what was seen, when the context does.
func Sweep(ctx context.Context, d SweepDeps, services []hops.Object, o SweepOptions) Swept {
	ctx, cancel := context.WithCancel(ctx) // and no deadline: a request that is cancelled says nothing of its target, one that timed out would
	defer cancel()
	defer time.AfterFunc(o.whole(), cancel).Stop()
	s := &sweep{SweepDeps: d, o: o, of: len(services), flying: make(chan struct{}, cmp.Or(o.InFlight, 64)),
		shared: &shared{cluster: d.Cluster, services: services, now: d.Now, most: cmp.Or(o.Further, 20), busy: make(chan struct{}, furtherAtOnce)}}
	var wg sync.WaitGroup
	atOnce := make(chan struct{}, cmp.Or(o.AtOnce, 64))
	for i := range services {
		ref := hops.Ref{Namespace: services[i].Namespace, Name: services[i].Name}
		atOnce <- struct{}{}
		wg.Go(func() {
			defer func() { <-atOnce }()
			s.one(ctx, ref)
		})
	}
	wg.Wait()
	s.out.Unread = s.shared.unread
	slices.SortFunc(s.out.Runs, func(a, b *hops.Run) int { return cmp.Or(badness(b)-badness(a), byName(a.Ref, b.Ref)) })
	for _, list := range [][]hops.Ref{s.out.Missed, s.out.Gone, s.out.Unread} {
		slices.SortFunc(list, byName)
	}
	return s.out
}

func byName(a, b hops.Ref) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func badness(r *hops.Run) int {
	return map[hops.State]int{hops.Failed: 3, hops.Degraded: 2, hops.Inconclusive: 1}[r.Verdict.State]
}

// sweep is one sweep under way.
type sweep struct {
	SweepDeps
	o      SweepOptions
	of     int
	shared *shared
	flying chan struct{}

	mu   sync.Mutex
	done int
	out  Swept
}

// options are those of one service's probe.
func (s *sweep) options(ref hops.Ref) Options {
	o := s.o.Options
	o.Ref, o.Wake, o.Logs = ref, false, false
	o.Deadline = s.o.whole() + o.requestTimeout() // the sweep's own end comes first, and it cancels
	return o
}

// one probes one service and keeps what came of it.
func (s *sweep) one(ctx context.Context, ref hops.Ref) {
	done := func() {}
	connect := func(f *hops.Flow) Sender {
		inner, end := s.Connect(f)
		done = end
		return &queued{inner: inner, sweep: ctx, flying: s.flying}
	}
	run, err := hops.Run{}, ctx.Err()
	if err == nil {
		run, err = Run(ctx, Deps{Reader: &view{s.shared, ref}, Connect: connect, Rules: s.Rules, Now: s.Now, ID: s.ID}, s.options(ref))
	}
	done()
	run.Snapshots = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	switch gone := (*goneError)(nil); {
	case errors.As(err, &gone):
		s.out.Gone = append(s.out.Gone, ref)
	case err != nil, ctx.Err() != nil && !heard(&run):
		s.out.Missed = append(s.out.Missed, ref)
	default:
		s.out.Runs = append(s.out.Runs, &run)
	}
	if s.done++; s.Progress != nil {
		s.Progress(s.done, s.of)
	}
}

// heard says whether a front door gave an answer. A run that was interrupted before has a verdict from objects alone, which is not the one that it
// would have come to.
func heard(run *hops.Run) bool {
	return slices.ContainsFunc(run.Observations, func(o hops.Observation) bool {
		return (o.AtDoor(hops.Outside) || o.AtDoor(hops.ClusterLocal)) && o.Judged()
	})
}

// queued waits its turn before it sends. The time of waiting is not the request's.
type queued struct {
	inner  Sender
	sweep  context.Context
	flying chan struct{}
}

// Send implements Sender.
func (q *queued) Send(ctx context.Context, r dial.Request) hops.Observation {
	patience := time.Minute
	if end, ok := ctx.Deadline(); ok {
		patience = time.Until(end)
	}
	select {
	case q.flying <- struct{}{}:
		defer func() { <-q.flying }()
	case <-q.sweep.Done(): // the sender will say that it was cancelled
	}
	ctx, cancel := context.WithTimeout(q.sweep, patience)
	defer cancel()
	return q.inner.Send(ctx, r)
}

// goneError says that a service was deleted after it was listed.
type goneError struct{ ref hops.Ref }

func (e *goneError) Error() string {
	return fmt.Sprintf("inferenceservice %s was deleted while the sweep ran", e.ref)
}
