// fuzz_test.go: one target for each parser: no panic, no hang, nothing beyond the bounds, the same result twice.
package paste

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"probe/hops"
)

// seeds gives the inputs of the pastes in testdata whose archive or file bears one of the words in its name.
func seeds(f *testing.F, words ...string) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, in := range txtar.Parse(raw).Files {
			if in.Name == "want" {
				continue
			}
			for _, w := range words {
				if strings.Contains(file, w) || strings.Contains(in.Name, w) {
					f.Add(string(in.Data))
					break
				}
			}
		}
	}
}

// check reads a text under a command line, and holds what every reading promises.
func check(t *testing.T, name, text string) Result {
	t.Helper()
	if len(text) > 1<<16 {
		return Result{}
	}
	one := func() Result {
		r, err := Read(t.Context(), Input{Files: []File{{Name: name, Reader: strings.NewReader(text)}}, Now: time.Unix(1795000000, 0).UTC()})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	began := time.Now()
	r := one()
	if took := time.Since(began); took > 10*time.Second {
		t.Fatalf("took %s", took)
	}
	for i := range r.Snapshot.Objects {
		o := &r.Snapshot.Objects[i]
		if o.Source == "" || o.Kind == "" || o.Tree["metadata"] == nil {
			t.Fatalf("not a whole object: %+v", o)
		}
		if o.Source == hops.Pods {
			hops.Resolve(&r.Snapshot, hops.Ref{Name: o.Name})
		}
	}
	for _, o := range r.Observations {
		if o.Outcome == "" || o.Step.Hop == "" || o.From == "" || len(o.Body) > maxBody || o.Outcome == hops.Answered && o.Status == 0 {
			t.Fatalf("not a whole observation: %+v", o)
		}
	}
	for _, l := range r.Snapshot.Lines {
		if l.Source == "" || len(l.Text) > maxLogLine {
			t.Fatalf("not a whole line: %+v", l)
		}
	}
	for _, n := range r.Unread {
		if strings.Contains(n.Why, ownFault) {
			t.Fatal(n)
		}
	}
	if len(r.Unread) > maxNotes+60 {
		t.Fatalf("%d notes", len(r.Unread))
	}
	return r
}

func FuzzRead(f *testing.F) {
	seeds(f, "")
	f.Fuzz(func(t *testing.T, text string) {
		r := check(t, "stdin", text)
		if len(text) > 1<<16 {
			return
		}
		if again := check(t, "stdin", text); show(again) != show(r) {
			t.Fatalf("two readings differ:\n%s", difference(show(r), show(again)))
		}
	})
}

func FuzzTable(f *testing.F) {
	seeds(f, "tables", "rows")
	f.Fuzz(func(t *testing.T, text string) { check(t, "pods.txt", "$ kubectl get pods\n"+text) })
}

func FuzzDescribe(f *testing.F) {
	seeds(f, "describe", "kfserving-0.5")
	f.Fuzz(func(t *testing.T, text string) { check(t, "describe-pod.txt", "$ kubectl describe pod x\n"+text) })
}

func FuzzEvents(f *testing.F) {
	seeds(f, "events")
	f.Fuzz(func(t *testing.T, text string) { check(t, "events.txt", text) })
}

func FuzzLogs(f *testing.F) {
	seeds(f, "logs")
	f.Fuzz(func(t *testing.T, text string) { check(t, "logs-kserve-container.txt", text) })
}

func FuzzClient(f *testing.F) {
	seeds(f, "client")
	f.Fuzz(func(t *testing.T, text string) { check(t, "request.txt", text) })
}

func FuzzAnalyze(f *testing.F) {
	seeds(f, "control-plane", "mail")
	f.Fuzz(func(t *testing.T, text string) { check(t, "analyze.txt", "$ istioctl analyze\n"+text) })
}

func FuzzJSON(f *testing.F) {
	seeds(f, ".json")
	f.Fuzz(func(t *testing.T, text string) { check(t, "x.json", text) })
}

// FuzzCommand reads command lines: of kubectl, curl and others, and prompts.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{"kubectl get isvc x -n y -o yaml", "$ curl -v -H 'Host: x' http://y/z -d '{}'", "PS C:\\> kubectl logs x -c y --previous",
		"root@m:~# kubectl -n=a describe pod/x | tail", "http POST x.y/z Host:a b=c", "kubectl exec x -- curl -s localhost:8080", `k get "po`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := newParser(t.Context(), Input{})
		p.source = &source{ctx: t.Context()}
		if cmd, _, ok := commandOf(s); ok {
			p.parseCommand(cmd)
		}
		p.parseCommand(s)
		p.fileHint(s)
	})
}

