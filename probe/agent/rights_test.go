package agent

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"probe/probe/read"
)

func TestRightsGolden(t *testing.T) {
	golden(t, "rights.golden.yaml", manifests(t, Rights{Namespace: "models", Name: "probe", Cluster: true, Outside: true}.Objects()))
	golden(t, "rights-everywhere.golden.yaml", manifests(t, Rights{Namespace: "models", Name: "probe", Everywhere: true}.Objects()))
}

// The services of all namespaces are listed and read with one ClusterRole, which holds what the Role of one namespace would, and no more unless asked.
func TestRightsEverywhere(t *testing.T) {
	one := Rights{Namespace: "models", Name: "probe"}.Objects()[1].(*rbacv1.Role).Rules
	all := Rights{Namespace: "models", Name: "probe", Everywhere: true}.Objects()[1].(*rbacv1.ClusterRole).Rules
	if want := read.Merge(one, read.SweepRules()); !reflect.DeepEqual(all, want) {
		t.Errorf("got %+v, want %+v", all, want)
	}
	more := Rights{Namespace: "models", Name: "probe", Everywhere: true, Cluster: true}.Objects()
	role := more[len(more)-2].(*rbacv1.ClusterRole).Rules
	webhooks := func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "mutatingwebhookconfigurations") }
	if !slices.ContainsFunc(role, webhooks) || slices.ContainsFunc(all, webhooks) {
		t.Errorf("webhooks are for Cluster alone: %+v and %+v", role, all)
	}
}

// A probe reads, and reads no Secret; from outside it also opens port-forwards.
func TestRightsOnlyRead(t *testing.T) {
	for _, r := range []Rights{{Namespace: "models", Name: "probe"}, {Namespace: "models", Name: "probe", Cluster: true, Outside: true},
		{Namespace: "models", Name: "probe", Everywhere: true}} {
		roles := 0
		for _, o := range r.Objects() {
			var rules []rbacv1.PolicyRule
			switch o := o.(type) {
			case *rbacv1.Role:
				rules = o.Rules
			case *rbacv1.ClusterRole:
				rules = o.Rules
			default:
				continue
			}
			roles++
			if len(rules) == 0 {
				t.Errorf("%+v: a role without rules", r)
			}
			for _, rule := range rules {
				forward := r.Outside && slices.Equal(rule.Resources, []string{"pods/portforward"})
				for _, v := range rule.Verbs {
					if v != "get" && v != "list" && !forward {
						t.Errorf("%+v: may %s %s", r, v, strings.Join(rule.Resources, ", "))
					}
				}
				if slices.Contains(rule.Resources, "secrets") || slices.Contains(append(rule.Resources, rule.Verbs...), "*") {
					t.Errorf("%+v: too much: %+v", r, rule)
				}
			}
		}
		if want := map[bool]int{false: 1, true: 5}[r.Cluster]; roles != want {
			t.Errorf("%+v: %d roles, want %d", r, roles, want)
		}
	}
}

// System lets a probe read where gateways and controllers live, and nothing of the whole cluster.
func TestRightsSystem(t *testing.T) {
	var where []string
	for _, o := range (Rights{Namespace: "models", Name: "probe", System: true}).Objects() {
		switch o := o.(type) {
		case *rbacv1.Role:
			where = append(where, o.Namespace)
		case *rbacv1.ClusterRole:
			t.Errorf("a ClusterRole: %+v", o.Rules)
		}
	}
	if want := append([]string{"models"}, systemNamespaces[:]...); !slices.Equal(where, want) {
		t.Errorf("roles in %v, want %v", where, want)
	}
}
