// export.go: sends a trace to a collector by OTLP, and what that has in common with sending metrics. Nothing is sent unless a flag or a standard
// variable names the collector.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"probe/hops"
)

// MaxWait is what a collector that does not answer may cost.
const MaxWait = 2 * time.Second

// The protocols, as the specification of the OTLP exporter spells them.
const (
	GRPC = "grpc"
	HTTP = "http/protobuf"
)

// signal is what is sent, as the specification of the OTLP exporter names it in variables and paths.
type signal string

const (
	traces  signal = "traces"
	metrics signal = "metrics"
)

func (s signal) path() string { return "/v1/" + string(s) }

// prefixes are those of the standard variables: the one for the signal goes before the one for all.
func (s signal) prefixes() []string {
	return []string{"OTEL_EXPORTER_OTLP_" + strings.ToUpper(string(s)) + "_", "OTEL_EXPORTER_OTLP_"}
}

// parts are what a collector counts.
func (s signal) parts() string {
	if s == metrics {
		return "data points"
	}
	return "spans"
}

// Config says where traces or metrics go. What is not set is read from OTEL_EXPORTER_OTLP_TRACES_* or _METRICS_*, then OTEL_EXPORTER_OTLP_*.
type Config struct {
	Endpoint string // host:port or URL; HTTP gets /v1/traces or /v1/metrics appended
	Protocol string // "" is grpc for port 4317, else http/protobuf
	Insecure bool   // an Endpoint without a scheme is plain text
	Headers  map[string]string
	Timeout  time.Duration // at most MaxWait, which 0 stands for
}

// Exporter sends the traces of finished runs to a collector.
type Exporter struct {
	destination
	connect func() otlptrace.Client
}

// destination is where a signal goes, and how.
type destination struct {
	signal   signal
	opt      Options
	timeout  time.Duration
	enabled  bool
	protocol string
	show     string // the endpoint as messages name it: no user, password or query
	secrets  []string
}

// NewExporter checks the configuration; it opens no connection. Without any endpoint the exporter is not enabled and sends nothing.
func NewExporter(c Config, o Options) (*Exporter, error) {
	e := &Exporter{}
	u, err := e.open(traces, c, o)
	if err != nil {
		return nil, err
	}
	if e.enabled {
		e.connect = client(c, e.protocol, u)
	}
	return e, nil
}

// open settles where a signal goes. The URL is nil when it goes nowhere.
func (e *destination) open(s signal, c Config, o Options) (*url.URL, error) {
	e.signal, e.opt, e.timeout = s, o, MaxWait
	if c.Timeout > 0 {
		e.timeout = min(c.Timeout, MaxWait)
	}
	address, name := c.Endpoint, "the OTLP endpoint"
	if address == "" {
		address, name = s.variable("ENDPOINT")
	}
	if address == "" {
		return nil, nil
	}
	if err := s.checkVariables(); err != nil {
		return nil, err
	}
	u, err := parseEndpoint(c, address, name)
	if err != nil {
		return nil, err
	}
	e.protocol, err = s.protocolOf(c, u)
	if err != nil {
		return nil, err
	}
	e.enabled, e.show, e.secrets = true, u.Scheme+"://"+u.Host+u.Path, s.secrets(c)
	return u, nil
}

// Enabled says whether there is a collector to send to.
func (e *destination) Enabled() bool { return e.enabled }

// Endpoint names the collector for messages; "" when there is none.
func (e *destination) Endpoint() string { return e.show }

// variable gives a standard variable's value and name.
func (s signal) variable(suffix string) (value, name string) {
	for _, prefix := range s.prefixes() {
		if v := strings.TrimSpace(os.Getenv(prefix + suffix)); v != "" {
			return v, prefix + suffix
		}
	}
	return "", ""
}