// FuzzEncoding reads bytes of any encoding.
func FuzzEncoding(f *testing.F) {
	for _, s := range []string{"\xff\xfeN\x00A\x00", "\xef\xbb\xbfNAME", "a\x00b\x00c\x00d\x00", "\x1b[0mx\x1b]0;t\x07", "\x93quoted\x94\r\n", "a\rb\rc", "x\b\by"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, "bytes", string(b)) })
}

// FuzzYAML holds the quick way to the library: what it does not decline, it reads alike.
func FuzzYAML(f *testing.F) {
	seeds(f, ".yaml", "isvc-yaml")
	f.Add(podYAML(1, 0))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<15 || strings.ContainsAny(text, "\r\u0085\u2028\u2029\ufeff") || strings.Contains(text, "\x85") {
			return // clean takes these away before
		}
		lines := strings.Split(text, "\n")
		for i := range lines {
			cleaned, ok := clean(lines[i])
			if !ok {
				return
			}
			lines[i] = untab(cleaned) // as the collector does
		}
		text = document(lines)
		p := newParser(t.Context(), Input{})
		p.source = &source{ctx: t.Context()}
		quick, ok := p.quickYAML(append([]string(nil), lines...))
		if !ok {
			check(t, "x.yaml", text)
			return
		}
		slow, err := libraryYAML(text)
		if err != nil {
			t.Fatalf("the library refuses what the quick way reads: %v\n%s", err, text)
		}
		if !reflect.DeepEqual(quick, slow) {
			t.Fatalf("read otherwise:\nquick   %#v\nlibrary %#v", quick, slow)
		}
	})
}

// TestQuickYAML wants the quick way to take what kubectl prints, so that the promise of speed holds, and to agree with the library on it.
func TestQuickYAML(t *testing.T) {
	p := newParser(t.Context(), Input{})
	text := dropManaged(podYAML(7, 0))
	quick, ok := p.quickYAML(strings.Split(text, "\n"))
	if !ok {
		t.Fatal("declined a pod as kubectl prints it")
	}
	slow, err := libraryYAML(text)
	if err != nil || !reflect.DeepEqual(quick, slow) {
		t.Fatalf("read otherwise (%v):\n%#v\n%#v", err, quick, slow)
	}
}

// TestTextAtTheEnd wants the end of the last line behind "|" from both ways.
func TestTextAtTheEnd(t *testing.T) {
	for head, want := range map[string]string{"a: |": "x\ny\n", "a: |-": "x\ny", "a: |+": "x\ny\n", "kind: Pod\na: |": "x\ny\n", `"a": |`: "x\ny\n"} {
		p := newParser(t.Context(), Input{})
		p.source = &source{ctx: t.Context()}
		lines := strings.Split(head+"\n  x\n  y", "\n")
		_, quick := p.quickYAML(slices.Clone(lines))
		tree, cut := p.decodeYAML(lines, 1)
		if tree["a"] != want || cut || quick != (head[0] != '"') {
			t.Errorf("%q, quick %v: got %q, cut %v, want %q", head, quick, tree["a"], cut, want)
		}
		if slow, err := libraryYAML(document(lines)); err != nil || slow["a"] != want {
			t.Errorf("%q, library: got %q, %v, want %q", head, slow["a"], err, want)
		}
	}
}

// dropManaged takes managedFields out, as the collector does.
func dropManaged(text string) string {
	head, rest, _ := strings.Cut(text, "  managedFields:\n")
	i := strings.Index(rest, "  name: ")
	return head + rest[i:]
}
