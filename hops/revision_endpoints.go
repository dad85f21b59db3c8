// revision_endpoints.go: what can go wrong between a revision's Service and its pods: addresses that nobody has any more.
package hops

import (
	"fmt"
	"slices"
	"time"
)

func endpointRules() []Rule {
	return []Rule{
		{
			ID: "stale-endpoints", Hop: Revision,
			Title: "the revision's Service leads to addresses that its pods no longer have",
			Means: "Knative's controller writes the endpoints of a revision's Service: the revision's pods, or the activator. Pods were replaced or got new addresses and it did not follow, so that requests go where nobody listens, or somebody else does. It is down or stuck, or was just started again: then it waits for the leases of its predecessor, which last a minute.",
			Fix:   "when Knative's controller was just started (`kubectl get pods -n knative-serving -l app=controller`), wait a minute or two; else read `kubectl logs -n knative-serving deploy/controller` and restart it: `kubectl rollout restart deploy/controller -n knative-serving`",
			Looks: Looks{
				Status: "everything Ready=True; `kubectl get endpoints` of the revision names other addresses than `kubectl get pods -o wide`",
				Client: "503 'upstream connect error or disconnect/reset before headers ... connection failure', or it hangs; the pod asked itself answers",
				Logs:   "gateway access log 503 UF at the old address",
			},
			Needs: []Source{EndpointSlices, Pods, SystemPods},
			Explains: []string{"no-healthy-backends", "network-policy-blocks", "gateway-timeout", "ingress-probe-failing", "mtls-mismatch",
				"transformer-predictor-unreachable", "explainer-not-ready-or-unreachable"},
			Match: staleEndpoints,
		},
	}
}

// endpointsGrace is how long a pod must have been ready before endpoints that do not know it are late: written, mirrored into a slice, and read.
const endpointsGrace = 30 * time.Second

// staleEndpoints compares what the public Services of revisions lead to with the pods named there. Knative writes their Endpoints itself and
// Kubernetes mirrors them into slices (knative.dev/serving/pkg/reconciler/serverlessservice).
func staleEndpoints(v *View) []Match {
	var out []Match
	for _, slice := range v.Objects(EndpointSlices) {
		revision := RevisionOf(slice)
		if slice.Label(labelServiceType) != "Public" || slice.Deleted() || !v.matters(revision) {
			continue
		}
		m := Match{Step: v.StepOf(Revision, slice), Severity: Error}
		for _, e := range slice.List("endpoints") {
			addresses, _ := e["addresses"].([]any)
			if len(addresses) == 0 { // the API forbids it
				continue
			}
			at := text(addresses[0]) // and has readers look at the first alone
			why, now := v.moved(revision, at, text(dig(e, "targetRef", "namespace")), text(dig(e, "targetRef", "name")))
			if now == "" {
				m.Severity = Warning // this one may lead somewhere
				continue
			}
			m.Evidence = append(m.Evidence, FieldEvidence(slice, at, "endpoints", "addresses"), why)
			m.Summary = fmt.Sprintf("the Service of %s leads to %s, and %s", revision, at, now)
		}
		if len(m.Evidence) > 0 {
			out = append(out, m)
		}
	}
	return out
}

// moved says in words where a pod is now that endpoints know at an address; "" while it has that address, or when that is not known. One that is
// shutting down still serves.
func (v *View) moved(revision, address, namespace, name string) (why Evidence, now string) {
	source, replaces := Pods, func(p PodState) bool { return p.Revision == revision }
	if namespace != v.Ref().Namespace {
		source, replaces = SystemPods, func(p PodState) bool { return p.Namespace == namespace && activatorNames.MatchString(p.Name) }
	}
	var instead *PodState
	for _, o := range v.Objects(source) {
		p := parsePod(o)
		ready, _ := p.Condition("Ready")
		settled := p.Ready && !p.Deleted() && v.Age(ready.Since) >= endpointsGrace && p.ip() != ""
		switch named := p.Name == name && p.Namespace == namespace; {
		case named && (!settled || p.has(address)):
			return Evidence{}, ""
		case named:
			return FieldEvidence(o, p.ip(), "status", "podIP"), "pod " + name + " is at " + p.ip()
		case settled && replaces(p):
			instead = &p
		}
	}
	if instead == nil || !v.Full(source) {
		return Evidence{}, ""
	}
	return FieldEvidence(instead.Object, instead.ip(), "status", "podIP"), "pod " + name + " is gone; " + instead.Name + " is at " + instead.ip()
}

func (p PodState) ip() string { return p.Str("status", "podIP") }

// has says whether an address is one of the pod's: there is one of each family.
func (p PodState) has(address string) bool {
	return p.ip() == address || slices.ContainsFunc(p.List("status", "podIPs"), func(m map[string]any) bool { return text(m["ip"]) == address })
}
