package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"probe/hops"
	"probe/scenarios/inproc"
)

// buffer is written to by the agent while a test reads it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running agent is one in this process, for services that are played in it too.
type liveAgent struct {
	*testing.T
	fleet *inproc.Light
	base  string // of its server
	log   *buffer
	stop  func() int
}

// startAgent runs `probe agent` with an interval of a second.
func startAgent(t *testing.T, services int, args ...string) *liveAgent {
	t.Helper()
	l, err := inproc.StartLight(services, services)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	kubeconfig := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(kubeconfig, l.API.Kubeconfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &liveAgent{T: t, fleet: l, log: &buffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	s := streams{in: strings.NewReader(""), out: io.Discard, err: a.log, env: func(string) string { return "" }, dialer: l}
	args = append([]string{"agent", "-A", "--kubeconfig", kubeconfig, "--interval", "1s", "--timeout", "1s", "--listen", "127.0.0.1:0"}, args...)
	go func() { ended <- run(ctx, args, s) }()
	a.stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { a.stop() })
	a.until("it does not listen", func() bool {
		at := regexp.MustCompile(`metrics at (http://\S+)/metrics`).FindStringSubmatch(a.log.String())
		if at != nil {
			a.base = at[1]
		}
		return at != nil
	})
	return a
}

// until waits, bounded, for what must come.
func (a *liveAgent) until(what string, ok func() bool) {
	a.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			a.Fatalf("%s\n%s", what, a.log.String())
		}
	}
}

// get gives what the agent serves; "" with another status than 200.
func (a *liveAgent) get(path string) string {
	a.Helper()
	resp, err := http.Get(a.base + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(body)
}

// says waits until a metric of a service has a value.
func (a *liveAgent) says(metric string, ref hops.Ref, value string) {
	a.Helper()
	at := regexp.MustCompile(`(?m)^` + metric + `\{[^}]*namespace="` + ref.Namespace + `"[^}]*service="` + ref.Name + `"[^}]*\} ` + value + `$`)
	a.until(fmt.Sprintf("no %s %s of %s", metric, value, ref), func() bool { return at.MatchString(a.get("/metrics")) })
}

// eventsOn lists the reasons of the Events on a service.
func (a *liveAgent) eventsOn(ref hops.Ref) []string {
	var out []string
	for _, o := range a.fleet.API.Events() {
		if e := hops.ParseEvent(&o); e.About.Name == ref.Name && e.About.Namespace == ref.Namespace && strings.HasPrefix(e.Reason, "Probe") {
			out = append(out, e.Reason)
		}
	}
	return out
}

// sink is a collector that keeps the trace ids it was sent.
func sink(t *testing.T) (address string, traces func() int) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m coltracepb.ExportTraceServiceRequest
		if proto.Unmarshal(body, &m) != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range m.ResourceSpans {
			for _, s := range rs.ScopeSpans[0].Spans {
				seen[string(s.TraceId)] = true
			}
		}
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
}

// A service breaks and is mended: metrics, Event, evidence and traces tell it, and nothing is told of its neighbour. A healthy service costs no read.
func TestAgent(t *testing.T) {
	collector, traces := sink(t)
	a := startAgent(t, 2, "--record", "1", "--otlp-endpoint", collector, "--otlp-protocol", "http/protobuf")
	broken, steady := a.fleet.Refs()[0], a.fleet.Refs()[1]
	a.says("probe_success", broken, "1")
	a.says("probe_success", steady, "1")
	a.until("it is not ready", func() bool { return a.get("/readyz") != "" })
	if a.get("/healthz") == "" {
		t.Error("it is not alive")
	}
	before := a.fleet.API.Requests()
	sent, _ := a.fleet.Requests(steady)
	a.until("no probes", func() bool { now, _ := a.fleet.Requests(steady); return now > sent+4 })
	for what, n := range a.fleet.API.Requests() {
		if n > before[what]+1 && !strings.HasPrefix(what, "watch") { // one may have been under way
			t.Errorf("healthy services cost %d %s", n-before[what], what)
		}
	}
	a.fleet.Break(broken, true)
	a.says("probe_success", broken, "0")
	a.until("no Event", func() bool { return slices.Contains(a.eventsOn(broken), "ProbeFailed") })
	a.until("no evidence", func() bool { return a.get("/failures/"+broken.Namespace+"/"+broken.Name) != "" })
	explained(t, a.get("/failures/"+broken.Namespace+"/"+broken.Name), broken)
	a.fleet.Break(broken, false)
	a.says("probe_success", broken, "1")
	a.until("no Event of the end", func() bool { return slices.Contains(a.eventsOn(broken), "ProbeOK") })
	if events := a.eventsOn(steady); len(events) > 0 {
		t.Errorf("a false alarm: %q", events)
	}
	if code := a.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, a.log.String())
	}
	if n := traces(); n < 10 {
		t.Errorf("%d traces were sent", n)
	}
}

// explained checks that `probe explain` reads what was fetched.
func explained(t *testing.T, archive string, ref hops.Ref) {
	t.Helper()
	var out, errs bytes.Buffer
	run(t.Context(), []string{"explain", "-"}, streams{in: strings.NewReader(archive), out: &out, err: &errs, env: func(string) string { return "" }})
	if !strings.HasPrefix(out.String(), "Failed  "+ref.String()) {
		t.Errorf("explain says %s%s", out.String(), errs.String())
	}
}

