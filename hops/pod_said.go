// pod_said.go: what controllers, scheduler, kubelet and admission webhooks said about a pod that does not come up: conditions and events, and
// whether that is still true.
package hops

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// fault says by which words a failure to start is told. Conditions are present-day by nature; events outlive what they tell of, so an event counts
// only while nothing later contradicts it.
type fault struct {
	// Hop is where the fault belongs; "" is the pod.
	Hop Hop
	// Reason are reasons of conditions that tell by themselves, joined by "|".
	Reason string
	// Says matches the message of a condition or event; nil means that only reasons tell.
	Says func(string) bool
	// Events are the reasons of events that are looked at, joined by "|".
	Events string
	// Over says that the pod which an event is about has got past the fault.
	Over func(PodState) bool
	// Past says that the service as a whole has got past it.
	Past func(*View) bool
	// Model says that only the model's own container proves the fault to be over: the queue-proxy beside it runs all the same.
	Model bool
	// Fix gives a fix by the message; "" leaves the rule's.
	Fix func(message string) string
}

// saidSources are what told reads.
func saidSources(more ...Source) []Source {
	return append([]Source{Revisions, Configurations, KnativeServices, Deployments, InferenceServices, Events, Pods}, more...)
}

// told finds a fault in conditions of the service's objects and in events.
func told(f fault) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		past, hop := f.Past != nil && f.Past(v), cmp.Or(f.Hop, Pod)
		for _, s := range []Source{Revisions, Configurations, KnativeServices, Deployments, InferenceServices} {
			for _, o := range v.Objects(s) {
				for _, c := range o.Conditions() {
					if !failing(c) || !(f.Says != nil && f.Says(c.Message) || f.Reason != "" && oneOf(c.Reason, f.Reason)) {
						continue
					}
					if at := stepOfCondition(v, hop, o, c); !f.outdated(v, at) {
						out = append(out, f.matched(at, ConditionEvidence(o, c), c.Message, Certain))
					}
				}
			}
		}
		for _, e := range latestFirst(v.Events()) {
			if oneOf(e.Reason, f.Events) && f.Says != nil && f.Says(e.Message) && !past && !f.over(v, e) {
				out = append(out, f.matched(stepOfEvent(v, hop, e), EventEvidence(e), e.Message, Likely))
			}
		}
		return settle(v, out)
	}
}

// outdated says whether a condition lags behind: the revision has pods, and every one of them got past the fault.
func (f fault) outdated(v *View, s Step) bool {
	past := false
	for _, p := range v.Pods() {
		if f.Over == nil || s.Revision == "" || p.Revision != s.Revision || p.Deleted() {
			continue
		}
		if !f.Over(p) {
			return false
		}
		past = true
	}
	return past
}

func (f fault) matched(s Step, e Evidence, message string, c Confidence) Match {
	m := Match{Step: s, Evidence: []Evidence{e}, Confidence: c, Summary: Clip(message, 300)}
	if f.Fix != nil {
		m.Fix = f.Fix(message)
	}
	if s.Object.Source == Pods {
		m.Pod = s.Object.Name
	}
	return m
}

// over says whether what an event told has passed: its pod got further, what could not be created was created since, or a pod came up since.
func (f fault) over(v *View, e Event) bool {
	s := stepOfEvent(v, Pod, e)
	for _, p := range v.Pods() {
		if p.Name == e.About.Name && (p.Ready || f.Over != nil && f.Over(p)) {
			return true
		}
		if e.About.Source != Pods && p.Component == s.Component && (s.Revision == "" || p.Revision == s.Revision) && p.Created().After(e.Last) {
			return true
		}
	}
	proof := ranContainers
	if f.Model {
		proof = ranModel
	}
	return mended(v, s, e.About.Name, e.Last, proof)
}

// failing says whether a condition reports a fault: most are bad when False, ReplicaFailure of Deployments when True.
func failing(c Condition) bool {
	return c.False() || c.Type == "ReplicaFailure" && c.True()
}

// latestFirst gives events in reverse order of time, so that the evidence shows the last word.
func latestFirst(events []Event) []Event {
	out := slices.Clone(events)
	slices.SortStableFunc(out, func(a, b Event) int { return b.Last.Compare(a.Last) })
	return out
}

var (
	quotedRevision = regexp.MustCompile(`Revision "([^"]+)" failed`)
	saidComponent  = regexp.MustCompile(`(?i)\b(predictor|transformer|explainer)\b`)
)

// stepOfCondition places a condition of any object of the service: conditions of the InferenceService name the component in their type, and
// speak of the newest revision unless they name one.
func stepOfCondition(v *View, h Hop, o *Object, c Condition) Step {
	s := v.StepOf(h, o)
	if o.Source == Revisions || o.Source == Deployments {
		return s
	}
	if s.Component == "" {
		s.Component = componentIn(c.Type)
	}
	return complete(v, s, c.Message)
}

// stepOfEvent places an event by the name of its object, else by its words.
func stepOfEvent(v *View, h Hop, e Event) Step {
	s := v.StepOfName(h, e.About)
	if e.About.Source == InferenceServices || e.About.Source == KnativeServices || e.About.Source == Configurations || e.About.Name == v.Ref().Name {
		return complete(v, s, e.Message)
	}
	return s
}

