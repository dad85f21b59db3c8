package hops_test

import (
	"slices"
	"strings"
	"testing"

	"probe/hops"
)

// asked is the answer to a real request at a front door.
func asked(door hops.Door, outcome hops.Outcome, status int) hops.Observation {
	return hops.Observation{Step: hops.Step{Hop: hops.Client, Door: door}, Asked: hops.RealRequest, Method: "GET", Outcome: outcome, Status: status}
}

// live are the facts of a run that asked at both front doors.
func live(mode hops.Mode, seen ...hops.Observation) hops.Facts {
	return hops.Facts{Ref: hops.Ref{Namespace: "default", Name: "iris"}, Flow: hops.Flow{Mode: mode}, Observations: seen, Live: true}
}

func TestWants(t *testing.T) {
	good, inside := asked(hops.Outside, hops.Answered, 200), asked(hops.ClusterLocal, hops.Answered, 200)
	noWay, lost := asked(hops.Outside, hops.NoWay, 0), asked(hops.Outside, hops.Answered, 404)
	crash := rule("crash", hops.Step{Hop: hops.Container, Component: hops.Predictor}, hops.Certain)
	crash.Needs = []hops.Source{hops.Pods}
	for _, c := range []struct {
		name   string
		facts  hops.Facts
		more   []hops.Rule
		first  []hops.Source // in this order, before any other beyond the namespace
		others []hops.Source // wanted, wherever
		never  []hops.Source
		none   bool
	}{
		{name: "all well", facts: live(hops.Knative, good, inside), none: true},
		{name: "a door that nobody opens, Standard mode", facts: live(hops.Standard, noWay, inside),
			first: []hops.Source{hops.Events, hops.ContainerLogs, hops.IstioGateways, hops.IngressClasses}, others: []hops.Source{hops.Ingresses}},
		{name: "a door that nobody opens, Knative mode", facts: live(hops.Knative, noWay, inside),
			first: []hops.Source{hops.Events, hops.ContainerLogs, hops.IstioGateways}, never: []hops.Source{hops.IngressClasses, hops.Ingresses}},
		{name: "no route: no policy says that", facts: live(hops.Knative, lost, inside), first: []hops.Source{hops.Events},
			others: []hops.Source{hops.AccessLogs}, never: []hops.Source{hops.AuthPolicies, hops.NetworkPolicies}},
		{name: "refused: a policy may say that", facts: live(hops.Knative, asked(hops.Outside, hops.Answered, 403), inside),
			others: []hops.Source{hops.AuthPolicies, hops.SystemAuthPolicies}},
		{name: "a crash explains it", facts: live(hops.Knative, lost, inside), more: []hops.Rule{crash},
			first: []hops.Source{hops.Events, hops.ContainerLogs}, never: []hops.Source{hops.IstioGateways, hops.AccessLogs, hops.Webhooks}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := hops.Wants(c.facts, append(hops.Rules(), c.more...))
			if c.none && len(got) > 0 || !c.none && len(got) < len(c.first) {
				t.Fatalf("wanted: %v", got)
			}
			if !slices.Equal(got[:len(c.first)], c.first) {
				t.Errorf("first %v, want %v", got[:len(c.first)], c.first)
			}
			for _, s := range c.others {
				if !slices.Contains(got, s) {
					t.Errorf("%s is not wanted: %v", s, got)
				}
			}
			for _, s := range c.never {
				if slices.Contains(got, s) {
					t.Errorf("%s is wanted", s)
				}
			}
		})
	}
}

// A door that nobody could ask at is named beside the good answer of the other.
func TestGoodAnswerNamesTheDoorWithoutAWay(t *testing.T) {
	v := hops.Diagnose(live(hops.Knative, asked(hops.Outside, hops.NoWay, 0), asked(hops.ClusterLocal, hops.Answered, 200)), when0, nil)
	if v.State != hops.OK || v.Summary != "iris answers; there was no way to the ingress gateway" {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
	v = hops.Diagnose(live(hops.Knative, asked(hops.Outside, hops.Answered, 200), asked(hops.ClusterLocal, hops.Answered, 200)), when0, nil)
	if v.State != hops.OK || !strings.HasSuffix(v.Summary, "iris answers") {
		t.Errorf("%s: %s", v.State, v.Summary)
	}
}
