// attempt.go: one probe under way: its options, the light run, and what the answers are compared with.
package agent

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"sync"

	"probe/hops"
	"probe/probe"
	"probe/probe/agent/settings"
	"probe/probe/agent/state"
)

// attempt is one probe under way.
type attempt struct {
	*prober
	t     *target
	set   settings.Settings
	o     probe.Options
	meets *settings.Expectation
	first *given // what was read beforehand; nil where a look reads for itself
	res   state.Result
	// passed says that the light run got good answers only.
	passed bool
	gone   error // there is nothing to probe

	mu     sync.Mutex
	bodies map[string][]byte // by span id, where an expectation looks at them
}

// prepare makes the options of the settings; it says what of them cannot be had.
func (a *attempt) prepare(ctx context.Context) (problems []string) {
	ref := a.res.Ref
	a.o = probe.Options{Ref: ref, Doors: a.set.Doors(), Method: a.set.Method, Path: a.set.Path, Protocol: a.set.Protocol, Wake: a.set.Wake,
		Spare: !a.set.Wake, RequestTimeout: a.set.Timeout, Unrecorded: !a.recorded(), FrontOnly: a.frontOnly, Logs: true}
	a.res.Recorded = !a.o.Unrecorded
	if e, err := settings.Compile(a.set); err != nil {
		problems = append(problems, err.Error())
	} else {
		a.meets = e
	}
	if a.meets != nil {
		a.bodies = map[string][]byte{}
		a.o.Body = func(span string, body []byte) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.bodies[span] = body
		}
	}
	return append(problems, a.fill(ctx)...)
}

// fill puts in what the settings name: the sample and the credentials. What cannot be had is a problem, and the request goes without.
func (a *attempt) fill(ctx context.Context) (problems []string) {
	namespace, err := a.res.Ref.Namespace, error(nil)
	a.o.Data, a.o.Header, a.o.Credentials = nil, nil, false
	if a.set.Sample != (settings.Object{}) {
		if a.o.Data, err = a.store.Sample(ctx, namespace, a.set.Sample); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if a.set.Credentials != (settings.Object{}) {
		if a.o.Header, err = a.store.Header(ctx, namespace, a.set.Credentials); err != nil {
			problems = append(problems, err.Error())
		}
		a.o.Credentials = len(a.o.Header) > 0
	}
	if len(a.o.Data) > 0 && a.o.Header.Get("Content-Type") == "" {
		h := a.o.Header.Clone() // the store's own is not ours to write to
		if h == nil {
			h = http.Header{}
		}
		h.Set("Content-Type", "application/json")
		a.o.Header = h
	}
	return problems
}

// recorded says whether the mesh is to record this run: one healthy run in so many, spread over the services, and each one after a failure.
func (a *attempt) recorded() bool {
	if a.t.inARow > 0 {
		return true
	}
	h := fnv.New64a()
	h.Write([]byte(a.res.Ref.String()))
	return (h.Sum64()+a.t.healthy)%max(1, a.record) == 0
}

// run sends the light run where the path is known, and looks further where that is not enough.
func (a *attempt) run(ctx context.Context) {
	flow := a.t.flow
	if flow == nil || a.set.Wake && mayZero(flow) { // whether a request wakes the service must be read: a cold start is no latency
		a.look(ctx)
		return
	}
	run, passed := probe.Light(ctx, probe.Deps{Connect: func(*hops.Flow) probe.Sender { return a.light }, Now: a.now, ID: a.id}, flow, a.o, a.met())
	a.res.Run, a.res.Asleep, a.passed = &run, run.Verdict.Asleep, passed
	again := a.t.unsettled(a.now())
	if passed && a.t.last.state == hops.OK && !again {
		a.res.State = hops.OK
		return
	}
	if !again && !a.due(&run) {
		a.take(a.t.last)
		run.Verdict.State, run.Verdict.Summary = a.res.State, a.res.Summary
		return
	}
	if a.set.Sample != (settings.Object{}) || a.set.Credentials != (settings.Object{}) {
		a.store.Refresh(ctx, a.res.Ref.Namespace, a.set) // a token may have been renewed since it was read
		a.fill(ctx)
	}
	a.o.After, a.o.Unrecorded, a.res.Recorded = &run, false, true
	a.look(ctx)
}

// met is the expectation as a light run asks for it; nil when there is none.
func (a *attempt) met() func(*hops.Observation) bool {
	if a.meets == nil {
		return nil
	}
	return func(o *hops.Observation) bool { return a.meets.Check(o, a.body(o)) == nil }
}

func (a *attempt) body(o *hops.Observation) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bodies[o.SpanID]
}

// due says whether a full look is worth its reads.
func (a *attempt) due(run *hops.Run) bool {
	return a.t.inARow < eager || answers(run) != a.t.answers || a.now().Sub(a.t.looked) >= lookAgain
}

// answers digests what the requests of a light run came to.
func answers(run *hops.Run) uint64 {
	h := fnv.New64a()
	for i := range run.Observations {
		if o := &run.Observations[i]; o.Attempt <= 1 && o.Step.Door != "" {
			fmt.Fprintf(h, "%s %s %d %d %s\n", o.Step.ID(), o.Outcome, o.Status, o.GRPCStatus, hops.WroteIt(o))
		}
	}
	return h.Sum64()
}

// expect compares the answers at the front doors with what the settings expect, now that the path was judged.
func (a *attempt) expect() {
	last := lastReal(a.res.Run)
	if len(last) == 0 {
		return
	}
	met := 0
	for _, o := range last {
		a.res.Cold = a.res.Cold || o.ColdStart
		if a.meets == nil {
			continue
		}
		err := a.meets.Check(o, a.body(o))
		if err == nil {
			met++
			continue
		}
		if a.res.State == hops.OK || a.res.State == hops.Degraded {
			a.take(verdict{state: hops.Failed, hop: hops.Container, reason: state.UnexpectedResponse, summary: err.Error(),
				fix: "correct the model, or the annotations probe/expect and probe/expect-status"})
			return
		}
	}
	if met == len(last) && a.res.State == hops.Failed && a.meets.Status() {
		a.take(verdict{state: hops.OK}) // a status that is a fault elsewhere is the right one here
	}
	for _, o := range last {
		if most := a.set.MaxLatency; most > 0 && o.Took > most && !a.res.Cold && a.res.State == hops.OK {
			a.take(verdict{state: hops.Degraded, hop: hops.Client, reason: state.TooSlow, summary: fmt.Sprintf("the answer took %s, more than %s", o.Took.Round(1e6), most),
				fix: "see in the trace which hop took the time; raise probe/max-latency if it is in order"})
		}
	}
}

// lastReal are the last answers to real requests, one a front door.
func lastReal(run *hops.Run) []*hops.Observation {
	if run == nil {
		return nil
	}
	var out []*hops.Observation
	for _, door := range []hops.Door{hops.Outside, hops.ClusterLocal} {
		var last *hops.Observation
		for i := range run.Observations {
			if o := &run.Observations[i]; o.AtDoor(door) && o.Asked == hops.RealRequest {
				last = o
			}
		}
		if last != nil {
			out = append(out, last)
		}
	}
	return out
}

// starting says whether what is wrong is no more than that the service is young: nothing certain is wrong with it.
func (a *attempt) starting(svc *state.Service) bool {
	return a.res.State != hops.OK && a.res.Further && !a.t.last.certain && a.now().Sub(svc.Created) < youth
}