func complete(v *View, s Step, message string) Step {
	if m := saidComponent.FindStringSubmatch(message); s.Component == "" && m != nil {
		s.Component = strings.ToLower(m[1])
	}
	if s.Component == "" {
		s.Component = Predictor // KServe reconciles it first, and most services have no other
	}
	if m := quotedRevision.FindStringSubmatch(message); m != nil {
		s.Revision = m[1]
	} else {
		s.Revision = newestRevision(v, s.Component)
	}
	return v.weigh(s)
}

// componentIn tells the component by a condition's type: PredictorConfigurationReady, DefaultPredictorReady.
func componentIn(kind string) string {
	low := strings.ToLower(kind)
	for _, c := range []string{Transformer, Explainer, Predictor} {
		if strings.Contains(low, c) {
			return c
		}
	}
	return ""
}

// newestRevision is the revision that was created last; "" in Standard mode, and when nothing tells.
func newestRevision(v *View, component string) string {
	if v.Flow().Mode == Standard {
		return ""
	}
	c, _ := v.Flow().Component(component)
	for _, r := range c.Revisions {
		if r.Latest {
			return r.Name
		}
	}
	return v.Service().Str("status", "components", component, "latestCreatedRevision")
}

// superseded says whether a revision is of no interest any more: it carries nothing, and a newer one is up.
func superseded(v *View, s Step) bool {
	c, ok := v.Flow().Component(s.Component)
	if !ok || s.Revision == "" || s.Weight > 0 || v.Flow().Mode == Standard {
		return false
	}
	for _, r := range c.Revisions {
		if r.Name == s.Revision && r.Latest {
			return false
		}
	}
	return slices.ContainsFunc(c.Revisions, func(r RevisionState) bool { return r.Latest && r.Name != s.Revision && (r.Ready || len(r.Pods) > 0) })
}

// mended says whether what was told at a time is history: a pod of that revision came up since, or an event proves that it did, or the whole
// service became ready since. A pod that was ready before and still is mends nothing: it may be the old one of a rollout.
func mended(v *View, s Step, pod string, at time.Time, proof func(Event) bool) bool {
	same := func(component, revision string) bool {
		return (component == s.Component || component == "" || s.Component == "") && (revision == s.Revision || revision == "" || s.Revision == "")
	}
	for _, p := range v.Pods() {
		up, _ := p.Condition("Ready")
		if p.Ready && !p.Deleted() && same(p.Component, p.Revision) && (at.IsZero() || up.Since.IsZero() || !up.Since.Before(at)) {
			return true
		}
	}
	for _, e := range v.Events() {
		if e.Last.After(at) && proof(e) && (e.About.Name == pod || s.Revision != "" && RevisionInName(e.About.Name) == s.Revision) {
			return true
		}
	}
	ready, _ := v.Service().Condition("Ready")
	part, _ := v.Service().Condition(partReady(s.Component))
	return ready.True() && !part.False() && !at.IsZero() && ready.Since.After(at)
}

// partReady is the condition of the InferenceService for one component. KServe calls the whole Ready while the explainer is not.
func partReady(component string) string {
	if component == "" {
		return ""
	}
	return strings.ToUpper(component[:1]) + component[1:] + "Ready"
}

// ranContainers says whether an event proves that a pod got past scheduling and init containers: its readiness was probed, or one of its
// containers was stopped. "Started container" proves less: kubelets since 1.35 do not say which.
func ranContainers(e Event) bool {
	return e.Reason == "Unhealthy" && strings.HasPrefix(e.Message, "Readiness probe") || e.Reason == "Killing" && strings.Contains(e.Message, "queue-proxy") ||
		ranModel(e)
}

// ranModel says whether an event proves that the model's own container ran.
func ranModel(e Event) bool {
	return e.Reason == "Killing" && (strings.Contains(e.Message, "kserve-container") || strings.Contains(e.Message, "kfserving-container")) ||
		e.Reason == "Unhealthy" && strings.HasPrefix(e.Message, "Liveness probe")
}

// settle joins what is said of one place, drops what concerns superseded revisions, and lowers to a warning what leaves another pod of the
// same revision serving.
func settle(v *View, in []Match) []Match {
	in = slices.DeleteFunc(in, func(m Match) bool { return superseded(v, m.Step) })
	out := fold(merge(in))
	for i := range out {
		out[i].Evidence = distinct(out[i].Evidence, 4)
		if out[i].Severity == "" && serves(v, out[i].Step) {
			out[i].Severity = Warning
		}
	}
	return out
}

// serves says whether some pod of the step's component, and revision if there is one, is ready.
func serves(v *View, s Step) bool {
	return slices.ContainsFunc(v.Pods(), func(p PodState) bool {
		return p.Ready && !p.Deleted() && p.Component == s.Component && (s.Revision == "" || p.Revision == s.Revision)
	})
}

// fold joins matches that do not know their revision with the one of the same component that does.
func fold(in []Match) []Match {
	var out []Match
	for _, m := range in {
		at := slices.IndexFunc(in, func(o Match) bool {
			return o.Step.Revision != "" && o.Step.Hop == m.Step.Hop && (o.Step.Component == m.Step.Component || m.Step.Component == "")
		})
		if m.Step.Revision == "" && at >= 0 {
			s := in[at].Step
			m.Step = s
		}
		out = append(out, m)
	}
	return merge(out)
}

// distinct keeps the first n pieces of evidence, one for each object and field: the same event ten times says no more than once.
func distinct(in []Evidence, n int) []Evidence {
	var out []Evidence
	for _, e := range in {
		if len(out) < n && !slices.ContainsFunc(out, func(o Evidence) bool { return o.Ref == e.Ref && o.Field == e.Field }) {
			out = append(out, e)
		}
	}
	return out
}
