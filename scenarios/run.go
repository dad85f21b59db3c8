// run.go: runs one scenario: own namespace, base must be OK, break, look until the verdict is the expected one, undo.
package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"probe/hops"
	"probe/probe"
)

// Result is how a scenario went.
type Result struct {
	Scenario Scenario
	Status   Status
	// Why says what was not as expected, what the runner could not do, or what the cluster lacks.
	Why   []string
	Looks []Look
	Took  time.Duration
	// Detected is how long after the breakage the expected verdict came.
	Detected time.Duration
}

// Status is the outcome of a scenario.
type Status string

// The outcomes. Broken is a fault of the runner or the cluster, not of the verdict.
const (
	Passed  Status = "passed"
	Drifted Status = "drifted"
	Broken  Status = "broken"
	Skipped Status = "skipped"
	NotRun  Status = "not-run"
)

// Look is one moment at which a verdict was expected.
type Look struct {
	Name   string
	Expect Expect
	// Run is the last one of that moment.
	Run hops.Run
	Why []string
	// Seen are the verdicts that came, one after the other.
	Seen []Seen
}

// Seen is a verdict that differs from the one before.
type Seen struct {
	After   time.Duration // since the look began
	Verdict string
	Run     hops.Run
}

// The looks of a scenario.
const (
	LookStarting = "starting"
	LookMain     = "shown"
	LookLater    = "later"
)

// Got is the verdict of the main look, or of the last one there was.
func (r *Result) Got() hops.Verdict {
	var out hops.Verdict
	for _, l := range r.Looks {
		out = l.Run.Verdict
		if l.Name == LookMain {
			break
		}
	}
	return out
}

const (
	readyWithin    = 4 * time.Minute // of a base service
	cleanUpWithin  = 3 * time.Minute
	startingWithin = 30 * time.Second // of a first look, which has only to find the service resolved
	oneLook        = 15 * time.Second // more for each look at a healthy service beyond the usual ones
)

// attempt is one run of one scenario.
type attempt struct {
	*Runner
	s      *Scenario
	space  *space
	values map[string]string
	res    *Result
}

// one runs one scenario. It has undone what it changed outside its namespace when it returns, also when ctx is cancelled; the namespace itself
// goes in the background.
func (r *Runner) one(ctx context.Context, k *kube, s Scenario) (res Result) {
	res = Result{Scenario: s, Status: Broken}
	began := r.Now()
	defer func() { res.Took = r.Now().Sub(began) }()
	limited, cancel := context.WithTimeoutCause(ctx, s.within(), fmt.Errorf("it took more than %s", s.within()))
	defer cancel()
	sp, err := k.open(limited, prefix+s.Name, s.Labels)
	if err != nil {
		res.Why = []string{err.Error()}
		return res
	}
	a := &attempt{Runner: r, s: &s, space: sp, values: maps.Clone(r.Values), res: &res}
	if a.values == nil {
		a.values = map[string]string{}
	}
	a.values["NAMESPACE"] = sp.name
	defer func() { res.Why = append(res.Why, a.undo(ctx, &res.Status)...) }()
	if err := a.run(limited); err != nil {
		if cause := context.Cause(limited); cause != nil {
			err = cause
		}
		res.Why = append(res.Why, err.Error())
		if ctx.Err() != nil {
			res.Status = NotRun
		}
	}
	return res
}

// run gives an error for what is a fault of the runner or the cluster; what the looks saw is in the result.
func (a *attempt) run(ctx context.Context) error {
	if slices.Contains(a.s.Requires, "model-store") {
		if err := a.space.apply(ctx, modelStore, a.values, false); err != nil {
			return err
		}
	}
	if len(a.s.Base) > 0 {
		if err := a.base(ctx); err != nil {
			return err
		}
	}
	for _, action := range a.s.Inject {
		if err := a.space.do(ctx, a.s, action, a.values); err != nil {
			return fmt.Errorf("breaking it: %w", err)
		}
	}
	broke := a.Now()
	if a.s.Starting != nil {
		if err := a.look(ctx, LookStarting, *a.s.Starting, startingWithin, 1); err != nil {
			return err
		}
	}
	times, within := 1, a.s.Settle.Duration
	if a.s.Healthy() {
		times = max(3, a.Looks) // it must not contradict itself
		within += time.Duration(times-3) * oneLook
	}
	if err := a.look(ctx, LookMain, a.s.Expect, within, times); err != nil {
		return err
	}
	a.res.Detected = a.res.Looks[len(a.res.Looks)-1].Run.Ended.Sub(broke)
	if l := a.s.Later; l != nil && a.drifted() == nil {
		for _, action := range l.Do {
			if err := a.space.do(ctx, a.s, action, a.values); err != nil {
				return fmt.Errorf("before the later look: %w", err)
			}
		}
		if err := a.look(ctx, LookLater, l.Expect, l.Settle.Duration, 1); err != nil {
			return err
		}
	}
	a.res.Why = a.drifted()
	a.res.Status = Passed
	if len(a.res.Why) > 0 {
		a.res.Status = Drifted
	}
	return nil
}

