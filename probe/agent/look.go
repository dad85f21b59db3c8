// look.go: the full look at a service: when there is a turn for it, what is kept of it, and what is said when it cannot be had.
package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unique"

	"probe/hops"
	"probe/probe"
	"probe/probe/agent/state"
	"probe/probe/dial"
	"probe/probe/read"
)

// look is a full run. Where nothing was read for it, it waits its turn; when none comes in time, what the light run saw has to do.
func (a *attempt) look(ctx context.Context) {
	var reader Looker = a.first
	if a.first == nil {
		if reader = a.turn(ctx); reader == nil {
			a.unseen()
			return
		}
		defer func() { a.lookers <- reader }()
	}
	connect := func(f *hops.Flow) probe.Sender { return a.connect(f, reader) }
	before, _ := reader.Reads()
	run, err := probe.Run(ctx, probe.Deps{Reader: reader, Connect: connect, Rules: a.rules, Now: a.now, ID: a.id}, a.o)
	if err != nil {
		a.unread(err)
		return
	}
	run.Reads -= before
	a.res.Run, a.res.Further = &run, true
	a.res.Asleep = run.Verdict.Asleep
	a.t.answers, a.t.looked = answers(&run), a.now()
	if hops.Settled(run.Facts()) {
		a.t.moving = time.Time{}
	} else if a.t.moving.IsZero() {
		a.t.moving = a.t.looked
	}
	a.t.last = verdictOf(&run)
	a.take(a.t.last)
	a.t.flow = slim(&run.Flow)
	a.pods.learn(a.t.flow, run.Snapshots)
}

// turn waits for a looker; nil when none comes in time.
func (a *attempt) turn(ctx context.Context) Looker {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	select {
	case looker := <-a.lookers:
		return looker
	case <-ctx.Done():
		return nil
	}
}

// unseen is a look that had no turn. Where nothing was sent there is no result.
func (a *attempt) unseen() {
	if a.res.Run == nil {
		a.gone = errNoTurn
		return
	}
	a.instead(errNoTurn)
}

// errNoTurn says that there was no time for a service.
var errNoTurn = errors.New("too many services are looked into at once")

// unread is a look that could not read what it needs. A service that is not there is no result at all.
func (a *attempt) unread(err error) {
	switch {
	case missing(err):
		a.gone = err
	case a.res.Run == nil:
		a.take(verdict{state: hops.Inconclusive, reason: state.NoCause, summary: err.Error()})
	default:
		a.instead(fmt.Errorf("the cluster could not be read: %w", err))
	}
}

// instead is the result of the light run alone, where no look can be had: a failure without a cause, or, where every answer was good, what was known
// before, less a failure, which is over.
func (a *attempt) instead(why error) {
	switch {
	case !a.passed:
		hop, said := failing(a.res.Run)
		a.take(verdict{state: hops.Failed, hop: hop, reason: state.NoCause, summary: said + "; " + why.Error()})
	case a.t.last.state == hops.Failed:
		a.take(verdict{state: hops.OK})
	default:
		a.take(a.t.last)
	}
}

// failing is the first front door that failed, and what it said.
func failing(run *hops.Run) (hops.Hop, string) {
	for i := range run.Observations {
		if o := &run.Observations[i]; o.Step.Door != "" && !o.OK() {
			return o.Step.Hop, fmt.Sprintf("the %s answered %s", o.Step.Hop, o.Describe())
		}
	}
	return "", "requests fail"
}

// take makes a verdict the result's.
func (a *attempt) take(v verdict) {
	a.res.State, a.res.Asleep, a.res.Hop, a.res.Reason, a.res.Summary, a.res.Fix = v.state, v.asleep, v.hop, v.reason, v.summary, v.fix
	if v.state == hops.OK {
		a.res.Hop, a.res.Reason, a.res.Summary, a.res.Fix = "", "", "", ""
	}
}

// verdictOf keeps what is needed of a run's verdict.
func verdictOf(run *hops.Run) verdict {
	v := &run.Verdict
	out := verdict{state: v.State, asleep: v.Asleep, hop: v.Step.Hop, reason: state.NoCause, summary: v.Summary}
	for i := range v.Findings {
		f := &v.Findings[i]
		if f.Severity != hops.Note {
			out.reason, out.hop, out.summary, out.fix, out.certain = f.ID, f.Step.Hop, f.Summary, f.Fix, f.Confidence != hops.Possible
			break
		}
	}
	if v.State == hops.OK {
		out.reason = ""
	}
	return out
}

