package metrics

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"probe/hops"
	"probe/probe/agent/state"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ms(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// result is a probe of a service that is well, with one request at each door.
func result(name string, change func(*state.Result)) *state.Result {
	r := &state.Result{Ref: hops.Ref{Namespace: "demo", Name: name}, State: hops.OK, Interval: time.Minute,
		Due: noon, Started: noon.Add(ms(20)), Ended: noon.Add(ms(50)),
		Run: &hops.Run{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Observations: []hops.Observation{
			request(hops.Outside, 12, 200), request(hops.ClusterLocal, 7, 200)}}}
	if change != nil {
		change(r)
	}
	return r
}

func request(d hops.Door, took float64, status int) hops.Observation {
	return hops.Observation{Step: hops.Step{Hop: hops.IngressGateway, Door: d}, Asked: hops.RealRequest,
		Took: ms(took), Status: status, Outcome: hops.Answered,
		Phases: hops.Phases{DNS: ms(0.5), Connect: ms(1), TLS: ms(2), Write: ms(0.25), Wait: ms(took - 4), Body: ms(0.25)}}
}

func knock(d hops.Door) hops.Observation {
	o := request(d, 3, 200)
	o.Asked, o.Header = hops.Knock, map[string]string{"k-network-hash": "7f6c1a"}
	return o
}

// status is what the tracker says when it believes each result.
func status(r *state.Result) state.Status {
	return state.Status{Ref: r.Ref, State: r.State, Hop: r.Hop, Reason: r.Reason, Since: r.Started}
}

func failed(r *state.Result) {
	r.State, r.Hop, r.Reason, r.Further = hops.Failed, hops.Container, "oom-killed", true
	r.Ended = noon.Add(ms(3400))
	r.Run.Observations = []hops.Observation{request(hops.Outside, 5, 503), request(hops.ClusterLocal, 5, 503)}
	r.Run.Observations[1].Outcome, r.Run.Observations[1].Status = hops.Timeout, 0
}

func asleep(r *state.Result) {
	r.Asleep = true
	r.Run.Observations = []hops.Observation{knock(hops.Outside), knock(hops.ClusterLocal)}
}

func woken(r *state.Result) {
	r.Cold, r.Ended = true, noon.Add(9*time.Second)
	r.Run.Observations = []hops.Observation{request(hops.Outside, 8700, 200)}
	r.Run.Observations[0].ColdStart = true
}

func rules() []hops.Rule { return []hops.Rule{{ID: "oom-killed"}, {ID: "canary-failing"}} }

// fleet is one service of each kind.
func fleet() *Metrics {
	m := New(Options{Version: "1.2.3", Rules: rules(), Skipped: func() uint64 { return 3 }, Trouble: func() int { return 1 },
		Events: func() (written, dropped int64) { return 4, 1 }, Traces: func() (sent, dropped int64) { return 50, 2 }})
	for _, r := range []*state.Result{
		result("iris", nil),
		result("killed", nil), result("killed", failed),
		result("asleep", asleep),
		result("cold", asleep), result("cold", woken),
		result("canary", func(r *state.Result) { r.State, r.Hop, r.Reason = hops.Degraded, hops.Revision, "canary-failing" }),
		result("gate", func(r *state.Result) {
			r.State, r.Hop, r.Reason = hops.Inconclusive, hops.Client, "a reason that nobody knows"
			r.Problems = []string{"probe/interval: often"}
			r.Run.Observations[0].Outcome, r.Run.Observations[1].Outcome = hops.NoWay, hops.Cancelled
		}),
	} {
		m.Observe(r, status(r))
	}
	fresh := result("new", nil)
	m.Observe(fresh, state.Status{Ref: fresh.Ref}) // too few probes
	return m
}

// scrape gives the exposition without what the Go runtime tells of itself.
func scrape(t *testing.T, m *Metrics, open bool) string {
	t.Helper()
	var all bytes.Buffer
	if err := m.write(&all, open); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(all.String()) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			out.WriteString(strings.ReplaceAll(line, runtime.Version(), "go"))
		}
	}
	return out.String()
}

// TestGolden: the file also tells the checks of alerts and dashboard which names there are.
func TestGolden(t *testing.T) {
	got := scrape(t, fleet(), true)
	const file = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and review the change. got:\n%s", file, got)
	}
}

