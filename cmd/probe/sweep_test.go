package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"probe/hops"
	"probe/probe/dial"
	"probe/scenarios/inproc"
)

// member copies the i-th of inproc.Demos: 0 is healthy, 1 is broken.
func member(t testing.TB, i int, namespace, name string) inproc.Member {
	t.Helper()
	d := inproc.Demos()[i]
	run, err := d.Copy(hops.Ref{Namespace: namespace, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return inproc.Member{Run: run, Faults: d.Faults}
}

// asleep takes the pods from a healthy service, as scaling to zero does.
func asleep(m inproc.Member) inproc.Member {
	for i := range m.Run.Snapshots {
		s := &m.Run.Snapshots[i]
		var kept []hops.Object
		for _, o := range s.Objects {
			if o.Source == hops.Pods {
				continue
			}
			if o.Source == hops.Revisions || o.Source == hops.PodAutoscalers {
				for _, c := range o.List("status", "conditions") {
					if c["type"] == "Active" {
						c["status"], c["reason"] = "False", "NoTraffic"
					}
				}
			}
			kept = append(kept, o)
		}
		s.Objects = kept
	}
	return m
}

// label puts a label on the InferenceService.
func label(m inproc.Member, key, value string) inproc.Member {
	for i := range m.Run.Snapshots {
		for _, o := range m.Run.Snapshots[i].Objects {
			if o.Source == hops.InferenceServices {
				meta := o.Tree["metadata"].(map[string]any)
				meta["labels"] = map[string]any{key: value}
			}
		}
	}
	return m
}

func fleet(t testing.TB, members ...inproc.Member) *inproc.Fleet {
	t.Helper()
	if len(members) > 0 {
		at := &members[0].Run.Snapshots[0]
		at.Objects = append(at.Objects, hops.Object{Source: hops.Namespaces, Kind: "Namespace", Name: "empty",
			Tree: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "empty"}}})
	}
	f, err := inproc.StartFleet(members)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func kubeconfig(t testing.TB, server string) string {
	t.Helper()
	return write(t, "kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}],
users: [{name: u}], contexts: [{name: c, context: {cluster: c, user: u}}]}`, server))
}

// probing runs the command line against a fleet.
func probing(ctx context.Context, t testing.TB, f *inproc.Fleet, d dial.Dialer, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "--kubeconfig", kubeconfig(t, f.API.Config().Host))
	code = run(ctx, args, streams{in: strings.NewReader(""), out: &out, err: &errs, env: func(string) string { return "" }, dialer: d})
	return code, out.String(), errs.String()
}

// columns are the first four words of each line.
func columns(table string) string {
	var out []string
	for l := range strings.Lines(table) {
		f := strings.Fields(l)
		out = append(out, strings.Join(f[:min(4, len(f))], " "))
	}
	return strings.Join(out, "\n")
}

func TestSweep(t *testing.T) {
	f := fleet(t, member(t, 0, "models", "iris"), member(t, 0, "models", "wine"), member(t, 1, "risk", "fraud"), asleep(member(t, 0, "risk", "night")))
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		lines string
		says  string
	}{
		{"all", []string{"-A"}, 1, "NAMESPACE NAME STATE HOP\nrisk fraud Failed container\nmodels iris OK -\nmodels wine OK -\nrisk night OK -", ": 1 Failed, 3 OK (1 asleep)"},
		{"a namespace", []string{"-n", "models"}, 0, "NAMESPACE NAME STATE HOP\nmodels iris OK -\nmodels wine OK -", "2 services in "},
		{"an empty namespace", []string{"-n", "empty"}, 0, "", "No InferenceServices found in empty namespace.\n"},
		{"no such namespace", []string{"-n", "modles"}, 2, "", "namespace modles does not exist: give another with -n"},
		{"labels that nothing has", []string{"-A", "-l", "team=nobody"}, 0, "", "No InferenceServices found with labels team=nobody.\n"},
		{"how much was read", []string{"-A", "-v"}, 1, "NAMESPACE NAME STATE HOP\nrisk fraud Failed container\nmodels iris OK -\nmodels wine OK -\nrisk night OK -", "requests to the API server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := probing(t.Context(), t, f, f, c.args...)
			if code != c.code || columns(stdout) != c.lines || !strings.Contains(stderr, c.says) {
				t.Errorf("exit %d, want %d, stderr wants %q\n%s\n%s", code, c.code, c.says, stdout, stderr)
			}
		})
	}
	if n := f.Plane(3).Count("model"); n != 0 {
		t.Errorf("the service at zero got %d requests", n)
	}
	if n := f.Plane(0).Count("model"); n == 0 {
		t.Error("the awake service got no real request")
	}
}

// The cause of one service must not be told of another, and must be the one that a probe of that service tells.
func TestSweepTellsTheCause(t *testing.T) {
	f := fleet(t, member(t, 0, "risk", "iris"), member(t, 1, "risk", "fraud"))
	_, one, _ := probing(t.Context(), t, f, f, "--isvc", "fraud", "-n", "risk", "-o", "json")
	code, all, stderr := probing(t.Context(), t, f, f, "-n", "risk", "-o", "json")
	type service struct {
		SchemaVersion string
		Service       struct{ Namespace, Name string }
		Verdict       struct{ State, Hop, Summary string }
		Findings      []struct{ ID string }
	}
	var single service
	var sweep struct {
		SchemaVersion string
		Services      []service
		Notes         []string
	}
	if err := json.Unmarshal([]byte(one), &single); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(all), &sweep); err != nil || stderr != "" {
		t.Fatal(err, stderr)
	}
	if code != 1 || sweep.SchemaVersion != "probe/v1" || len(sweep.Services) != 2 || len(sweep.Notes) == 0 {
		t.Fatalf("exit %d: %s", code, all)
	}
	if got := sweep.Services[0]; fmt.Sprint(got) != fmt.Sprint(single) || got.Findings[0].ID != "container-crash-loop" {
		t.Errorf("the sweep says  %+v\nthe probe says %+v", got, single)
	}
	if got := sweep.Services[1]; got.Verdict.State != "OK" || len(got.Findings) > 0 {
		t.Errorf("the healthy service: %+v", got)
	}
}

func TestSweepOfNothingInJSON(t *testing.T) {
	f := fleet(t, member(t, 0, "models", "iris"))
	code, stdout, _ := probing(t.Context(), t, f, f, "-n", "empty", "-o", "json")
	if want := "{\n  \"schemaVersion\": \"probe/v1\",\n  \"services\": [],\n  \"notes\": [\n    \"No InferenceServices found in empty namespace.\"\n  ]\n}\n"; code != 0 || stdout != want {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

func TestSweepBySelector(t *testing.T) {
	f := fleet(t, label(member(t, 0, "models", "iris"), "team", "a"), label(member(t, 1, "models", "fraud"), "team", "b"))
	code, stdout, _ := probing(t.Context(), t, f, f, "-A", "-l", "team in (a)")
	if code != 0 || columns(stdout) != "NAMESPACE NAME STATE HOP\nmodels iris OK -" {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

func TestSweepForbidden(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"inferenceservices.serving.kserve.io is forbidden: User \"mia\" cannot list resource \"inferenceservices\" in API group \"serving.kserve.io\" at the cluster scope"}`)
	}))
	defer s.Close()
	code, stdout, stderr := try(t, "", nil, "-A", "--kubeconfig", kubeconfig(t, s.URL))
	if code != 3 || stdout != "" || !strings.Contains(stderr, "mia may not list inferenceservices.serving.kserve.io at the cluster scope") || !strings.Contains(stderr, "or give -n NAMESPACE") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

func TestSweepUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"-A", "--isvc", "iris"}, "give one or the other"},
		{[]string{"-l", "a=b", "--isvc", "iris"}, "give one or the other"},
		{[]string{"-l", "a=b"}, "which service?"},
		{[]string{"-A", "-n", "models"}, "give one or the other"},
		{[]string{"-A", "--wake"}, "--wake is for one service"},
		{[]string{"-n", "models", "--data", "{}"}, "--data is for one service"},
		{[]string{"-n", "models", "--path", "/v1"}, "--path is for one service"},
		{[]string{"-n", "models", "--protocol", "v2"}, "--protocol is for one service"},
		{[]string{"-n", "models", "--save", "x"}, "--save is for one service"},
		{[]string{"-n", "models", "--trace"}, "--trace is for one service"},
		{[]string{"-A", "-l", "a in"}, `--selector "a in"`},
		{[]string{"-A", "-o", "yaml"}, `--output "yaml"`},
	} {
		if code, stdout, stderr := try(t, "", nil, c.args...); code != 2 || stdout != "" || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: exit %d: %s%s", c.args, code, stdout, stderr)
		}
	}
}

// stuck never gets to one service's door, nor to its pods, before the context ends.
type stuck struct {
	dial.Dialer
	namespace string
	reached   context.CancelFunc
}

func (s stuck) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	if t.Namespace == "istio-system" && s.namespace == "" || t.Namespace == s.namespace {
		s.reached()
		<-ctx.Done()
		return nil, hops.InPod, ctx.Err()
	}
	return s.Dialer.Dial(ctx, t)
}

// Ctrl-C prints what was seen; what was not seen is no verdict.
func TestSweepInterrupted(t *testing.T) {
	f := fleet(t, member(t, 0, "models", "iris"), member(t, 0, "models", "wine"))
	ctx, cancel := context.WithCancel(t.Context())
	code, stdout, stderr := probing(ctx, t, f, stuck{f, "", cancel}, "-n", "models")
	if code != 130 || strings.Contains(stdout, "Failed") || !strings.Contains(stderr, "Not probed to an end: models/iris, models/wine") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

// A deadline is no verdict either, but what was not probed is not fine.
func TestSweepDeadline(t *testing.T) {
	f := fleet(t, member(t, 0, "models", "iris"))
	code, stdout, stderr := probing(t.Context(), t, f, stuck{f, "", func() {}}, "-n", "models", "--deadline", "500ms")
	if code != 3 || strings.Contains(stdout, "Failed") || !strings.Contains(stderr, "Not probed to an end: models/iris") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

// hundred services, some of which are broken, in several namespaces.
func hundred(t testing.TB, broken int) *inproc.Fleet {
	var members []inproc.Member
	for i := range 100 {
		kind := 0
		if i < broken {
			kind = 1
		}
		members = append(members, member(t, kind, fmt.Sprintf("team-%d", i%8), fmt.Sprintf("model-%02d", i)))
	}
	return fleet(t, members...)
}

// The promise is 5 s on a cluster; what is left of that here is the probe's own work, on a machine that does more than this test.
func TestSweepOfAHundred(t *testing.T) {
	f := hundred(t, 5)
	start := time.Now()
	code, stdout, stderr := probing(t.Context(), t, f, f, "-A", "-v")
	t.Logf("%s in %v", strings.ReplaceAll(stderr, "\n", "; "), time.Since(start))
	if code != 1 || strings.Count(stdout, " Failed ") != 5 || strings.Count(stdout, " OK ") != 95 {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

func BenchmarkSweep(b *testing.B) {
	for name, broken := range map[string]int{"healthy": 0, "5-broken": 5, "all-broken": 100} {
		b.Run(name, func(b *testing.B) {
			f := hundred(b, broken)
			for b.Loop() {
				probing(b.Context(), b, f, f, "-A")
			}
		})
	}
}
