// report_test.go: golden files, rewritten by -update, and what no output may hold.
package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"probe/hops"
	"probe/probe/redact/redacttest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func fixtures() map[string]*hops.Run {
	return map[string]*hops.Run{"healthy": healthy(), "oom-killed": oomKilled(), "asleep": asleep(), "no-way-in": noWayIn(), "bad-canary": badCanary()}
}

func TestText(t *testing.T) {
	for name, run := range fixtures() {
		var plain, verbose bytes.Buffer
		trace := func(id string) string { return "http://localhost:16686/trace/" + id }
		if err := errors.Join(Text(&plain, run, Options{Width: 160}), Text(&verbose, run, Options{Verbose: true, Trace: trace})); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", plain.Bytes())
		golden(t, name+".verbose.txt", verbose.Bytes())
	}
}

func TestLine(t *testing.T) {
	var b strings.Builder
	runs := fixtures()
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		b.WriteString(Line(runs[name]) + "\n")
	}
	golden(t, "line.txt", []byte(b.String()))
	hostile := base()
	hostile.TraceID, hostile.Verdict = "", hops.Verdict{State: hops.Failed, Summary: "two\nlines \x1b[31mred"}
	if got, want := Line(hostile), "Failed  models/iris  two lines red"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	for name, run := range fixtures() {
		var b bytes.Buffer
		if err := JSON(&b, run); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", b.Bytes())
	}
}

// TestJSONForm: the fields that programs count on are there in every output, a healthy one's too.
func TestJSONForm(t *testing.T) {
	for name, run := range fixtures() {
		var b bytes.Buffer
		if err := JSON(&b, run); err != nil {
			t.Fatal(err)
		}
		var d map[string]any
		if err := json.Unmarshal(b.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		keys := func(what string, v any, want ...string) {
			m, ok := v.(map[string]any)
			if !ok {
				t.Errorf("%s: %s is %T", name, what, v)
			}
			for _, k := range want {
				if x, ok := m[k]; !ok || x == nil {
					t.Errorf("%s: %s has no %s", name, what, k)
				}
			}
		}
		each := func(what string, v any, want ...string) {
			list, ok := v.([]any)
			if !ok {
				t.Errorf("%s: %s is %T", name, what, v)
			}
			for _, e := range list {
				keys(what, e, want...)
			}
		}
		keys("document", d, "schemaVersion", "service", "verdict", "findings", "hops", "notChecked", "traceId")
		keys("service", d["service"], "namespace", "name")
		keys("verdict", d["verdict"], "state", "hop", "component", "revision", "summary")
		each("findings", d["findings"], "id", "hop", "component", "revision", "object", "severity", "confidence", "summary", "evidence", "fix", "explains")
		each("hops", d["hops"], "id", "door", "component", "revision", "state", "how", "ms", "vantage", "phases")
		each("notChecked", d["notChecked"], "what", "why")
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		state         hops.State
		plain, strict int
	}{{hops.OK, 0, 0}, {hops.Failed, 1, 1}, {hops.Inconclusive, 3, 3}, {hops.Degraded, 0, 4}, {"", 3, 3}} {
		v := hops.Verdict{State: c.state}
		if plain, strict := ExitCode(v, false), ExitCode(v, true); plain != c.plain || strict != c.strict {
			t.Errorf("%s: got %d and %d, want %d and %d", c.state, plain, strict, c.plain, c.strict)
		}
	}
}

func TestSweep(t *testing.T) {
	all := fixtures()
	other := badCanary()
	other.Ref = hops.Ref{Namespace: "fraud", Name: "a-much-longer-name-of-a-service"}
	var b bytes.Buffer
	if err := Sweep(&b, []*hops.Run{other, all["healthy"], all["oom-killed"], all["asleep"], all["no-way-in"]}, Options{Width: 120}); err != nil {
		t.Fatal(err)
	}
	golden(t, "sweep.txt", b.Bytes())
}

func TestNoSecretsInOutput(t *testing.T) {
	for name, print := range outputs() {
		var b bytes.Buffer
		if err := print(&b, redacttest.Run()); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{redacttest.Canary, redacttest.Encoded} {
			if i := strings.Index(b.String(), secret); i >= 0 {
				t.Errorf("%s holds the canary: ...%s", name, b.String()[max(0, i-100):i+len(secret)])
			}
		}
		if !strings.Contains(b.String(), "<redacted>") {
			t.Errorf("%s shows nothing of what was redacted:\n%s", name, b.String())
		}
	}
}

type output func(*bytes.Buffer, *hops.Run) error

func outputs() map[string]output {
	return map[string]output{
		"text":         func(b *bytes.Buffer, r *hops.Run) error { return Text(b, r, Options{}) },
		"verbose text": func(b *bytes.Buffer, r *hops.Run) error { return Text(b, r, Options{Verbose: true, Color: true}) },
		"json":         func(b *bytes.Buffer, r *hops.Run) error { return JSON(b, r) },
		"line":         func(b *bytes.Buffer, r *hops.Run) error { b.WriteString(Line(r)); return nil },
		"sweep":        func(b *bytes.Buffer, r *hops.Run) error { return Sweep(b, []*hops.Run{r}, Options{}) },
	}
}

// TestColor: colours come only when they are asked for, and change nothing else.
func TestColor(t *testing.T) {
	for name, run := range fixtures() {
		var plain, colored bytes.Buffer
		if err := errors.Join(Text(&plain, run, Options{}), Text(&colored, run, Options{Color: true})); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plain.String(), "\x1b") {
			t.Errorf("%s: an escape sequence in plain text", name)
		}
		if withoutEscapes(colored.String()) != plain.String() || colored.Len() == plain.Len() {
			t.Errorf("%s: colours change the text", name)
		}
	}
}

