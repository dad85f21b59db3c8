package hops_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"probe/hops"
)

// TestResolve compares the flow of every set of objects in testdata/flows with its golden text. The first line of a set names the service.
func TestResolve(t *testing.T) {
	files, err := filepath.Glob("testdata/flows/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no objects in testdata/flows: ", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			f := flowOf(t, name)
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", flowText(&f))
		})
	}
}

// flowOf resolves one set of objects.
func flowOf(t *testing.T, name string) hops.Flow {
	t.Helper()
	s, ref := objectsOf(t, name)
	return hops.Resolve(&s, ref)
}

func objectsOf(t *testing.T, name string) (hops.Snapshot, hops.Ref) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/flows", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(raw), "\n")
	service, ok := strings.CutPrefix(head, "# service: ")
	ns, isvc, named := strings.Cut(service, "/")
	if !ok || !named {
		t.Fatalf("%s: the first line must read '# service: NAMESPACE/NAME'", name)
	}
	s := hops.Snapshot{Time: when0}
	if err := loadObjects(&s, string(raw)); err != nil {
		t.Fatal(err)
	}
	return s, hops.Ref{Namespace: ns, Name: isvc}
}

// golden compares a text with a file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", file, got, want)
	}
}

// flowText shows all of a flow.
func flowText(f *hops.Flow) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("mode %s, routing %s, protocol %s, model %s, entry point %s%s", f.Mode, f.Routing, f.Protocol, f.Model, f.EntryPoint, mark(f.Stopped, "stopped"))
	for _, d := range f.Doors {
		line("door %s: %s at %s, url %s%s%s", d.Door, d.Host, d.Gateway, d.URL, mark(d.Guessed, "guessed"), mark(d.Closed != "", "closed: "+d.Closed))
	}
	for _, c := range f.Components {
		line("component %s: service %s, host %s, local %s, port %d%s%s", c.Name, c.Service, c.Host, c.LocalHost, c.Port, mark(c.H2C, "h2c"),
			mark(c.Container != "", "container "+c.Container))
		for _, v := range c.Revisions {
			line("  revision %s %d%%%s%s%s%s%s%s, pods %v", v.Name, v.Weight, mark(v.Tag != "", "tag "+v.Tag), mark(v.Latest, "latest"), mark(v.Ready, "ready"),
				mark(v.Asleep, "asleep"), mark(v.ScaleToZero, "may go to zero"), mark(v.ViaProxy, "via proxy"), v.Pods)
		}
	}
	for _, s := range f.Steps {
		line("step %s: %s%s", s.ID(), s.Object, mark(s.Weight > 0, fmt.Sprintf("%d%%", s.Weight)))
	}
	for _, e := range f.Entries {
		line("entry %s: %s %s%s%s%s%s", e.Step.ID(), e.Target, e.Host, mark(e.Knock, "knock"), mark(e.Request, "request"), mark(e.H2C, "h2c"),
			mark(len(e.Header) > 0, fmt.Sprint(e.Header)))
	}
	for _, u := range f.Unknown {
		line("unknown: %s", u)
	}
	return b.String()
}

func mark(on bool, text string) string {
	if !on {
		return ""
	}
	return ", " + text
}

// TestPath: every step belongs to a door's path, and every entry and every observation's step has a place in the flow.
func TestPath(t *testing.T) {
	files, _ := filepath.Glob("testdata/flows/*.yaml")
	for _, file := range files {
		f := flowOf(t, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		ids := map[string]bool{}
		for _, s := range f.Steps {
			if ids[s.ID()] {
				t.Errorf("%s: step %s stands twice", file, s.ID())
			}
			ids[s.ID()] = true
		}
		for _, e := range f.Entries {
			if !ids[e.Step.ID()] {
				t.Errorf("%s: entry %s is no step of the flow", file, e.Step.ID())
			}
		}
		for _, d := range f.Doors {
			if path := f.Path(d.Door); d.Closed == "" && !slices.ContainsFunc(path, func(s hops.Step) bool { return s.Hop == hops.Container }) {
				t.Errorf("%s: the path of the %s door does not end at a container", file, d.Door)
			}
		}
	}
}
