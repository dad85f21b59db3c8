// kserve_names.go: what can go wrong at the hop kserve-route with names: a host that two routes claim, and names that are too long.
package hops

import (
	"slices"
	"strings"
)

func routeNameRules() []Rule {
	return []Rule{
		{
			ID: "virtualservice-conflict", Hop: KServeRoute,
			Title: "another VirtualService claims the InferenceService's host",
			Means: "Istio joins VirtualServices of one host at one gateway and asks their routes one after the other: those of the older object first, routes without a match last. What the other one matches never reaches this service. Two equal hosts in one object are refused altogether, and the gateways keep what they had.",
			Fix:   "`kubectl get virtualservice -A` shows who else has the host; delete or rename the other one, or give it another host; do not set svc.cluster.local as the external domain in config-domain",
			Looks: Looks{
				Status: "all True; event 'admission webhook ... denied the request: ... duplicate hosts in virtual service'",
				Client: "503 with an empty body, 404, or another backend's answer on the InferenceService's host; 200 on the predictor's",
				Logs:   "istiod ADS:RDS ... Only unique values for domains are permitted; gateway 503 NC",
			},
			Needs:    []Source{VirtualServices, AllVirtualServices, Requests, AccessLogs, Events, SystemLogs, Analysis},
			Explains: []string{"wrong-host-no-route"},
			Match:    FirstOf(claimed, refusedTwice),
		},
		{
			ID: "domain-name-too-long", Hop: KServeRoute,
			Title: "the service's name makes a host name that is too long",
			Means: "Every part of a host name may have 63 characters. KServe and Knative put the service's name, its component and often its namespace into one part, and refuse what gets too long: no route is written, or no pod.",
			Fix:   "give the InferenceService {isvc} (or its namespace) a shorter name, or shorten domainTemplate in inferenceservice-config and domain-template in config-network",
			Looks: Looks{
				Status: "event InternalError 'invalid domain name ...: must be no more than 63 characters'; no URL",
				Client: "nothing to call",
				Logs:   "kserve-controller-manager: fails to create NewRawKubeReconciler for predictor: failed creating host name",
			},
			Needs:    []Source{Events, InferenceServices, SystemLogs, ClientLog},
			Explains: []string{"kserve-virtualservice-missing", "kserve-controller-slow", "wrong-host-no-route"},
			Match:    tooLong,
		},
	}
}

// rivals lists other VirtualServices that claim a host of the service at a gateway of its route; winning keeps those whose routes come first.
func rivals(v *View, winning bool) []*Object {
	near, far := v.Objects(VirtualServices), v.Objects(AllVirtualServices)
	route, known := kserveRoute(v), v.hosts()
	if v.Ref().Name == "" {
		return nil
	}
	var out []*Object
	for _, o := range slices.Concat(near, far) {
		mine := o.Name == v.Ref().Name && (o.Namespace == "" || o.Namespace == v.Ref().Namespace)
		doubled := slices.ContainsFunc(out, func(x *Object) bool { return x.Name == o.Name && x.Namespace == o.Namespace })
		if mine || doubled || claims(known, o) == "" || !meets(route, o) || winning && !first(route, o) {
			continue
		}
		out = append(out, o)
	}
	return out
}

// claims gives the host of the service that a VirtualService has too. A wildcard takes nothing from a host that is named in full.
func claims(known hosts, o *Object) string {
	for _, h := range words(o, "HOSTS", "spec", "hosts") {
		if known.kind(h) == hostOwn {
			return h
		}
	}
	return ""
}

// meets says whether two VirtualServices share a gateway. One that names none is about the mesh alone.
func meets(a, b *Object) bool {
	theirs := boundTo(b)
	if a == nil {
		return len(theirs) > 0
	}
	for _, g := range boundTo(a) {
		if slices.ContainsFunc(theirs, func(t gatewayRef) bool { return t.String() == g.String() }) {
			return true
		}
	}
	return false
}

