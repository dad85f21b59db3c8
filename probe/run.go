// run.go: the order of one probe.
package probe

import (
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// A failed front-door request is sent again at these times after the first: gateways learn of a route a moment after Ready.
var retryAfter = [...]time.Duration{600 * time.Millisecond, 1500 * time.Millisecond}

// accessLogLag is how long an access log line may take to be written and shipped: Envoy flushes once a second
// (--file-flush-interval-msec of istio's pilot-agent).
const accessLogLag = 2 * time.Second

// Run probes one service. The error is one of the reader's: nothing could be probed. A run that was cancelled gives what was seen.
func Run(ctx context.Context, d Deps, o Options) (hops.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, o.deadline())
	defer cancel()
	r := begin(d, o)
	first, err := d.Reader.First(ctx, o.Ref)
	if err != nil {
		return r.run, err
	}
	r.run.Snapshots = append(r.run.Snapshots, first)
	r.resolve(&first)
	r.sender = d.Connect(&r.run.Flow)
	r.front(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.repeat(ctx) })
	r.further(ctx)
	wg.Wait()
	if len(r.run.Snapshots) > 1 { // the path may have changed while we looked
		all := hops.Join(r.run.Snapshots)
		r.resolve(&all)
	}
	r.run.Reads, r.run.ReadTook = d.Reader.Reads()
	r.run.Ended = d.Now()
	r.run.Verdict = hops.Diagnose(r.run.Facts(), r.run.Ended, d.Rules)
	r.readBack(ctx)
	return r.run, nil
}

type runner struct {
	Deps
	o      Options
	sender Sender

	mu  sync.Mutex // of run.Observations: front doors are asked again while inner hops are
	run hops.Run
}

// begin starts a run: a new one, or one that goes on from a light one.
func begin(d Deps, o Options) *runner {
	r := &runner{Deps: d, o: o}
	if o.After != nil {
		r.run = hops.Run{Ref: o.Ref, Started: o.After.Started, TraceID: o.After.TraceID, SpanID: o.After.SpanID}
		return r
	}
	r.run = hops.Run{Ref: o.Ref, Started: d.Now(), TraceID: d.hexID(16), SpanID: d.hexID(8)}
	return r
}

func (d Deps) hexID(n int) string {
	b := make([]byte, n)
	d.ID(b)
	return hex.EncodeToString(b)
}

func (r *runner) say(line string) {
	if r.Progress != nil {
		r.Progress(line)
	}
}

// wanted says whether the caller wants this door tried.
func (r *runner) wanted(d hops.Door) bool {
	return d == "" || len(r.o.Doors) == 0 || slices.Contains(r.o.Doors, d)
}

// front sends, all side by side: the real request at each front door and at each awake weighted revision, a knock at the inner hops.
func (r *runner) front(ctx context.Context) {
	r.goOn()
	var asks []dial.Request
	for _, e := range r.run.Flow.Entries {
		switch {
		case !r.wanted(e.Step.Door) || r.last(e) != nil:
		case r.real(e) && e.Request:
			asks = append(asks, r.request(e))
		case e.Knock:
			asks = append(asks, r.knock(e))
		}
	}
	r.say("sending requests")
	r.send(ctx, asks)
	r.nameTheModel(ctx)
}

// real says whether an entry gets the real request in the first round.
func (r *runner) real(e hops.Entry) bool {
	if e.Step.Door == "" && e.Step.Hop != hops.QueueProxy && !(e.Step.Hop == hops.Container && r.run.Flow.Mode == hops.Standard) {
		return false
	}
	return r.mayWake(e.Step)
}

// mayWake says whether a real request may go through a step: not to a service at zero, nor to one that our own interval would keep up.
func (r *runner) mayWake(s hops.Step) bool {
	if r.o.Wake {
		return true
	}
	for _, c := range r.run.Flow.Components {
		for _, v := range c.Revisions {
			if v.Weight == 0 || s.Revision != "" && v.Name != s.Revision {
				continue
			}
			if v.Asleep || r.o.Spare && v.ScaleToZero {
				return false
			}
		}
	}
	return true
}

// send sends side by side and keeps the observations in the order of the asks.
func (r *runner) send(ctx context.Context, asks []dial.Request) {
	seen := make([]hops.Observation, len(asks))
	one := func(i int) {
		ctx, cancel := context.WithTimeout(ctx, r.o.requestTimeout())
		defer cancel()
		seen[i] = r.sender.Send(ctx, asks[i])
	}
	var wg sync.WaitGroup
	for i := range asks {
		if i == len(asks)-1 {
			one(i) // here, beside the others: an agent sends a thousand a second
			break
		}
		wg.Go(func() { one(i) })
	}
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run.Observations = append(r.run.Observations, seen...)
}

