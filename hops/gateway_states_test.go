package hops_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"probe/hops"
)

// meshState is one way in which the mesh around a service was broken, and what must be told of it.
type meshState struct {
	Service string `json:"service"` // namespace/name; demo/echo unless it says so
	// Want is the id of the first finding that is more than possible, when everything could be read; "" for none. Step and Severity are asked for
	// where they are given.
	Want     string        `json:"want"`
	Step     string        `json:"step"`
	Severity hops.Severity `json:"severity"`
	// Alone is the same when only the requests, the logs and the service's own status are known. Some states look alike from there.
	Alone string   `json:"alone"`
	Gone  []string `json:"gone"` // kind/namespace/name of objects that are taken from the base
}

// TestGatewayStates holds that the broken states of gateways, routes and policies are told apart.
func TestGatewayStates(t *testing.T) {
	raw, err := os.ReadFile("testdata/gateways/states.txtar")
	if err != nil {
		t.Fatal(err)
	}
	base, files, order := "", map[string][]txtar.File{}, []string{}
	for _, f := range txtar.Parse(raw).Files {
		name, rest, ok := strings.Cut(f.Name, "/")
		if !ok {
			base = string(f.Data)
			continue
		}
		if files[name] == nil {
			order = append(order, name)
		}
		files[name] = append(files[name], txtar.File{Name: rest, Data: f.Data})
	}
	rules := hops.Rules()
	for _, name := range order {
		state, c := loadState(t, name, base, files[name])
		t.Run(name, func(t *testing.T) {
			judgeState(t, state, state.Want, hops.Diagnose(c.facts, c.now, rules))
		})
		t.Run(name+"/alone", func(t *testing.T) {
			state.Step, state.Severity = "", ""
			judgeState(t, state, state.Alone, hops.Diagnose(withoutObjects(c.facts), c.now, rules))
		})
	}
}

// judgeState compares the first finding that is more than possible or a note.
func judgeState(t *testing.T, state meshState, want string, v hops.Verdict) {
	t.Helper()
	first := hops.Finding{}
	for _, f := range v.Findings {
		if f.Confidence != hops.Possible && f.Severity != hops.Note && first.ID == "" {
			first = f
		}
	}
	switch {
	case first.ID != want:
		t.Errorf("first %q, want %q; state %s", first.ID, want, v.State)
	case want != "" && state.Step != "" && first.Step.ID() != state.Step:
		t.Errorf("%s at %s, want %s", first.ID, first.Step.ID(), state.Step)
	case want != "" && state.Severity != "" && first.Severity != state.Severity:
		t.Errorf("%s is a %s, want %s", first.ID, first.Severity, state.Severity)
	}
	if t.Failed() {
		for _, f := range v.Findings {
			t.Logf("%s %s %s at %s: %s", f.ID, f.Confidence, f.Severity, f.Step.ID(), f.Summary)
		}
	}
}

// loadState puts a state's own objects in place of those of the base that have the same name.
func loadState(t *testing.T, name, base string, files []txtar.File) (meshState, ruleCase) {
	t.Helper()
	var state meshState
	own, keep := "", []txtar.File{}
	for _, f := range files {
		switch f.Name {
		case "state.yaml":
			if err := yaml.UnmarshalStrict(f.Data, &state); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		case "objects.yaml":
			own = string(f.Data)
		default:
			keep = append(keep, f)
		}
	}
	docs := documents(t, own)
	gone := slices.Clone(state.Gone)
	for key := range docs {
		gone = append(gone, key)
	}
	all := own
	for key, doc := range documents(t, base) {
		if !slices.Contains(gone, key) {
			all += "\n---\n" + doc
		}
	}
	if state.Service == "" {
		state.Service = "demo/echo"
	}
	meta := "service: " + state.Service + "\nnow: 2026-11-22T15:34:30Z\nlive: true\nfull: [virtualservices, all-virtualservices, ksvc, routes, kingress, revisions, pods, " +
		"system-services, system-pods, system-deployments, gateways, events]\n"
	c, err := loadCase(name, append(keep, txtar.File{Name: "case.yaml", Data: []byte(meta)}, txtar.File{Name: "objects.yaml", Data: []byte(all)}))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return state, c
}

// documents splits YAML by kind/namespace/name.
func documents(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, doc := range strings.Split(text, "---\n") {
		var tree map[string]any
		if err := yaml.Unmarshal([]byte(doc), &tree); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if o := (&hops.Object{Tree: tree}); o.Has("kind") {
			out[strings.ToLower(o.Str("kind"))+"/"+o.Str("metadata", "namespace")+"/"+o.Str("metadata", "name")] = doc
		}
	}
	return out
}

// withoutObjects leaves requests, lines, and what the service and its parts say of themselves.
func withoutObjects(f hops.Facts) hops.Facts {
	s := hops.Snapshot{Time: f.Snapshots[0].Time.Add(time.Second), Lines: f.Snapshots[0].Lines}
	for _, o := range f.Snapshots[0].Objects {
		switch o.Source {
		case hops.InferenceServices, hops.KnativeServices, hops.KnativeIngresses, hops.Revisions:
			s.Objects = append(s.Objects, o)
		}
	}
	f.Snapshots, f.Flow, f.Live = []hops.Snapshot{s}, hops.Resolve(&s, f.Ref), false
	return f
}
