// jaeger.go: reads a trace back from Jaeger's query API, to see what gateways, activator and queue-proxy added to it.
package tracing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"probe/hops"
)

// ErrNoTrace says that the store does not have the trace, or not yet.
var ErrNoTrace = errors.New("the trace store does not have the trace")

// ErrIncomplete says that the time was over before all the spans that were waited for had come.
var ErrIncomplete = errors.New("not all spans had arrived")

const (
	readWait  = 5 * time.Second // for one answer
	firstPoll = 100 * time.Millisecond
	lastPoll  = 500 * time.Millisecond
	lastLook  = 250 * time.Millisecond // before the end
	maxAnswer = 32 << 20               // bytes; a trace of ours has some hundred spans
)

// Jaeger reads traces from one Jaeger.
type Jaeger struct {
	base string
	http *http.Client
}

// NewJaeger takes the base URL of the query service, usually http://HOST:16686, with the base path when it has one. A nil client is a plain one.
func NewJaeger(base string, client *http.Client) (*Jaeger, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the Jaeger address is not an http:// or https:// URL: write it like http://jaeger-query:16686")
	}
	if client == nil {
		client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()} // its idle connections are closed after each wait
	}
	u.RawQuery, u.Fragment = "", ""
	return &Jaeger{base: strings.TrimSuffix(u.String(), "/"), http: client}, nil
}

// Trace gives all spans of a trace; ErrNoTrace when there is none, or none yet.
func (j *Jaeger) Trace(ctx context.Context, traceID string) ([]hops.Span, error) {
	if _, ok := id(traceID, 16); !ok {
		return nil, fmt.Errorf("trace id %q is not 32 hex digits", traceID)
	}
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.base+"/api/traces/"+traceID, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := j.http.Do(req)
	if err != nil {
		return nil, j.unanswered(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w; is it slow?", j.show(), err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%s: trace %s is longer than %d MiB", j.show(), traceID, maxAnswer>>20)
	}
	return j.answer(resp, body, traceID)
}

// unanswered says why no answer came. The text of an *url.Error is left away: it holds the address with its user. A server that takes no connection
// is not asked again, as waiting is for spans.
func (j *Jaeger) unanswered(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	dial, _ := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s does not answer: %w", j.show(), err)
	case dial != nil && dial.Op == "dial":
		return &badAnswer{fmt.Sprintf("%s cannot be reached: %v; check the address: it is that of the query service, usually port 16686", j.show(), err)}
	}
	return fmt.Errorf("%s: %w; check the address", j.show(), err)
}

// show is the address for messages, without user and password.
func (j *Jaeger) show() string {
	u, err := url.Parse(j.base)
	if err != nil {
		return "Jaeger"
	}
	u.User = nil
	return "Jaeger at " + u.String()
}

// badAnswer is an answer that waiting will not mend.
type badAnswer struct{ text string }

func (e *badAnswer) Error() string { return e.text }

// The JSON of Jaeger's query API (github.com/jaegertracing/jaeger/internal/uimodel/model.go, cmd/query/app/http_handler.go).
type jaegerAnswer struct {
	Data []struct {
		Spans     []jaegerSpan `json:"spans"`
		Processes map[string]struct {
			ServiceName string `json:"serviceName"`
		} `json:"processes"`
	} `json:"data"`
	Errors []struct {
		Code int    `json:"code"`
		Msg  string `json:"msg"`
	} `json:"errors"`
}

type jaegerSpan struct {
	TraceID    string `json:"traceID"`
	SpanID     string `json:"spanID"`
	Parent     string `json:"parentSpanID"` // older versions
	Operation  string `json:"operationName"`
	References []struct {
		Type    string `json:"refType"`
		TraceID string `json:"traceID"`
		SpanID  string `json:"spanID"`
	} `json:"references"`
	Start    int64 `json:"startTime"` // microseconds since 1970
	Duration int64 `json:"duration"`  // microseconds
	Tags     []struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	} `json:"tags"`
	Process string `json:"processID"`
}

