// record.go: what is kept of one service.
package metrics

import (
	"time"

	"probe/hops"
	"probe/probe/agent/state"
)

// states are in the order of the series; a record counts runs by it.
var states = [...]hops.State{hops.OK, hops.Degraded, hops.Failed, hops.Inconclusive}

var doors = [...]hops.Door{hops.Outside, hops.ClusterLocal}

// record is one service, in less than 2 KB. The strings of its state, hop and reason are shared with all others.
type record struct {
	ref    hops.Ref
	state  hops.State // "" while too few probes agree
	hop    hops.Hop
	reason string

	asleep     bool
	timed      bool          // whether took may be told
	took       time.Duration // of the last probe
	interval   time.Duration
	problems   int
	last, good time.Time // when the last probe ended, and the last that was OK
	runs       [len(states)]runs
	doors      [len(doors)]door
	cold       *histogram // nil until there was one
}

// runs counts the probes that ended in one state.
type runs struct {
	n        uint64
	exemplar exemplar
}

// door is one front door.
type door struct {
	// asked says that the last probe sent a real request here and something came of it; timed that it was not a cold start.
	asked, timed bool
	status       int // of that request; 0 when no whole answer came
	phases       hops.Phases
	latency      *histogram // of all warm requests with a good answer; nil until there was one
}

func (rec *record) observe(r *state.Result) {
	rec.asleep, rec.interval, rec.problems, rec.last = r.Asleep, r.Interval, len(r.Problems), r.Ended
	// A knock is quicker than any request, and a cold start slower: neither may mingle with what a warm service takes.
	rec.timed, rec.took = !r.Asleep && !r.Cold, r.Took()
	if r.State == hops.OK {
		rec.good = r.Ended
	}
	var trace traceID
	if r.Run != nil {
		trace = traceOf(r.Run.TraceID)
	}
	for i, s := range states {
		if s == r.State {
			rec.runs[i].n++
			rec.runs[i].exemplar.set(trace, 1, r.Ended)
		}
	}
	for i := range rec.doors {
		rec.doors[i].asked, rec.doors[i].timed = false, false
	}
	if r.Run == nil {
		return
	}
	for i := range r.Run.Observations {
		rec.request(r, &r.Run.Observations[i], trace)
	}
}

// request takes one request, if it is a real one at a front door. Of several in one probe the last is shown.
func (rec *record) request(r *state.Result, o *hops.Observation, trace traceID) {
	d := rec.door(o.Step.Door)
	if d == nil || o.Asked != hops.RealRequest || o.Outcome == hops.NoWay || o.Outcome == hops.Cancelled {
		return
	}
	cold := r.Cold || o.ColdStart
	d.asked, d.timed, d.status, d.phases = true, !cold, o.Status, o.Phases
	switch {
	case !answered(r, o): // how quickly a gateway refuses says nothing of the service
	case cold:
		if rec.cold == nil {
			rec.cold = new(histogram)
		}
		rec.cold.observe(&coldBounds, o.Took, trace, r.Ended)
	default:
		if d.latency == nil {
			d.latency = new(histogram)
		}
		d.latency.observe(&warmBounds, o.Took, trace, r.Ended)
	}
}

func (rec *record) door(name hops.Door) *door {
	for i, d := range doors {
		if d == name {
			return &rec.doors[i]
		}
	}
	return nil
}

// answered says whether the model gave the answer: a success, or what the settings expect instead, or that only too late.
func answered(r *state.Result, o *hops.Observation) bool {
	return o.OK() || o.Outcome == hops.Answered && (r.State == hops.OK || r.Reason == state.TooSlow)
}