// checkVariables refuses what the exporter library would only log, and go on without. For headers it would log their values.
func (s signal) checkVariables() error {
	for _, prefix := range s.prefixes() {
		if v := strings.TrimSpace(os.Getenv(prefix + "ENDPOINT")); v != "" {
			if _, err := parseEndpoint(Config{}, v, prefix+"ENDPOINT"); err != nil {
				return err
			}
		}
		if v := strings.TrimSpace(os.Getenv(prefix + "HEADERS")); v != "" {
			if _, err := parseHeaders(v); err != nil {
				return fmt.Errorf("%sHEADERS: %w; write name=value,name=value with values percent-encoded", prefix, err)
			}
		}
		if v := strings.TrimSpace(os.Getenv(prefix + "TIMEOUT")); v != "" && strings.Trim(v, "0123456789") != "" {
			return fmt.Errorf("%sTIMEOUT is %q: give whole milliseconds", prefix, v)
		}
		for _, file := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
			if v := strings.TrimSpace(os.Getenv(prefix + file)); v != "" {
				if _, err := os.Stat(v); err != nil {
					return fmt.Errorf("%s%s: %w; give the path of a PEM file", prefix, file, err)
				}
			}
		}
	}
	return nil
}

// parseHeaders reads the list form of the specification; its errors say which entry is wrong, never what it holds.
func parseHeaders(list string) (map[string]string, error) {
	out := map[string]string{}
	for i, entry := range strings.Split(list, ",") {
		name, value, found := strings.Cut(entry, "=")
		name = strings.TrimSpace(name)
		if !found || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
			return nil, fmt.Errorf("entry %d is not name=value", i+1)
		}
		plain, err := url.PathUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("entry %d has a wrong percent-encoding", i+1)
		}
		out[name] = strings.TrimSpace(plain)
	}
	return out, nil
}

// parseEndpoint gives the URL; a flag may leave out scheme and port. It never quotes an address that may hold a password.
func parseEndpoint(c Config, address, name string) (*url.URL, error) {
	if !strings.Contains(address, "://") && c.Endpoint != "" {
		scheme := "https://"
		if c.Insecure {
			scheme = "http://"
		}
		address = scheme + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%s is not an http:// or https:// URL: write it like http://collector:4317", name)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}, nil
}

// protocolOf settles the protocol, and with it the port and path that a flag left out.
func (s signal) protocolOf(c Config, u *url.URL) (string, error) {
	asked, name := c.Protocol, "the OTLP protocol"
	if asked == "" {
		asked, name = s.variable("PROTOCOL")
	}
	if asked == "" {
		asked = HTTP
		if u.Port() == "4317" {
			asked = GRPC
		}
	}
	if asked != GRPC && asked != HTTP {
		return "", fmt.Errorf("%s is %q: give %s or %s", name, asked, GRPC, HTTP)
	}
	if c.Endpoint == "" {
		return asked, nil // the library itself reads the variable
	}
	if u.Port() == "" {
		u.Host += map[string]string{GRPC: ":4317", HTTP: ":4318"}[asked]
	}
	if asked == HTTP {
		u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, traces.path()), metrics.path()) + s.path()
	}
	return asked, nil
}

// client makes the library's client anew for each export: an idle connection between two probes minutes apart is worth nothing. One attempt:
// the library's first pause before a retry is longer than all the time there is.
func client(c Config, protocol string, u *url.URL) func() otlptrace.Client {
	if protocol == GRPC {
		opts := []otlptracegrpc.Option{otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false})}
		if c.Endpoint != "" {
			opts = append(opts, otlptracegrpc.WithEndpointURL(u.String()))
		}
		if len(c.Headers) > 0 {
			opts = append(opts, otlptracegrpc.WithHeaders(c.Headers))
		}
		return func() otlptrace.Client { return otlptracegrpc.NewClient(opts...) }
	}
	opts := []otlptracehttp.Option{otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false})}
	if c.Endpoint != "" {
		opts = append(opts, otlptracehttp.WithEndpointURL(u.String()))
	}
	if len(c.Headers) > 0 {
		opts = append(opts, otlptracehttp.WithHeaders(c.Headers))
	}
	return func() otlptrace.Client { return otlptracehttp.NewClient(opts...) }
}

