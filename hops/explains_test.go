package hops_test

import (
	"slices"
	"strings"
	"testing"

	"probe/hops"
)

// TestExplains holds that causes hide the symptoms that they explain, and nothing else does. A case is named for the two: fires-SYMPTOM-by-CAUSE,
// where the symptom is hidden and the cause says so; silent-SYMPTOM-by-CAUSE, where the symptom has another reason and is shown. More words may follow the
// cause after a dot.
func TestExplains(t *testing.T) {
	rules := hops.Rules()
	for _, c := range loadCases(t, "explains/edges") {
		t.Run(c.name, func(t *testing.T) {
			_, names, _ := strings.Cut(c.name, "-")
			symptom, cause, ok := strings.Cut(names, "-by-")
			cause, _, _ = strings.Cut(cause, ".")
			if !ok || !known(rules, symptom) || !known(rules, cause) {
				t.Fatalf("%q names no two rules", names)
			}
			v := hops.Diagnose(c.facts, c.now, rules)
			if shown := slices.Contains(ids(v.Findings), symptom); shown == c.fires() {
				t.Errorf("%s is shown: %v; findings %v, hidden %v", symptom, shown, ids(v.Findings), ids(v.Hidden))
			}
			explained := slices.ContainsFunc(append(v.Findings, v.Hidden...), func(f hops.Finding) bool {
				return f.ID == cause && slices.Contains(f.Explains, symptom)
			})
			if explained != c.fires() {
				t.Errorf("%s explains %s: %v; findings %v, hidden %v", cause, symptom, explained, ids(v.Findings), ids(v.Hidden))
			}
		})
	}
}

func known(rules []hops.Rule, id string) bool {
	return slices.ContainsFunc(rules, func(r hops.Rule) bool { return r.ID == id })
}