// TestSeries: what is said, and what is not said, of each kind of service.
func TestSeries(t *testing.T) {
	text := scrape(t, fleet(), true)
	for _, c := range []struct {
		line string
		want bool
	}{
		{`probe_success{namespace="demo",service="iris"} 1.0`, true},
		{`probe_success{namespace="demo",service="killed"} 0.0`, true},
		{`probe_success{namespace="demo",service="canary"} 1.0`, true},
		{`probe_success{namespace="demo",service="gate"}`, false},
		{`probe_success{namespace="demo",service="new"}`, false},
		{`probe_state{namespace="demo",service="killed",state="Failed"} 1.0`, true},
		{`probe_state{namespace="demo",service="killed",state="OK"} 0.0`, true},
		{`probe_state{namespace="demo",service="new",state="OK"} 0.0`, true},
		{`probe_reason{namespace="demo",service="killed",hop="container",reason="oom-killed"} 1.0`, true},
		{`probe_reason{namespace="demo",service="gate",hop="client",reason="other"} 1.0`, true},
		{`probe_reason{namespace="demo",service="iris"`, false},
		{`probe_reason{namespace="demo",service="new"`, false},
		{`probe_duration_seconds{namespace="demo",service="iris"} 0.03`, true},
		{`probe_duration_seconds{namespace="demo",service="asleep"}`, false},
		{`probe_duration_seconds{namespace="demo",service="cold"}`, false},
		{`probe_asleep{namespace="demo",service="asleep"} 1.0`, true},
		{`probe_asleep{namespace="demo",service="cold"} 0.0`, true},
		{`probe_http_status_code{namespace="demo",service="killed",door="cluster-local"} 0.0`, true},
		{`probe_http_status_code{namespace="demo",service="asleep"`, false},
		{`probe_http_status_code{namespace="demo",service="gate"`, false}, // no request got there
		{`probe_http_duration_seconds{namespace="demo",service="iris",door="outside",phase="processing"} 0.00825`, true},
		{`probe_http_duration_seconds{namespace="demo",service="cold"`, false},
		{`probe_http_duration_seconds{namespace="demo",service="asleep"`, false},
		{`probe_request_seconds_count{namespace="demo",service="killed",door="outside"} 1`, true}, // the failed one is none
		{`probe_request_seconds_count{namespace="demo",service="cold"`, false},
		{`probe_request_seconds_count{namespace="demo",service="asleep"`, false},
		{`probe_cold_start_seconds_count{namespace="demo",service="cold"} 1`, true},
		{`probe_cold_start_seconds_count{namespace="demo",service="iris"`, false},
		{`probe_runs_total{namespace="demo",service="killed",state="Failed"} 1.0 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 1.0`, true},
		{`probe_runs_total{namespace="demo",service="killed",state="OK"} 1.0`, true},
		{`probe_last_success_timestamp_seconds{namespace="demo",service="killed"} 1.77236640005e+09`, true},
		{`probe_last_success_timestamp_seconds{namespace="demo",service="gate"}`, false},
		{`probe_settings_problems{namespace="demo",service="gate"} 1.0`, true},
		{`probe_services 7.0`, true},
		{`probe_further_looks_total 1.0`, true},
		{`probe_schedule_delay_seconds_count 9`, true},
		{`probe_connection_info{reuse="false"} 1.0`, true},
	} {
		if strings.Contains(text, c.line) != c.want {
			t.Errorf("there %t, want %t: %s", !c.want, c.want, c.line)
		}
	}
}

// TestTurns: a probe takes the place of the one before, in all series of the last one.
func TestTurns(t *testing.T) {
	m := New(Options{Rules: rules(), Reuse: true, Services: func() int { return 41 }})
	for _, change := range []func(*state.Result){nil, failed, asleep} {
		r := result("iris", change)
		m.Observe(r, status(r))
	}
	none := result("iris", func(r *state.Result) { r.Run, r.Asleep = nil, true })
	m.Observe(none, status(none))
	text := scrape(t, m, true)
	for _, gone := range []string{"probe_http_duration_seconds{", "probe_http_status_code{", "probe_reason{", "probe_duration_seconds{"} {
		if strings.Contains(text, gone) {
			t.Errorf("%s is still there:\n%s", gone, text)
		}
	}
	for _, kept := range []string{`probe_runs_total{namespace="demo",service="iris",state="OK"} 3.0`,
		`probe_request_seconds_count{namespace="demo",service="iris",door="outside"} 1`,
		`probe_connection_info{reuse="true"} 1.0`, "probe_services 41.0"} {
		if !strings.Contains(text, kept) {
			t.Errorf("%s is not there:\n%s", kept, text)
		}
	}
}

