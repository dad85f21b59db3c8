// compare.go: a verdict against the one that is expected, and against the one of a recording.
package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"probe/hops"
)

// compare lists what of a run is not as expected.
func (e *Expect) compare(run *hops.Run) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	v := &run.Verdict
	if v.State != e.State && !slices.Contains(e.OrState, v.State) {
		say("state %s, expected %s (%s)", v.State, e.State, v.Summary)
	}
	if e.Hop != "" && v.Step.Hop != e.Hop {
		say("hop %q, expected %q", v.Step.Hop, e.Hop)
	}
	if first := e.first(v); first != e.ID && !slices.Contains(e.Or, first) {
		say("first finding %q, expected %q", first, e.ID)
	}
	for _, f := range v.Findings {
		if slices.Contains(e.Never, f.ID) {
			say("finding %q must not appear", f.ID)
		}
	}
	if e.Asleep != v.Asleep {
		say("asleep: %v, expected %v", v.Asleep, e.Asleep)
	}
	if got := outsideStatus(run); e.Status != 0 && got != e.Status {
		say("the outside door answered %d, expected %d", got, e.Status)
	}
	return out
}

// first is the id of the first finding. Where none is expected, notes do not count.
func (e *Expect) first(v *hops.Verdict) string {
	for _, f := range v.Findings {
		if f.Severity != hops.Note || e.ID != "" {
			return f.ID
		}
	}
	return ""
}

// guessed says whether a cause is expected and the one that is named is only possible.
func (e *Expect) guessed(v *hops.Verdict) bool {
	return e.ID != "" && len(v.Findings) > 0 && v.Findings[0].Confidence == hops.Possible
}

// outsideStatus is the last answer of the outside door to a real request.
func outsideStatus(run *hops.Run) int {
	status := 0
	for i := range run.Observations {
		if o := &run.Observations[i]; o.AtDoor(hops.Outside) && o.Asked == hops.RealRequest {
			status = o.Status
		}
	}
	return status
}

// String is the expectation in a few words.
func (e *Expect) String() string {
	states := []string{string(e.State)}
	for _, s := range e.OrState {
		states = append(states, string(s))
	}
	ids := slices.DeleteFunc(append([]string{e.ID}, e.Or...), func(id string) bool { return id == "" })
	return words(strings.Join(states, " or "), e.Hop, strings.Join(ids, " or "), e.Asleep)
}

func words(state string, hop hops.Hop, id string, asleep bool) string {
	out := []string{state}
	if asleep {
		out = append(out, "asleep")
	}
	if hop != "" {
		out = append(out, "at "+string(hop))
	}
	if id != "" {
		out = append(out, id)
	}
	return strings.Join(out, " ")
}

// Drift lists in what the verdict of a live run differs from that of a recording of the same look. Both were diagnosed with the same rules.
func Drift(recorded, live *hops.Verdict) []string {
	var out []string
	say := func(what string, old, now any) {
		if fmt.Sprint(old) != fmt.Sprint(now) {
			out = append(out, fmt.Sprintf("%s: recorded %v, now %v", what, old, now))
		}
	}
	say("state", recorded.State, live.State)
	say("hop", recorded.Step.Hop, live.Step.Hop)
	say("component", recorded.Step.Component, live.Step.Component)
	say("asleep", recorded.Asleep, live.Asleep)
	say("errors found", errorsOf(recorded), errorsOf(live))
	return out
}

// drift is Drift for a look whose first finding may be one of several: where the two runs saw different ones of them, what follows from the finding
// is not compared.
func (e *Expect) drift(recorded, live *hops.Verdict) []string {
	was, is := e.first(recorded), e.first(live)
	may := func(id string) bool { return id == e.ID || slices.Contains(e.Or, id) }
	if was == is || !may(was) || !may(is) {
		return Drift(recorded, live)
	}
	same := *live
	same.Step, same.Findings = recorded.Step, recorded.Findings
	return Drift(recorded, &same)
}

// errorsOf are the ids of the errors that are certain or likely, in order of name. Warnings and guesses come and go with timing.
func errorsOf(v *hops.Verdict) []string {
	var out []string
	for _, f := range v.Findings {
		if f.Severity == hops.Error && f.Confidence != hops.Possible {
			out = append(out, f.ID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
