package read

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"probe/hops"
)

var update = flag.Bool("update", false, "rewrite golden files")

// allows says whether a rule allows a request, as Kubernetes decides (k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac, RuleAllows).
func allows(r rbacv1.PolicyRule, q asked) bool {
	return slices.Contains(r.APIGroups, q.group) && slices.Contains(r.Resources, q.resource) && slices.Contains(r.Verbs, q.verb) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, q.name))
}

// TestRightsAreExact records all requests of a whole run that wants everything, and holds the generated rules against them: every request is
// allowed, and every single right is used.
func TestRightsAreExact(t *testing.T) {
	a := newAPI(rightsWorld(t)...)
	a.logs = map[string]string{"p/kserve-container": "x\n", "ingress-a/": "", "controller-1/manager": "x\n"}
	c := a.start(t, Options{MaxReads: 1000})
	if _, err := c.First(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	_, missing := c.First(t.Context(), hops.Ref{Namespace: "models", Name: "heathy-http"}) // the search for near names
	if missing == nil {
		t.Fatal("a service that does not exist was found")
	}
	sources := FirstSources()
	for _, i := range hops.Known() {
		if i.Scope != hops.ScopeNone && !slices.Contains(sources, i.Source) {
			sources = append(sources, i.Source)
		}
	}
	facts := factsWith(pod("p", "2026-11-22T15:00:00Z", true, "kserve-container running 0"))
	c.Want(t.Context(), facts, sources)
	for _, target := range []hops.Target{facts.Flow.Doors[0].Gateway, {Kind: "pod", Namespace: "models", Name: "late"}} {
		if _, err := c.Pods(t.Context(), target); err != nil {
			t.Fatal(err)
		}
	}
	rules := map[hops.Scope][]rbacv1.PolicyRule{hops.ScopeSystem: Merge(Rules(sources, hops.ScopeSystem), DialRules(false)),
		hops.ScopeNamespace: Rules(sources, hops.ScopeNamespace), hops.ScopeCluster: Merge(Rules(sources, hops.ScopeCluster), SweepRules())}
	checkExact(t, a.seen, rules)
}

func checkExact(t *testing.T, seen []asked, rules map[hops.Scope][]rbacv1.PolicyRule) {
	t.Helper()
	unused := map[string]bool{}
	each(rules, func(id string, _ asked) { unused[id] = true })
	for _, q := range seen {
		if q.resource == "" {
			continue // which versions a group has: the ClusterRole system:discovery allows everybody to ask
		}
		scope := hops.ScopeSystem
		switch q.namespace {
		case "models":
			scope = hops.ScopeNamespace
		case "":
			scope = hops.ScopeCluster
		}
		if !slices.ContainsFunc(rules[scope], func(r rbacv1.PolicyRule) bool { return allows(r, q) }) {
			t.Errorf("the %s rules do not allow %+v", scope, q)
		}
		each(map[hops.Scope][]rbacv1.PolicyRule{scope: rules[scope]}, func(id string, right asked) {
			if right.group == q.group && right.resource == q.resource && right.verb == q.verb && (right.name == "" || right.name == q.name) {
				delete(unused, id)
			}
		})
	}
	for id := range unused {
		t.Errorf("nothing asks for %s", id)
	}
}

// each names every single right.
func each(rules map[hops.Scope][]rbacv1.PolicyRule, f func(id string, right asked)) {
	for scope, list := range rules {
		for _, r := range list {
			names := r.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, res := range r.Resources {
				for _, v := range r.Verbs {
					for _, n := range names {
						right := asked{group: r.APIGroups[0], resource: res, verb: v, name: n}
						f(fmt.Sprintf("%s: %+v", scope, right), right)
					}
				}
			}
		}
	}
}

func rightsWorld(t *testing.T) []map[string]any {
	container := map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "manager"}}}}
	return append(service(t), obj("v1", "Pod", "knative-serving", "controller-1", container), obj("v1", "Pod", "models", "late", nil),
		obj("v1", "Namespace", "", "models", nil))
}

// TestRulesGolden shows the three parts as they are shipped, for somebody to read.
func TestRulesGolden(t *testing.T) {
	var all []hops.Source
	for _, i := range hops.Known() {
		all = append(all, i.Source)
	}
	parts := []any{Role("NAMESPACE", "probe", Merge(Rules(all, hops.ScopeNamespace), DialRules(true))),
		Role("SYSTEM", "probe", Merge(Rules(all, hops.ScopeSystem), DialRules(true))), ClusterRole("probe", Merge(Rules(all, hops.ScopeCluster), SweepRules()))}
	got, err := json.MarshalIndent(parts, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/rights.golden.json"
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != string(got)+"\n" {
		t.Errorf("%s is not what Rules gives (%v); run with -update and read the difference", file, err)
	}
}
