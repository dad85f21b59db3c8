package hops_test

import (
	"strings"
	"testing"

	"probe/hops"
)

// TestHealthy holds every rule against services with which nothing is wrong, with the noise that they show all the same: probes that fail in
// the first seconds, conflicts between controllers, a failure that was mended, what a scale to zero leaves behind.
func TestHealthy(t *testing.T) {
	rules := hops.Rules()
	for _, c := range loadCases(t, "healthy/shapes") {
		t.Run(strings.TrimPrefix(c.name, "silent-"), func(t *testing.T) {
			v := hops.Diagnose(c.facts, c.now, rules)
			for _, f := range append(v.Findings, v.Hidden...) {
				if f.Severity != hops.Note {
					t.Errorf("%s at %s, %s: %s\n%+v", f.ID, f.Step.ID(), f.Severity, f.Summary, f.Evidence)
				}
			}
			if v.State != hops.OK && v.State != hops.Inconclusive {
				t.Errorf("state %s: %s", v.State, v.Summary)
			}
		})
	}
}