// missing says whether the service is not there.
func missing(err error) bool {
	_, service := errors.AsType[*read.NotFoundError](err)
	_, namespace := errors.AsType[*read.NoNamespaceError](err)
	return service || namespace
}

// mayZero says whether some revision that gets traffic may be scaled to zero.
func mayZero(f *hops.Flow) bool {
	for _, c := range f.Components {
		for _, v := range c.Revisions {
			if v.Weight > 0 && (v.ScaleToZero || v.Asleep) {
				return true
			}
		}
	}
	return false
}

// slim keeps of a path what light runs need. Names that many services share are kept once.
func slim(f *hops.Flow) *hops.Flow {
	out := &hops.Flow{Ref: f.Ref, Mode: f.Mode, Protocol: f.Protocol, Model: once(f.Model), EntryPoint: once(f.EntryPoint), Stopped: f.Stopped}
	for _, d := range f.Doors {
		out.Doors = append(out.Doors, hops.DoorState{Door: d.Door, Host: once(d.Host), Gateway: slimTarget(d.Gateway), Closed: once(d.Closed)})
	}
	for _, c := range f.Components {
		kept := hops.ComponentState{Name: once(c.Name), H2C: c.H2C}
		for _, v := range c.Revisions {
			if v.Weight > 0 {
				kept.Revisions = append(kept.Revisions, hops.RevisionState{Name: once(v.Name), Weight: v.Weight, Asleep: v.Asleep, ScaleToZero: v.ScaleToZero})
			}
		}
		out.Components = append(out.Components, kept)
	}
	for _, e := range f.Entries {
		if e.Step.Door == "" && !probe.Split(e) {
			continue
		}
		e.Target, e.Host, e.Scheme, e.Knocking = slimTarget(e.Target), once(e.Host), once(e.Scheme), nil
		e.Step.Component, e.Step.Revision, e.Step.Object = once(e.Step.Component), once(e.Step.Revision), slimObject(e.Step.Object)
		out.Entries = append(out.Entries, e)
	}
	out.Doors, out.Components, out.Entries = slices.Clip(out.Doors), slices.Clip(out.Components), slices.Clip(out.Entries)
	return out
}

func slimTarget(t hops.Target) hops.Target {
	return hops.Target{Kind: once(t.Kind), Namespace: once(t.Namespace), Name: once(t.Name), Port: t.Port}
}

func slimObject(o hops.ObjectRef) hops.ObjectRef {
	o.Kind, o.Namespace, o.Name = once(o.Kind), once(o.Namespace), once(o.Name)
	return o
}

// once gives the one copy of a string that all have; the text that it was cut from can go.
func once(s string) string { return unique.Make(s).Value() }

// addresses are the IPs of the pods that light probes dial: those of revisions that get a share of the traffic. It implements dial.PodFinder.
type addresses struct {
	mu   sync.Mutex
	pods map[string]dial.PodAddress // by "namespace/name"
	of   map[hops.Ref][]string      // the keys of a service
}

// learn takes the addresses of the pods in a path from what was read.
func (a *addresses) learn(f *hops.Flow, read []hops.Snapshot) {
	a.forget(f.Ref)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range f.Entries {
		if e.Target.Kind != "pod" {
			continue
		}
		for i := range read {
			for j := range read[i].Objects {
				o := &read[i].Objects[j]
				if ip := o.Str("status", "podIP"); o.Source == hops.Pods && o.Name == e.Target.Name && ip != "" {
					key := o.Namespace + "/" + o.Name
					a.pods[key] = dial.PodAddress{Namespace: o.Namespace, Name: o.Name, IP: ip, Port: e.Target.Port, Ready: true}
					a.of[f.Ref] = append(a.of[f.Ref], key)
				}
			}
		}
	}
}

func (a *addresses) forget(ref hops.Ref) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range a.of[ref] {
		delete(a.pods, key)
	}
	delete(a.of, ref)
}

// Pods implements dial.PodFinder without asking anybody.
func (a *addresses) Pods(_ context.Context, t hops.Target) ([]dial.PodAddress, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p, known := a.pods[t.Namespace+"/"+t.Name]; known {
		return []dial.PodAddress{p}, nil
	}
	return nil, fmt.Errorf("%s: not seen at the last look", t)
}
