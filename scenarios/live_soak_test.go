//go:build live

package scenarios

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"probe/probe"
)

// trouble is one breakage of the soak: an edit of the service's manifest, or one more manifest.
type trouble struct {
	name     string
	old, new string // in the manifest of the healthy service
	beside   string // manifest; ${SERVICE} is the service
	ids      []string
}

// troubles are one after the other, each of a service of its own. A new revision that fails while the old one serves is told as such too.
func troubles() []trouble {
	edit := func(name, old, new string, ids ...string) trouble {
		return trouble{name: name, old: old, new: new, ids: append(ids, "latest-created-not-ready-old-serving")}
	}
	const resources, account = "      resources:", "    minReplicas: 1"
	env := func(e string) string { return "      env: [" + e + "]\n" + resources }
	return []trouble{
		edit("crash", resources, env(`{name: STATUS, value: "9999"}`), "container-crash-loop"),
		{name: "mutual", ids: []string{"mtls-mismatch"}, beside: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: mutual}\n" +
			"spec: {host: ${SERVICE}-predictor-00001.${NAMESPACE}.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}\n"},
		edit("image", "${IMAGE_ECHO}", "registry.invalid/no-such-image:1", "image-digest-resolution-failed"),
		edit("big", "requests: {cpu: 10m, memory: 32Mi}, limits: {", `requests: {cpu: "64", memory: 32Mi}, limits: {cpu: "64", `, "unschedulable-resources"),
		edit("refused", "cpu: 10m", `cpu: "64"`, "invalid-predictor-spec"), // above the limit that KServe sets
		edit("stopped", "deploymentMode: Knative,", `deploymentMode: Knative, serving.kserve.io/stop: "true",`, "service-stopped"),
		edit("secret", resources, env("{name: KEY, valueFrom: {secretKeyRef: {name: nothing, key: k}}}"), "create-container-config-error"),
		edit("account", account, account+"\n    serviceAccountName: nobody", "service-account-missing"),
		edit("storage", account, account+"\n    serviceAccountName: model-store", "storage-object-missing"),
		edit("unready", resources, "      readinessProbe: {httpGet: {path: /nothing}}\n"+resources, "readiness-probe-failing"),
		edit("claim", resources, env("{name: STORAGE_URI, value: \"pvc://nothing/model\"}"), "pvc-not-bound"),
		edit("killed", resources, "      livenessProbe: {httpGet: {path: /nothing}, periodSeconds: 2, failureThreshold: 2}\n"+resources, "liveness-killed"),
		edit("wrong", resources, env(`{name: STATUS, value: "500"}`), "no-cause-found", "unexpected-response", "canary-bad-revision"),
	}
}

// soakEvery is the time between two breakages.
const soakEvery = 2 * time.Minute

// healthyEcho is the manifest of a service of the soak, with an edit. The one that gives wrong answers is asked for predictions.
func (c *canary) healthyEcho(name, old, new string) []byte {
	c.Helper()
	raw, err := files.ReadFile("healthy-echo/service.yaml")
	if err != nil {
		c.Fatal(err)
	}
	text := string(raw)
	if name == "wrong" {
		text = strings.Replace(text, "annotations: {", `annotations: {probe/method: POST, probe/path: "/v1/models/wrong:predict", probe/expect-status: "200", `, 1)
	}
	if old != "" {
		if !strings.Contains(text, old) {
			c.Fatalf("%s: no %q in %s", name, old, text)
		}
		text = strings.Replace(text, old, new, 1)
	}
	if name == "storage" && old != "" {
		text = strings.Replace(text, "      resources:", "      env: [{name: STORAGE_URI, value: \"s3://models/nothing-here/\"}]\n      resources:", 1)
	}
	for k, v := range c.values {
		text = strings.ReplaceAll(text, "${"+k+"}", v)
	}
	return []byte(text)
}

// span is when a service was broken and when it was well again.
type span struct{ broken, well time.Time }

// TestSoakAgent breaks one service after the other for half an hour, each in another way, and mends it: no breakage may be missed, no other service may
// be called broken, and the agent must be no larger at the end than at the beginning.
func TestSoakAgent(t *testing.T) {
	ctx := liveContext(t, 50*time.Minute)
	c := startAgent(ctx, t, "soak", 10*time.Second)
	names := []string{"steady-1", "steady-2"}
	for _, tr := range troubles() {
		names = append(names, tr.name)
	}
	for _, name := range names {
		c.apply(ctx, c.healthyEcho(name, "", ""), name)
	}
	for _, name := range names {
		c.well(ctx, name, 6*time.Minute)
	}
	probe.Pause(ctx, 30*time.Second)
	before := c.size(ctx)
	when := map[string]span{}
	began := time.Now()
	for i, tr := range troubles() {
		probe.Pause(ctx, time.Until(began.Add(time.Duration(i)*soakEvery)))
		when[tr.name] = c.soak(ctx, tr)
	}
	probe.Pause(ctx, time.Until(began.Add(30*time.Minute)))
	after := c.size(ctx)
	t.Logf("at the start %+v, at the end %+v", before, after)
	if after.goroutines > before.goroutines+10 || after.resident > before.resident*13/10+16<<20 {
		t.Errorf("the agent grew: %+v, then %+v", before, after)
	}
	c.falseAlarms(ctx, names, when)
}

