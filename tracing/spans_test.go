package tracing

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	semconv "go.opentelemetry.io/otel/semconv/v1.38.0"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"probe/hops"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and review the change. got:\n%s", file, got)
	}
}

// render is protojson with sorted keys, ids in hex and attributes as plain maps: what a reviewer can read.
func render(t *testing.T, trace []*tracepb.ResourceSpans) []byte {
	t.Helper()
	var all []any
	for _, r := range trace {
		raw, err := protojson.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, readable(t, v))
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(all); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func readable(t *testing.T, v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = readable(t, v[i])
		}
	case map[string]any:
		for k, x := range v {
			switch {
			case strings.HasSuffix(k, "Id"):
				raw, err := base64.StdEncoding.DecodeString(x.(string))
				if err != nil {
					t.Fatal(err)
				}
				v[k] = hex.EncodeToString(raw)
			case k == "attributes":
				v[k] = plain(x.([]any))
			default:
				v[k] = readable(t, x)
			}
		}
	}
	return v
}

func plain(attributes []any) map[string]any {
	out := map[string]any{}
	for _, a := range attributes {
		out[a.(map[string]any)["key"].(string)] = value(a.(map[string]any)["value"].(map[string]any))
	}
	return out
}

func value(v map[string]any) any {
	if n, ok := v["intValue"].(string); ok {
		return json.Number(n)
	}
	if a, ok := v["arrayValue"].(map[string]any); ok {
		var out []any
		for _, x := range a["values"].([]any) {
			out = append(out, value(x.(map[string]any)))
		}
		return out
	}
	for _, x := range v {
		return x
	}
	return nil
}

func TestSpansGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		run  *hops.Run
		opt  Options
	}{
		{"healthy", healthy(), Options{Version: "1.2.3"}},
		{"failed", killed(), Options{Version: "1.2.3"}},
		{"asleep", asleep(), Options{Version: "1.2.3"}},
		{"sub-spans", asleep(), Options{Version: "1.2.3", SubSpans: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, c.name+".json", render(t, Spans(c.run, c.opt)))
		})
	}
}

func one(t *testing.T, spans []*tracepb.ResourceSpans) []*tracepb.Span {
	t.Helper()
	if len(spans) != 1 || len(spans[0].ScopeSpans) != 1 {
		t.Fatalf("want one resource with one scope, got %v", spans)
	}
	return spans[0].ScopeSpans[0].Spans
}

// TestShape holds for every run: one root, every parent exists and covers its children, no id twice, all in the run's trace.
func TestShape(t *testing.T) {
	for name, run := range map[string]*hops.Run{"healthy": healthy(), "failed": killed(), "asleep": asleep()} {
		for _, sub := range []bool{false, true} {
			byID := map[string]*tracepb.Span{}
			spans := one(t, Spans(run, Options{SubSpans: sub}))
			for _, s := range spans {
				if byID[string(s.SpanId)] != nil {
					t.Errorf("%s: span id %x twice", name, s.SpanId)
				}
				byID[string(s.SpanId)] = s
			}
			roots := 0
			for _, s := range spans {
				if got := hex.EncodeToString(s.TraceId); got != run.TraceID {
					t.Errorf("%s: %s is in trace %s", name, s.Name, got)
				}
				if len(s.ParentSpanId) == 0 {
					roots++
					continue
				}
				p := byID[string(s.ParentSpanId)]
				if p == nil {
					t.Fatalf("%s: %s has no parent", name, s.Name)
				}
				if s.StartTimeUnixNano < p.StartTimeUnixNano || s.EndTimeUnixNano > p.EndTimeUnixNano {
					t.Errorf("%s: %s lies outside of its parent %s", name, s.Name, p.Name)
				}
			}
			if roots != 1 {
				t.Errorf("%s: %d roots", name, roots)
			}
			for _, o := range run.Observations {
				raw, _ := hex.DecodeString(o.SpanID)
				if s := byID[string(raw)]; s == nil || s.Kind != tracepb.Span_SPAN_KIND_CLIENT {
					t.Errorf("%s: the request %s has no client span", name, o.SpanID)
				}
			}
		}
	}
}

func TestEveryRowHasASpan(t *testing.T) {
	run := asleep()
	steps := map[string]hops.Span{}
	for _, s := range flat(Spans(run, Options{})) {
		if isHop(s) {
			steps[get(s, keyStep)] = s
		}
	}
	for _, r := range run.Verdict.Rows {
		s, ok := steps[r.Step.ID()]
		if !ok {
			t.Errorf("row %s has no span", r.Step.ID())
			continue
		}
		if got := get(s, keyHow); got != string(r.How) {
			t.Errorf("row %s: how is %q, want %q", r.Step.ID(), got, r.How)
		}
		if r.How != hops.Dialled && s.Took != 0 {
			t.Errorf("row %s was not dialled, and its span is %s long", r.Step.ID(), s.Took)
		}
	}
}

func TestNoTraceWithoutID(t *testing.T) {
	for _, id := range []string{"", "00000000000000000000000000000000", "xyz", "4bf92f3577b34da6"} {
		run := healthy()
		run.TraceID = id
		if got := Spans(run, Options{}); got != nil {
			t.Errorf("trace id %q gave spans", id)
		}
	}
}

// TestBrokenIDs: a capture that was edited by hand must not give two spans one id.
func TestBrokenIDs(t *testing.T) {
	run := killed()
	run.SpanID = ""
	run.Observations[1].SpanID = run.Observations[0].SpanID
	run.Observations[2].SpanID = "nonsense"
	seen := map[string]bool{}
	for _, s := range one(t, Spans(run, Options{})) {
		if len(s.SpanId) != 8 || seen[string(s.SpanId)] {
			t.Errorf("%s has id %x", s.Name, s.SpanId)
		}
		seen[string(s.SpanId)] = true
	}
	if !proto.Equal(Spans(run, Options{})[0], Spans(run, Options{})[0]) {
		t.Error("two exports of one run differ")
	}
}

