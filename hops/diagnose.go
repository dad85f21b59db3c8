// diagnose.go: from facts to a verdict: every rule is asked, root causes hide what they explain, the rest is put in order.
package hops

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Diagnose asks every rule and gives the verdict. Its result does not depend on the order of the rules. now is the time that ages count from.
func Diagnose(f Facts, now time.Time, rules []Rule) Verdict {
	ix := newIndex(f, now)
	var found []Finding
	missing := map[Source][]string{}
	for _, r := range rules {
		v := &View{ix: ix, read: map[Source]bool{}}
		matches := r.Match(v)
		for _, m := range matches {
			found = append(found, r.finding(v, m))
		}
		if len(matches) == 0 {
			for _, s := range r.Needs {
				if ix.coverage(s) == notRead {
					missing[s] = append(missing[s], r.ID)
				}
			}
		}
	}
	verdict := judge(ix, found, rules)
	verdict.NotChecked = append(verdict.NotChecked, unread(ix, missing)...)
	verdict.NotChecked = append(verdict.NotChecked, wentAround(&f)...)
	return verdict
}

// finding turns a match into a finding, with the rule's defaults filled in.
func (r Rule) finding(v *View, m Match) Finding {
	if m.Step.Hop == "" {
		m.Step.Hop = r.Hop
	}
	f := Finding{ID: r.ID, Step: v.Flow().StepFor(m.Step), Severity: cmp.Or(m.Severity, r.Severity, Error),
		Confidence: m.Confidence.orCertain(), Summary: cmp.Or(m.Summary, r.Title), Evidence: m.Evidence, Fix: cmp.Or(m.Fix, r.Fix)}
	if f.Severity != Note {
		f.Expires = v.ix.expires(f.Step)
	}
	ref := v.Ref()
	component := cmp.Or(m.Step.Component, Predictor)
	f.Fix = strings.NewReplacer("{isvc}", cmp.Or(ref.Name, "NAME"), "{ns}", cmp.Or(ref.Namespace, "NAMESPACE"), "{component}", component,
		"{revision}", cmp.Or(m.Step.Revision, "REVISION"), "{object}", cmp.Or(m.Step.Object.String(), "OBJECT"),
		"{pod}", cmp.Or(m.Pod, "POD"), "{container}", cmp.Or(m.Container, "kserve-container")).Replace(f.Fix)
	return f
}

// judge hides what is explained, orders the rest and says what state it all amounts to.
func judge(ix *index, found []Finding, rules []Rule) Verdict {
	failing := failedDoors(ix)
	shown, hidden := hide(found, rules)
	order(ix, shown, failing)
	order(ix, hidden, failing)
	v := Verdict{Findings: shown, Hidden: hidden}
	v.Rows = mark(Rows(&ix.facts), shown)
	decide(ix, &v, failing)
	v.Notes = append(v.Notes, traceNotes(&ix.facts, failing)...)
	return v
}

// failedDoors are the doors whose real request, or knock where only that was sent, failed at its last attempt.
func failedDoors(ix *index) map[Door]*Observation {
	out := map[Door]*Observation{}
	for _, door := range []Door{Outside, ClusterLocal} {
		if o := doorAnswer(ix.facts.Observations, door); o != nil && !o.OK() && o.Judged() {
			out[door] = o
		}
	}
	return out
}

// doorAnswer is the last observation of a front door: of its real request when one was sent, else of its knock. Pasted client transcripts
// count as the outside door's.
func doorAnswer(seen []Observation, door Door) *Observation {
	var last *Observation
	for i := range seen {
		o := &seen[i]
		if !o.AtDoor(door) || last != nil && last.Asked == RealRequest && o.Asked == Knock {
			continue
		}
		last = o
	}
	return last
}

// AtDoor says whether the request entered at the front door, with the InferenceService's own host.
func (o *Observation) AtDoor(d Door) bool {
	return o.Step.Door == d && (o.Step.Hop == Client || o.Step.Hop == IngressGateway || o.Step.Hop == LocalGateway && d == ClusterLocal)
}

