package tracing

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"probe/hops"
)

func draw(t *testing.T, run *hops.Run, o WaterfallOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := Waterfall(&b, run, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWaterfallGolden(t *testing.T) {
	joined := healthy()
	joined.Spans = append(downstream(joined), hops.Span{TraceID: traceID, SpanID: "c000000000000001", ParentID: "dddddddddddddddd", Service: "iris-transformer",
		Name: "queue", Start: start.Add(ms(80)), Took: ms(20)})
	for name, c := range map[string]struct {
		run *hops.Run
		opt WaterfallOptions
	}{
		"healthy":   {joined, WaterfallOptions{}},
		"failed":    {killed(), WaterfallOptions{Width: 120}},
		"colour":    {killed(), WaterfallOptions{Width: 80, Color: true}},
		"sub-spans": {asleep(), WaterfallOptions{Width: 100, Options: Options{SubSpans: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, "waterfall-"+name+".txt", []byte(draw(t, c.run, c.opt)))
		})
	}
}

func TestWaterfallWidth(t *testing.T) {
	run := healthy()
	run.Spans = downstream(run)
	run.Spans[0].Name = strings.Repeat("long ", 100)
	for _, width := range []int{1, 60, 80, 133, 400} {
		for _, line := range strings.Split(draw(t, run, WaterfallOptions{Width: width}), "\n") {
			if n := utf8.RuneCountInString(line); n > max(width, 80) { // the legend is no table
				t.Errorf("width %d: a line of %d columns: %s", width, n, line)
			}
			if strings.HasSuffix(line, "│") && utf8.RuneCountInString(line) != max(width, 60) {
				t.Errorf("width %d: the frame is bent: %s", width, line)
			}
		}
	}
}

// TestWaterfallForeign: names of other programs, their clocks and their ids are not ours to trust.
func TestWaterfallForeign(t *testing.T) {
	run := healthy()
	ring := func(id, parent string) hops.Span {
		return hops.Span{TraceID: traceID, SpanID: id, ParentID: parent, Service: "evil\x1b[2J", Name: "a\nb secret", Start: start.Add(-time.Hour), Took: 5 * time.Hour}
	}
	run.Spans = []hops.Span{ring("e1", "e2"), ring("e2", "e1"), ring("e3", "e3"), ring("e4", run.Observations[0].SpanID), ring("e4", "e4")}
	out := draw(t, run, WaterfallOptions{Options: Options{Redact: func(s string) string { return strings.ReplaceAll(s, "secret", "***") }}})
	if strings.ContainsAny(out, "\x1b") || strings.Contains(out, "secret") || strings.Contains(out, "a\nb") {
		t.Errorf("a foreign name came through: %q", out)
	}
	if n := strings.Count(out, "evil"); n != 4 {
		t.Errorf("%d foreign spans drawn, want 4 (each id once):\n%s", n, out)
	}
}

// TestWaterfallOwnReadBack: a store that got our spans gives them back too, perhaps changed. Ours count, once.
func TestWaterfallOwnReadBack(t *testing.T) {
	run := healthy()
	want := draw(t, run, WaterfallOptions{})
	own := flat(Spans(run, Options{}))
	for _, s := range own {
		s.ParentID = own[1].SpanID // under the reads, which come first
		s.Name = "copy"
		run.Spans = append(run.Spans, s)
	}
	if got := draw(t, run, WaterfallOptions{}); got != want {
		t.Errorf("with our own spans read back:\n%s", got)
	}
}

func TestWaterfallWithoutTrace(t *testing.T) {
	if out := draw(t, &hops.Run{}, WaterfallOptions{}); !strings.HasPrefix(out, "no trace") {
		t.Errorf("got %q", out)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 µs", 999 * time.Microsecond: "999 µs", ms(1.25): "1.2 ms", ms(99.94): "99.9 ms", ms(250): "250 ms", 2500 * time.Millisecond: "2.50 s"} {
		if got := short(d); got != want {
			t.Errorf("short(%s) = %q, want %q", d, got, want)
		}
	}
}
