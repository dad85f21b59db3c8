//go:build live

package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"probe/hops"
	"probe/probe"
	"probe/probe/agent/state"
	"probe/tracing"
)

// collectorInside is the collector as pods reach it.
const collectorInside = "http://jaeger.observability:4317"

// canary is an agent that runs in the cluster from its own manifests, with the rights that stand in them and no more.
type canary struct {
	*testing.T
	k        *kube
	sp       *space
	probe    Prober
	values   map[string]string
	interval time.Duration
}

// startAgent brings up an agent for the services of a namespace of its own, and waits until it is ready.
func startAgent(ctx context.Context, t *testing.T, name string, interval time.Duration, more ...string) *canary {
	t.Helper()
	config := liveConfig(t)
	k, err := newKube(config)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("kind.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := &canary{T: t, k: k, probe: NewProber(config, "live"), interval: interval}
	if err := yaml.Unmarshal(raw, &c.values); err != nil {
		t.Fatal(err)
	}
	binary, image := buildImage(ctx, t)
	if c.sp, err = k.open(ctx, prefix+name, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanUpWithin)
		defer cancel()
		if err := c.sp.undo(ctx); err != nil {
			t.Error(err)
		}
		if err := c.sp.close(ctx); err != nil {
			t.Error(err)
		}
	})
	c.values["NAMESPACE"] = c.sp.name
	args := append([]string{"agent", "--manifests", "-n", c.sp.name, "--image", image, "--interval", interval.String(), "--timeout", interval.String(),
		"--failures", "2/2", "--record", "1", "--system", "--otlp-endpoint", collectorInside}, more...)
	c.apply(ctx, command(ctx, t, binary, args...), "")
	if err := c.sp.apply(ctx, modelStore, c.values, false); err != nil {
		t.Fatal(err)
	}
	c.until(ctx, 2*time.Minute, "the agent is not ready", func() string {
		if _, err := c.get(ctx, "readyz"); err != nil {
			return err.Error()
		}
		return ""
	})
	return c
}

// apply writes manifests; name, when it is given, is that of the InferenceService in them.
func (c *canary) apply(ctx context.Context, manifest []byte, name string) {
	c.Helper()
	docs, err := documents(manifest)
	if err != nil {
		c.Fatal(err)
	}
	for _, o := range docs {
		if name != "" && o.GetKind() == "InferenceService" {
			o.SetName(name)
		}
		if o.GetNamespace() == "" {
			o.SetNamespace(c.sp.name)
		}
		if err := c.sp.applyOne(ctx, o, true); err != nil {
			c.Fatal(err)
		}
	}
}

// service writes a scenario's manifest under another name of the service.
func (c *canary) service(ctx context.Context, file, name string) {
	c.Helper()
	raw, lacking, err := manifest(file, c.values)
	if err != nil || len(lacking) > 0 {
		c.Fatalf("%s: %v, no value for %v", file, err, lacking)
	}
	c.apply(ctx, raw, name)
}

// until asks until there is nothing left to say.
func (c *canary) until(ctx context.Context, most time.Duration, what string, says func() string) time.Duration {
	c.Helper()
	took, left := waitFor(ctx, most, says)
	if left != "" {
		c.Fatalf("%s after %s: %s", what, took.Round(time.Second), left)
	}
	return took
}

// waitFor asks until there is nothing left to say, or the time is over.
func waitFor(ctx context.Context, most time.Duration, says func() string) (took time.Duration, left string) {
	began := time.Now()
	for {
		if left = says(); left == "" || time.Since(began) > most || !probe.Pause(ctx, 500*time.Millisecond) {
			return time.Since(began), left
		}
	}
}

// get asks the agent's server, through the API server.
func (c *canary) get(ctx context.Context, path string) (string, error) {
	list, err := c.k.dyn.Resource(pods).Namespace(c.sp.name).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
	if err != nil || len(list.Items) == 0 {
		return "", fmt.Errorf("%d pods of the agent: %v", len(list.Items), err)
	}
	raw, err := c.k.disco.RESTClient().Get().AbsPath("/api/v1/namespaces", c.sp.name, "pods", list.Items[0].GetName()+":9464", "proxy", path).DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", path, err, raw)
	}
	return string(raw), nil
}

// series gives the value of a metric of a service: "" when there is none.
func (c *canary) series(ctx context.Context, metric, service string) string {
	text, err := c.get(ctx, "metrics")
	if err != nil {
		return err.Error()
	}
	at := regexp.MustCompile(`(?m)^` + metric + `\{[^}]*service="` + regexp.QuoteMeta(service) + `"[^}]*\} (\S+)`).FindStringSubmatch(text)
	if at == nil {
		return ""
	}
	return at[1]
}

