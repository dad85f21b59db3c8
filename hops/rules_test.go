package hops_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"probe/hops"
)

var _ = flag.Bool("update", false, "rewrite golden files")

// when0 is a time of no importance.
var when0 = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// ruleCase is one directory of a rule's txtar file: silent-NAME, fires-NAME, or fires-note-NAME, fires-warning-NAME or fires-error-NAME where all
// that is found has that severity. Its files are
//
//	case.yaml              service: ns/name, now: RFC 3339, full: [sources read in full], live: true
//	objects.yaml           Kubernetes objects, events among them, several documents
//	requests.yaml          observations
//	spans.yaml             spans read back from a trace store
//	logs/POD/CONTAINER.log container logs; CONTAINER.previous.log of the run before
//	logs/system/NAME.log   controller, activator, istiod logs
//	access.log             access log lines of the gateways
//	client.txt, analyze.txt
type ruleCase struct {
	name  string
	facts hops.Facts
	now   time.Time
}

func (c ruleCase) fires() bool { return strings.HasPrefix(c.name, "fires") }

type caseMeta struct {
	Service string        `json:"service"`
	Now     time.Time     `json:"now"`
	Full    []hops.Source `json:"full"`
	Live    bool          `json:"live"`
}

func loadCases(t testing.TB, id string) []ruleCase {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", id+".txtar"))
	if err != nil {
		t.Fatalf("every rule has a file of cases: %v", err)
	}
	files := map[string][]txtar.File{}
	var order []string
	for _, f := range txtar.Parse(raw).Files {
		dir, rest, ok := strings.Cut(f.Name, "/")
		if !ok || !strings.HasPrefix(dir, "fires") && !strings.HasPrefix(dir, "silent") {
			t.Fatalf("%s.txtar: file %q is not in fires-NAME/ or silent-NAME/", id, f.Name)
		}
		if files[dir] == nil {
			order = append(order, dir)
		}
		files[dir] = append(files[dir], txtar.File{Name: rest, Data: f.Data})
	}
	var out []ruleCase
	for _, dir := range order {
		c, err := loadCase(dir, files[dir])
		if err != nil {
			t.Fatalf("%s.txtar %s: %v", id, dir, err)
		}
		out = append(out, c)
	}
	return out
}

func loadCase(name string, files []txtar.File) (ruleCase, error) {
	meta := caseMeta{Service: "default/iris", Now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	var s hops.Snapshot
	c := ruleCase{name: name}
	for _, f := range files {
		var err error
		switch {
		case f.Name == "case.yaml":
			err = yaml.UnmarshalStrict(f.Data, &meta)
		case f.Name == "objects.yaml":
			err = loadObjects(&s, string(f.Data))
		case f.Name == "requests.yaml":
			err = yaml.UnmarshalStrict(f.Data, &c.facts.Observations)
		case f.Name == "spans.yaml":
			err = yaml.UnmarshalStrict(f.Data, &c.facts.Spans)
		case f.Name == "access.log":
			s.Lines = append(s.Lines, lines(hops.Line{Source: hops.AccessLogs}, f.Data)...)
		case f.Name == "client.txt":
			s.Lines = append(s.Lines, lines(hops.Line{Source: hops.ClientLog}, f.Data)...)
		case f.Name == "analyze.txt":
			s.Lines = append(s.Lines, lines(hops.Line{Source: hops.Analysis}, f.Data)...)
		case strings.HasPrefix(f.Name, "logs/system/"):
			s.Lines = append(s.Lines, lines(hops.Line{Source: hops.SystemLogs, Container: strings.TrimSuffix(filepath.Base(f.Name), ".log")}, f.Data)...)
		case strings.HasPrefix(f.Name, "logs/"):
			container, previous := strings.CutSuffix(strings.TrimSuffix(filepath.Base(f.Name), ".log"), ".previous")
			s.Lines = append(s.Lines, lines(hops.Line{Source: hops.ContainerLogs, Pod: filepath.Base(filepath.Dir(f.Name)), Container: container, Previous: previous}, f.Data)...)
		default:
			err = fmt.Errorf("unknown kind of file")
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	ns, svc, _ := strings.Cut(meta.Service, "/")
	c.facts.Ref = hops.Ref{Namespace: ns, Name: svc}
	s.Time, s.Full, c.now, c.facts.Live = meta.Now, meta.Full, meta.Now, meta.Live
	c.facts.Snapshots = []hops.Snapshot{s}
	c.facts.Flow = hops.Resolve(&s, c.facts.Ref)
	return c, nil
}

func loadObjects(s *hops.Snapshot, text string) error {
	for i, doc := range strings.Split(text, "\n---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var tree map[string]any
		if err := yaml.Unmarshal([]byte(doc), &tree); err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
		o := hops.Object{Tree: tree}
		o.APIVersion, o.Kind, o.Name, o.Namespace = o.Str("apiVersion"), o.Str("kind"), o.Str("metadata", "name"), o.Str("metadata", "namespace")
		o.Source = hops.SourceOf(o.APIVersion, o.Kind)
		switch {
		case o.Source == "":
			return fmt.Errorf("document %d: no source reads %s %s", i+1, o.APIVersion, o.Kind)
		case o.Source == hops.Events:
			s.Events = append(s.Events, hops.ParseEvent(&o))
		default:
			s.Objects = append(s.Objects, o)
		}
	}
	return nil
}

func lines(like hops.Line, data []byte) []hops.Line {
	var out []hops.Line
	for i, l := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		like.Text, like.Number, like.Time = l, i+1, time.Time{}
		stamp, _, _ := strings.Cut(l, " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil { // as a cluster gives it
			like.Time = at
		}
		out = append(out, like)
	}
	return out
}

// TestRules runs every rule's cases: one at least must fire, one at least must stay silent.
func TestRules(t *testing.T) {
	for _, r := range hops.Rules() {
		t.Run(r.ID, func(t *testing.T) {
			fired, silent := 0, 0
			reads := map[hops.Source]bool{}
			for _, c := range loadCases(t, r.ID) {
				matches, read := hops.Ask(r, c.facts, c.now)
				for _, s := range read {
					reads[s] = true
				}
				switch {
				case c.fires() && len(matches) == 0:
					t.Errorf("%s: does not fire", c.name)
				case !c.fires() && len(matches) > 0:
					t.Errorf("%s: fires: %+v", c.name, matches)
				case c.fires():
					fired++
					checkEvidence(t, c, matches)
					checkSeverity(t, c, r, matches)
				default:
					silent++
				}
			}
			if fired == 0 || silent == 0 {
				t.Errorf("%d cases fire and %d stay silent; there must be one of each at least", fired, silent)
			}
			for _, s := range r.Needs {
				if !reads[s] {
					t.Errorf("declares that it needs %q and never reads it", s)
				}
				delete(reads, s)
			}
			for s := range reads {
				t.Errorf("reads %q and does not declare it in Needs", s)
			}
		})
	}
}

// checkEvidence demands that every finding carries evidence that stands literally in the input, or an absence from a list that was read in full.
func checkEvidence(t *testing.T, c ruleCase, matches []hops.Match) {
	t.Helper()
	said := leaves(c.facts)
	for _, m := range matches {
		if len(m.Evidence) == 0 {
			t.Errorf("%s: a match without evidence", c.name)
		}
		for _, e := range m.Evidence {
			if e.Source == hops.FromAbsence {
				if !slices.Contains(c.facts.Snapshots[0].Full, hops.Source(e.Value)) {
					t.Errorf("%s: the absence names %q, which was not read in full", c.name, e.Value)
				}
				continue
			}
			if e.Value == "" || !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, e.Value) }) {
				t.Errorf("%s: evidence %q (%s %s) does not stand in the input", c.name, e.Value, e.Ref, e.Field)
			}
		}
	}
}

