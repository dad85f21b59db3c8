package settings

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestReadFile(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       func(*Settings)
		err        string // with FILE for the path
	}{
		{name: "empty"},
		{name: "comments only", text: "# nothing\n"},
		{name: "values", text: "interval: 30s\nexpect-status: 200\nfailures: 2/3\nenabled: false\nexpect: >-\n  body.n\n  == 1\n",
			want: func(s *Settings) {
				s.Interval, s.ExpectStatus, s.N, s.M, s.Enabled, s.Expect = 30*time.Second, "200", 2, 3, false, "body.n == 1"
			}},
		{name: "an empty text", text: `path: ""`},
		{name: "unknown", text: "# a\nintervall: 5s\n", err: "FILE:2: intervall: there is no such setting; the nearest is interval"},
		{name: "a prefix", text: "probe/path: /x\n", err: "FILE:1: probe/path: there is no such setting; " + allNames},
		{name: "two are bad", text: "interval: 5\npath: x\n", err: "FILE:1: interval \"5\": give a time with its unit, from 1s to 24h, as in 30s\n" +
			"FILE:2: path \"x\": give a path that begins with one slash; scheme and host are the service's own"},
		{name: "a long timeout", text: "timeout: 2m\n",
			err: `FILE:1: timeout "2m": longer than the interval of 1m, so that probes would be left out; give a longer interval or a shorter time`},
		{name: "no value", text: "path:\n", err: "FILE: line 1: give path one value, as in `interval: 30s`"},
		{name: "a list", text: "expect-status: [200]\n", err: "FILE: line 1: give expect-status one value, as in `interval: 30s`"},
		{name: "twice", text: "wake: true\nwake: false\n", err: "FILE: line 2: wake stands there twice"},
		{name: "an alias", text: "path: &a /x\nmethod: *a\n", err: "FILE: line 2: give method one value, as in `interval: 30s`"},
		{name: "a list at the top", text: "- a\n", err: "FILE: it must hold names and values, as in `interval: 30s`"},
		{name: "two documents", text: "wake: true\n---\nwake: true\n", err: "FILE: it must hold one YAML document of at most 1048576 bytes"},
		{name: "no YAML", text: "a: b: c\n", err: "FILE: yaml: mapping values are not allowed in this context"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "settings.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ReadFile(path)
			if c.err != "" {
				if err == nil || strings.ReplaceAll(err.Error(), path, "FILE") != c.err {
					t.Fatalf("error %v\nwant  %s", err, c.err)
				}
				return
			}
			want := Defaults()
			if c.want != nil {
				c.want(&want)
			}
			if err != nil || !same(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestDoc keeps the table for people: `go test -update` rewrites it.
func TestDoc(t *testing.T) {
	const golden = "testdata/annotations.golden.md"
	got := Doc()
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("Doc differs from %s (%v); go test -update rewrites it:\n%s", golden, err, got)
	}
	for line := range strings.Lines(got) {
		if strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 5 {
			t.Errorf("not four cells: %s", line)
		}
	}
}
