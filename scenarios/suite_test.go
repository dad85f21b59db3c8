package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"probe/hops"
	"probe/probe"
	"probe/probe/capture"
)

// values fill in the placeholders of the scenarios that the tests run.
var values = map[string]string{"STORE": "store:1", "STORE_KEY": "key", "STORE_SECRET": "secret", "STORE_HTTP": "store:2"}

// verdicts gives each service the verdict that its scenario expects; the base is OK.
func verdicts(t *testing.T) Prober {
	t.Helper()
	byName := map[string]Expect{prefix + "base": {State: hops.OK}}
	for _, s := range named(t) {
		byName[prefix+s.Name] = s.Expect
	}
	return func(_ context.Context, o probe.Options) (hops.Run, error) { return give(byName[o.Ref.Namespace]), nil }
}

func give(e Expect) hops.Run {
	run := hops.Run{Ended: time.Now(), Verdict: hops.Verdict{State: e.State, Step: hops.Step{Hop: e.Hop}, Asleep: e.Asleep}}
	if e.ID != "" {
		run.Verdict.Findings = []hops.Finding{{ID: e.ID, Severity: hops.Error}}
	}
	return run
}

// named gives scenarios by name, all without names.
func named(t *testing.T, names ...string) []Scenario {
	t.Helper()
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		return all
	}
	var out []Scenario
	for _, name := range names {
		for _, s := range all {
			if s.Name == name {
				s.Starting, s.Later = nil, nil // they would wait for other verdicts and for pods
				out = append(out, s)
			}
		}
	}
	if len(out) != len(names) {
		t.Fatalf("%d of %v exist", len(out), names)
	}
	return out
}

func newRunner(a *api, p Prober) *Runner {
	return &Runner{Config: a.config(), Probe: p, Values: values, AllowShared: true, Now: time.Now, quick: true}
}

func statuses(s *Summary) string {
	var out []string
	for _, r := range s.Results {
		out = append(out, string(r.Status))
	}
	return strings.Join(out, " ")
}

func TestRun(t *testing.T) {
	a := newAPI(t)
	p := verdicts(t)
	seen := ""
	r := newRunner(a, func(ctx context.Context, o probe.Options) (hops.Run, error) {
		if o.Ref.Namespace == prefix+"ingress-controller-not-running" {
			seen = a.replicas()
		}
		return p(ctx, o)
	})
	sum, err := r.Run(t.Context(), named(t, "oom-killed", "image-pull-backoff", "ingress-controller-not-running"))
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(&sum); got != "passed passed passed" {
		t.Errorf("%s: %+v", got, sum.Results)
	}
	if seen != "0" || a.replicas() != "1" {
		t.Errorf("the controller had %s replicas when it was probed and %s after", seen, a.replicas())
	}
	if left := a.drills(); len(left) > 0 || len(sum.Left) > 0 {
		t.Errorf("left behind: %v %v", left, sum.Left)
	}
}

// TestRunGuess: a cause that is only possible is looked at again until a surer one comes or the time is up.
func TestRunGuess(t *testing.T) {
	for _, sure := range []bool{true, false} {
		looks, normal := 0, verdicts(t)
		r := newRunner(newAPI(t), func(ctx context.Context, o probe.Options) (hops.Run, error) {
			run, err := normal(ctx, o)
			if o.Ref.Namespace == prefix+"oom-killed" {
				if looks++; looks < 3 || !sure {
					run.Verdict.Findings[0].Confidence = hops.Possible
				}
			}
			return run, err
		})
		list := named(t, "oom-killed")
		list[0].Settle.Duration = 200 * time.Millisecond
		sum, err := r.Run(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		res := sum.Results[0]
		guessed := res.Scenario.Expect.guessed(&res.Looks[0].Run.Verdict)
		if res.Status != Passed || guessed == sure || sure && looks != 3 || !sure && looks < 3 {
			t.Errorf("sure at last %v: %s after %d looks, guessed %v: %v", sure, res.Status, looks, guessed, res.Why)
		}
		dir := t.TempDir()
		if err := res.SaveLooks(dir); err != nil {
			t.Error(err)
		}
		if _, _, err := capture.Load(filepath.Join(dir, LookMain)); err != nil {
			t.Errorf("what was saved of the look: %v", err)
		}
	}
}

func TestRunNotAsExpected(t *testing.T) {
	tests := map[string]struct {
		probe  func(a *api, o probe.Options, cancel func()) (hops.Run, error)
		adapt  func(a *api, r *Runner)
		status string
		why    string
	}{
		"another verdict": {
			probe: func(*api, probe.Options, func()) (hops.Run, error) {
				return give(Expect{State: hops.Failed, Hop: hops.Pod, ID: "quota-exceeded"}), nil
			},
			status: "drifted drifted", why: `first finding "quota-exceeded", expected "oom-killed"`},
		"no verdict": {
			probe:  func(*api, probe.Options, func()) (hops.Run, error) { return hops.Run{}, errors.New("no rights") },
			status: "broken broken", why: "no rights"},
		"interrupted": {
			probe: func(_ *api, _ probe.Options, cancel func()) (hops.Run, error) {
				cancel()
				return hops.Run{}, context.Canceled
			},
			status: "not-run not-run", why: "canceled"},
		"cluster dies": {
			probe: func(a *api, _ probe.Options, _ func()) (hops.Run, error) {
				a.CloseClientConnections()
				go a.Close()
				time.Sleep(50 * time.Millisecond)
				return hops.Run{}, errors.New("connection refused")
			},
			status: "broken not-run", why: "the cluster died meanwhile"},
		"placeholder": {
			adapt:  func(_ *api, r *Runner) { r.Values = nil },
			status: "skipped skipped", why: "--set STORE=VALUE"},
		"foreign namespace": {
			adapt: func(a *api, _ *Runner) {
				a.objects["/api/v1/namespaces/drill-oom-killed"] = map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "drill-oom-killed"}}
			},
			status: "broken passed", why: "already exists"},
		"namespace stays": {
			adapt:  func(a *api, _ *Runner) { a.stuck = true },
			status: "passed passed", why: "a finalizer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			normal := verdicts(t)
			r := newRunner(a, func(ctx context.Context, o probe.Options) (hops.Run, error) {
				if test.probe == nil || o.Ref.Namespace == prefix+"base" {
					return normal(ctx, o)
				}
				return test.probe(a, o, cancel)
			})
			r.Parallel = 1
			if test.adapt != nil {
				test.adapt(a, r)
			}
			list := named(t, "oom-killed", "image-pull-backoff")
			list[0].Settle.Duration, list[1].Settle.Duration = 10*time.Millisecond, 10*time.Millisecond
			sum, err := r.Run(ctx, list)
			if err != nil {
				t.Fatal(err)
			}
			if got := statuses(&sum); got != test.status {
				t.Errorf("%s, expected %s", got, test.status)
			}
			var table bytes.Buffer
			if err := Table(&table, &sum); err != nil || !strings.Contains(table.String(), test.why) {
				t.Errorf("%v: the table does not say %q:\n%s", err, test.why, &table)
			}
			checkForms(t, &sum)
		})
	}
}