// secrets lists the header values that no message may show, whole and word by word, so that a token echoed without "Bearer" is caught too.
func (s signal) secrets(c Config) []string {
	var out []string
	values := func(headers map[string]string) {
		for _, v := range headers {
			for _, word := range append([]string{v}, strings.Fields(v)...) {
				if len(word) > 3 {
					out = append(out, word)
				}
			}
		}
	}
	values(c.Headers)
	for _, prefix := range s.prefixes() {
		headers, _ := parseHeaders(os.Getenv(prefix + "HEADERS")) // checked before; an unset one holds nothing
		values(headers)
	}
	return out
}

// Export sends the run's trace. It takes at most MaxWait and its error is a warning: it says nothing about the service.
func (e *Exporter) Export(ctx context.Context, run *hops.Run) error {
	if !e.enabled {
		return nil
	}
	spans := Spans(run, e.opt)
	if spans == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	c := e.connect()
	err := c.Start(ctx)
	if err == nil {
		err = c.UploadTraces(ctx, spans)
	}
	stopped := c.Stop(ctx) // closes the connection even when ctx is done
	if err == nil && ctx.Err() == nil {
		err = stopped
	}
	if err == nil {
		return nil
	}
	return e.wrong(err)
}

// wrong tells of an error with what to do about it, and without secrets.
func (e *destination) wrong(err error) *ExportError {
	what := "the trace was"
	if e.signal == metrics {
		what = "the metrics were"
	}
	return &ExportError{Endpoint: e.show, Protocol: e.protocol, Hint: e.hint(err), what: what, text: e.scrub(err.Error()), cause: err}
}

// ExportError says which collector did not take a trace or metrics, and what to do.
type ExportError struct {
	Endpoint, Protocol, Hint string

	what  string // "the trace was"
	text  string
	cause error
}

func (e *ExportError) Error() string {
	return fmt.Sprintf("%s not sent to %s (%s): %s; %s", e.what, e.Endpoint, e.Protocol, e.text, e.Hint)
}

func (e *ExportError) Unwrap() error { return e.cause }

// scrub takes out header values, which a collector may echo, and cuts long pages.
func (e *destination) scrub(text string) string {
	for _, s := range e.secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	return hops.Clip(e.opt.clean(text), 300)
}

// hint tells what to do, by what the two libraries are known to answer.
func (e *destination) hint(err error) string {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	code := status.Code(err)
	switch {
	case has("does not look like a TLS handshake", "server gave HTTP response to HTTPS client"):
		return "the collector speaks plain text: write the endpoint as http://HOST:PORT"
	case has("certificate"):
		return "name the collector's CA in OTEL_EXPORTER_OTLP_CERTIFICATE"
	case has("connection refused"):
		return "nothing listens there: start the collector or correct the endpoint"
	case has("no such host", "produced zero addresses", "name resolver error"):
		return "correct the endpoint's host name"
	case code == codes.Unauthenticated || code == codes.PermissionDenied || has("401 ", "403 "):
		return "the collector wants other credentials: set OTEL_EXPORTER_OTLP_HEADERS"
	case has("partial success"):
		return "the collector dropped " + e.signal.parts() + ": see its own log"
	case has("malformed HTTP", "server preface", "unexpected HTTP status", "content-type", "404 ", "415 ", "HTTP/1.1 400"):
		return "check the protocol: grpc is usually on port 4317, http/protobuf on 4318 under " + e.signal.path()
	case errors.Is(err, context.DeadlineExceeded) || code == codes.DeadlineExceeded:
		return fmt.Sprintf("it did not answer within %s: check the address and what listens there", e.timeout)
	}
	return "check the endpoint and the protocol (grpc on port 4317, http/protobuf on 4318)"
}
