package tracing

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// collector takes traces by both protocols and answers as it is told.
type collector struct {
	coltracepb.UnimplementedTraceServiceServer
	mu      sync.Mutex
	got     []*coltracepb.ExportTraceServiceRequest
	header  []string // the x-token of each request
	path    []string
	refuse  string // text of a refusal
	dropped int64
}

func (c *collector) take(r *coltracepb.ExportTraceServiceRequest, token, path string) *coltracepb.ExportTraceServiceResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got, c.header, c.path = append(c.got, r), append(c.header, token), append(c.path, path)
	if c.dropped == 0 {
		return &coltracepb.ExportTraceServiceResponse{}
	}
	return &coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: c.dropped, ErrorMessage: "too many"}}
}

func (c *collector) Export(ctx context.Context, r *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	resp := c.take(r, strings.Join(md.Get("x-token"), ","), "")
	if c.refuse != "" {
		return nil, status.Error(codes.Unauthenticated, c.refuse)
	}
	return resp, nil
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var m coltracepb.ExportTraceServiceRequest
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

// spans gives the one trace that arrived.
func (c *collector) spans(t *testing.T) []byte {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.got) != 1 {
		t.Fatalf("the collector got %d traces, want 1", len(c.got))
	}
	return render(t, c.got[0].ResourceSpans)
}

// overGRPC and overHTTP start a collector on loopback and give its host:port.
func overGRPC(t *testing.T, c *collector) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(s, c)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func overHTTP(t *testing.T, c *collector) string {
	t.Helper()
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// bare clears the variables of whoever runs the tests.
func bare(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

func export(t *testing.T, c Config) error {
	t.Helper()
	e, err := NewExporter(c, Options{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Enabled() {
		t.Fatal("the exporter is not enabled")
	}
	return e.Export(t.Context(), killed())
}

func TestExport(t *testing.T) {
	want, err := os.ReadFile("testdata/failed.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		start  func(*testing.T, *collector) string
		config func(addr string) Config
		env    func(addr string) map[string]string
		path   string
	}{
		{"grpc by flag", overGRPC, func(a string) Config {
			return Config{Endpoint: a, Protocol: GRPC, Insecure: true, Headers: map[string]string{"x-token": "t"}}
		}, nil, ""},
		{"grpc by URL", overGRPC, func(a string) Config {
			return Config{Endpoint: "http://" + a, Protocol: GRPC, Headers: map[string]string{"x-token": "t"}}
		}, nil, ""},
		{"http by flag", overHTTP, func(a string) Config {
			return Config{Endpoint: a, Insecure: true, Headers: map[string]string{"x-token": "t"}}
		}, nil, "/v1/traces"},
		{"http by URL with a path", overHTTP, func(a string) Config {
			return Config{Endpoint: "http://" + a + "/otlp/", Headers: map[string]string{"x-token": "t"}}
		}, nil, "/otlp/v1/traces"},
		{"http by the full URL", overHTTP, func(a string) Config {
			return Config{Endpoint: "http://" + a + "/v1/traces", Headers: map[string]string{"x-token": "t"}}
		}, nil, "/v1/traces"},
		{"grpc by variables", overGRPC, nil, func(a string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + a, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_HEADERS": "x-token=t"}
		}, ""},
		{"http by variables", overHTTP, nil, func(a string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + a + "/base", "OTEL_EXPORTER_OTLP_HEADERS": "x-token=t"}
		}, "/base/v1/traces"},
		{"the variable for traces is taken as it is", overHTTP, nil, func(a string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + a + "/in", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-token=t"}
		}, "/in"},
		{"the flag wins over variables", overHTTP, func(a string) Config {
			return Config{Endpoint: "http://" + a, Protocol: HTTP}
		}, func(string) map[string]string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_HEADERS": "x-token=t"}
		}, "/v1/traces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bare(t)
			col := &collector{}
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
			if err := export(t, config); err != nil {
				t.Fatal(err)
			}
			if got := col.spans(t); !bytes.Equal(got, want) {
				t.Errorf("what arrived is not what was built:\n%s", got)
			}
			if col.header[0] != "t" || col.path[0] != c.path {
				t.Errorf("header %q, path %q, want %q", col.header[0], col.path[0], c.path)
			}
		})
	}
}

func TestExportTLS(t *testing.T) {
	bare(t)
	col := &collector{}
	s := httptest.NewUnstartedServer(col)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that is meant to fail
	s.StartTLS()
	t.Cleanup(s.Close)
	if err := export(t, Config{Endpoint: s.URL}); err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_CERTIFICATE") {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", ca)
	if err := export(t, Config{Endpoint: s.URL}); err != nil {
		t.Error(err)
	}
	col.spans(t)
}

