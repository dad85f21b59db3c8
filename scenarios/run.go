// run.go: runs one scenario: own namespace, base must be OK, break, probe until the verdict is the expected one, clean up.
package scenarios

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"probe/hops"
	"probe/probe"
)

// Result is how a scenario went.
type Result struct {
	Scenario Scenario
	// Status is Passed, Drifted, Broken or Skipped.
	Status Status
	// Why says what was not as expected, what the runner could not do, or what the cluster lacks.
	Why  []string
	Got  hops.Verdict
	Run  hops.Run
	Took time.Duration
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
)

// Runner runs scenarios on one cluster.
type Runner struct {
	Config *rest.Config
	// Probe probes a service with the given choices.
	Probe func(ctx context.Context, o probe.Options) (hops.Run, error)
	// Values fill in the placeholders of manifests, beside ${NAMESPACE}.
	Values map[string]string
	// Say takes progress lines; nil is quiet.
	Say func(string)
	Now func() time.Time
}

const (
	readyWithin   = 4 * time.Minute // of a base service
	cleanUpWithin = 2 * time.Minute
	betweenProbes = 3 * time.Second
)

func (r *Runner) say(format string, args ...any) {
	if r.Say != nil {
		r.Say(fmt.Sprintf(format, args...))
	}
}

// Run runs one scenario. It always cleans up, also when ctx is cancelled.
func (r *Runner) Run(ctx context.Context, s Scenario) (res Result) {
	res = Result{Scenario: s, Status: Broken}
	began := r.Now()
	k, err := newKube(r.Config)
	if err != nil {
		res.Why = []string{err.Error()}
		return res
	}
	ns := "drill-" + s.Name
	var undos []undo
	defer func() {
		res.Took = r.Now().Sub(began)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWithin)
		defer cancel()
		for _, u := range slices.Backward(undos) {
			if err := u(ctx); err != nil {
				res.Why = append(res.Why, "cleaning up: "+err.Error())
			}
		}
		if err := k.deleteNamespace(ctx, ns); err != nil {
			res.Why = append(res.Why, "cleaning up: "+err.Error())
		}
	}()
	if err := k.namespace(ctx, ns); err != nil {
		res.Why = []string{err.Error()}
		return res
	}
	values := map[string]string{"NAMESPACE": ns}
	for name, v := range r.Values {
		values[name] = v
	}
	opts := s.options(ns)
	if len(s.Base) > 0 {
		if err := r.base(ctx, k, &s, ns, values, opts); err != nil {
			res.Why = []string{err.Error()}
			return res
		}
	}
	broke := r.Now()
	for _, a := range s.Inject {
		u, err := k.do(ctx, &s, a, ns, values)
		if u != nil && (a.Scale != nil || a.Delete != nil || a.Patch != nil || s.Shared) {
			undos = append(undos, u) // what lives in the namespace goes with it
		}
		if err != nil {
			res.Why = []string{"breaking it: " + err.Error()}
			return res
		}
	}
	r.await(ctx, &res, opts, broke)
	return res
}

// options are the probe's choices of a scenario.
func (s *Scenario) options(ns string) probe.Options {
	return probe.Options{Ref: hops.Ref{Namespace: ns, Name: s.Service}, Method: s.Probe.Method, Path: s.Probe.Path, Data: []byte(s.Probe.Data),
		Wake: s.Probe.Wake, Logs: true}
}

