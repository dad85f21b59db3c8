package hops_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"probe/hops"
)

func TestGraph(t *testing.T) {
	raw, err := os.ReadFile("testdata/graphs/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := hops.Snapshot{Time: when0}
	if err := loadObjects(&s, string(raw)); err != nil {
		t.Fatal(err)
	}
	g := hops.ReadGraph(&s.Objects[0])
	if g.Ready || g.Why != "NotReady not yet" || g.URL != "http://pipeline.default.example.com" || g.Ref != (hops.Ref{Namespace: "default", Name: "pipeline"}) {
		t.Errorf("got %+v", g)
	}
	var steps []string
	for _, step := range g.Steps {
		steps = append(steps, fmt.Sprintf("%s %s: %s%s%s %d %t", step.Router, step, step.Service, step.Next, step.URL, step.Weight, step.Soft))
	}
	want := []string{"Sequence root scaler: scaler 0 false", "Sequence root choose: left 0 false", "Sequence root audit: http://audit.example 0 true",
		"Sequence root again: root 0 false", "Sequence root gone: nowhere 0 false", "Sequence root nothing:  0 false",
		"Splitter left step 1: big 80 false", "Splitter left step 2: small 20 false"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps\n%q, want\n%q", steps, want)
	}
	unknown := []string{"node island is reached by no step", "node nowhere does not exist", "root nothing leads nowhere: it names no service, node or address"}
	if !slices.Equal(g.Unknown, unknown) {
		t.Errorf("unknown %q", g.Unknown)
	}
	if got := fmt.Sprint(g.Services()); got != "[default/scaler default/big default/small]" {
		t.Errorf("services %s", got)
	}
}

// A service of the same name in another namespace is not the graph's; a list that was not read in full proves no absence.
func TestGraphCheck(t *testing.T) {
	raw, err := os.ReadFile("testdata/graphs/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, full := range []bool{false, true} {
		s := hops.Snapshot{Time: when0}
		if err := loadObjects(&s, string(raw)); err != nil {
			t.Fatal(err)
		}
		if full {
			s.Full = []hops.Source{hops.InferenceServices}
		}
		g := hops.ReadGraph(&s.Objects[0])
		faults, unknown := g.Check(&s)
		var got []string
		for _, f := range faults {
			got = append(got, f.Step.String()+": "+f.Why)
			if f.Missing != (f.Step.Service == "small") {
				t.Errorf("%s: missing %t", f.Step, f.Missing)
			}
		}
		want, open := []string{"left step 1: inferenceservice big is not ready: RevisionFailed it fell over"}, []string{"left step 2: inferenceservice small was not read"}
		if full {
			want, open = append(want, "left step 2: inferenceservice small does not exist"), nil
		}
		if !slices.Equal(got, want) || !slices.Equal(unknown, open) {
			t.Errorf("full %t: %q, unknown %q", full, got, unknown)
		}
	}
}
