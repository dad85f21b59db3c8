package tracing

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"probe/hops"
)

// metricsCollector takes metrics by both protocols and answers as it is told.
type metricsCollector struct {
	colmetricspb.UnimplementedMetricsServiceServer
	mu      sync.Mutex
	got     []*metricspb.ResourceMetrics
	header  []string // the x-token of each request
	path    []string
	refuse  string // text of a refusal
	dropped int64
}

func (c *metricsCollector) take(r *colmetricspb.ExportMetricsServiceRequest, token, path string) *colmetricspb.ExportMetricsServiceResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got, c.header, c.path = append(c.got, r.ResourceMetrics...), append(c.header, token), append(c.path, path)
	if c.dropped == 0 {
		return &colmetricspb.ExportMetricsServiceResponse{}
	}
	return &colmetricspb.ExportMetricsServiceResponse{
		PartialSuccess: &colmetricspb.ExportMetricsPartialSuccess{RejectedDataPoints: c.dropped, ErrorMessage: "too many"}}
}

func (c *metricsCollector) Export(ctx context.Context, r *colmetricspb.ExportMetricsServiceRequest) (
	*colmetricspb.ExportMetricsServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	resp := c.take(r, strings.Join(md.Get("x-token"), ","), "")
	if c.refuse != "" {
		return nil, status.Error(codes.Unauthenticated, c.refuse)
	}
	return resp, nil
}

func (c *metricsCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var m colmetricspb.ExportMetricsServiceRequest
	if err := proto.Unmarshal(body, &m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, _ := proto.Marshal(c.take(&m, r.Header.Get("x-token"), r.URL.Path))
	if c.refuse != "" {
		http.Error(w, c.refuse, http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

func metricsOverGRPC(t *testing.T, c *metricsCollector) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	colmetricspb.RegisterMetricsServiceServer(s, c)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func metricsOverHTTP(t *testing.T, c *metricsCollector) string {
	t.Helper()
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func metricsExporter(t *testing.T, c Config) *MetricsExporter {
	t.Helper()
	e, err := NewMetricsExporter(c, Options{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func push(t *testing.T, c Config, run *hops.Run) {
	t.Helper()
	if err := metricsExporter(t, c).Export(t.Context(), run); err != nil {
		t.Fatal(err)
	}
}

func TestMetricsExport(t *testing.T) {
	const token = "x-token=t"
	header := map[string]string{"x-token": "t"}
	for _, c := range []struct {
		name   string
		start  func(*testing.T, *metricsCollector) string
		config func(addr string) Config
		env    func(addr string) map[string]string
		path   string
	}{
		{"grpc by flag", metricsOverGRPC, func(a string) Config { return Config{Endpoint: a, Protocol: GRPC, Insecure: true, Headers: header} }, nil, ""},
		{"http by flag", metricsOverHTTP, func(a string) Config { return Config{Endpoint: a, Insecure: true, Headers: header} }, nil, "/v1/metrics"},
		{"the full URL for traces", metricsOverHTTP, func(a string) Config {
			return Config{Endpoint: "http://" + a + "/otlp/v1/traces", Headers: header}
		}, nil, "/otlp/v1/metrics"},
		{"the full URL for metrics", metricsOverHTTP, func(a string) Config {
			return Config{Endpoint: "http://" + a + "/v1/metrics", Headers: header}
		}, nil, "/v1/metrics"},
		{"grpc by variables", metricsOverGRPC, nil, func(a string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + a, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_HEADERS": token}
		}, ""},
		{"http by variables", metricsOverHTTP, nil, func(a string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + a + "/base", "OTEL_EXPORTER_OTLP_HEADERS": token}
		}, "/base/v1/metrics"},
		{"the variable for metrics is taken as it is", metricsOverHTTP, nil, func(a string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1",
				"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://" + a + "/in", "OTEL_EXPORTER_OTLP_METRICS_HEADERS": token}
		}, "/in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bare(t)
			col := &metricsCollector{}
			addr := c.start(t, col)
			var config Config
			if c.config != nil {
				config = c.config(addr)
			}
			if c.env != nil {
				for k, v := range c.env(addr) {
					t.Setenv(k, v)
				}
			}
			run := killed()
			push(t, config, run)
			golden(t, "metrics-failed.txt", []byte(exposition(t, col.got, run)))
			if len(col.got) != 1 || col.header[0] != "t" || col.path[0] != c.path {
				t.Errorf("%d requests, header %q, path %q, want %q", len(col.got), col.header, col.path, c.path)
			}
		})
	}
}

func TestMetricsGoNowhere(t *testing.T) {
	bare(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1") // of the traces alone
	e := metricsExporter(t, Config{})
	if e.Enabled() || e.Endpoint() != "" {
		t.Error("enabled without an endpoint")
	}
	if err := e.Export(t.Context(), healthy()); err != nil {
		t.Error(err)
	}
}

func TestMetricsTroubles(t *testing.T) {
	const token = "s3cr3t-t0ken"
	bare(t)
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hole.Close() })
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	refusing := func() *metricsCollector { return &metricsCollector{refuse: "bad token " + token} }
	header := map[string]string{"x-token": "Bearer " + token}
	grpcRefusing, grpcDropping := metricsOverGRPC(t, refusing()), metricsOverGRPC(t, &metricsCollector{dropped: 3})
	for _, c := range []struct {
		name string
		conf Config
		want string
	}{
		{"silent", Config{Endpoint: "http://" + hole.Addr().String(), Timeout: 150 * time.Millisecond}, "did not answer within 150ms"},
		{"silent by grpc", Config{Endpoint: "http://" + hole.Addr().String(), Protocol: GRPC, Timeout: 150 * time.Millisecond},
			"did not answer within 150ms"},
		{"not a collector", Config{Endpoint: page.URL}, "http/protobuf on 4318 under /v1/metrics"},
		{"refused", Config{Endpoint: "http://" + metricsOverHTTP(t, refusing()), Headers: header}, "OTEL_EXPORTER_OTLP_HEADERS"},
		{"refused by grpc", Config{Endpoint: "http://" + grpcRefusing, Protocol: GRPC, Headers: header}, "OTEL_EXPORTER_OTLP_HEADERS"},
		{"dropped", Config{Endpoint: "http://" + metricsOverHTTP(t, &metricsCollector{dropped: 3})}, "the collector dropped data points"},
		{"dropped by grpc", Config{Endpoint: "http://" + grpcDropping, Protocol: GRPC}, "the collector dropped data points"},
	} {
		err := metricsExporter(t, c.conf).Export(t.Context(), killed())
		var failed *ExportError
		const says = "the metrics were not sent to http://127.0.0.1:"
		if !errors.As(err, &failed) || !strings.Contains(failed.Hint, c.want) || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%s: %v; want the hint %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the message holds a secret: %v", c.name, err)
		}
	}
	for name, want := range map[string]string{"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": `OTEL_EXPORTER_OTLP_METRICS_PROTOCOL is "x"`,
		"OTEL_EXPORTER_OTLP_METRICS_HEADERS": "OTEL_EXPORTER_OTLP_METRICS_HEADERS: entry 1 is not name=value"} {
		bare(t)
		t.Setenv(name, "x")
		if _, err := NewMetricsExporter(Config{Endpoint: "http://c:1"}, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