// base applies the healthy service and waits until a probe says that it is OK.
func (r *Runner) base(ctx context.Context, k *kube, s *Scenario, ns string, values map[string]string, o probe.Options) error {
	for _, m := range s.Base {
		raw, err := s.manifest(m, values)
		if err != nil {
			return err
		}
		if _, err := k.apply(ctx, raw, ns); err != nil {
			return fmt.Errorf("the base: %w", err)
		}
	}
	o.Path, o.Data, o.Method = "", nil, ""
	last := ""
	for end := r.Now().Add(readyWithin); r.Now().Before(end); {
		run, err := r.Probe(ctx, o)
		switch {
		case err != nil:
			last = err.Error()
		case run.Verdict.State == hops.OK:
			return nil
		default:
			last = fmt.Sprintf("%s: %s", run.Verdict.State, run.Verdict.Summary)
		}
		if !pause(ctx, betweenProbes) {
			break
		}
	}
	return fmt.Errorf("the base did not become OK within %s: %s", readyWithin, last)
}

// await probes until the verdict is as expected or the time is up. A healthy scenario must be as expected at the first look after it settled, and
// never contradict itself: it is looked at three times.
func (r *Runner) await(ctx context.Context, res *Result, o probe.Options, broke time.Time) {
	s := &res.Scenario
	good := 0
	for end := broke.Add(s.Settle.Duration); ; {
		run, err := r.Probe(ctx, o)
		if err != nil {
			res.Why = []string{err.Error()}
		} else {
			res.Run, res.Got = run, run.Verdict
			res.Why = s.Expect.compare(&run)
		}
		switch {
		case len(res.Why) == 0 && (!s.Healthy() || good == 2):
			res.Status, res.Detected = Passed, r.Now().Sub(broke)
			return
		case len(res.Why) == 0:
			good++
		case good > 0:
			res.Status = Drifted // it was right and then was not
			return
		}
		if !r.Now().Before(end) || !pause(ctx, betweenProbes) {
			if ctx.Err() == nil && err == nil {
				res.Status = Drifted
			}
			return
		}
	}
}

// compare lists what of a run is not as expected.
func (e Expect) compare(run *hops.Run) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	v := run.Verdict
	if v.State != e.State {
		say("state %s, expected %s (%s)", v.State, e.State, v.Summary)
	}
	if e.Hop != "" && v.Step.Hop != e.Hop {
		say("hop %q, expected %q", v.Step.Hop, e.Hop)
	}
	first := ""
	for _, f := range v.Findings {
		if f.Severity != hops.Note {
			first = f.ID
			break
		}
	}
	if first != e.ID && !slices.Contains(e.Or, first) {
		say("first finding %q, expected %q", first, e.ID)
	}
	for _, f := range v.Findings {
		if slices.Contains(e.Never, f.ID) {
			say("finding %q must not appear", f.ID)
		}
	}
	if e.Asleep != v.Asleep {
		say("asleep: %v, expected %v", v.Asleep, e.Asleep)
	}
	for i := range run.Observations {
		if o := &run.Observations[i]; e.Status != 0 && o.AtDoor(hops.Outside) && o.Asked == hops.RealRequest && o.Status != e.Status {
			say("the outside door answered %d, expected %d", o.Status, e.Status)
			break
		}
	}
	return out
}

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// namespace makes the scenario's own namespace; one that an earlier run left is taken away first.
func (k *kube) namespace(ctx context.Context, name string) error {
	if err := k.deleteNamespace(ctx, name); err != nil {
		return err
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": map[string]any{drillLabel: "true"}}}}
	_, err := k.dyn.Resource(namespaces).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
	return err
}

// deleteNamespace deletes a namespace of the runner's own and waits until it is gone. It touches no namespace that it did not make.
func (k *kube) deleteNamespace(ctx context.Context, name string) error {
	r := k.dyn.Resource(namespaces)
	for i := 0; ; i++ {
		o, err := r.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return ignoreMissing(err)
		}
		if o.GetLabels()[drillLabel] != "true" {
			return fmt.Errorf("namespace %s exists and is not of a drill: it is left alone", name)
		}
		if i == 0 {
			if err := ignoreMissing(r.Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
				return err
			}
		}
		if !pause(ctx, time.Second) {
			return fmt.Errorf("namespace %s does not go away: `kubectl get namespace %s -o yaml` says what holds it", name, name)
		}
	}
}
