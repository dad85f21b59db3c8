package hops_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"probe/hops"
)

// rule makes a rule that finds one thing at a step.
func rule(id string, at hops.Step, c hops.Confidence, explains ...string) hops.Rule {
	return hops.Rule{ID: id, Hop: at.Hop, Title: id, Fix: "mend " + id, Explains: explains, Match: func(*hops.View) []hops.Match {
		return []hops.Match{{Step: at, Confidence: c, Evidence: []hops.Evidence{{Source: hops.FromObject, Value: id}}}}
	}}
}

func ids(fs []hops.Finding) []string {
	out := []string{}
	for _, f := range fs {
		out = append(out, f.ID)
	}
	return out
}

func TestRootCauseHidesWhatItExplains(t *testing.T) {
	old, newer := "iris-predictor-00001", "iris-predictor-00002"
	pod := hops.Step{Hop: hops.Pod, Component: hops.Predictor, Revision: newer}
	route := hops.Step{Hop: hops.KnativeRoute, Component: hops.Predictor}
	for _, c := range []struct {
		name          string
		rules         []hops.Rule
		shown, hidden []string
	}{
		{"through another", []hops.Rule{rule("quota", pod, hops.Certain, "deadline"),
			rule("deadline", hops.Step{Hop: hops.Revision, Component: hops.Predictor, Revision: newer}, hops.Certain, "waiting"), rule("waiting", route, hops.Certain)},
			[]string{"quota"}, []string{"deadline", "waiting"}},
		{"without the one between", []hops.Rule{rule("quota", pod, hops.Certain, "deadline"), rule("waiting", route, hops.Certain),
			{ID: "deadline", Explains: []string{"waiting"}, Match: func(*hops.View) []hops.Match { return nil }}},
			[]string{"quota"}, []string{"waiting"}},
		{"not of another revision", []hops.Rule{rule("oom", hops.Step{Hop: hops.Container, Component: hops.Predictor, Revision: old}, hops.Certain, "deadline"),
			rule("deadline", hops.Step{Hop: hops.Revision, Component: hops.Predictor, Revision: newer}, hops.Certain)},
			[]string{"oom", "deadline"}, []string{}},
		{"not further in", []hops.Rule{rule("route", route, hops.Certain, "crash"), rule("crash", hops.Step{Hop: hops.Container, Component: hops.Predictor}, hops.Certain)},
			[]string{"crash", "route"}, []string{}},
		{"a mere possibility hides nothing", []hops.Rule{rule("maybe", pod, hops.Possible, "waiting"), rule("waiting", route, hops.Certain)},
			[]string{"waiting", "maybe"}, []string{}},
		{"a transformer's symptom of the predictor's cause", []hops.Rule{rule("crash", hops.Step{Hop: hops.Container, Component: hops.Predictor}, hops.Certain, "link"),
			rule("link", hops.Step{Hop: hops.ComponentLink, Component: hops.Transformer}, hops.Certain)},
			[]string{"crash"}, []string{"link"}},
	} {
		v := hops.Diagnose(hops.Facts{}, when0, c.rules)
		if got := ids(v.Findings); !slices.Equal(got, c.shown) {
			t.Errorf("%s: shown %v, want %v", c.name, got, c.shown)
		}
		got := ids(v.Hidden)
		slices.Sort(got)
		if !slices.Equal(got, c.hidden) {
			t.Errorf("%s: hidden %v, want %v", c.name, got, c.hidden)
		}
	}
}

func TestNoRuleExplainsItself(t *testing.T) {
	rules := hops.Rules()
	explains := map[string][]string{}
	for _, r := range rules {
		explains[r.ID] = r.Explains
	}
	for _, r := range rules {
		seen, todo := map[string]bool{}, slices.Clone(r.Explains)
		for len(todo) > 0 {
			next := todo[0]
			todo = todo[1:]
			if next == r.ID {
				t.Fatalf("%s explains itself through others", r.ID)
			}
			if !seen[next] {
				seen[next] = true
				todo = append(todo, explains[next]...)
			}
		}
	}
}

// TestOrderOfRulesDoesNotMatter diagnoses every case of every rule with all the rules, in several orders.
func TestOrderOfRulesDoesNotMatter(t *testing.T) {
	rules := hops.Rules()
	shuffled := slices.Clone(rules)
	r := rand.New(rand.NewPCG(1, 2))
	for _, one := range rules {
		for _, c := range loadCases(t, one.ID) {
			want := hops.Diagnose(c.facts, c.now, rules)
			r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if got := hops.Diagnose(c.facts, c.now, shuffled); !reflect.DeepEqual(got, want) {
				t.Errorf("%s %s: the order of the rules changes the verdict:\n%v\n%v", one.ID, c.name, ids(got.Findings), ids(want.Findings))
			}
		}
	}
}

// Beside the local gateway's Service others may be named for it; the one that is meant is named.
func TestTheLocalGatewayThatExistsIsNamed(t *testing.T) {
	for _, c := range loadCases(t, "kserve-gateway-reference-wrong") {
		if c.name != "fires-gateway-of-before" {
			continue
		}
		v := hops.Diagnose(c.facts, c.now, hops.Rules())
		if len(v.Findings) == 0 || !strings.HasSuffix(v.Findings[0].Summary, "; the local gateway of this cluster is knative-local-gateway.istio-system") {
			t.Errorf("%+v", v.Findings)
		}
		return
	}
	t.Error("the case is not there any more")
}

// TestWhereTimeOuts: a time-out is told of the innermost hop that waited, anything else of the first that failed.
func TestWhereTimeOuts(t *testing.T) {
	door := hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}
	model := hops.Step{Hop: hops.Container, Component: hops.Predictor, Revision: "iris-predictor-00001"}
	for _, c := range []struct {
		outer, inner hops.Outcome
		want         hops.Hop
	}{
		{hops.Timeout, hops.Timeout, hops.Container},
		{hops.Timeout, hops.ResetByPeer, hops.IngressGateway},
		{hops.ResetByPeer, hops.Timeout, hops.IngressGateway},
	} {
		f := hops.Facts{Ref: hops.Ref{Namespace: "default", Name: "iris"}, Live: true,
			Flow: hops.Flow{Steps: []hops.Step{door, model}},
			Observations: []hops.Observation{
				{Step: door, Asked: hops.RealRequest, Outcome: c.outer},
				{Step: model, Asked: hops.RealRequest, Outcome: c.inner},
			}}
		if v := hops.Diagnose(f, when0, nil); v.Step.Hop != c.want || v.State != hops.Failed {
			t.Errorf("%s, within %s: %s at %s, want %s", c.outer, c.inner, v.State, v.Step.Hop, c.want)
		}
	}
}
