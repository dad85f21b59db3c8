// plan.go: which service is due when. No clock, no goroutines: times come in as durations since the scheduler was made.
package schedule

import (
	"container/heap"
	"time"

	"probe/hops"
)

// extraEvery bounds the extra probes of one service: one in this time, or in one interval when that is shorter.
const extraEvery = 10 * time.Second

// entry is one service. There may be ten thousand: keep it small.
type entry struct {
	ref      hops.Ref
	interval time.Duration
	slot     time.Duration // the next regular time, before its jitter
	due      time.Duration // of the next probe: the slot's, or earlier
	extra    time.Duration // not before this another extra probe
	index    int32         // in the heap
	fresh    bool          // not probed yet
	early    bool          // not to be left out: the first probe, or one that was asked for
	blocked  bool          // an early one fell due while the last one still ran
}

// plan holds the entries by service, and in the order in which they are due.
type plan struct {
	entries map[hops.Ref]*entry
	queue   queue
	skipped uint64 // regular probes that were left out
}

func newPlan() *plan { return &plan{entries: map[hops.Ref]*entry{}} }

// set adds a service, or changes its interval. The first probe falls within the given time, those after it on the service's own place in the
// interval: services that are added together do not stay together.
func (p *plan) set(ref hops.Ref, interval, within, now time.Duration) {
	e := p.entries[ref]
	switch {
	case e == nil:
		e = &entry{ref: ref, interval: interval, due: now, fresh: true, early: true}
		if within > 0 {
			e.due += time.Duration(mix(hash(ref)+1) % uint64(within))
		}
		e.slot = place(ref, interval, e.due+interval/2)
		p.entries[ref] = e
		heap.Push(&p.queue, e)
	case e.interval != interval:
		e.interval, e.slot = interval, place(ref, interval, now)
		if !e.early {
			e.due = e.jittered()
			heap.Fix(&p.queue, int(e.index))
		}
	}
}

// soon asks for an extra probe, which is not left out when the last one still runs. The regular one will do when it comes first, and so will the
// first one of all: that looks at everything anyway.
func (p *plan) soon(ref hops.Ref, now time.Duration) {
	e := p.entries[ref]
	if e == nil || e.fresh || e.blocked {
		return
	}
	e.early = true
	if at := max(now, e.extra); at < e.due {
		e.due, e.extra = at, at+min(e.interval, extraEvery)
		heap.Fix(&p.queue, int(e.index))
	}
}

func (p *plan) remove(ref hops.Ref) {
	if e := p.entries[ref]; e != nil {
		delete(p.entries, ref)
		heap.Remove(&p.queue, int(e.index))
	}
}

// take gives the service that is due longest and not running, and moves it on to its next time.
func (p *plan) take(now time.Duration, running func(hops.Ref) bool) (ref hops.Ref, due time.Duration, ok bool) {
	for len(p.queue) > 0 && p.queue[0].due <= now {
		e := p.queue[0]
		due, early := e.due, e.early
		p.advance(e, now)
		switch {
		case !running(e.ref):
			e.fresh = false
			return e.ref, due, true
		case early:
			e.blocked = true
		default:
			p.skipped++
		}
	}
	return hops.Ref{}, 0, false
}

// done says that the probe of a service is over. It reports whether the next one is due now.
func (p *plan) done(ref hops.Ref, now time.Duration) bool {
	e := p.entries[ref]
	if e == nil || !e.blocked {
		return false
	}
	e.blocked, e.early, e.due = false, true, now
	heap.Fix(&p.queue, int(e.index))
	return true
}

// stalled leaves out what fell due while the process stood still: to make up for it would be a burst.
func (p *plan) stalled(now time.Duration) {
	for len(p.queue) > 0 && p.queue[0].due <= now {
		p.advance(p.queue[0], now)
		p.skipped++
	}
}

// next is when the next probe is due.
func (p *plan) next() (due time.Duration, ok bool) {
	if len(p.queue) == 0 {
		return 0, false
	}
	return p.queue[0].due, true
}

// advance moves an entry to its first regular time after now.
func (p *plan) advance(e *entry, now time.Duration) {
	e.early = false
	if e.jittered() <= now {
		e.slot += (now - e.slot) / e.interval * e.interval // the clock may be far ahead
	}
	for e.jittered() <= now {
		e.slot += e.interval
	}
	e.due = e.jittered()
	heap.Fix(&p.queue, int(e.index))
}

// jittered is the slot, 2.5 % of the interval sooner or later: two neighbours are then an interval apart, 5 % more or less, and no error adds up.
func (e *entry) jittered() time.Duration {
	span := e.interval / 20
	if span <= 0 {
		return e.slot
	}
	return e.slot - span/2 + time.Duration(mix(hash(e.ref)^uint64(e.slot))%uint64(span))
}

// place is the first time after the given one at the service's own place in the interval.
func place(ref hops.Ref, interval, after time.Duration) time.Duration {
	offset := time.Duration(mix(hash(ref)) % uint64(interval))
	return (after-offset)/interval*interval + offset + interval
}

// hash is FNV-1a over "namespace/name": the same in every process and with every version of Go.
func hash(ref hops.Ref) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{ref.Namespace, "/", ref.Name} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	return h
}

// mix spreads a hash over all bits (fmix64 of MurmurHash3): names that differ in the last letter only shall not be neighbours.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// queue is a heap of entries by when they are due.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = int32(i), int32(j)
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = int32(len(*q))
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}