// checkForms reads the JSON and the JUnit form back.
func checkForms(t *testing.T, sum *Summary) {
	t.Helper()
	var raw bytes.Buffer
	var got jsonSummary
	if err := JSON(&raw, sum); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw.Bytes(), &got); err != nil || len(got.Results) != len(sum.Results) {
		t.Errorf("JSON: %v:\n%s", err, &raw)
	}
	raw.Reset()
	var suite junitSuite
	if err := JUnit(&raw, sum); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(raw.Bytes(), &suite); err != nil || len(suite.Cases) != len(sum.Results) {
		t.Errorf("JUnit: %v:\n%s", err, &raw)
	}
	bad := 0
	for _, c := range suite.Cases {
		if c.Failure != nil || c.Error != nil {
			bad++
		}
	}
	if want := len(sum.Results) - sum.Count(Passed) - sum.Count(Skipped); bad != want || suite.Failures+suite.Errors != want {
		t.Errorf("JUnit says that %d did not pass, expected %d", bad, want)
	}
}

// TestAfterACrash leaves a drill's namespace and what it changed behind, as a killed process does. The next drill puts it back.
func TestAfterACrash(t *testing.T) {
	a := newAPI(t)
	k, err := newKube(a.config())
	if err != nil {
		t.Fatal(err)
	}
	s := named(t, "ingress-controller-not-running")[0]
	sp, err := k.open(t.Context(), prefix+s.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sp.do(t.Context(), &s, s.Inject[0], nil); err != nil {
		t.Fatal(err)
	}
	sp.stop()
	if a.replicas() != "0" {
		t.Fatalf("%s replicas: nothing to undo", a.replicas())
	}
	sum, err := newRunner(a, verdicts(t)).Run(t.Context(), named(t, "image-pull-backoff"))
	if err != nil || statuses(&sum) != "passed" {
		t.Errorf("%v, %s", err, statuses(&sum))
	}
	if a.replicas() != "1" || len(a.drills()) > 0 {
		t.Errorf("%s replicas, left behind: %v", a.replicas(), a.drills())
	}
}

// TestBesideAnother starts a drill while another one is alive: nothing of the other is touched.
func TestBesideAnother(t *testing.T) {
	a := newAPI(t)
	const path = "/api/v1/namespaces/drill-other"
	set := func(at time.Time) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.objects[path] = map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "drill-other",
			"labels": map[string]any{drillLabel: "true"}, "annotations": map[string]any{aliveNote: at.String()}}}
	}
	set(time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for probe.Pause(ctx, 5*time.Millisecond) {
			set(time.Now())
		}
	}()
	_, err := newRunner(a, verdicts(t)).Run(t.Context(), named(t, "image-pull-backoff"))
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.Namespace != "drill-other" {
		t.Errorf("got %v", err)
	}
	for _, l := range a.log {
		t.Errorf("it wrote: %s", l)
	}
}

// What a scenario stopped is not put back before its pods are there: the next one would find it missing.
func TestPutBackWaitsForPods(t *testing.T) {
	a := newAPI(t)
	k, err := newKube(a.config())
	if err != nil {
		t.Fatal(err)
	}
	pods := func(available float64) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.objects[controller]["status"] = map[string]any{"observedGeneration": 1.0, "availableReplicas": available}
	}
	at := Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "knative-serving", Name: "net-istio-controller"}
	pods(0)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if errs := k.available(short, at); len(errs) != 1 || !strings.Contains(errs[0].Error(), "0 of 1 pods are available") {
		t.Errorf("while there is none: %v", errs)
	}
	pods(1)
	if errs := k.available(t.Context(), at); len(errs) > 0 {
		t.Errorf("when it is there: %v", errs)
	}
	at.Name = "gone"
	if errs := k.available(t.Context(), at); len(errs) > 0 {
		t.Errorf("one that is gone is not waited for: %v", errs)
	}
}
