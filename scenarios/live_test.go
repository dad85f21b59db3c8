//go:build live

// Tests on a real cluster that kind/up made. KUBECONFIG, or PROBE_KUBECONFIG before it, names the cluster.
package scenarios

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"probe/hops"
	"probe/probe"
	"probe/tracing"
)

var anew = flag.Bool("update", false, "record anew")

// Where the cluster's Jaeger answers on this host, see kind/README.md.
const (
	collector = "http://127.0.0.1:30318"
	jaeger    = "http://127.0.0.1:30686"
)

// sample is the service that kind/up leaves running.
var sample = hops.Ref{Namespace: "demo", Name: "sklearn-iris"}

func liveConfig(t *testing.T) *rest.Config {
	t.Helper()
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = os.Getenv("PROBE_KUBECONFIG")
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		t.Fatalf("no cluster: %v; run kind/up, then set KUBECONFIG to its kubeconfig", err)
	}
	return config
}

func liveContext(t *testing.T, most time.Duration) context.Context {
	t.Helper()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, most)
	t.Cleanup(func() { cancel(); stop() })
	return ctx
}

// chosen are the scenarios that PROBE_SCENARIOS names: all without it, "smoke" for the short set, or names with commas between them, * for any text.
func chosen(t *testing.T) []Scenario {
	t.Helper()
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Split(os.Getenv("PROBE_SCENARIOS"), ",")
	out := slices.DeleteFunc(all, func(s Scenario) bool {
		named := slices.ContainsFunc(names, func(name string) bool {
			is, err := path.Match(name, s.Name)
			if err != nil {
				t.Fatalf("PROBE_SCENARIOS=%s: %v", name, err)
			}
			return is
		})
		return !(names[0] == "" || names[0] == "smoke" && s.Smoke || named)
	})
	if len(out) == 0 {
		t.Fatalf("PROBE_SCENARIOS=%s names no scenario", os.Getenv("PROBE_SCENARIOS"))
	}
	return out
}

// TestLiveScenarios runs scenarios and compares each verdict with the expected one and with that of the recording. -update records anew.
func TestLiveScenarios(t *testing.T) {
	config := liveConfig(t)
	raw, err := os.ReadFile("kind.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := Runner{Config: config, Probe: NewProber(config, "live"), AllowShared: true, Now: time.Now,
		Say: func(line string) { t.Log(line) }}
	if err := yaml.Unmarshal(raw, &r.Values); err != nil {
		t.Fatal(err)
	}
	if looks := os.Getenv("PROBE_LOOKS"); looks != "" {
		if r.Looks, err = strconv.Atoi(looks); err != nil {
			t.Fatalf("PROBE_LOOKS=%s: give how often a healthy scenario is to be looked at", looks)
		}
	}
	r.Parallel = 4 // they mostly wait
	sum, err := r.Run(liveContext(t, 75*time.Minute), chosen(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sum.Results {
		res := &sum.Results[i]
		t.Run(res.Scenario.Name, func(t *testing.T) {
			t.Cleanup(func() { keep(t, res) })
			if res.Status != Passed {
				t.Fatalf("%s: %s", res.Status, strings.Join(res.Why, "; "))
			}
			drift, err := Record(".", res, *anew)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range drift {
				t.Errorf("drifted from its recording: %s", d)
			}
		})
	}
	for _, err := range sum.Left {
		t.Errorf("left behind: %v", err)
	}
	var table strings.Builder
	if err := Table(&table, &sum); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
}

// TestLiveTrace sends the sample a request, exports the trace, and reads it back from Jaeger: one trace, with a span of ours for each hop, under
// which the spans of both gateways, the activator and queue-proxy hang.
func TestLiveTrace(t *testing.T) {
	ctx := liveContext(t, 2*time.Minute)
	run, err := NewProber(liveConfig(t), "live")(ctx, probe.Options{Ref: sample})
	if err != nil {
		t.Fatal(err)
	}
	if run.Verdict.State != hops.OK {
		t.Fatalf("%s: %s: %s", sample, run.Verdict.State, run.Verdict.Summary)
	}
	exporter, err := tracing.NewExporter(tracing.Config{Endpoint: collector}, tracing.Options{Version: "live"})
	if err != nil {
		t.Fatal(err)
	}
	if err := exporter.Export(ctx, &run); err != nil {
		t.Fatal(err)
	}
	store, err := tracing.NewJaeger(jaeger, nil)
	if err != nil {
		t.Fatal(err)
	}
	spans, err := store.Wait(ctx, run.TraceID, func(spans []hops.Span) bool { return len(gaps(&run, spans)) == 0 }, 45*time.Second)
	if err != nil {
		t.Errorf("%v; %d spans came", err, len(spans))
	}
	for _, gap := range gaps(&run, spans) {
		t.Error(gap)
	}
	if strays := tracing.JoinSpans(&run, spans).Stray; len(strays) > 0 {
		t.Errorf("spans whose parents do not lead to a request of ours: %+v", strays)
	}
}

// gaps lists what a trace lacks.
func gaps(run *hops.Run, spans []hops.Span) []string {
	var out []string
	have := map[string]bool{}
	children := map[string]string{} // id to that of the parent
	for _, s := range spans {
		have[s.Tags["probe.hop"]] = true
		children[s.SpanID] = s.ParentID
	}
	for _, step := range run.Flow.Steps {
		if !have[string(step.Hop)] {
			out = append(out, "no span of ours for hop "+string(step.Hop))
		}
	}
	outside := -1
	for i := range run.Observations {
		if o := &run.Observations[i]; o.AtDoor(hops.Outside) && o.Asked == hops.RealRequest {
			outside = i
		}
	}
	if outside < 0 {
		return append(out, "no request at the outside door")
	}
	join := tracing.JoinSpans(run, spans).Requests[outside]
	for _, hop := range []hops.Hop{hops.IngressGateway, hops.LocalGateway, hops.Activator, hops.QueueProxy} {
		if !slices.Contains(join.Hops, hop) {
			out = append(out, "no span of "+string(hop)+" under the request at the outside door")
		}
	}
	for _, s := range join.Spans {
		if _, ok := children[s.ParentID]; !ok {
			out = append(out, "span "+s.Service+" "+s.Name+" has a parent that is not in the trace: "+s.ParentID)
		}
	}
	return out
}

// keep saves what a scenario that failed has seen, for the evidence is gone from the cluster.
func keep(t *testing.T, res *Result) {
	t.Helper()
	if !t.Failed() || len(res.Looks) == 0 {
		return
	}
	dir, err := os.MkdirTemp("", "probe-seen-"+res.Scenario.Name+"-")
	if err == nil {
		err = res.SaveLooks(dir)
	}
	if err != nil {
		t.Fatalf("what was seen could not be kept in %s: %v", dir, err)
	}
	t.Logf("what was seen, for probe explain, is in %s", dir)
}
