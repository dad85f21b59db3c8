// Package tell is how others learn what the agent sees: Kubernetes Events, captures of failures, and the HTTP server that gives them.
//
// events.go: changes on their way to Events: a queue that never makes a probe wait, and how fast it is worked off.
package tell

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"probe/hops"
	"probe/probe/agent/state"
)

const (
	maxQueued = 1000 // changes; each of another service
	maxSeries = 4096 // Events that may be counted up
	// seriesLife is how long a repeated change is counted on the Event that was written of it. The API server keeps Events for an hour
	// (kube-apiserver --event-ttl).
	seriesLife = time.Hour
	// A service may have serviceBurst Events at once and one more each servicePause: less than client-go's recorders allow, since people are called.
	serviceBurst = 6
	servicePause = time.Minute
	// All services together may have overallBurst at once and one more each overallPause: a node that goes takes hundreds along.
	overallBurst = 50
	overallPause = 200 * time.Millisecond
	writeTimeout = 5 * time.Second
	maxAttempts  = 4 // of one Event
	lastWords    = 3 * time.Second
)

// EventOptions are choices of Events. The zero value of each field means its default.
type EventOptions struct {
	Now func() time.Time // time.Now
	// Log takes a line about Events that cannot be written; nil is quiet.
	Log func(string)
}

// EventCounts are what became of changes so far.
type EventCounts struct {
	Written int64 // Events created or counted up
	Merged  int64 // changes that a newer one of the same service overtook in the queue
	Dropped int64 // changes that found no room, or could not be written
}

// Events writes changes as core/v1 Events on the InferenceServices. Tell queues, Run writes.
type Events struct {
	client typedcorev1.EventsGetter
	now    func() time.Time
	log    *seldom

	mu       sync.Mutex
	queue    []*note // the oldest first
	overall  bucket
	services map[types.UID]*bucket
	counts   EventCounts
	wake     chan struct{}

	series map[series]*written // Run's alone
}

// note is a change that is to be written.
type note struct {
	ref        hops.Ref
	uid        types.UID
	apiVersion string
	series     series
	typ        string // of the Event
	message    string
	at         time.Time
	attempts   int
	notBefore  time.Time
}

// NewEvents makes Events that are written through a client. Its owner needs the right to create and patch events in the services' namespaces.
func NewEvents(client typedcorev1.EventsGetter, o EventOptions) *Events {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	return &Events{client: client, now: now, log: newSeldom(o.Log, now), services: map[types.UID]*bucket{}, wake: make(chan struct{}, 1),
		series: map[series]*written{}, overall: bucket{burst: overallBurst, pause: overallPause}}
}

// Tell queues a change, and never waits. A change of the same service that still waits is overtaken: the latest state counts. When the queue is
// full, the oldest goes.
func (e *Events) Tell(c *state.Change) { e.add(newNote(c, e.now())) }

// Settings queues what is wrong with a service's annotations, as Tell does.
func (e *Events) Settings(r *state.Result) { e.add(settingsNote(r, e.now())) }

func (e *Events) add(n *note) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := e.indexOf(n); i >= 0 {
		e.counts.Merged++
		e.queue = slices.Delete(e.queue, i, i+1)
	}
	if len(e.queue) >= maxQueued {
		e.counts.Dropped++
		e.queue = slices.Delete(e.queue, 0, 1)
	}
	e.queue = append(e.queue, n)
	select {
	case e.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// indexOf finds the note that waits of the same service: of its state, or of its settings.
func (e *Events) indexOf(like *note) int {
	settings := func(n *note) bool { return n.series.reason == settingsReason }
	return slices.IndexFunc(e.queue, func(n *note) bool { return n.uid == like.uid && n.ref == like.ref && settings(n) == settings(like) })
}

// Counts says what became of changes so far.
func (e *Events) Counts() EventCounts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}

// Run writes what is queued until ctx ends; what waits then is written as far as it goes in 3 s.
func (e *Events) Run(ctx context.Context) {
	for ctx.Err() == nil {
		n, wait := e.next()
		if n != nil {
			e.write(context.WithoutCancel(ctx), n) // it has a deadline of its own
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-e.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	for n, _ := e.next(); n != nil && ctx.Err() == nil; n, _ = e.next() {
		e.write(ctx, n)
	}
}

// next takes the oldest change that may be written now, or says how long none may.
func (e *Events) next() (*note, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	e.forgetFull(now)
	if w := e.overall.wait(now); w > 0 {
		return nil, w
	}
	wait := time.Hour // until Tell wakes it
	for i, n := range e.queue {
		own := e.bucketOf(n.uid)
		w := n.notBefore.Sub(now)
		if n.attempts == 0 { // one that is tried again is paid for
			w = own.wait(now)
		}
		if w > 0 {
			wait = min(wait, w)
			continue
		}
		e.queue = slices.Delete(e.queue, i, i+1)
		if n.attempts == 0 {
			own.take(now)
			e.services[n.uid] = own
		}
		e.overall.take(now)
		return n, 0
	}
	return nil, wait
}

// bucketOf is a service's own; a full one is not kept.
func (e *Events) bucketOf(uid types.UID) *bucket {
	if b := e.services[uid]; b != nil {
		return b
	}
	return &bucket{burst: serviceBurst, pause: servicePause}
}

// forgetFull drops the buckets that are as good as new. The others are as many as Events were begun in the last minutes, and overall bounds that.
func (e *Events) forgetFull(now time.Time) {
	if len(e.services) < maxQueued {
		return
	}
	for uid, b := range e.services {
		if b.full(now) {
			delete(e.services, uid)
		}
	}
}

// again queues a change that could not be written, unless a newer one of its service waits or it was tried often enough.
func (e *Events) again(n *note, after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n.attempts++
	if n.attempts >= maxAttempts || len(e.queue) >= maxQueued {
		e.counts.Dropped++
		return
	}
	if e.indexOf(n) >= 0 {
		e.counts.Merged++
		return
	}
	n.notBefore = e.now().Add(max(after, time.Second<<n.attempts))
	e.queue = append(e.queue, n)
}

func (e *Events) count(add func(*EventCounts)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	add(&e.counts)
}

// bucket lets burst things through at once, and one more each pause.
type bucket struct {
	burst int
	pause time.Duration
	owed  time.Time // when it will be full
}

// wait is how long nothing may pass: 0 for now.
func (b *bucket) wait(now time.Time) time.Duration {
	if b.full(now) {
		return 0
	}
	return max(0, b.owed.Sub(now)-time.Duration(b.burst-1)*b.pause)
}

func (b *bucket) take(now time.Time) {
	if b.owed.Before(now) {
		b.owed = now
	}
	b.owed = b.owed.Add(b.pause)
}

func (b *bucket) full(now time.Time) bool { return !b.owed.After(now) }

// seldom says the same kind of line at most once in ten minutes.
type seldom struct {
	say  func(string)
	now  func() time.Time
	mu   sync.Mutex
	last map[string]time.Time
}

const seldomEvery = 10 * time.Minute

func newSeldom(say func(string), now func() time.Time) *seldom {
	return &seldom{say: say, now: now, last: map[string]time.Time{}}
}

// line says a line of a kind; kinds are few and fixed.
func (s *seldom) line(kind, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if last, ok := s.last[kind]; s.say == nil || ok && now.Sub(last) < seldomEvery {
		return
	}
	s.last[kind] = now
	s.say(text)
}