// TestHostileTexts: what a server or a log says cannot steer the terminal or break the lines.
func TestHostileTexts(t *testing.T) {
	evil := "a\x1b]0;title\x07b\x1b[2Jc\r\nFAKE LINE\u202eevil\u0085"
	run := oomKilled()
	v := &run.Verdict
	v.Summary, v.Rows[8].Why, run.Observations[3].Err, v.NotChecked[0].Why, v.Notes[0], run.TraceID = evil, evil, evil, evil, evil, evil
	v.Findings[0].Summary, v.Findings[0].Fix, v.Findings[0].Evidence[0].Value, v.Findings[0].Evidence[0].Ref, v.Findings[0].Evidence[1].Field = evil, evil, evil, evil, evil
	run.Ref.Name, run.Warnings[0], v.Rows[8].Step.Object.Name, v.Findings[0].Step.Object.Name = evil, evil, evil, evil
	for name, print := range outputs() {
		if name == "json" || name == "verbose text" { // JSON escapes; colours are escape sequences
			continue
		}
		var b bytes.Buffer
		if err := print(&b, run); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\x07\r\u202e\u0085") {
			t.Errorf("%s: control characters in %q", name, b.String())
		}
		for l := range strings.Lines(b.String()) {
			if strings.HasPrefix(l, "FAKE") {
				t.Errorf("%s: a text began a line of its own", name)
			}
		}
	}
}

// TestWidth: tables and summaries keep to the width; evidence and fixes are never cut by it.
func TestWidth(t *testing.T) {
	for _, width := range []int{100, 140} {
		for name, run := range fixtures() {
			var b bytes.Buffer
			if err := Text(&b, run, Options{Width: width}); err != nil {
				t.Fatal(err)
			}
			table, _, _ := strings.Cut(b.String(), "\n\nCause")
			table, _, _ = strings.Cut(table, "\n\nNot checked")
			for l := range strings.Lines(table) {
				if n := utf8.RuneCountInString(strings.TrimRight(l, "\n")); n > width {
					t.Errorf("%s at %d: %d columns: %s", name, width, n, l)
				}
			}
			for _, f := range run.Verdict.Findings {
				if last := f.Fix[strings.LastIndex(f.Fix, "\n")+1:]; !strings.Contains(b.String(), last) {
					t.Errorf("%s at %d: the fix is cut", name, width)
				}
			}
		}
	}
}

func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "", -1: "", 40 * time.Microsecond: "0.0 ms", 1940 * time.Microsecond: "1.9 ms", 42 * time.Millisecond: "42 ms", 1240 * time.Millisecond: "1.24 s",
		125 * time.Second: "2m5s"} {
		if got := took(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

func TestWriterFails(t *testing.T) {
	full := errors.New("disk full")
	w := failing{full}
	for name, err := range map[string]error{"text": Text(w, healthy(), Options{}), "json": JSON(w, healthy()), "sweep": Sweep(w, []*hops.Run{healthy()}, Options{})} {
		if !errors.Is(err, full) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestExpired: a capture that is read later says that the evidence is gone, not that it goes.
func TestExpired(t *testing.T) {
	f := oomKilled().Verdict.Findings[0]
	if got := expiry(f, start); got != "The pod goes at about 12:04:10 UTC; `--save DIR` keeps it." {
		t.Error(got)
	}
	if got := expiry(f, start.Add(time.Hour)); !strings.Contains(got, "was to be deleted") {
		t.Error(got)
	}
}

func TestRunIsNotChanged(t *testing.T) {
	before, _ := json.Marshal(redacttest.Run())
	run := redacttest.Run()
	var b bytes.Buffer
	if err := errors.Join(Text(&b, run, Options{}), JSON(&b, run)); err != nil {
		t.Fatal(err)
	}
	if after, _ := json.Marshal(run); !slices.Equal(before, after) {
		t.Error("printing changed the run")
	}
}