// A bad annotation is told on its service, once, and both services go on being probed.
func TestAgentSettings(t *testing.T) {
	a := startAgent(t, 2)
	bad, good := a.fleet.Refs()[0], a.fleet.Refs()[1]
	a.says("probe_success", bad, "1")
	o, _ := a.fleet.API.Object(hops.ObjectRef{Source: hops.InferenceServices, Namespace: bad.Namespace, Name: bad.Name})
	o.Tree["metadata"].(map[string]any)["annotations"] = map[string]any{"serving.kserve.io/deploymentMode": "Knative", "probe/interval": "1s", "probe/expct": "x"}
	if err := a.fleet.API.Set(o.Tree); err != nil {
		t.Fatal(err)
	}
	a.says("probe_settings_problems", bad, "1")
	a.until("no Event of the settings", func() bool { return slices.Contains(a.eventsOn(bad), "ProbeSettings") })
	sent, _ := a.fleet.Requests(bad)
	a.until("it is no longer probed", func() bool { now, _ := a.fleet.Requests(bad); return now > sent+3 })
	a.says("probe_success", bad, "1")
	if n := len(a.eventsOn(bad)); n != 1 || len(a.eventsOn(good)) > 0 {
		t.Errorf("told %q and %q", a.eventsOn(bad), a.eventsOn(good))
	}
}

// What goes wrong around the agent stops no probe: the API server refuses or forgets, the collector is away, a service goes in the middle.
func TestAgentLife(t *testing.T) {
	a := startAgent(t, 3, "--record", "1", "--otlp-endpoint", "http://127.0.0.1:1", "--otlp-protocol", "http/protobuf")
	refs := a.fleet.Refs()
	goesOn := func(what string) {
		t.Helper()
		before, _ := a.fleet.Requests(refs[0])
		a.until(what+": no more probes", func() bool { now, _ := a.fleet.Requests(refs[0]); return now > before+2 })
	}
	for _, ref := range refs {
		a.says("probe_success", ref, "1")
	}
	a.fleet.API.Refuse(http.StatusUnauthorized)
	goesOn("an expired token")
	a.fleet.API.Refuse(http.StatusServiceUnavailable)
	goesOn("an API server that is not up")
	a.fleet.Break(refs[1], true)
	a.says("probe_success", refs[1], "0") // it fails, and the cause cannot be read
	a.fleet.API.Compact()
	a.fleet.API.Refuse(0)
	a.fleet.API.CutWatches()
	goesOn("410 Gone")
	a.fleet.Break(refs[1], false)
	a.says("probe_success", refs[1], "1")
	a.until("the deleted service is still there", func() bool {
		a.fleet.API.Delete(hops.ObjectRef{Source: hops.InferenceServices, Namespace: refs[2].Namespace, Name: refs[2].Name})
		return !strings.Contains(a.get("/metrics"), `service="`+refs[2].Name+`"`)
	})
	goesOn("a service that went")
	if code := a.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, a.log.String())
	}
	if lines := strings.Count(a.log.String(), "127.0.0.1:1"); lines == 0 || lines > 5 {
		t.Errorf("%d lines about the collector\n%s", lines, a.log.String())
	}
}

func TestAgentRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "which services? Give -n NAMESPACE, or -A"},
		{[]string{"-A", "--interval", "soon"}, "interval"},
		{[]string{"-A", "--failures", "3/2"}, "failures"},
		{[]string{"-A", "--defaults", "/nothing/here"}, "--defaults: "},
		{[]string{"-A", "--shard", "3/3"}, `--shard: shard "3/3": write I/N`},
		{[]string{"-A", "--record", "0"}, "--record 0: give 1 to"},
		{[]string{"-A", "--listen", "9464"}, `--listen "9464" is not HOST:PORT`},
		{[]string{"-A", "-l", "a in"}, "--selector"},
		{[]string{"-A", "--manifests"}, "which namespace is the agent to run in?"},
		{[]string{"-n", "models", "--manifests", "--replicas", "0"}, "--replicas 0"},
		{[]string{"-n", "models", "--manifests", "--shard", "auto"}, "--shard follows from --replicas"},
		{[]string{"-n", "models", "--manifests", "--listen", ":80"}, "must be 1024 to 65535"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"agent"}, c.args...), streams{in: strings.NewReader(""), out: &out, err: &errs, env: func(string) string { return "" }})
		if code != exitUsage || !strings.Contains(errs.String(), c.says) || out.Len() > 0 {
			t.Errorf("%q: %d, %s%s, want %q", c.args, code, out.String(), errs.String(), c.says)
		}
	}
}

// The manifests carry the flags that were given, and no more.
func TestAgentManifests(t *testing.T) {
	var out, errs bytes.Buffer
	args := []string{"agent", "-A", "-n", "canaries", "--manifests", "--interval", "30s", "--record", "5", "--replicas", "2", "--image", "registry.example.com/probe:v1",
		"--otlp-endpoint", "http://collector:4317", "--secret", "token"}
	if code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs, env: func(string) string { return "" }}); code != 0 {
		t.Fatalf("%d: %s", code, errs.String())
	}
	text := out.String()
	for _, want := range []string{"kind: StatefulSet", "- --all-namespaces=true\n", "- --interval=30s\n", "- --record=5\n", "- --shard=auto\n", "namespace: canaries",
		"value: http://collector:4317", "image: registry.example.com/probe:v1", "name: OTEL_EXPORTER_OTLP_ENDPOINT", "  - token\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, never := range []string{"--image", "--replicas", "--manifests", "--workers", "--secret"} {
		if strings.Contains(text, never) {
			t.Errorf("%q in the manifests", never)
		}
	}
}