// soak breaks a service, waits until the agent says why, mends it, and waits until the agent says that it is well.
func (c *canary) soak(ctx context.Context, tr trouble) span {
	c.Helper()
	s := span{broken: time.Now()}
	if tr.old != "" {
		c.apply(ctx, c.healthyEcho(tr.name, tr.old, tr.new), tr.name)
	}
	beside := strings.NewReplacer("${SERVICE}", tr.name, "${NAMESPACE}", c.sp.name).Replace(tr.beside)
	if beside != "" {
		c.apply(ctx, []byte(beside), "")
	}
	noticed, left := waitFor(ctx, 110*time.Second, func() string {
		if now := c.reasonOf(ctx, tr.name); !slices.Contains(tr.ids, now) {
			return "it says " + now
		}
		return ""
	})
	if left != "" {
		c.Errorf("%s: missed: %s", tr.name, left)
	}
	id := c.reasonOf(ctx, tr.name)
	if tr.old != "" {
		c.apply(ctx, c.healthyEcho(tr.name, "", ""), tr.name)
	}
	if beside != "" {
		c.delete(ctx, "networking.istio.io/v1", "DestinationRule", "mutual")
	}
	back, left := waitFor(ctx, 3*time.Minute, c.isWell(ctx, tr.name))
	if left != "" {
		c.Errorf("%s: it was mended, and is not well: %s", tr.name, left)
	}
	s.well = time.Now()
	c.Logf("%s: %s after %s, well %s after it was mended", tr.name, id, noticed.Round(time.Second), back.Round(time.Second))
	return s
}

func (c *canary) delete(ctx context.Context, version, kind, name string) {
	c.Helper()
	_, r, err := c.k.get(ctx, Object{APIVersion: version, Kind: kind, Namespace: c.sp.name, Name: name}, "")
	if err == nil {
		err = r.Delete(ctx, name, metav1.DeleteOptions{})
	}
	if err != nil {
		c.Fatal(err)
	}
}

// size is how large the agent is.
type size struct {
	goroutines, resident int64
}

// size is the smallest of some looks: a scrape or a probe under way is not growth.
func (c *canary) size(ctx context.Context) size {
	c.Helper()
	out := size{1 << 60, 1 << 60}
	for range 10 {
		text, err := c.get(ctx, "metrics")
		if err != nil {
			c.Fatal(err)
		}
		out.goroutines = min(out.goroutines, c.number(text, "go_goroutines"))
		out.resident = min(out.resident, c.number(text, "process_resident_memory_bytes"))
		probe.Pause(ctx, time.Second)
	}
	return out
}

func (c *canary) number(text, metric string) int64 {
	c.Helper()
	found := regexp.MustCompile(`(?m)^` + metric + ` (\S+)`).FindStringSubmatch(text)
	if found == nil {
		c.Fatalf("no %s", metric)
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		c.Fatal(err)
	}
	return int64(n)
}

// falseAlarms are Events on services that were not broken at that time.
func (c *canary) falseAlarms(ctx context.Context, names []string, when map[string]span) {
	c.Helper()
	list, err := c.k.dyn.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(c.sp.name).List(ctx, metav1.ListOptions{})
	if err != nil {
		c.Fatal(err)
	}
	for _, e := range list.Items {
		component, _, _ := unstructured.NestedString(e.Object, "source", "component")
		about, _, _ := unstructured.NestedString(e.Object, "involvedObject", "name")
		last, _, _ := unstructured.NestedString(e.Object, "lastTimestamp")
		if component != "probe" || !slices.Contains(names, about) {
			continue
		}
		at, err := time.Parse(time.RFC3339, last)
		if err != nil {
			c.Fatal(err)
		}
		s := when[about]
		if at.Before(s.broken.Add(-time.Second)) || at.After(s.well.Add(30*time.Second)) {
			message, _, _ := unstructured.NestedString(e.Object, "message")
			c.Errorf("a false alarm on %s at %s: %s", about, at, fmt.Sprintf("%.200s", message))
		}
	}
}