// first says whether the other one's routes are asked before ours: it has one with a match, and is not younger (seen on a cluster; Istio sorts by
// creation, and routes without a match last). KServe's routes always have a match.
func first(ours, other *Object) bool {
	if !ours.Created().IsZero() && other.Created().After(ours.Created()) {
		return false
	}
	routes := other.List("spec", "http")
	matched := slices.ContainsFunc(routes, func(h map[string]any) bool { return len(maps(h["match"])) > 0 })
	return matched || len(routes) == 0 // a table row does not show them
}

// claimed finds rivals that come first, surer when the host's requests fail; and rivals that do not, as a possibility when they fail.
func claimed(v *View) []Match {
	winners, all, known := rivals(v, true), rivals(v, false), v.hosts()
	saw := append(frontRequests(v, func(o *Observation) (Match, bool) {
		w := WroteIt(o)
		return Match{Evidence: sawStatus(o)}, (w == ByGateway || w == Behind) && !o.OK() && known.kind(o.Host) == hostOwn && !o.Gated()
	}), accessLines(v, func(e AccessEntry) (Match, bool) {
		return Match{}, (e.Flag("NC") || e.Flag("NR")) && known.kind(e.Authority) == hostOwn
	})...)
	var out []Match
	for _, o := range all {
		host := claims(known, o)
		door := Outside
		if inCluster(host) {
			door = ClusterLocal
		}
		m := Match{Step: Step{Hop: KServeRoute, Door: door, Object: o.Ref()}, Evidence: []Evidence{FieldEvidence(o, host, "spec", "hosts")},
			Summary: "VirtualService " + o.Namespace + "/" + o.Name + " claims " + host + " too"}
		for _, s := range saw {
			m.Evidence = append(m.Evidence, s.Evidence...)
		}
		comes := slices.Contains(winners, o)
		switch {
		case comes && len(saw) > 0:
			m.Summary += " and comes first"
		case worksBy(v, door) || !comes && len(saw) == 0:
			continue
		case comes:
			m.Confidence = Likely
		default:
			m.Confidence = Possible
		}
		out = append(out, m)
	}
	return latest(merge(out), 4)
}

var twice = Re(`(?i)duplicate (hosts|domain)s? (in|entry|.*virtual ?service)|Only unique values for domains are permitted|IST0109`)

// refusedTwice finds what the webhook, istiod and istioctl say of hosts that stand twice. A line about another host concerns us only because the
// gateways then keep all routes as they were.
func refusedTwice(v *View) []Match {
	known := v.hosts()
	out := OnEvent(KServeRoute, "", twice)(v)
	for _, l := range slices.Concat(v.Lines(SystemLogs), v.Lines(Analysis)) {
		if !twice.Match(l.Text) {
			continue
		}
		m := Match{Step: Step{Hop: KServeRoute}, Confidence: Possible, Severity: Warning, Evidence: []Evidence{LineEvidence(l)}}
		if len(known.own) == 0 || slices.ContainsFunc(known.own, func(h string) bool { return strings.Contains(l.Text, h) }) {
			m.Confidence, m.Severity = Likely, ""
		}
		out = append(out, m)
	}
	return latest(merge(out), 3)
}

var longName = Re(`(?i)must be no more than 63 characters|invalid domain name "|domain name .*invalid \(label|failed creating host name|(host|domain|DNS) ?name .*(too long|longer than)`)

// tooLong finds the refusals of API server, webhooks and KServe's controller.
func tooLong(v *View) []Match {
	name := v.Ref().Name
	out := append(OnEvent(KServeRoute, "", longName)(v), OnCondition(KServeRoute, InferenceServices, "", "", "", longName)(v)...)
	for _, l := range slices.Concat(v.Lines(SystemLogs), v.Lines(ClientLog)) {
		if longName.Match(l.Text) && (name == "" || l.Source == ClientLog || strings.Contains(l.Text, name)) {
			out = append(out, Match{Step: Step{Hop: KServeRoute}, Evidence: []Evidence{LineEvidence(l)}, Summary: Clip(l.Text, 300)})
		}
	}
	for i := range out {
		out[i].Step.Component, out[i].Step.Revision, out[i].Step.Weight = "", "", 0
	}
	return latest(merge(out), 3)
}