// poison puts the text into every string that reaches a span.
func poison(run *hops.Run, s string) {
	run.Ref.Name += s
	run.Warnings = append(run.Warnings, s)
	run.Verdict.Summary += s
	run.Verdict.NotChecked = append(run.Verdict.NotChecked, hops.NotChecked{What: s, Why: s})
	for i := range run.Verdict.Rows {
		run.Verdict.Rows[i].Why += s
	}
	for i := range run.Verdict.Findings {
		f := &run.Verdict.Findings[i]
		f.Summary += s
		f.Fix += s
		f.Evidence = append(f.Evidence, hops.Evidence{Source: "line", Ref: s, Field: s, Value: s})
	}
	for i := range run.Observations {
		o := &run.Observations[i]
		o.Host, o.Err, o.Target, o.Peer = o.Host+s, o.Err+s, o.Target+s, o.Peer+s
		o.Path += "/" + s + "?token=query-" + s
		o.Header = map[string]string{"x-request-id": s}
		if o.Outcome == hops.Answered {
			o.Body = s
		}
	}
}

func TestRedaction(t *testing.T) {
	const secret = "hunter2-secret"
	run := killed()
	poison(run, secret)
	hide := func(s string) string { return strings.ReplaceAll(s, secret, "[redacted]") }
	for _, sub := range []bool{false, true} {
		raw, err := proto.Marshal(Spans(run, Options{Redact: hide, SubSpans: sub})[0])
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the secret is in the export: %s", render(t, Spans(run, Options{Redact: hide})))
		}
	}
	raw, err := proto.Marshal(Spans(run, Options{})[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(raw, []byte(secret)); n < 20 {
		t.Errorf("only %d places were poisoned", n)
	}
	if bytes.Contains(raw, []byte("token=query")) {
		t.Error("a query string was exported")
	}
}

// TestText: protobuf refuses a whole export for one string that is not UTF-8, and a redactor must see a secret whole, before the text is cut.
func TestText(t *testing.T) {
	run := killed()
	poison(run, "\xff\xfe\x00")
	if _, err := proto.Marshal(Spans(run, Options{})[0]); err != nil {
		t.Error(err)
	}
	long := strings.Repeat("ä", maxText)
	got := Options{}.clean(long)
	if len(got) > maxText || !utf8.ValidString(got) || !strings.HasSuffix(got, "ä…") {
		t.Errorf("clean gave %d bytes, valid %v, end %q", len(got), utf8.ValidString(got), got[len(got)-6:])
	}
	edge := strings.Repeat("x", maxText-6) + "hunter2"
	got = Options{Redact: func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") }}.clean(edge)
	if strings.Contains(got, "hunt") {
		t.Errorf("the text was cut before it was redacted: %q", got[len(got)-12:])
	}
}

// TestFailedRow: a hop that failed and has no finding carries what its request saw; a finding that is only possible does not change that.
func TestFailedRow(t *testing.T) {
	run := killed()
	run.Verdict.Findings = run.Verdict.Findings[:1]
	run.Verdict.Findings[0].Confidence = hops.Possible
	want := map[string]string{behind + "container": "connection-refused", behind + "revision": "request-failed", "outside/client": ""}
	for _, s := range flat(Spans(run, Options{})) {
		if kind, ok := want[get(s, keyStep)]; ok && isHop(s) {
			if got := get(s, semconv.ErrorTypeKey); got != kind || s.Failed != (kind != "") {
				t.Errorf("%s: error.type %q, failed %v; want %q", s.Name, got, s.Failed, kind)
			}
			delete(want, get(s, keyStep))
		}
	}
	if len(want) > 0 {
		t.Errorf("no span for %v", want)
	}
}

func TestErrorType(t *testing.T) {
	for want, o := range map[string]hops.Observation{
		"":                 {Outcome: hops.Answered, Status: 200},
		"404":              {Outcome: hops.Answered, Status: 404},
		"timeout":          {Outcome: hops.Timeout},
		"14":               {Outcome: hops.Answered, Status: 200, GRPCStatus: 14},
		"connection-reset": {Outcome: hops.ResetByPeer, Status: 200},
	} {
		if got := errorType(&o); got != want {
			t.Errorf("errorType(%+v) = %q, want %q", o, got, want)
		}
	}
	redirect := hops.Observation{Outcome: hops.Answered, Status: 302}
	if got := errorType(&redirect); got != "" {
		t.Errorf("a redirect has error.type %q", got)
	}
}

// TestNoClock: a capture without times still gives a trace that protobuf and viewers take.
func TestNoClock(t *testing.T) {
	none, cut, backwards := healthy(), healthy(), healthy()
	none.Started, none.Ended = time.Time{}, time.Time{}
	cut.Ended = time.Time{}
	backwards.Observations[0].Took = -time.Second // a clock that was set back
	for name, run := range map[string]*hops.Run{"no times": none, "no end": cut, "backwards": backwards} {
		for _, s := range one(t, Spans(run, Options{})) {
			if s.StartTimeUnixNano > s.EndTimeUnixNano || s.EndTimeUnixNano > uint64(start.Add(time.Hour).UnixNano()) {
				t.Errorf("%s: %s lasts from %d to %d", name, s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
			}
		}
	}
}

func BenchmarkSpans(b *testing.B) {
	run := killed()
	b.ReportAllocs()
	for b.Loop() {
		Spans(run, Options{Version: "1.2.3"})
	}
}