func (j *Jaeger) answer(resp *http.Response, body []byte, traceID string) ([]hops.Span, error) {
	var a jaegerAnswer
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber() // a 64-bit tag does not fit a float
	err := d.Decode(&a)
	switch {
	case err != nil && resp.StatusCode < 500:
		return nil, &badAnswer{fmt.Sprintf("%s answered %s with %s instead of a trace: give the address of its query service, usually port 16686",
			j.show(), resp.Status, contentOf(resp, body))}
	case err != nil:
		return nil, fmt.Errorf("%s answered %s: %s", j.show(), resp.Status, hops.Clip(string(body), 120))
	case len(a.Errors) > 0 && resp.StatusCode != http.StatusNotFound:
		return nil, fmt.Errorf("%s answered %s: %s", j.show(), resp.Status, hops.Clip(a.Errors[0].Msg, 200))
	case resp.StatusCode == http.StatusNotFound && len(a.Errors) == 0:
		return nil, &badAnswer{fmt.Sprintf("%s answered %s, but not in Jaeger's form: check the base path", j.show(), resp.Status)}
	case len(a.Data) == 0 || len(a.Data[0].Spans) == 0:
		return nil, fmt.Errorf("%s: %w %s; the spans may still be on their way, or the collector is another one", j.show(), ErrNoTrace, traceID)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %s", j.show(), resp.Status)
	}
	var out []hops.Span
	for _, t := range a.Data {
		for _, s := range t.Spans {
			out = append(out, s.span(t.Processes[s.Process].ServiceName))
		}
	}
	return out, nil
}

func contentOf(resp *http.Response, body []byte) string {
	if strings.Contains(resp.Header.Get("Content-Type"), "html") || strings.HasPrefix(strings.TrimSpace(string(body)), "<") {
		return "an HTML page"
	}
	return fmt.Sprintf("%q", hops.Clip(string(body), 60))
}

func (s jaegerSpan) span(service string) hops.Span {
	out := hops.Span{TraceID: pad(s.TraceID, 32), SpanID: pad(s.SpanID, 16), Service: service, Name: s.Operation,
		Start: time.UnixMicro(s.Start).UTC(), Took: time.Duration(s.Duration) * time.Microsecond, Tags: map[string]string{}}
	if s.Parent != "" {
		out.ParentID = pad(s.Parent, 16)
	}
	for _, r := range s.References {
		if r.Type == "CHILD_OF" && pad(r.TraceID, 32) == out.TraceID {
			out.ParentID = pad(r.SpanID, 16)
		}
	}
	for _, t := range s.Tags {
		out.Tags[t.Key] = fmt.Sprint(t.Value)
	}
	out.Failed = out.Tags["error"] == "true" || out.Tags["otel.status_code"] == "ERROR"
	return out
}

// pad restores the leading zeros of an id, which older versions cut off.
func pad(id string, n int) string {
	if id == "" || len(id) >= n {
		return id
	}
	return strings.Repeat("0", n-len(id)) + id
}

// Wait reads the trace until want is content with it or max is over. Spans arrive in batches, some seconds late. It gives what was read last, with
// ErrIncomplete when want was never content: a span that is absent is a remark about tracing, not about the service.
func (j *Jaeger) Wait(ctx context.Context, traceID string, want func([]hops.Span) bool, most time.Duration) ([]hops.Span, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	defer j.http.CloseIdleConnections()
	var last []hops.Span
	var failed error
	end, _ := ctx.Deadline()
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		spans, err := j.Trace(ctx, traceID)
		var bad *badAnswer
		switch {
		case errors.As(err, &bad):
			return last, err
		case err == nil && want(spans):
			return spans, nil
		case err == nil:
			last, failed = spans, nil
		case ctx.Err() == nil || failed == nil:
			failed = err
		}
		next := pause
		if left := time.Until(end) - lastLook; left > 0 {
			next = min(next, left)
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		if last == nil && failed != nil {
			return nil, fmt.Errorf("after %s: %w", most, failed)
		}
		return last, fmt.Errorf("%s: trace %s: %w within %s", j.show(), traceID, ErrIncomplete, most)
	}
}