// hide drops every finding that another one explains: the ids allow it, directly or through others, and the symptom lies on the same step as the
// cause or further out. What is hidden goes on explaining.
func hide(found []Finding, rules []Rule) (shown, hidden []Finding) {
	explains := map[string]map[string]bool{}
	for _, r := range rules {
		explains[r.ID] = reach(rules, r.ID)
	}
	for i := range found {
		by := ""
		for j := range found {
			cause, symptom := &found[j], &found[i]
			if i != j && explains[cause.ID][symptom.ID] && cause.Step.Within(symptom.Step) && cause.Confidence != Possible {
				cause.Explains = appendNew(cause.Explains, symptom.ID)
				by = cause.ID
			}
		}
		if by != "" {
			hidden = append(hidden, found[i])
		} else {
			shown = append(shown, found[i])
		}
	}
	for _, copied := range [][]Finding{shown, hidden} { // Explains was filled on found after some were copied
		for i := range copied {
			for j := range found {
				if found[j].ID == copied[i].ID && found[j].Step.ID() == copied[i].Step.ID() {
					copied[i].Explains = found[j].Explains
					slices.Sort(copied[i].Explains)
				}
			}
		}
	}
	return shown, hidden
}

// reach lists the ids that a rule explains, directly or through others.
func reach(rules []Rule, id string) map[string]bool {
	out := map[string]bool{}
	todo := []string{id}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		for _, r := range rules {
			if r.ID != next {
				continue
			}
			for _, e := range r.Explains {
				if !out[e] {
					out[e] = true
					todo = append(todo, e)
				}
			}
		}
	}
	return out
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// order puts first what lies on the serving path of a request that failed; then errors before warnings and notes, confidence, depth, id.
func order(ix *index, fs []Finding, failing map[Door]*Observation) {
	serving := func(f Finding) int {
		for door := range failing {
			if f.Severity == Error && (f.Step.Door == "" || f.Step.Door == door) && (f.Step.Revision == "" || f.Step.Weight > 0 || !weighted(ix, f.Step)) {
				return 0
			}
		}
		return 1
	}
	severity := map[Severity]int{Error: 0, Warning: 1, Note: 2}
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(serving(a), serving(b)), cmp.Compare(severity[a.Severity], severity[b.Severity]),
			cmp.Compare(a.Confidence.rank(), b.Confidence.rank()), cmp.Compare(a.Step.Hop.depth(), b.Step.Hop.depth()),
			cmp.Compare(a.ID, b.ID), cmp.Compare(a.Step.ID(), b.Step.ID()), cmp.Compare(a.Summary, b.Summary))
	})
}

// weighted says whether the flow knows that some other revision of the step's component carries the traffic.
func weighted(ix *index, s Step) bool {
	for _, c := range ix.facts.Flow.Components {
		if c.Name != s.Component {
			continue
		}
		for _, r := range c.Revisions {
			if r.Weight > 0 && r.Name != s.Revision {
				return true
			}
		}
	}
	return false
}

// unread says which rules could not be judged, a line a source.
func unread(ix *index, missing map[Source][]string) []NotChecked {
	var out []NotChecked
	for _, i := range Known() {
		ids := missing[i.Source]
		gap, failed := ix.gaps[i.Source]
		switch {
		case failed:
			slices.Sort(ids)
			out = append(out, NotChecked{What: gap.What, Why: gap.Why, Rules: ids})
		case len(ids) > 0 && i.Scope != ScopeNone && !ix.facts.Live:
			slices.Sort(ids)
			out = append(out, NotChecked{What: string(i.Source), Why: "not in the input", Rules: ids})
		}
	}
	return out
}

// wentAround lists what lies in front of the doors that their good answers went around.
func wentAround(f *Facts) []NotChecked {
	var out []NotChecked
	for _, door := range []Door{Outside, ClusterLocal} {
		o := doorAnswer(f.Observations, door)
		if o == nil || o.Vantage == "" || !o.OK() {
			continue
		}
		n := NotChecked{What: around(o.Vantage) + " in front of the " + doorName(door), Why: "the request entered by " + string(o.Vantage)}
		switch {
		case around(o.Vantage) == "":
		case len(out) == 1 && out[0].Why == n.Why:
			out[0].What += " and of the " + doorName(door)
		default:
			out = append(out, n)
		}
	}
	return out
}

