package tracing

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"probe/hops"
)

const notFound = `{"data":null,"total":0,"limit":0,"offset":0,"errors":[{"code":404,"msg":"trace not found"}]}`

func jaegerAt(t *testing.T, h http.HandlerFunc) *Jaeger {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	j, err := NewJaeger(s.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func answering(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func TestJaegerTrace(t *testing.T) {
	body, err := os.ReadFile("testdata/jaeger.json")
	if err != nil {
		t.Fatal(err)
	}
	var path string
	j := jaegerAt(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		answering(200, "application/json", string(body))(w, r)
	})
	spans, err := j.Trace(t.Context(), traceID)
	if err != nil {
		t.Fatal(err)
	}
	if path != "/api/traces/"+traceID {
		t.Errorf("asked %s", path)
	}
	if len(spans) != 5 {
		t.Fatalf("%d spans, want 5", len(spans))
	}
	in, out, queue := spans[0], spans[1], spans[3]
	if in.Service != "istio-ingressgateway.istio-system" || in.ParentID != "a1b2c3d4e5f60001" || in.SpanID != "0b00000000000001" || in.Failed {
		t.Errorf("the gateway's server span: %+v", in)
	}
	if !in.Start.Equal(start.Add(66250*time.Microsecond)) || in.Took != 7800*time.Microsecond {
		t.Errorf("it lasts %s from %s", in.Took, in.Start)
	}
	if in.Tags["http.status_code"] != "503" || in.Tags["guid"] != "9007199254740993" || in.Tags["response_flags"] != "-" {
		t.Errorf("its tags: %v", in.Tags)
	}
	if out.ParentID != in.SpanID || !out.Failed || out.Tags["error"] != "true" {
		t.Errorf("its client span: %+v", out)
	}
	if queue.ParentID != "0b00000000000002" { // an older version's field
		t.Errorf("queue-proxy's span: %+v", queue)
	}
	if got := spans[4].ParentID; got != "" { // a link and another trace's span are no parents
		t.Errorf("a span that only follows another has the parent %q", got)
	}
}

func TestJaegerBadAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want []string
	}{
		{"not there", answering(404, "application/json", notFound), []string{ErrNoTrace.Error(), traceID}},
		{"no data", answering(200, "application/json", `{"data":[]}`), []string{ErrNoTrace.Error()}},
		{"the UI", answering(200, "text/html", "<!doctype html><title>Jaeger</title>"), []string{"an HTML page instead of a trace", "port 16686"}},
		{"another server", answering(404, "text/plain", "404 page not found"), []string{`"404 page not found"`, "404 Not Found"}},
		{"another API", answering(404, "application/json", `{"kind":"Status"}`), []string{"base path"}},
		{"an error", answering(500, "application/json", `{"errors":[{"code":500,"msg":"storage is down"}]}`), []string{"storage is down"}},
		{"a gateway", answering(503, "text/plain", "no healthy upstream"), []string{"503", "no healthy upstream"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := jaegerAt(t, c.h).Trace(t.Context(), traceID)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
	if _, err := jaegerAt(t, answering(200, "", "{}")).Trace(t.Context(), "../../etc"); err == nil || !strings.Contains(err.Error(), "not 32 hex digits") {
		t.Errorf("a wrong id: %v", err)
	}
}

func TestJaegerSlow(t *testing.T) {
	j := jaegerAt(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := j.Trace(ctx, traceID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := j.Wait(t.Context(), traceID, func([]hops.Span) bool { return true }, 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: got %v", err)
	}
}

func TestJaegerAddress(t *testing.T) {
	for _, base := range []string{"", "jaeger:16686", "ftp://jaeger", "http://"} {
		if _, err := NewJaeger(base, nil); err == nil {
			t.Errorf("%q was taken", base)
		}
	}
	j, err := NewJaeger("http://u:pa55@h:1/base/?x=y", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := j.show(); got != "Jaeger at http://h:1/base" {
		t.Errorf("shown as %q", got)
	}
}

// TestWait: the trace is not there at first, then in part, then whole.
func TestWait(t *testing.T) {
	one := `{"traceID":"` + traceID + `","spanID":"1","operationName":"x","processID":"p"}`
	var asked atomic.Int32
	j := jaegerAt(t, func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			answering(404, "application/json", notFound)(w, r)
		case 2:
			answering(200, "application/json", `{"data":[{"spans":[`+one+`]}]}`)(w, r)
		default:
			answering(200, "application/json", `{"data":[{"spans":[`+one+`,`+one+`]}]}`)(w, r)
		}
	})
	atLeast := func(n int) func([]hops.Span) bool {
		return func(s []hops.Span) bool { return len(s) >= n }
	}
	spans, err := j.Wait(t.Context(), traceID, atLeast(2), time.Minute)
	if err != nil || len(spans) != 2 || asked.Load() != 3 {
		t.Errorf("%d spans after %d questions, %v", len(spans), asked.Load(), err)
	}
	spans, err = j.Wait(t.Context(), traceID, atLeast(3), 150*time.Millisecond)
	if !errors.Is(err, ErrIncomplete) || len(spans) != 2 {
		t.Errorf("waiting for what never comes: %d spans, %v", len(spans), err)
	}
	never := jaegerAt(t, answering(404, "application/json", notFound))
	if spans, err = never.Wait(t.Context(), traceID, atLeast(1), 150*time.Millisecond); !errors.Is(err, ErrNoTrace) || spans != nil {
		t.Errorf("a trace that never comes: %v, %v", spans, err)
	}
	var pages atomic.Int32
	wrong := jaegerAt(t, func(w http.ResponseWriter, r *http.Request) {
		pages.Add(1)
		answering(200, "text/html", "<html>")(w, r)
	})
	if _, err = wrong.Wait(t.Context(), traceID, atLeast(1), time.Minute); err == nil || pages.Load() != 1 {
		t.Errorf("a wrong address was asked %d times: %v", pages.Load(), err)
	}
}
