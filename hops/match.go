// match.go: the small pieces that most rules are made of. A new rule should need no more than one row built from these.
package hops

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Pattern tells texts. Rules match what a message means: the stable part of a text, in every version that was ever printed.
type Pattern struct {
	any []string
	re  *regexp.Regexp
}

// Any matches a text that holds one of the words, whatever their case.
func Any(words ...string) Pattern {
	p := Pattern{any: make([]string, len(words))}
	for i, w := range words {
		p.any[i] = strings.ToLower(w)
	}
	return p
}

// Re matches by a regular expression; write (?i) where case does not matter.
func Re(expr string) Pattern { return Pattern{re: regexp.MustCompile(expr)} }

// Match says whether the text matches. An empty pattern matches everything.
func (p Pattern) Match(s string) bool {
	if p.re != nil {
		return p.re.MatchString(s)
	}
	if len(p.any) == 0 {
		return true
	}
	low := strings.ToLower(s)
	for _, w := range p.any {
		if strings.Contains(low, w) {
			return true
		}
	}
	return false
}

// AnyOf joins matchers: each finds its own places, and a place found twice keeps the surest match with all the evidence.
func AnyOf(ms ...func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, m := range ms {
			out = append(out, m(v)...)
		}
		return merge(out)
	}
}

// FirstOf takes the first matcher that finds anything; all are asked, so that what a rule reads does not depend on what it finds.
func FirstOf(ms ...func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, m := range ms {
			if found := m(v); len(out) == 0 {
				out = found
			}
		}
		return out
	}
}

// merge joins matches of one place.
func merge(in []Match) []Match {
	var out []Match
	at := map[string]int{}
	for _, m := range in {
		key := m.Step.ID()
		i, seen := at[key]
		if !seen {
			at[key] = len(out)
			out = append(out, m)
			continue
		}
		if m.Confidence.orCertain().rank() < out[i].Confidence.orCertain().rank() {
			m.Evidence = append(m.Evidence, out[i].Evidence...)
			out[i] = m
		} else {
			out[i].Evidence = append(out[i].Evidence, m.Evidence...)
		}
	}
	return out
}

func (c Confidence) orCertain() Confidence {
	if c == "" {
		return Certain
	}
	return c
}

// Sure sets the confidence of everything that a matcher finds.
func Sure(c Confidence, m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		out := m(v)
		for i := range out {
			out[i].Confidence = c
		}
		return out
	}
}

// When keeps what a matcher finds only while a condition on the view holds.
func When(cond func(*View) bool, m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		out := m(v)
		if !cond(v) {
			return nil
		}
		return out
	}
}

// OnCondition finds conditions of a source's objects; an empty kind, status or reason matches any, reasons may be joined by "|".
func OnCondition(h Hop, s Source, kind, status, reason string, message Pattern) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, o := range v.Objects(s) {
			for _, c := range o.Conditions() {
				if (kind == "" || c.Type == kind) && (status == "" || c.Status == status) && oneOf(c.Reason, reason) && message.Match(c.Message) {
					out = append(out, Match{Step: v.StepOf(h, o), Evidence: []Evidence{ConditionEvidence(o, c)}, Summary: Clip(c.Message, 300)})
				}
			}
		}
		return merge(out)
	}
}

// OnEvent finds events by reason (joined by "|", empty for any) and message.
func OnEvent(h Hop, reason string, message Pattern) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, e := range v.Events() {
			if oneOf(e.Reason, reason) && message.Match(e.Message) {
				out = append(out, Match{Step: v.StepOfName(h, e.About), Evidence: []Evidence{EventEvidence(e)}, Summary: Clip(e.Message, 300)})
			}
		}
		return latest(merge(out), 3)
	}
}

// OnLine finds log lines of a source; containers (joined by "|") narrow it to logs that are known to be, or may be, of these containers.
func OnLine(h Hop, s Source, containers string, message Pattern) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, l := range v.Lines(s) {
			if (l.Container == "" || oneOf(l.Container, containers) || containers == modelContainers && v.modelNamed(l.Container)) && message.Match(l.Text) {
				out = append(out, Match{Step: v.StepOfName(h, ObjectRef{Source: Pods, Kind: "Pod", Namespace: l.Namespace, Name: l.Pod}),
					Evidence: []Evidence{LineEvidence(l)}, Pod: l.Pod, Container: l.Container})
			}
		}
		return latest(merge(out), 3)
	}
}

// OnContainer finds containers of the service's pods. The function says whether one matches and quotes the field that tells.
func OnContainer(h Hop, tell func(v *View, p PodState, c ContainerState) (field, value string, ok bool)) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, p := range v.Pods() {
			for _, c := range p.Containers {
				field, value, ok := tell(v, p, c)
				if !ok {
					continue
				}
				out = append(out, Match{Step: v.StepOf(h, p.Object), Evidence: []Evidence{PodEvidence(p, c, field, value)}, Pod: p.Name, Container: c.Name,
					Summary: fmt.Sprintf("container %s of pod %s: %s", orUnnamed(c.Name), p.Name, Clip(value, 200))})
			}
		}
		return merge(out)
	}
}