// seen lists what was observed so far.
func (r *runner) seen() []hops.Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.run.Observations)
}

// failing lists the entries of the front doors whose last real answer is a fault.
func (r *runner) failing() []hops.Entry {
	var out []hops.Entry
	for _, e := range r.run.Flow.Entries {
		if e.Step.Door == "" {
			continue
		}
		if last := r.last(e); last != nil && last.Judged() && !last.OK() {
			out = append(out, e)
		}
	}
	return out
}

// last is the last observation at an entry.
func (r *runner) last(e hops.Entry) *hops.Observation {
	for _, o := range slices.Backward(r.seen()) {
		if o.Step.ID() == e.Step.ID() {
			return &o
		}
	}
	return nil
}

// repeat sends failed front-door requests again, fresh, unless they failed by taking too long.
func (r *runner) repeat(ctx context.Context) {
	var waited time.Duration
	for attempt, after := range retryAfter {
		var asks []dial.Request
		for _, e := range r.failing() {
			last := r.last(e)
			if last.Took > time.Second {
				continue
			}
			again := r.knock(e)
			if last.Asked == hops.RealRequest {
				again = r.request(e)
			}
			again.Attempt = attempt + 2
			asks = append(asks, again)
		}
		if len(asks) == 0 || !Pause(ctx, after-waited) {
			return
		}
		waited = after
		r.say("a front door failed: asking again")
		r.send(ctx, asks)
	}
}

// further looks inward and reads more where something is odd: requests and reads go out together.
func (r *runner) further(ctx context.Context) {
	facts := r.run.Facts()
	facts.Observations = r.seen()
	wants := hops.Wants(facts, r.Rules)
	if len(wants) == 0 {
		return
	}
	failed := len(r.failing()) > 0
	var logs []hops.Source
	if at := slices.Index(wants, hops.AccessLogs); at >= 0 {
		wants = slices.Delete(wants, at, at+1)
		if failed && r.o.Logs {
			logs = []hops.Source{hops.AccessLogs}
		}
	}
	var more, late hops.Snapshot
	var wg sync.WaitGroup
	r.say("reading events, logs and policies")
	wg.Go(func() {
		again := []hops.Source{hops.InferenceServices, hops.Revisions, hops.Pods} // statuses move while we look
		more = r.Reader.Want(ctx, facts, append(again, wants...))
	})
	if len(logs) > 0 {
		wg.Go(func() {
			r.say("waiting for the gateways' access logs")
			if Pause(ctx, accessLogLag) {
				late = r.Reader.Want(ctx, facts, logs)
			}
		})
	}
	if failed {
		r.inward(ctx)
	}
	wg.Wait()
	for _, s := range []hops.Snapshot{more, late} {
		if !s.Time.IsZero() {
			r.run.Snapshots = append(r.run.Snapshots, s)
		}
	}
}

// inward sends the real request at every entry behind the doors that has not had one, from the container outward, side by side.
func (r *runner) inward(ctx context.Context) {
	var asks []dial.Request
	for _, e := range slices.Backward(r.run.Flow.Entries) {
		last := r.last(e)
		switch {
		case e.Step.Door != "" || last != nil && last.Asked == hops.RealRequest:
		case e.Request && r.mayWake(e.Step) && !(e.Step.Hop == hops.Activator && r.holds(e.Step)):
			asks = append(asks, r.request(e))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, max(innerPatience, r.slowest()))
	defer cancel()
	r.send(ctx, asks)
}

// innerPatience is how long an inner hop may take to answer where no front door took longer: it is asked only to see where requests stop.
const innerPatience = 2 * time.Second

// slowest is the longest time that a front door took, with a little to spare.
func (r *runner) slowest() time.Duration {
	var most time.Duration
	for _, o := range r.seen() {
		if o.Step.Door != "" {
			most = max(most, o.Took)
		}
	}
	return most + most/10
}

// holds says whether the activator would keep a request waiting: no pod of the revision is ready to take it.
func (r *runner) holds(s hops.Step) bool {
	for _, c := range r.run.Flow.Components {
		for _, v := range c.Revisions {
			if v.Name == s.Revision {
				return !v.Ready
			}
		}
	}
	return false
}
