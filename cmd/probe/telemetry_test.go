package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// mesh is a way in that notes the span ids of what is sent, and the trace store of a mesh that adds a span for every hop to each.
type mesh struct {
	dial.Dialer
	mu      sync.Mutex
	parents []string
}

var traceparent = regexp.MustCompile(`Traceparent: 00-[0-9a-f]{32}-([0-9a-f]{16})`)

// Dial implements dial.Dialer.
func (m *mesh) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	c, v, err := m.Dialer.Dial(ctx, t)
	return &noted{c, m}, v, err
}

type noted struct {
	net.Conn
	mesh *mesh
}

// Write implements net.Conn.
func (n *noted) Write(b []byte) (int, error) {
	for _, found := range traceparent.FindAllSubmatch(b, -1) {
		n.mesh.mu.Lock()
		n.mesh.parents = append(n.mesh.parents, string(found[1]))
		n.mesh.mu.Unlock()
	}
	return n.Conn.Write(b)
}

// ServeHTTP is the query API.
func (m *mesh) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	trace := strings.TrimPrefix(r.URL.Path, "/api/traces/")
	m.mu.Lock()
	defer m.mu.Unlock()
	var spans []string
	for i, parent := range m.parents {
		for j, tag := range []string{"response_flags", "response_flags", "server.port", "server.port"} { // gateways have flags, Knative's programs have not
			id := fmt.Sprintf("%08x%08x", i+1, j+1)
			spans = append(spans, fmt.Sprintf(`{"traceID":%q,"spanID":%q,"operationName":"queue","references":[{"refType":"CHILD_OF","traceID":%q,"spanID":%q}],
"startTime":%d,"duration":%d,"tags":[{"key":%q,"value":"-"}],"processID":"p%d"}`, trace, id, trace, parent, time.Now().UnixMicro(), 1000-100*j, tag, j))
			parent = id
		}
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"data":[{"spans":[%s],"processes":{"p0":{"serviceName":"istio-ingressgateway.istio-system"},"p1":{"serviceName":"knative-local-gateway.istio-system"},
"p2":{"serviceName":"activator"},"p3":{"serviceName":"iris-predictor"}}}]}`, strings.Join(spans, ","))
}

func TestJaeger(t *testing.T) {
	f := fleet(t, member(t, 0, "models", "iris"), member(t, 1, "risk", "fraud"))
	m := &mesh{Dialer: f}
	store := httptest.NewServer(m)
	t.Cleanup(store.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	t.Cleanup(page.Close)
	iris, fraud := []string{"--isvc", "iris", "-n", "models"}, []string{"--isvc", "fraud", "-n", "risk", "--no-gateway-logs"}
	saved := filepath.Join(t.TempDir(), "saved")
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		says  []string
		never []string
	}{
		{"a whole trace", append(iris, "--trace", "--jaeger", store.URL, "--jaeger-wait", "1m", "--save", saved), 0,
			[]string{"OK", "Note: of ", "iris-predictor: queue", "activator: queue"}, []string{"Warning", "under no span of ours"}},
		{"of a service that fails", append(fraud, "--jaeger", store.URL), 1, []string{"Failed", "Note: the trace shows the failed request of the ingress gateway at ingress-gateway, local-gateway"}, nil},
		{"none", append(iris, "--trace"), 0, []string{"OK"}, []string{"Note: of", "iris-predictor: queue", "Warning"}},
		{"a page", append(iris, "--jaeger", page.URL+"/?token=hunter2"), 0, []string{"OK", "Warning: tracing: Jaeger at " + page.URL + " answered 200 OK with an HTML page"}, []string{"hunter2"}},
		{"of a service that fails, a page", append(fraud, "--jaeger", page.URL), 1, []string{"Failed", "Warning: tracing: "}, nil},
		{"nobody", append(iris, "--jaeger", "http://me:hunter2@127.0.0.1:1"), 0, []string{"OK", "Warning: tracing: Jaeger at http://127.0.0.1:1 cannot be reached"}, []string{"hunter2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := probing(t.Context(), t, f, m, c.args...)
			if code != c.code {
				t.Errorf("exit %d, want %d: %s", code, c.code, stderr)
			}
			for _, want := range c.says {
				if !strings.Contains(stdout, want) {
					t.Errorf("it does not say %q:\n%s", want, stdout)
				}
			}
			for _, not := range c.never {
				if strings.Contains(stdout+stderr, not) {
					t.Errorf("it says %q:\n%s", not, stdout)
				}
			}
		})
	}
	if raw, err := os.ReadFile(filepath.Join(saved, "spans.json")); err != nil || !strings.Contains(string(raw), "knative-local-gateway") {
		t.Errorf("the capture's spans: %.100s, %v", raw, err)
	}
}

// TestJaegerInterrupted: Ctrl-C ends the wait at once, and what was seen is printed.
func TestJaegerInterrupted(t *testing.T) {
	f := fleet(t, member(t, 0, "models", "iris"))
	ctx, interrupt := context.WithCancel(t.Context())
	store := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done()
	}))
	t.Cleanup(store.Close)
	code, stdout, _ := probing(ctx, t, f, f, "--isvc", "iris", "-n", "models", "--jaeger", store.URL, "--jaeger-wait", "5m")
	if code != exitInterrupted || !strings.Contains(stdout, "iris answers") || !strings.Contains(stdout, "the wait for spans was cut short") {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
}

func TestJaegerFlags(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--isvc iris --jaeger jaeger:16686", "--jaeger: the Jaeger address is not an http:// or https:// URL"},
		{"--isvc iris --jaeger http://j --jaeger-wait 0s", "--jaeger-wait 0s: a time above 0, and at most 5m0s"},
		{"--isvc iris --jaeger-wait 1h", "--jaeger-wait 1h0m0s"},
		{"-A --jaeger http://j", "--jaeger is for one service"},
	} {
		code, stdout, stderr := try(t, "", nil, strings.Fields(c.args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit %d, %q", c.args, code, stderr)
		}
	}
}

// With --otlp-metrics the collector gets the run's metrics beside its trace, of one run and of a sweep.
func TestMetricsArePushed(t *testing.T) {
	f := fleet(t, member(t, 0, "models", "iris"), member(t, 1, "models", "fraud"))
	var mu sync.Mutex
	got := map[string]int{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path]++
		if strings.Contains(string(body), "probe_success") {
			got["probe_success"]++
		}
	}))
	t.Cleanup(collector.Close)
	for _, c := range []struct {
		args string
		want map[string]int
	}{
		{"--isvc iris", map[string]int{"/v1/traces": 1}},
		{"--isvc iris --otlp-metrics", map[string]int{"/v1/traces": 1, "/v1/metrics": 1, "probe_success": 1}},
		{"--otlp-metrics", map[string]int{"/v1/traces": 2, "/v1/metrics": 2, "probe_success": 2}},
	} {
		clear(got)
		args := append(strings.Fields(c.args), "-n", "models", "--otlp-endpoint", collector.URL)
		_, stdout, stderr := probing(t.Context(), t, f, f, args...)
		if !maps.Equal(got, c.want) || strings.Contains(stdout+stderr, "Warning") {
			t.Errorf("%s: %v, want %v\n%s%s", c.args, got, c.want, stdout, stderr)
		}
	}
	if code, _, stderr := try(t, "", nil, "--isvc", "iris", "--otlp-metrics"); code != exitUsage || !strings.Contains(stderr, "--otlp-metrics: there is no collector") {
		t.Errorf("%d, %s", code, stderr)
	}
}
