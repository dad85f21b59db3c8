package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	v1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestParseUsage(t *testing.T) {
	stat := "4711 (a) b (c)) S 1 4711 4711 0 -1 4194560 5555 0 3 0 1234 66 0 0 20 0 9 0 123456 1234567890 9000 18446744073709551615 1 1 0 0\n"
	status := "Name:\tx\nVmPeak:\t  999999 kB\nVmHWM:\t   40960 kB\nVmRSS:\t   20480 kB\nThreads:\t9\n"
	u, err := parseUsage(stat, status)
	if err != nil || u.CPU != 13*time.Second || u.Peak != 40<<20 || u.RSS != 20<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", strings.Replace(stat, "1234", "many", 1)} {
		if _, err := parseUsage(bad, status); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// page is what an agent says, in Prometheus' text format.
const page = `# HELP probe_runs_total Probes
# TYPE probe_runs_total counter
probe_runs_total{namespace="a",service="x",state="OK"} 12
probe_runs_total{namespace="a",service="x",state="Failed"} 2 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 1
probe_runs_total{namespace="a",service="y",state="OK"} 0
probe_runs_total_more 7
probe_schedule_delay_seconds_bucket{le="0.01"} 5
probe_schedule_delay_seconds_bucket{le="0.05"} 9
probe_schedule_delay_seconds_bucket{le="+Inf"} 10
go_memstats_heap_inuse_bytes 1.5e+06
`

func TestSamples(t *testing.T) {
	for _, test := range []struct {
		name, label string
		sum         float64
		positive    int
	}{
		{"probe_runs_total", "", 14, 2},
		{"probe_runs_total", `state="OK"`, 12, 1},
		{"probe_runs_total", `state="Asleep"`, 0, 0},
		{"go_memstats_heap_inuse_bytes", "", 1.5e6, 1},
		{"probe_runs", "", 0, 0},
	} {
		if got, n := sum(page, test.name, test.label), positive(page, test.name, test.label); got != test.sum || n != test.positive {
			t.Errorf("%s %s: %v of %d samples, want %v of %d", test.name, test.label, got, n, test.sum, test.positive)
		}
	}
}

func TestQuantile(t *testing.T) {
	later := strings.NewReplacer(`le="0.01"} 5`, `le="0.01"} 104`, `le="0.05"} 9`, `le="0.05"} 109`, `le="+Inf"} 10`, `le="+Inf"} 111`).Replace(page)
	for _, test := range []struct {
		q, want float64
	}{{0.5, 0.01}, {0.98, 0.01}, {0.99, 0.05}, {1, math.Inf(1)}} {
		if got := quantile(page, later, "probe_schedule_delay_seconds", test.q); got != test.want {
			t.Errorf("%v: %v, want %v", test.q, got, test.want)
		}
	}
	if got := quantile(page, page, "probe_schedule_delay_seconds", 0.5); !math.IsNaN(got) {
		t.Errorf("of no samples: %v", got)
	}
}

func TestSinkCountsSpans(t *testing.T) {
	s, err := newSink()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	raw, err := proto.Marshal(&tracepb.ExportTraceServiceRequest{ResourceSpans: []*v1.ResourceSpans{
		{ScopeSpans: []*v1.ScopeSpans{{Spans: []*v1.Span{{Name: "a"}, {Name: "b"}}}, {Spans: []*v1.Span{{Name: "c"}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{string(raw): http.StatusOK, "\xff\xff": http.StatusBadRequest} {
		resp, err := http.Post("http://"+s.address+"/v1/traces", "application/x-protobuf", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %s", body, resp.Status)
		}
	}
	if n := s.spans.Load(); n != 3 {
		t.Errorf("%d spans", n)
	}
}

// A process that ends before it answers is told with its last words.
func TestChildThatEnds(t *testing.T) {
	c, err := start("sh", "/bin/sh", nil, "-c", "echo it cannot be >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	<-c.done
	if err := c.await(t.Context(), "http://127.0.0.1:1/"); err == nil || !strings.Contains(err.Error(), "exit status 3: it cannot be") {
		t.Error(err)
	}
	c.stop()
}

func TestUsageOfAProcess(t *testing.T) {
	c, err := start("sleep", "/bin/sleep", nil, "60")
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	if u, err := c.usage(); err != nil || u.RSS == 0 || u.Peak < u.RSS {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestReport(t *testing.T) {
	before := reading{name: "x", probes: 10, usage: usage{CPU: time.Second}}
	after := reading{name: "x", probes: 110, failed: 1, usage: usage{CPU: 2 * time.Second, RSS: 30 << 20, Peak: 31 << 20}, spans: 300, heap: 4 << 20}
	f := between(&before, &after, 10<<20, 1000)
	if f.PerCPU != 100 || f.Probes != 100 || f.Failed != 1 || f.Grown != 20971 || f.Spans != 300 {
		t.Errorf("%+v", f)
	}
	c := Comparison{Services: 1000, Interval: 1, Seconds: 10, Figures: []Figures{f}, Times: []float64{1}}
	var table, js bytes.Buffer
	if err := c.table(&table); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON("-", &js, c); err != nil {
		t.Fatal(err)
	}
	var back Comparison
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Figures[0] != f {
		t.Errorf("%v: %s", err, &js)
	}
	if !strings.Contains(table.String(), "1.00 x") || !strings.Contains(table.String(), "30 MiB") {
		t.Error(table.String())
	}
	l := Load{Services: 10, Requests: map[string]int{"list pods": 3, "watch inferenceservices": 1}, Figures: f}
	table.Reset()
	if err := l.table(&table); err != nil || !strings.Contains(table.String(), "4: list pods 3, watch inferenceservices 1") {
		t.Error(err, table.String())
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"load", "--services", "0"}, {"--interval", "1ms"}, {"--duration", "10ms"}, {"--unknown"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