// TestAnswered: which requests have a latency.
func TestAnswered(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*state.Result)
		want   bool
	}{
		{"a success", nil, true},
		{"404 is expected", func(r *state.Result) { r.Run.Observations[0].Status = 404 }, true},
		{"too slow", func(r *state.Result) { r.State, r.Reason = hops.Degraded, state.TooSlow }, true},
		{"404 is expected, sooner", func(r *state.Result) {
			r.State, r.Reason = hops.Degraded, state.TooSlow
			r.Run.Observations[0].Status = 404
		}, true},
		{"another answer", func(r *state.Result) {
			r.State, r.Reason = hops.Failed, state.UnexpectedResponse
			r.Run.Observations[0].Status = 404
		}, false},
		{"no answer", func(r *state.Result) { r.Run.Observations[0].Outcome = hops.Refused }, false},
		{"no way in", func(r *state.Result) { r.Run.Observations[0].Outcome = hops.NoWay }, false},
		{"a revision's own entry", func(r *state.Result) { r.Run.Observations[0].Step.Door = "" }, false},
		{"a knock", func(r *state.Result) { r.Run.Observations[0] = knock(hops.Outside) }, false},
		{"a cold start", func(r *state.Result) { r.Cold = true }, false},
	} {
		m := New(Options{})
		r := result("iris", c.change)
		m.Observe(r, status(r))
		if got := m.services[r.Ref].doors[0].latency != nil; got != c.want {
			t.Errorf("%s: counted %t, want %t", c.name, got, c.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	one, two := traceID{1}, traceID{2}
	for _, took := range []time.Duration{0, ms(5), ms(5.001), time.Minute} {
		h.observe(&warmBounds, took, one, noon)
	}
	h.observe(&warmBounds, ms(4), two, noon)
	h.observe(&warmBounds, ms(3), traceID{}, noon) // without a trace the one before stays
	got := h.write(&warmBounds)
	var counts []uint64
	for _, b := range got.Bucket {
		counts = append(counts, b.GetCumulativeCount())
	}
	if want := []uint64{4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6}; !slices.Equal(counts, want) || got.GetSampleCount() != 6 {
		t.Errorf("%v of %d, want %v", counts, got.GetSampleCount(), want)
	}
	if e := got.Bucket[0].Exemplar; e.GetLabel()[0].GetValue() != "02000000000000000000000000000000" || e.GetValue() != 0.004 {
		t.Errorf("exemplar %v", e)
	}
	if e := got.Bucket[10].Exemplar; e.GetValue() != 60 {
		t.Errorf("exemplar beyond the bounds: %v", e)
	}
	for _, s := range []string{"", "4bf92f", strings.Repeat("x", 32)} {
		if traceOf(s) != (traceID{}) {
			t.Errorf("%q is a trace id", s)
		}
	}
}

// TestSize: what one service costs at most, both doors and cold starts included.
func TestSize(t *testing.T) {
	all := unsafe.Sizeof(record{}) + 3*unsafe.Sizeof(histogram{}) + unsafe.Sizeof(hops.Ref{}) + 2*unsafe.Sizeof((*record)(nil))
	if all > 2048 {
		t.Errorf("a service takes %d bytes, more than 2048", all)
	}
}

func TestRemove(t *testing.T) {
	m := fleet()
	scrape(t, m, true)
	m.Remove(hops.Ref{Namespace: "demo", Name: "killed"})
	m.Remove(hops.Ref{Namespace: "demo", Name: "never-there"})
	if text := scrape(t, m, true); strings.Contains(text, "killed") || !strings.Contains(text, "probe_services 6.0") {
		t.Errorf("the service is still there:\n%s", text)
	}
}

// TestOwn: without a collector nothing is said of traces; zero would say that all is well with them.
func TestOwn(t *testing.T) {
	with := scrape(t, fleet(), true)
	for _, want := range []string{`probe_agent_events_total{outcome="written"} 4.0`, `probe_agent_events_total{outcome="dropped"} 1.0`,
		`probe_agent_traces_total{outcome="sent"} 50.0`, `probe_agent_traces_total{outcome="dropped"} 2.0`, "probe_agent_skipped_runs_total 3.0", "probe_agent_troubles 1.0"} {
		if !strings.Contains(with, want+"\n") {
			t.Errorf("no %s in\n%s", want, with)
		}
	}
	if without := scrape(t, New(Options{Rules: rules()}), true); strings.Contains(without, "probe_agent_") {
		t.Errorf("something is said of what there is not:\n%s", without)
	}
}

// TestManyServices: a family in several pieces has one head, and both formats say the same.
func TestManyServices(t *testing.T) {
	m := New(Options{Rules: rules()})
	const services = servicesAtOnce + 3
	for i := range services {
		r := result(fmt.Sprintf("s%04d", i), nil)
		m.Observe(r, status(r))
	}
	for _, open := range []bool{true, false} {
		text := scrape(t, m, open)
		for head, want := range map[string]int{"# TYPE probe_success gauge\n": 1, "# HELP probe_request_seconds ": 1, "\nprobe_success{": services,
			"\nprobe_request_seconds_count{": 2 * services} {
			if got := strings.Count(text, head); got != want {
				t.Errorf("OpenMetrics %t: %q is there %d times, want %d", open, head, got, want)
			}
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, m, false)))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(families["probe_http_duration_seconds"].GetMetric()); got != 10*services {
		t.Errorf("%d phases, want %d", got, 10*services)
	}
}

func TestLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, fleet(), false))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestHandler(t *testing.T) {
	const open, kind = "application/openmetrics-text;version=1.0.0;q=0.75", "application/openmetrics-text; version=1.0.0"
	s := httptest.NewServer(fleet().Handler())
	t.Cleanup(s.Close)
	for _, c := range []struct {
		name, accept, encoding string
		kind                   string
		zipped, exemplars      bool
	}{
		{"Prometheus", open + ",text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "gzip", kind, true, true},
		{"Prometheus with protocol buffers", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited," + open,
			"", kind, false, true},
		{"curl", "*/*", "", "text/plain; version=0.0.4", false, false},
		{"one that cannot unzip", "", "gzip;q=0", "text/plain; version=0.0.4", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", c.accept)
			req.Header.Set("Accept-Encoding", c.encoding)
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body := io.Reader(resp.Body)
			if (resp.Header.Get("Content-Encoding") == "gzip") != c.zipped {
				t.Fatalf("Content-Encoding %q", resp.Header.Get("Content-Encoding"))
			}
			if c.zipped {
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			all, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			text := string(all)
			if !strings.HasPrefix(resp.Header.Get("Content-Type"), c.kind) {
				t.Errorf("Content-Type %q, want %q", resp.Header.Get("Content-Type"), c.kind)
			}
			if strings.Contains(text, "trace_id") != c.exemplars || strings.HasSuffix(text, "# EOF\n") != c.exemplars {
				t.Errorf("exemplars and end mark: want %t\n%s", c.exemplars, text)
			}
			names := []string{"go_goroutines"} // the dashboard reads these
			if runtime.GOOS == "linux" {
				names = append(names, "process_cpu_seconds_total", "process_resident_memory_bytes")
			}
			for _, name := range names {
				if !strings.Contains(text, "\n"+name+" ") {
					t.Errorf("no %s", name)
				}
			}
		})
	}
}

// slow is a reader that takes nothing until it is told to.
type slow struct {
	httptest.ResponseRecorder
	begun, goOn chan struct{}
	once        sync.Once
}

func (s *slow) Write(p []byte) (int, error) {
	s.once.Do(func() { s.begun <- struct{}{}; <-s.goOn })
	return s.ResponseRecorder.Write(p)
}

func TestScrapesAreBounded(t *testing.T) {
	h := fleet().Handler()
	begun, goOn := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	for range scrapesAtOnce {
		done.Go(func() {
			h.ServeHTTP(&slow{ResponseRecorder: *httptest.NewRecorder(), begun: begun, goOn: goOn}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		})
		<-begun
	}
	third := httptest.NewRecorder()
	h.ServeHTTP(third, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if third.Code != http.StatusServiceUnavailable {
		t.Errorf("a third scrape got %d", third.Code)
	}
	close(goOn)
	done.Wait()
	after := httptest.NewRecorder()
	h.ServeHTTP(after, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if after.Code != http.StatusOK {
		t.Errorf("afterwards: %d", after.Code)
	}
}

// TestAtOnce is for the race detector.
func TestAtOnce(t *testing.T) {
	m := fleet()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 50 {
				r := result(fmt.Sprintf("s%d-%d", i, n), nil)
				m.Observe(r, status(r))
				m.Remove(hops.Ref{Namespace: "demo", Name: fmt.Sprintf("s%d-%d", i, n-1)})
			}
		})
	}
	for range 3 {
		if err := m.write(io.Discard, true); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}