// checkSeverity demands of a case that names a severity that all its findings have it; a rule that does not give one means an error.
func checkSeverity(t *testing.T, c ruleCase, r hops.Rule, matches []hops.Match) {
	t.Helper()
	for _, m := range matches {
		got := cmp.Or(m.Severity, r.Severity, hops.Error)
		for word, s := range map[string]hops.Severity{"note": hops.Note, "warning": hops.Warning, "error": hops.Error} {
			if strings.HasPrefix(c.name, "fires-"+word+"-") && got != s {
				t.Errorf("%s: severity %q: %s", c.name, got, m.Summary)
			}
		}
	}
}

// leaves lists every string and number of the input.
func leaves(f hops.Facts) []string {
	raw, err := json.Marshal([]any{f.Snapshots[0], f.Observations, f.Spans})
	if err != nil {
		panic(err)
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		panic(err)
	}
	var out []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				out = append(out, k)
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		default:
			out = append(out, fmt.Sprint(v))
		}
	}
	walk(tree)
	return out
}

// TestCatalogue holds the rules' own form.
func TestCatalogue(t *testing.T) {
	rules := hops.Rules()
	ids := map[string]bool{}
	for _, r := range rules {
		if ids[r.ID] {
			t.Errorf("%s: twice", r.ID)
		}
		ids[r.ID] = true
	}
	for _, r := range rules {
		if r.Title == "" || r.Means == "" || r.Fix == "" || r.Looks == (hops.Looks{}) || len(r.Needs) == 0 || r.Match == nil {
			t.Errorf("%s: title, meaning, fix, looks, needs and match must all be there", r.ID)
		}
		if !slices.Contains(hops.All(), r.Hop) {
			t.Errorf("%s: hop %q", r.ID, r.Hop)
		}
		for _, s := range r.Needs {
			if _, ok := hops.Info(s); !ok {
				t.Errorf("%s: needs %q, which is no source", r.ID, s)
			}
		}
		for _, e := range r.Explains {
			if !ids[e] {
				t.Errorf("%s: explains %q, which is no rule", r.ID, e)
			}
		}
	}
	for _, f := range glob(t, "testdata/*.txtar") {
		if id := strings.TrimSuffix(filepath.Base(f), ".txtar"); !ids[id] {
			t.Errorf("%s: there is no such rule", f)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
