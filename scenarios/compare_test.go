package scenarios

import (
	"slices"
	"testing"

	"probe/hops"
)

// Where an expectation allows several first findings, a run that saw another of them than the recording has not drifted; one that saw something else has.
func TestDriftAmongAlternatives(t *testing.T) {
	verdict := func(state hops.State, hop hops.Hop, id string) *hops.Verdict {
		return &hops.Verdict{State: state, Step: hops.Step{Hop: hop}, Findings: []hops.Finding{{ID: id, Severity: hops.Error, Confidence: hops.Certain}}}
	}
	recorded := verdict(hops.Degraded, hops.KnativeRoute, "canary-bad-revision")
	either := Expect{State: hops.Degraded, ID: "oom-killed", Or: []string{"canary-bad-revision"}}
	for _, c := range []struct {
		name string
		e    Expect
		live *hops.Verdict
		want []string
	}{
		{"the same", either, verdict(hops.Degraded, hops.KnativeRoute, "canary-bad-revision"), nil},
		{"the other one", either, verdict(hops.Degraded, hops.Container, "oom-killed"), nil},
		{"the other one in another state", either, verdict(hops.Failed, hops.Container, "oom-killed"), []string{"state: recorded Degraded, now Failed"}},
		{"the same elsewhere", either, verdict(hops.Degraded, hops.Container, "canary-bad-revision"), []string{"hop: recorded knative-route, now container"}},
		{"one that is not among them", either, verdict(hops.Degraded, hops.KnativeRoute, "quota-exceeded"),
			[]string{"errors found: recorded [canary-bad-revision], now [quota-exceeded]"}},
		{"no alternatives", Expect{ID: "canary-bad-revision"}, verdict(hops.Degraded, hops.KnativeRoute, "oom-killed"),
			[]string{"errors found: recorded [canary-bad-revision], now [oom-killed]"}},
	} {
		if got := c.e.drift(recorded, c.live); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestExpectString(t *testing.T) {
	e := Expect{State: hops.Failed, OrState: []hops.State{hops.Degraded, hops.Inconclusive}, Hop: hops.Pod, ID: "quota-exceeded", Or: []string{"pvc-not-bound"}, Asleep: true}
	if got, want := e.String(), "Failed or Degraded or Inconclusive asleep at pod quota-exceeded or pvc-not-bound"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (&Expect{State: hops.OK}).String(); got != "OK" {
		t.Errorf("%q, want OK", got)
	}
}