// decide says the state, the place and the one-line summary.
func decide(ix *index, v *Verdict, failing map[Door]*Observation) {
	f := &ix.facts
	worst := firstBad(v.Findings)
	tried, good := doorsTried(f.Observations)
	v.Asleep = f.Flow.Asleep()
	switch {
	case len(failing) > 0:
		v.State = Failed
	case f.Live && !tried:
		v.State = Inconclusive
		if worst != nil && worst.Severity == Error && worst.Confidence != Possible && !servesAnyway(ix, worst) {
			v.State = Failed
		}
	case f.Live && worst != nil && worst.Confidence != Possible:
		v.State = Degraded
		if breaksRequests(worst) && !servesAnyway(ix, worst) {
			v.State = Failed
		}
	case f.Live:
		v.State = OK
		unsteady(ix, v)
	case worst != nil && worst.Confidence != Possible:
		v.State = Failed
		if good || servesAnyway(ix, worst) || worst.Severity == Warning {
			v.State = Degraded
		}
	case worst != nil || !good && !plainlyReady(ix):
		v.State = Inconclusive
	default:
		v.State = OK
	}
	summarise(ix, v, worst, failing)
}

// firstBad is the first finding that is more than a note.
func firstBad(fs []Finding) *Finding {
	for i := range fs {
		if fs[i].Severity != Note {
			return &fs[i]
		}
	}
	return nil
}

// doorsTried says whether a front door gave an answer that can be judged, and whether one was good.
func doorsTried(seen []Observation) (tried, good bool) {
	for _, door := range []Door{Outside, ClusterLocal} {
		if o := doorAnswer(seen, door); o != nil && o.Judged() {
			tried = true
			good = good || o.OK()
		}
	}
	return tried, good
}

// breaksRequests says whether a finding is about what requests got, and certain: then it counts as a failed request although the one that was
// sent to the front door happened to be answered.
func breaksRequests(f *Finding) bool {
	return f.Severity == Error && f.Confidence == Certain && slices.ContainsFunc(f.Evidence, func(e Evidence) bool { return e.Source == FromObservation })
}

// youngRoute is how long a gateway may need to learn of a route after it was written.
const youngRoute = 30 * time.Second

// unsteady looks at front doors that failed first and answered when asked again: a route that was just written explains that, else some of the
// requests of real callers fail too.
func unsteady(ix *index, v *Verdict) {
	for _, door := range []Door{Outside, ClusterLocal} {
		failed, asked, first := 0, 0, (*Observation)(nil)
		for i := range ix.facts.Observations {
			o := &ix.facts.Observations[i]
			if !o.AtDoor(door) || o.Asked != RealRequest || !o.Judged() {
				continue
			}
			asked++
			if !o.OK() {
				failed, first = failed+1, o
			}
		}
		switch {
		case failed == 0:
		case ix.routeAge() < youngRoute:
			v.Notes = append(v.Notes, fmt.Sprintf("the %s answered %s at first; the route was written less than %s ago", doorName(door), first.Describe(), youngRoute))
		default:
			v.State = Degraded
			v.Notes = append(v.Notes, fmt.Sprintf("%d of %d requests at the %s failed: %s", failed, asked, doorName(door), first.Describe()))
		}
	}
}

// routeAge is how long ago the routes last changed; very long when nothing tells.
func (ix *index) routeAge() time.Duration {
	age := time.Duration(1<<63 - 1)
	for _, s := range []Source{KnativeIngresses, VirtualServices} {
		for _, o := range ix.objects[s] {
			at := o.Created()
			for _, c := range o.Conditions() {
				if c.Since.After(at) {
					at = c.Since
				}
			}
			if NamedFor(ix.facts.Ref.Name, o.Name) && !at.IsZero() {
				age = min(age, ix.now.Sub(at))
			}
		}
	}
	return age
}

