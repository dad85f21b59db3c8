// paste_test.go: pastes as they come, one txtar file each, and what is read of them. -update rewrites what is wanted; look at it before it is kept.
package paste

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"probe/hops"
)

var update = flag.Bool("update", false, "rewrite the wanted results in testdata")

func TestPastes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("testdata: %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

// golden reads the files of one archive but the last, "want", and compares.
func golden(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(raw)
	in := Input{Now: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)}
	var inputs []txtar.File
	want := ""
	for _, f := range a.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		inputs = append(inputs, f)
		in.Files = append(in.Files, File{Name: f.Name, Reader: bytes.NewReader(f.Data)})
	}
	if name, ok := strings.CutPrefix(firstLine(a.Comment), "isvc: "); ok {
		in.Want.Name = name
	}
	got, err := Read(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if again := read(t, in, inputs); show(again) != show(got) {
		t.Errorf("a second reading gives another result:\n%s", show(again))
	}
	if *update {
		a.Files = append(inputs, txtar.File{Name: "want", Data: []byte(show(got))})
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if s := show(got); s != want {
		t.Errorf("%s: read otherwise than wanted (rewrite with -update)\n%s", file, difference(want, s))
	}
}

// difference lists the lines that only one of two results has.
func difference(want, got string) string {
	var b strings.Builder
	for _, side := range []struct{ mark, a, b string }{{"-", want, got}, {"+", got, want}} {
		for line := range strings.Lines(side.a) {
			if !strings.Contains("\n"+side.b, "\n"+line) {
				b.WriteString(side.mark + line)
			}
		}
	}
	return b.String()
}

func firstLine(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\n")
	return s
}

func read(t *testing.T, in Input, files []txtar.File) Result {
	t.Helper()
	in.Files = nil
	for _, f := range files {
		in.Files = append(in.Files, File{Name: f.Name, Reader: bytes.NewReader(f.Data)})
	}
	r, err := Read(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// show prints a result so that a person can check it: one line for each thing.
func show(r Result) string {
	var b strings.Builder
	one := func(v any) string {
		var s bytes.Buffer
		e := json.NewEncoder(&s)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return err.Error()
		}
		return strings.TrimSpace(s.String())
	}
	fmt.Fprintf(&b, "subject %s of %v at %s\n", r.Subject, r.Services, r.Time.UTC().Format(time.RFC3339))
	if len(r.Snapshot.Full) > 0 {
		fmt.Fprintf(&b, "full %v\n", r.Snapshot.Full)
	}
	for _, o := range r.Snapshot.Objects {
		form := "whole"
		if o.Partial {
			form = "partial"
		}
		fmt.Fprintf(&b, "object %s %s %s/%s %s\n", form, o.Source, o.Namespace, o.Name, one(o.Tree))
	}
	for _, e := range r.Snapshot.Events {
		fmt.Fprintf(&b, "event %s\n", one(e))
	}
	for _, o := range r.Observations {
		fmt.Fprintf(&b, "request %s\n", one(o))
	}
	for _, l := range r.Snapshot.Lines {
		previous := ""
		if l.Previous {
			previous = " previous"
		}
		at := ""
		if !l.Time.IsZero() {
			at = " " + l.Time.UTC().Format(time.RFC3339Nano)
		}
		fmt.Fprintf(&b, "line %s:%d %s/%s %s%s%s| %s\n", l.Source, l.Number, l.Namespace, l.Pod, l.Container, previous, at, l.Text)
	}
	for _, n := range r.Unread {
		fmt.Fprintf(&b, "unread %s\n", n)
	}
	return b.String()
}

// objectOf finds one object of a result.
func objectOf(t *testing.T, r Result, source hops.Source, name string) hops.Object {
	t.Helper()
	for _, o := range r.Snapshot.Objects {
		if o.Source == source && o.Name == name {
			return o
		}
	}
	t.Fatalf("no %s %s in\n%s", source, name, show(r))
	return hops.Object{}
}