// drifted lists what was not as expected at any look.
func (a *attempt) drifted() []string {
	var out []string
	for _, l := range a.res.Looks {
		for _, w := range l.Why {
			out = append(out, l.Name+": "+w)
		}
	}
	return out
}

// options are the probe's choices of a scenario.
func (a *attempt) options() probe.Options {
	c := a.s.Probe
	o := probe.Options{Ref: hops.Ref{Namespace: a.space.name, Name: a.s.Service}, Method: c.Method, Path: c.Path, Wake: c.Wake,
		RequestTimeout: c.Timeout.Duration, Logs: true}
	if c.Data != "" {
		o.Data = []byte(c.Data)
		o.Header = map[string][]string{"Content-Type": {"application/json"}}
	}
	return o
}

// base applies the healthy service and waits until a probe says that it is OK.
func (a *attempt) base(ctx context.Context) error {
	for _, m := range a.s.Base {
		if err := a.space.apply(ctx, a.s.Name+"/"+m, a.values, a.s.Shared); err != nil {
			return fmt.Errorf("the base: %w", err)
		}
	}
	return a.ok(ctx, hops.Ref{Namespace: a.space.name, Name: a.s.Service}, readyWithin)
}

// ok probes a service until it is OK.
func (r *Runner) ok(ctx context.Context, ref hops.Ref, within time.Duration) error {
	last := "it was not probed"
	for end := r.Now().Add(within); ; {
		run, err := r.Probe(ctx, probe.Options{Ref: ref})
		switch {
		case err != nil:
			last = err.Error()
		case run.Verdict.State == hops.OK:
			return nil
		default:
			last = fmt.Sprintf("%s: %s", run.Verdict.State, run.Verdict.Summary)
		}
		if !r.Now().Before(end) || !probe.Pause(ctx, r.pace().look) {
			return fmt.Errorf("the base %s is not OK: %s", ref, last)
		}
	}
}

// look probes until the verdict is as expected, times times in a row, or the time is up. A cause that is only possible is taken when the time is up and
// nothing surer came. Its error says that there is no verdict at all.
func (a *attempt) look(ctx context.Context, name string, e Expect, within time.Duration, times int) error {
	a.res.Looks = append(a.res.Looks, Look{Name: name, Expect: e})
	l := &a.res.Looks[len(a.res.Looks)-1]
	good, began := 0, a.Now()
	for end := began.Add(within); ; {
		run, err := a.Probe(ctx, a.options())
		if err == nil && ctx.Err() == nil {
			l.Run, l.Why = run, e.compare(&run)
			a.seen(l, a.Now().Sub(began))
			switch {
			case len(l.Why) == 0 && e.guessed(&run.Verdict): // something surer may come
			case len(l.Why) == 0:
				good++
			case good > 0:
				l.Why = append(l.Why, fmt.Sprintf("it was as expected %d times before", good))
				return nil
			}
			if good == times {
				return nil
			}
		}
		if !a.Now().Before(end) || !probe.Pause(ctx, a.pace().look) {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// seen notes a verdict that differs from the one before.
func (a *attempt) seen(l *Look, after time.Duration) {
	v := &l.Run.Verdict
	words := verdictWords(v, &Expect{ID: "any"})
	if len(l.Seen) == 0 || l.Seen[len(l.Seen)-1].Verdict != words {
		l.Seen = append(l.Seen, Seen{After: after, Verdict: words, Run: l.Run})
		a.say("%s: %s +%s %s", a.s.Name, l.Name, after.Round(time.Second), words)
	}
}

// undo puts back what was changed outside and starts to delete the namespace. What fails there is in the list.
func (a *attempt) undo(ctx context.Context, status *Status) []string {
	if a.dead.Load() {
		a.leave(fmt.Errorf("namespace %s and what was changed for it stay: the cluster does not answer; the next drill cleans up", a.space.name))
		a.space.stop()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.pace().cleanUp)
	err := a.space.undo(ctx)
	a.closing.Go(func() {
		defer cancel()
		a.leave(a.space.close(ctx))
	})
	if err != nil {
		*status = Broken
		return []string{"cleaning up: " + err.Error()}
	}
	return nil
}
