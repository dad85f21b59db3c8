// light.go: the probe of a service that is believed to be healthy: over a path that an earlier run resolved, without one read of the cluster.
package probe

import (
	"context"
	"slices"

	"probe/hops"
	"probe/probe/dial"
)

// Light sends what a probe of a healthy service costs: one request a front door (a knock where Options spare a service that may sleep), and, where
// traffic is split, one a weighted revision, which a front door's answer would not tell of. Deps needs no Reader and no Rules. The run has no
// verdict beyond OK: passed says whether every answer was good, or, with meets, whether meets takes it instead. Of a run that did not pass only a
// full one tells more.
func Light(ctx context.Context, d Deps, flow *hops.Flow, o Options, meets func(*hops.Observation) bool) (run hops.Run, passed bool) {
	r := begin(d, o) // it needs no deadline of its own: each request has one, and they go side by side
	r.run.Flow = *flow
	r.sender = d.Connect(&r.run.Flow)
	asks, whole := r.cheapest()
	r.send(ctx, asks)
	r.run.Ended = d.Now()
	passed = whole && len(asks) > 0
	for i := range r.run.Observations {
		seen := &r.run.Observations[i]
		good := seen.Judged() && seen.OK()
		if meets != nil && seen.Asked == hops.RealRequest {
			good = meets(seen)
		}
		passed = passed && good
	}
	if passed {
		r.run.Verdict = hops.Verdict{State: hops.OK, Asleep: r.run.Flow.Asleep()}
	}
	return r.run, passed
}

// cheapest are the requests of a light run, and whether they reach every front door that is wanted and open.
func (r *runner) cheapest() (asks []dial.Request, whole bool) {
	reached := map[hops.Door]bool{}
	for _, e := range r.run.Flow.Entries {
		door := e.Step.Door
		switch {
		case door == "" && (r.o.FrontOnly || !Split(e)) || !r.wanted(door):
		case e.Request && r.mayWake(e.Step):
			asks = append(asks, r.request(e))
			reached[door] = true
		case door != "" && e.Knock:
			asks = append(asks, r.knock(e))
			reached[door] = true
		}
	}
	open := slices.ContainsFunc(r.run.Flow.Doors, func(d hops.DoorState) bool { return d.Closed == "" && r.wanted(d.Door) && !reached[d.Door] })
	return asks, !open
}

// Split says whether an entry is that of a revision which gets a share of the traffic only.
func Split(e hops.Entry) bool {
	return e.Step.Hop == hops.QueueProxy && e.Step.Weight > 0 && e.Step.Weight < 100
}

// goOn takes over what a light run saw at the front doors, where the path still leads the same way.
func (r *runner) goOn() {
	if r.o.After == nil {
		return
	}
	for _, e := range r.run.Flow.Entries {
		for _, seen := range r.o.After.Observations {
			told := seen.Outcome != hops.NoWay && seen.Outcome != hops.Cancelled
			if told && e.Step.Door != "" && seen.Step.ID() == e.Step.ID() && seen.Host == hostOf(e) {
				r.run.Observations = append(r.run.Observations, seen)
			}
		}
	}
}

// hostOf is the Host that a request at an entry bears.
func hostOf(e hops.Entry) string {
	if e.Host == "" {
		return e.Target.Name
	}
	return e.Host
}