func TestNoEndpointNoExport(t *testing.T) {
	bare(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=t")
	e, err := NewExporter(Config{Protocol: GRPC, Insecure: true}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e.Enabled() || e.Endpoint() != "" {
		t.Error("enabled without an endpoint")
	}
	if err := e.Export(t.Context(), healthy()); err != nil {
		t.Error(err)
	}
}

// TestSilentCollector: a listener that takes connections and never answers, one that is closed, and one that is out of reach for a context that
// is over. No timing is asserted beyond that the test ends.
func TestSilentCollector(t *testing.T) {
	bare(t)
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hole.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, protocol := range []string{GRPC, HTTP} {
		for addr, hint := range map[net.Listener]string{hole: "did not answer within 150ms", closed: "nothing listens there"} {
			endpoint := "http://" + addr.Addr().String()
			err := export(t, Config{Endpoint: endpoint, Protocol: protocol, Timeout: 150 * time.Millisecond})
			var failed *ExportError
			if !errors.As(err, &failed) {
				t.Errorf("%s %s: no ExportError but %v", protocol, hint, err)
				continue
			}
			if !strings.Contains(err.Error(), endpoint) || !strings.Contains(failed.Hint, hint) {
				t.Errorf("%s: %v; want the endpoint %s and the hint %q", protocol, err, endpoint, hint)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, err := NewExporter(Config{Endpoint: "http://" + hole.Addr().String()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Export(ctx, healthy()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTimeoutIsBounded(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: MaxWait, time.Hour: MaxWait, time.Second: time.Second} {
		e, err := NewExporter(Config{Endpoint: "http://127.0.0.1:4317", Timeout: given}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if e.timeout != want {
			t.Errorf("a timeout of %s became %s, want %s", given, e.timeout, want)
		}
	}
}

// TestRefusal: an answer that echoes the credentials does not carry them into our message.
func TestRefusal(t *testing.T) {
	const token = "s3cr3t-t0ken"
	for protocol, start := range map[string]func(*testing.T, *collector) string{GRPC: overGRPC, HTTP: overHTTP} {
		for _, from := range []string{"flag", "variable"} {
			bare(t)
			c := Config{Endpoint: "http://user:pa55word@" + start(t, &collector{refuse: "bad token " + token + " <from you>"}), Protocol: protocol}
			if from == "flag" {
				c.Headers = map[string]string{"x-token": "Bearer " + token}
			} else {
				t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=Bearer%20"+token)
			}
			err := export(t, c)
			if err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_HEADERS") || !strings.Contains(err.Error(), "***") {
				t.Errorf("%s, %s: %v", protocol, from, err)
				continue
			}
			if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "pa55word") {
				t.Errorf("%s, %s: the message holds a secret: %v", protocol, from, err)
			}
			if from == "variable" {
				t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "")
			}
		}
	}
}

func TestOtherAnswers(t *testing.T) {
	bare(t)
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	addr := strings.TrimPrefix(page.URL, "http://")
	for _, c := range []struct {
		name string
		conf Config
		want string
	}{
		{"no collector", Config{Endpoint: page.URL}, "check the protocol"},
		{"grpc to an HTTP server", Config{Endpoint: page.URL, Protocol: GRPC}, "check the protocol"},
		{"TLS to plain text", Config{Endpoint: addr}, "write the endpoint as http://"},
		{"TLS to plain text by grpc", Config{Endpoint: addr, Protocol: GRPC}, "write the endpoint as http://"},
		{"a name that is none", Config{Endpoint: "http://collector.invalid:4318"}, "host name"},
		{"spans were dropped", Config{Endpoint: "http://" + overHTTP(t, &collector{dropped: 3})}, "3 spans rejected"},
		{"spans were dropped by grpc", Config{Endpoint: "http://" + overGRPC(t, &collector{dropped: 3}), Protocol: GRPC}, "dropped spans"},
	} {
		if err := export(t, c.conf); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}

func TestProtocol(t *testing.T) {
	bare(t)
	for _, c := range []struct{ endpoint, protocol, want, show string }{
		{"http://c:4317", "", GRPC, "http://c:4317"},
		{"http://c:4318", "", HTTP, "http://c:4318/v1/traces"},
		{"c", GRPC, GRPC, "https://c:4317"},
		{"c", "", HTTP, "https://c:4318/v1/traces"},
		{"https://u:p@c/x?k=v", "", HTTP, "https://c:4318/x/v1/traces"},
		{"http://[::1]:4317", "", GRPC, "http://[::1]:4317"},
	} {
		e, err := NewExporter(Config{Endpoint: c.endpoint, Protocol: c.protocol}, Options{})
		if err != nil {
			t.Errorf("%s: %v", c.endpoint, err)
			continue
		}
		if e.protocol != c.want || e.Endpoint() != c.show {
			t.Errorf("%s %q: %s to %s, want %s to %s", c.endpoint, c.protocol, e.protocol, e.Endpoint(), c.want, c.show)
		}
	}
}

// TestBadConfig: what the library would log and ignore is an error with the variable's name, and never with a header's value.
func TestBadConfig(t *testing.T) {
	for _, c := range []struct {
		name  string
		conf  Config
		env   map[string]string
		wants string
	}{
		{"protocol", Config{Endpoint: "http://c:1", Protocol: "http/json"}, nil, `the OTLP protocol is "http/json": give grpc or http/protobuf`},
		{"protocol variable", Config{Endpoint: "http://c:1"}, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "x"}, `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is "x"`},
		{"scheme", Config{Endpoint: "grpc://c:1"}, nil, "the OTLP endpoint is not an http:// or https:// URL: write it like http://collector:4317"},
		{"no host", Config{Endpoint: "http://:4317"}, nil, "the OTLP endpoint is not"},
		{"variable without scheme", Config{}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "10.0.0.1:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT is not an http:// or https:// URL"},
		{"headers", Config{Endpoint: "http://c:1"}, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "a=b,Bearer secret99"}, "OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not name=value"},
		{"header escape", Config{Endpoint: "http://c:1"}, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=secret99%zz"}, "OTEL_EXPORTER_OTLP_TRACES_HEADERS: entry 1 has a wrong percent-encoding"},
		{"timeout", Config{Endpoint: "http://c:1"}, map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "2s"}, `OTEL_EXPORTER_OTLP_TIMEOUT is "2s": give whole milliseconds`},
		{"certificate", Config{Endpoint: "http://c:1"}, map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "no/such.pem"}, "OTEL_EXPORTER_OTLP_CERTIFICATE: stat no/such.pem"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bare(t)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			_, err := NewExporter(c.conf, Options{})
			if err == nil || !strings.Contains(err.Error(), c.wants) {
				t.Errorf("got %v, want %q", err, c.wants)
			}
			if err != nil && strings.Contains(err.Error(), "secret99") {
				t.Errorf("the message holds a header's value: %v", err)
			}
		})
	}
}