// reasonOf is the reason that the metrics give for a service, "" when it is well.
func (c *canary) reasonOf(ctx context.Context, service string) string {
	text, err := c.get(ctx, "metrics")
	if err != nil {
		return err.Error()
	}
	for _, line := range regexp.MustCompile(`(?m)^probe_reason\{.*$`).FindAllString(text, -1) {
		if strings.Contains(line, `service="`+service+`"`) {
			return regexp.MustCompile(`reason="([^"]*)"`).FindStringSubmatch(line)[1]
		}
	}
	return ""
}

// events lists the messages of the Events that the agent wrote on a service, with their reason before them, oldest first.
func (c *canary) events(ctx context.Context, service string) []string {
	c.Helper()
	list, err := c.k.dyn.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(c.sp.name).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=InferenceService,involvedObject.name=" + service})
	if err != nil {
		c.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b unstructured.Unstructured) int {
		return strings.Compare(a.GetCreationTimestamp().String(), b.GetCreationTimestamp().String())
	})
	var out []string
	for _, e := range list.Items {
		reason, _, _ := unstructured.NestedString(e.Object, "reason")
		text, _, _ := unstructured.NestedString(e.Object, "message")
		if component, _, _ := unstructured.NestedString(e.Object, "source", "component"); component == "probe" {
			out = append(out, reason+": "+text)
		}
	}
	return out
}

// told waits until a one-shot probe says one of ids of a service, and then until the agent says the same, in two intervals and the time of two looks.
// It gives the id.
func (c *canary) told(ctx context.Context, service string, ids ...string) string {
	c.Helper()
	got := ""
	c.until(ctx, 3*time.Minute, service+": a probe by hand does not say "+strings.Join(ids, " or "), func() string {
		run, err := c.probe(ctx, probe.Options{Ref: hops.Ref{Namespace: c.sp.name, Name: service}})
		if err != nil {
			return err.Error()
		}
		for _, f := range run.Verdict.Findings[:min(1, len(run.Verdict.Findings))] {
			got = f.ID
		}
		if slices.Contains(ids, got) {
			return ""
		}
		return string(run.Verdict.State) + " " + got
	})
	took := c.until(ctx, 2*c.interval+20*time.Second, service+": the agent does not say "+strings.Join(ids, " or "), func() string {
		if now := c.reasonOf(ctx, service); !slices.Contains(ids, now) {
			return "it says " + now
		}
		return ""
	})
	c.Logf("%s: %s, by the agent %s after the probe by hand", service, got, took.Round(100*time.Millisecond))
	return c.reasonOf(ctx, service)
}

// well waits until the agent says of a service that it is OK.
func (c *canary) well(ctx context.Context, service string, within time.Duration) time.Duration {
	c.Helper()
	return c.until(ctx, within, service+" is not well", c.isWell(ctx, service))
}

// isWell says what the agent has against a service.
func (c *canary) isWell(ctx context.Context, service string) func() string {
	return func() string {
		up, why := c.series(ctx, "probe_success", service), c.reasonOf(ctx, service)
		if up == "1" && why == "" { // a degraded one is up too
			return ""
		}
		return "probe_success is " + up + ", " + why
	}
}

// traced checks that the trace that an Event names is in Jaeger and that its root bears the id.
func (c *canary) traced(ctx context.Context, event, id string) {
	c.Helper()
	found := regexp.MustCompile(`[0-9a-f]{32}`).FindString(event)
	if found == "" {
		c.Errorf("no trace id in %q", event)
		return
	}
	store, err := tracing.NewJaeger(jaeger, nil)
	if err != nil {
		c.Fatal(err)
	}
	says := func(spans []hops.Span) bool {
		return slices.ContainsFunc(spans, func(s hops.Span) bool {
			return slices.Contains(slices.Collect(maps.Values(s.Tags)), id)
		})
	}
	if spans, err := store.Wait(ctx, found, says, 30*time.Second); err != nil {
		c.Errorf("trace %s of %q: %v; %d spans", found, event, err, len(spans))
	}
}

// The guide's five failures: the scenario whose manifest causes each, and what is to be said of it.
func guides() map[string][]string {
	return map[string][]string{
		"container-crash-loop":           {"container-crash-loop"},
		"image-digest-resolution-failed": {"image-digest-resolution-failed"},
		"oom-killed":                     {"oom-killed"},
		"storage-object-missing":         {"storage-object-missing"},
	}
}

