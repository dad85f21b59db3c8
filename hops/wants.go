// wants.go: what to read, and whether to read more, after the first requests.
package hops

import (
	"slices"
	"strings"
	"time"
)

// Wants lists the sources that some rule needs and that were not read yet, the likeliest to tell first. Nothing is wanted while everything looks
// well. Beyond the service's own namespace something is wanted only while a request failed and nothing certain within explains it.
func Wants(f Facts, rules []Rule) []Source {
	ix := newIndex(f, f.lastTime())
	failing := len(failedDoors(ix)) > 0 || !answeredSomewhere(&f) || wayless(&f)
	if !failing && looksWell(ix) {
		return nil
	}
	outwards := failing && !explained(f, rules)
	needed := map[Source]bool{}
	for _, r := range rules {
		for _, s := range r.Needs {
			_, failed := ix.gaps[s]
			needed[s] = needed[s] || !failed && !ix.full[s]
		}
	}
	var out []Source
	for _, s := range []Source{Events, ContainerLogs} { // they expire first
		if needed[s] {
			out = append(out, s)
		}
	}
	for _, s := range []Source{IstioGateways, IngressClasses} { // few, and without them a door that nobody opens has no cause: before the bound of reads is spent
		if outwards && needed[s] && tells(&f, s) {
			out = append(out, s)
		}
	}
	for _, i := range Known() { // by scope, nearest first
		if needed[i.Source] && i.Scope != ScopeNone && (outwards || i.Scope == ScopeNamespace) && tells(&f, i.Source) && !slices.Contains(out, i.Source) {
			out = append(out, i.Source)
		}
	}
	return out
}

// explained says whether what was read already holds a certain cause, in the pods of what should serve.
func explained(f Facts, rules []Rule) bool {
	for _, c := range Diagnose(f, f.lastTime(), rules).Findings {
		deep := c.Step.Hop == Pod || c.Step.Hop == StorageInitializer || c.Step.Hop == Container
		if deep && c.Severity == Error && c.Confidence == Certain && (c.Step.Weight > 0 || c.Step.Revision == "") {
			return true
		}
	}
	return false
}

// tells says whether a source can tell anything about what was seen: policies refuse, reset or let time out, they do not make a gateway answer
// that it knows no route, no cluster or no endpoint; and what routes the other modes of KServe says nothing in this one.
func tells(f *Facts, s Source) bool {
	switch s {
	case AuthPolicies, PeerAuths, EnvoyFilters, DestinationRules, NetworkPolicies, SystemAuthPolicies, SystemPeerAuths, SystemEnvoyFilters, SystemPolicies:
		return slices.ContainsFunc(f.Observations, func(o Observation) bool {
			nowhere := o.Status == 404 || o.Status == 503 && (o.Body == "" || strings.TrimSpace(o.Body) == "no healthy upstream")
			return !o.OK() && o.Judged() && !nowhere
		})
	case HTTPRoutes, APIGateways:
		return f.Flow.Routing == HTTPRoutes
	case Ingresses, IngressClasses:
		return f.Flow.Mode != Knative
	}
	return true
}

// wayless says whether a front door could not be got at, perhaps because its gateway has no pods.
func wayless(f *Facts) bool {
	for _, door := range []Door{Outside, ClusterLocal} {
		if o := doorAnswer(f.Observations, door); o != nil && o.Outcome == NoWay {
			return true
		}
	}
	return false
}

// answeredSomewhere says whether any front door gave a good answer.
func answeredSomewhere(f *Facts) bool {
	_, good := doorsTried(f.Observations)
	return good
}

// Settled says whether what was read shows nothing under way and nothing odd: what is to come of a service that is not settled may show later, without
// a word in its status.
func Settled(f Facts) bool { return looksWell(newIndex(f, f.lastTime())) }

// looksWell says whether the objects show nothing odd: ready, newest revision ready, every container of every pod ready, no restart of late.
func looksWell(ix *index) bool {
	for _, s := range []Source{InferenceServices, KnativeServices} {
		for _, o := range ix.objects[s] {
			if !o.Ready() || o.Str("status", "latestCreatedRevisionName") != o.Str("status", "latestReadyRevisionName") {
				return false
			}
		}
	}
	for _, p := range ix.pods {
		if !p.Deleted() && !p.Ready {
			return false
		}
		for _, c := range p.Containers {
			if c.Last != nil && (c.Last.Finished.IsZero() || ix.now.Sub(c.Last.Finished).Hours() < 1) {
				return false
			}
		}
	}
	for i := range ix.facts.Observations {
		if o := &ix.facts.Observations[i]; o.Judged() && !o.OK() {
			return false
		}
	}
	return true
}

// lastTime is when the last snapshot was taken.
func (f Facts) lastTime() (t time.Time) {
	for _, s := range f.Snapshots {
		t = s.Time
	}
	return t
}
