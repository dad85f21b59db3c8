package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"probe/hops"
)

// TestReadBackGolden replays what Jaeger answered for runs on a real cluster: what was predicted, what came, what it tells, the waterfall. The
// answers lack only tags that nothing reads.
func TestReadBackGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/readback/*.run.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".run.json")
		t.Run(name, func(t *testing.T) {
			var run hops.Run
			raw, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(raw, &run)
			}
			answer, errs := os.ReadFile(strings.TrimSuffix(file, "run.json") + "jaeger.json")
			if err != nil || errs != nil {
				t.Fatal(err, errs)
			}
			back := ReadBack{Jaeger: jaegerAt(t, answering(200, "application/json", string(answer))), Wait: time.Minute}
			var b bytes.Buffer
			spans, remarks := back.Spans(t.Context(), &run)
			for _, j := range JoinSpans(&run, spans).Requests {
				o := &run.Observations[j.Observation]
				fmt.Fprintf(&b, "%s %s: %s\n  predicted %v\n  came      %v\n", o.Asked, o.Step.ID(), o.Describe(), Predicted(&run, j.Observation), j.Hops)
			}
			run.Spans = spans
			run.Verdict = hops.Diagnose(run.Facts(), run.Ended, hops.Rules())
			for _, line := range slices.Concat(remarks, run.Verdict.Notes) {
				fmt.Fprintf(&b, "- %s\n", line)
			}
			for _, f := range run.Verdict.Findings {
				for _, e := range f.Evidence {
					if e.Source == hops.FromSpan {
						fmt.Fprintf(&b, "%s by the %s: %s %s\n", f.ID, e.Ref, e.Field, e.Value)
					}
				}
			}
			golden(t, "readback/"+name+".txt", append(b.Bytes(), draw(t, &run, WaterfallOptions{Width: 120})...))
		})
	}
}

// store is Jaeger's answer with these spans.
func store(t *testing.T, spans []hops.Span) string {
	t.Helper()
	type span map[string]any
	var list []span
	for _, s := range spans {
		var tags []span
		for k, v := range s.Tags {
			tags = append(tags, span{"key": k, "value": v})
		}
		list = append(list, span{"traceID": s.TraceID, "spanID": s.SpanID, "operationName": s.Name, "startTime": s.Start.UnixMicro(), "duration": s.Took.Microseconds(), "tags": tags,
			"references": []span{{"refType": "CHILD_OF", "traceID": s.TraceID, "spanID": s.ParentID}}, "processID": s.Service})
	}
	processes := span{}
	for _, s := range spans {
		processes[s.Service] = span{"serviceName": s.Service}
	}
	raw, err := json.Marshal(span{"data": []span{{"spans": list, "processes": processes}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// single is a run with one request, which all hops take part in.
func single() *hops.Run {
	run := healthy()
	run.Observations = run.Observations[:1]
	return run
}

func TestReadBack(t *testing.T) {
	whole := downstream(single())
	again := append(slices.Clone(whole), flat(Spans(single(), Options{SubSpans: true}))...)
	never := func(http.ResponseWriter, *http.Request) { t.Error("asked, though nothing is predicted") }
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	const brief = 300 * time.Millisecond
	for _, c := range []struct {
		name    string
		run     *hops.Run
		h       http.HandlerFunc
		wait    time.Duration
		spans   int
		remarks []string
	}{
		{"whole", single(), answering(200, "application/json", store(t, whole)), time.Minute, len(whole), nil},
		{"with our own", single(), answering(200, "application/json", store(t, again)), time.Minute, len(whole), nil},
		{"queue-proxy does not export", single(), answering(200, "application/json", store(t, whole[:6])), brief, 6, []string{"tracing: no span of queue-proxy came within 300ms"}},
		{"sampling is off", single(), answering(404, "application/json", notFound), brief, 0, []string{"tracing: nothing of this trace came to Jaeger at http://127.0.0.1:"}},
		{"it hangs", single(), hang, brief, 0, []string{"does not answer: context deadline exceeded"}},
		{"a page", single(), answering(200, "text/html", "<html>"), time.Minute, 0, []string{"an HTML page instead of a trace"}},
		{"another server", single(), answering(404, "text/plain", "404 page not found"), time.Minute, 0, []string{"404 Not Found"}},
		{"nothing was sent", serverless(), never, time.Minute, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			spans, remarks := ReadBack{Jaeger: jaegerAt(t, c.h), Wait: c.wait}.Spans(t.Context(), c.run)
			if len(spans) != c.spans || len(remarks) != len(c.remarks) {
				t.Fatalf("%d spans, want %d; remarks %q, want %q", len(spans), c.spans, remarks, c.remarks)
			}
			for i, want := range c.remarks {
				if !strings.HasPrefix(remarks[i], "tracing: ") || !strings.Contains(remarks[i], want) {
					t.Errorf("remark %q, want %q", remarks[i], want)
				}
			}
		})
	}
}

// TestReadBackInterrupted: what has come so far is kept, and no hop is said to have sent nothing.
func TestReadBackInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	answer := store(t, downstream(single())[:3])
	var asked atomic.Int32
	j := jaegerAt(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 {
			interrupt()
			<-r.Context().Done()
			return
		}
		answering(200, "application/json", answer)(w, r)
	})
	spans, remarks := ReadBack{Jaeger: j, Wait: time.Hour}.Spans(ctx, single())
	if len(spans) != 3 || !slices.Equal(remarks, []string{"tracing: the wait for spans was cut short"}) {
		t.Errorf("%d spans, remarks %q", len(spans), remarks)
	}
}

// TestJaegerUnreachable: nobody listens. The address is named without its user, and it is not asked again.
func TestJaegerUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	j, err := NewJaeger("http://me:pa55@"+l.Addr().String()+"/base?token=pa55", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, remarks := ReadBack{Jaeger: j, Wait: time.Hour}.Spans(t.Context(), single())
	if len(remarks) != 1 || !strings.Contains(remarks[0], "Jaeger at http://"+l.Addr().String()+"/base cannot be reached") {
		t.Errorf("remarks %q", remarks)
	}
	if strings.Contains(fmt.Sprint(remarks), "pa55") || strings.Contains(fmt.Sprint(remarks), "me:") {
		t.Errorf("it names the user: %q", remarks)
	}
}
