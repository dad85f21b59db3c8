// server_test.go: what is served, to whom, and how it ends.
package tell

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/fake"

	"probe/probe/redact/redacttest"
)

var metricsPage = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "probe_success 1\n") })

func TestServer(t *testing.T) {
	full := ServerOptions{Metrics: metricsPage, Failures: NewFailures(0), Guard: NewGuard(fake.NewClientset(), nil, nil), Version: "v1 <beta>"}
	bad, profiles, bare := full, full, full
	bad.Alive = func() error { return errors.New("no probe began for 5m0s") }
	bad.Ready = func() error { return errors.New("the services are not listed yet, token=" + redacttest.Canary) }
	profiles.Profiles = true
	bare.Metrics, bare.Guard, bare.Profiles = nil, nil, true // without a guard there is no evidence
	for _, c := range []struct {
		name   string
		o      ServerOptions
		peer   string
		method string
		path   string
		status int
		says   string
	}{
		{"index", full, "10.1.2.3:4", "GET", "/", 200, `<a href="/failures">`},
		{"index, escaped", full, "10.1.2.3:4", "GET", "/", 200, "v1 &lt;beta&gt;"},
		{"index, of what there is", profiles, "10.1.2.3:4", "GET", "/", 200, `<a href="/debug/pprof/">`},
		{"metrics", full, "10.1.2.3:4", "GET", "/metrics", 200, "probe_success 1"},
		{"no metrics", bare, "10.1.2.3:4", "GET", "/metrics", 404, ""},
		{"alive", full, "10.1.2.3:4", "GET", "/healthz", 200, "ok"},
		{"ready", full, "10.1.2.3:4", "GET", "/readyz", 200, "ok"},
		{"not alive", bad, "10.1.2.3:4", "GET", "/healthz", 503, "no probe began for 5m0s"},
		{"not ready", bad, "10.1.2.3:4", "GET", "/readyz", 503, "the services are not listed yet"},
		{"failures from here", full, "127.0.0.1:4", "GET", "/failures", 200, `"failures": []`},
		{"one failure from here", full, "127.0.0.1:4", "GET", "/failures/models/iris", 404, "no such failure of models/iris"},
		{"failures from elsewhere", full, "10.1.2.3:4", "GET", "/failures", 401, "Bearer"},
		{"one failure from elsewhere", full, "10.1.2.3:4", "GET", "/failures/models/iris", 401, "Bearer"},
		{"around the guard", full, "10.1.2.3:4", "GET", "/metrics/../failures", 307, ""},
		{"failures without a guard", bare, "127.0.0.1:4", "GET", "/failures", 404, ""},
		{"profiles without being asked for", full, "127.0.0.1:4", "GET", "/debug/pprof/", 404, ""},
		{"profiles without a guard", bare, "127.0.0.1:4", "GET", "/debug/pprof/", 404, ""},
		{"profiles from here", profiles, "127.0.0.1:4", "GET", "/debug/pprof/cmdline", 200, ""},
		{"profiles from elsewhere", profiles, "10.1.2.3:4", "GET", "/debug/pprof/heap", 401, "Bearer"},
		{"anything else", full, "127.0.0.1:4", "GET", "/nothing", 404, ""},
		{"writing", full, "127.0.0.1:4", "POST", "/healthz", 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, nil)
			r.RemoteAddr, r.Host = c.peer, "localhost"
			w := httptest.NewRecorder()
			NewServer(c.o).Handler().ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || strings.Contains(w.Body.String(), redacttest.Canary) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	on, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return on
}

// The end lets a request that is under way come to its own.
func TestServerStops(t *testing.T) {
	on := listen(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		_, _ = io.WriteString(w, "to the end")
	})
	ctx, stop := context.WithCancel(t.Context())
	served, got := make(chan error, 1), make(chan string, 1)
	go func() { served <- NewServer(ServerOptions{Metrics: slow}).Serve(ctx, on) }()
	go func() {
		resp, err := http.Get("http://" + on.Addr().String() + "/metrics")
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		got <- string(raw)
	}()
	<-entered
	stop()
	for {
		again, err := net.Dial("tcp", on.Addr().String())
		if err != nil {
			break // nobody new is let in
		}
		again.Close()
	}
	close(leave)
	if s := <-got; s != "to the end" {
		t.Errorf("got %q", s)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServerEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := NewServer(ServerOptions{}).Serve(ctx, listen(t)); err != nil {
		t.Errorf("ended before it began: %v", err)
	}
	on := listen(t)
	on.Close()
	if err := NewServer(ServerOptions{}).Serve(t.Context(), on); err == nil || !strings.Contains(err.Error(), "http server on 127.0.0.1:") {
		t.Errorf("a listener that is closed: %v", err)
	}
}

// Evidence is given to a few at a time.
func TestAtMost(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := atMost(1, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	}))
	done := make(chan struct{})
	go func() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		close(done)
	}()
	<-entered
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d", w.Code)
	}
	close(leave)
	<-done
}