// OnResponse finds observations by what they saw; knocks and requests alike unless the function looks.
func OnResponse(h Hop, tell func(v *View, o *Observation) (field, value string, ok bool)) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		seen := v.Observations()
		for i := range seen {
			o := &seen[i]
			field, value, ok := tell(v, o)
			if !ok {
				continue
			}
			s := Step{Hop: h, Door: o.Step.Door, Component: o.Step.Component, Revision: o.Step.Revision}
			out = append(out, Match{Step: s, Evidence: []Evidence{RequestEvidence(o, field, value)}})
		}
		return merge(out)
	}
}

// OnAnswer finds observations like OnResponse, for modes behind the point where the doors meet: whatever door a request came by, its finding
// lies at the component, and at the revision when only one can have taken it.
func OnAnswer(h Hop, tell func(v *View, o *Observation) (field, value string, ok bool)) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		seen := v.Observations()
		for i := range seen {
			o := &seen[i]
			if field, value, ok := tell(v, o); ok {
				out = append(out, Match{Step: v.behind(h, o), Evidence: []Evidence{RequestEvidence(o, field, value)}})
			}
		}
		return latest(merge(out), 3)
	}
}

// behind places what a request saw at a hop behind the doors.
func (v *View) behind(h Hop, o *Observation) Step {
	s := Step{Hop: h, Component: cmp.Or(o.Step.Component, v.Flow().EntryPoint), Revision: o.Step.Revision}
	c, _ := v.Flow().Component(s.Component)
	weighted := 0
	for _, r := range c.Revisions {
		if r.Weight > 0 && s.Revision == "" {
			weighted++
		}
	}
	for _, r := range c.Revisions {
		if r.Weight > 0 && weighted == 1 {
			s.Revision = r.Name
		}
	}
	return v.weigh(s)
}

// OnAccess finds access log entries.
func OnAccess(h Hop, tell func(v *View, e AccessEntry) bool) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, e := range v.Access() {
			if tell(v, e) {
				out = append(out, Match{Step: Step{Hop: h}, Evidence: []Evidence{LineEvidence(e.Line)}})
			}
		}
		return latest(merge(out), 3)
	}
}

// latest keeps at most n pieces of evidence a match, the last ones: the same line a thousand times says no more than three.
func latest(ms []Match, n int) []Match {
	for i := range ms {
		if e := ms[i].Evidence; len(e) > n {
			ms[i].Evidence = e[len(e)-n:]
		}
	}
	return ms
}

func oneOf(s, choices string) bool {
	if choices == "" {
		return true
	}
	for c := range strings.SplitSeq(choices, "|") {
		if s == c {
			return true
		}
	}
	return false
}

func orUnnamed(name string) string {
	if name == "" {
		return "(not named)"
	}
	return name
}

// ConditionEvidence quotes a condition: its message, or its reason or status where it has none.
func ConditionEvidence(o *Object, c Condition) Evidence {
	field := "status.conditions[" + c.Type + "]=" + c.Status
	if c.Reason != "" && c.Message != "" {
		field += " " + c.Reason
	}
	return Evidence{Source: FromObject, Ref: o.Ref().String(), Field: field, Value: cmp.Or(c.Message, c.Reason, c.Status), At: c.Since}
}

// FieldEvidence quotes a field as it stands.
func FieldEvidence(o *Object, value string, path ...string) Evidence {
	return Evidence{Source: FromObject, Ref: o.Ref().String(), Field: strings.Join(path, "."), Value: value}
}

// PodEvidence quotes a field of a container's status.
func PodEvidence(p PodState, c ContainerState, field, value string) Evidence {
	list := "containerStatuses"
	if c.Init {
		list = "initContainerStatuses"
	}
	e := Evidence{Source: FromObject, Ref: p.Ref().String(), Field: "status." + list + "[" + c.Name + "]." + field, Value: value}
	for _, x := range c.Exits() {
		e.At = x.Finished
	}
	return e
}

// EventEvidence quotes an event.
func EventEvidence(e Event) Evidence {
	return Evidence{Source: FromEvent, Ref: e.About.String(), Field: e.Reason, Value: e.Message, At: e.Last}
}

// LineEvidence quotes a log line, or the span that stands for one.
func LineEvidence(l Line) Evidence {
	if l.Source == Spans { // a gateway's span in the place of its log line
		return Evidence{Source: FromSpan, Ref: "span of " + l.Container, Field: "response_flags", Value: l.Text, At: l.Time}
	}
	ref := string(l.Source)
	if l.Pod != "" {
		ref = "log pod/" + l.Pod
	}
	if l.Container != "" {
		ref += " " + l.Container
	}
	if l.Previous {
		ref += " (previous)"
	}
	if l.Number > 0 {
		ref += ":" + strconv.Itoa(l.Number)
	}
	return Evidence{Source: FromLine, Ref: ref, Value: l.Text, At: l.Time}
}

// RequestEvidence quotes what a request saw.
func RequestEvidence(o *Observation, field, value string) Evidence {
	ref := string(o.Asked) + " " + o.Step.ID()
	if o.From != "" {
		ref = o.From
	}
	return Evidence{Source: FromObservation, Ref: ref, Field: field, Value: value, At: o.Start}
}

// Absent quotes an absence: only a list that was read in full proves it. ok is false when it was not.
func (v *View) Absent(s Source) (e Evidence, ok bool) {
	return Evidence{Source: FromAbsence, Ref: string(s), Value: string(s)}, v.Full(s)
}