// servesAnyway says whether the finding is about a revision that is not the one that serves.
func servesAnyway(ix *index, f *Finding) bool {
	if f.Step.Revision == "" {
		return false
	}
	for _, c := range ix.facts.Flow.Components {
		if c.Name != f.Step.Component {
			continue
		}
		for _, r := range c.Revisions {
			if r.Name != f.Step.Revision && r.Weight > 0 && r.Ready {
				return true
			}
		}
	}
	return false
}

// plainlyReady says whether the InferenceService itself says that it is ready, and was read.
func plainlyReady(ix *index) bool {
	for _, o := range ix.objects[InferenceServices] {
		if o.Ready() {
			return true
		}
	}
	return false
}

// summarise writes the one line.
func summarise(ix *index, v *Verdict, worst *Finding, failing map[Door]*Observation) {
	name := cmp.Or(ix.facts.Ref.Name, "the service")
	switch {
	case v.State == OK && v.Asleep:
		v.Summary = fmt.Sprintf("%s is asleep (scaled to zero); the route to it works, the container was not checked", name)
	case v.State == OK && ix.facts.Live:
		v.Summary = name + " answers" + unasked(ix.facts.Observations)
	case v.State == Degraded && worst == nil:
		v.Summary = name + " answers, but not every time"
	case v.State == OK:
		v.Summary = "nothing wrong found with " + name
	case worst != nil && v.State != Inconclusive:
		v.Step = worst.Step
		v.Summary = worst.Summary
	case v.State == Failed:
		row := firstFailed(v.Rows)
		v.Step = row.Step
		v.Summary = fmt.Sprintf("%s does not answer: %s", name, row.Why)
		for _, o := range failing {
			if row.Why == "" {
				v.Summary, v.Step = fmt.Sprintf("%s does not answer: %s", name, o.Describe()), o.Step
			}
		}
	default:
		v.Summary = fmt.Sprintf("could not tell whether %s answers", name)
	}
}

// unasked says at which front door nobody could ask.
func unasked(seen []Observation) string {
	for _, door := range []Door{Outside, ClusterLocal} {
		if o := doorAnswer(seen, door); o != nil && o.Outcome == NoWay {
			return "; there was no way to the " + doorName(door)
		}
	}
	return ""
}

// firstFailed is the row where requests stop. A time-out shows at every hop that waits: then it is the innermost one of the same way in.
func firstFailed(rows []Row) Row {
	var found Row
	for _, r := range rows {
		switch waits := strings.HasPrefix(r.Why, string(Timeout)); {
		case found.State == RowFailed && r.Step.Hop == Client:
			return found
		case r.State == RowFailed && (found.State != RowFailed || waits && strings.HasPrefix(found.Why, string(Timeout))):
			found = r
		}
	}
	return found
}

// Describe says in a few words what a request saw.
func (o *Observation) Describe() string {
	switch {
	case o.Outcome == Answered && o.GRPCStatus != 0:
		return strings.TrimSpace(fmt.Sprintf("%d %s %s", o.Status, grpcName(o.GRPCStatus), Clip(o.words(), 120)))
	case o.Outcome == Answered && o.Body != "" && !o.OK():
		return fmt.Sprintf("%d %s", o.Status, Clip(o.Body, 120))
	case o.Outcome == Answered:
		return fmt.Sprint(o.Status)
	case o.Err != "":
		return string(o.Outcome) + ": " + Clip(o.Err, 160)
	}
	return string(o.Outcome)
}

// Ask runs one rule alone and says what it found and which sources it read. Diagnose asks all of them; this is for whoever studies one rule.
func Ask(r Rule, f Facts, now time.Time) (matches []Match, read []Source) {
	v := &View{ix: newIndex(f, now), read: map[Source]bool{}}
	matches = r.Match(v)
	for s := range v.read {
		read = append(read, s)
	}
	slices.Sort(read)
	return matches, read
}