// TestLiveAgent runs the agent in the cluster with exactly the rights of its manifests, breaks services in the guide's five ways, and mends them: metrics,
// Events and traces must tell each by its id within two intervals, and turn back.
func TestLiveAgent(t *testing.T) {
	ctx := liveContext(t, 12*time.Minute)
	c := startAgent(ctx, t, "agent", 5*time.Second, "--sample", "inputs", "--secret", "caller")
	c.service(ctx, "healthy/service.yaml", "steady")
	c.service(ctx, "healthy/service.yaml", "chosen")
	c.well(ctx, "steady", 3*time.Minute)
	for name := range guides() {
		c.service(ctx, name+"/service.yaml", name)
	}
	for name, ids := range guides() {
		c.noticed(ctx, name, c.told(ctx, name, ids...))
	}
	for name := range guides() {
		c.service(ctx, "healthy/service.yaml", name)
	}
	for name := range guides() {
		c.mended(ctx, name)
	}
	c.chosen(ctx)
	c.ingress(ctx)
	if events := c.events(ctx, "steady"); len(events) > 0 {
		t.Errorf("a false alarm: %q", events)
	}
}

// noticed checks the Event and its trace.
func (c *canary) noticed(ctx context.Context, service, id string) {
	c.Helper()
	var event string
	c.until(ctx, 15*time.Second, service+": no Event says "+id, func() string {
		events := c.events(ctx, service)
		for _, e := range events {
			if strings.HasPrefix(e, "ProbeFailed: ") && strings.Contains(e, id) {
				event = e
				return ""
			}
		}
		return fmt.Sprintf("%q", events)
	})
	c.traced(ctx, event, id)
}

// mended checks that the agent turns back.
func (c *canary) mended(ctx context.Context, service string) {
	c.Helper()
	c.well(ctx, service, 4*time.Minute)
	c.until(ctx, 15*time.Second, service+": no Event says that it is well", func() string {
		events := c.events(ctx, service)
		if slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, "ProbeOK: ") }) {
			return ""
		}
		return fmt.Sprintf("%q", events)
	})
}

// inputs are what the annotations of a service may point to.
const inputs = `
apiVersion: v1
kind: ConfigMap
metadata: {name: inputs}
data: {iris.json: '{"instances": [[5.1, 3.5, 1.4, 0.2]]}'}
---
apiVersion: v1
kind: Secret
metadata: {name: caller}
stringData: {token: live-test-caller}
`

// chosen sets a service's annotations: its own request and credentials are sent, its expectation is judged, and a setting that cannot be used is told
// on it while the others hold.
func (c *canary) chosen(ctx context.Context) {
	c.Helper()
	const service = "chosen"
	c.apply(ctx, []byte(inputs), "")
	c.annotate(ctx, service, map[string]string{"probe/path": "/v1/models/chosen:predict", "probe/sample": "inputs/iris.json",
		"probe/credentials": "caller/token", "probe/expect": "body.predictions.size() == 2"})
	c.until(ctx, 3*c.interval+20*time.Second, service+": one prediction is not taken for two", func() string {
		if now := c.reasonOf(ctx, service); now != state.UnexpectedResponse {
			return "it says " + now
		}
		return ""
	})
	c.annotate(ctx, service, map[string]string{"probe/expect": "body.predictions.size() == 1"})
	c.well(ctx, service, 3*c.interval+20*time.Second)
	c.annotate(ctx, service, map[string]string{"probe/max-latency": "soon"})
	c.until(ctx, 3*c.interval+20*time.Second, service+": the annotation is not told", func() string {
		events, problems := c.events(ctx, service), c.series(ctx, "probe_settings_problems", service)
		told := slices.ContainsFunc(events, func(e string) bool {
			return strings.HasPrefix(e, "ProbeSettings: ") && strings.Contains(e, "probe/max-latency")
		})
		if problems != "1" || !told {
			return fmt.Sprintf("%s problems, %q", problems, events)
		}
		return ""
	})
	c.well(ctx, service, 0)
}

// annotate sets annotations of a service.
func (c *canary) annotate(ctx context.Context, service string, annotations map[string]string) {
	c.Helper()
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		c.Fatal(err)
	}
	kind := schema.GroupVersionResource{Group: "serving.kserve.io", Version: "v1beta1", Resource: "inferenceservices"}
	if _, err := c.k.dyn.Resource(kind).Namespace(c.sp.name).Patch(ctx, service, types.MergePatchType, raw, metav1.PatchOptions{}); err != nil {
		c.Fatal(err)
	}
}

// ingress is the fifth: the controller that makes routes of Knative Ingresses is stopped, and started again.
func (c *canary) ingress(ctx context.Context) {
	c.Helper()
	controller := func(replicas int) {
		c.Helper()
		scale := Action{Scale: &Scale{Namespace: "knative-serving", Name: "net-istio-controller", Replicas: replicas}}
		if err := c.sp.do(ctx, &Scenario{Name: "agent", Shared: true}, scale, c.values); err != nil {
			c.Fatal(err)
		}
	}
	controller(0)
	c.service(ctx, "healthy/service.yaml", "unrouted")
	c.noticed(ctx, "unrouted", c.told(ctx, "unrouted", "ingress-controller-not-running"))
	controller(1)
	c.mended(ctx, "unrouted")
}
