package agent

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

func TestRightsGolden(t *testing.T) {
	golden(t, "rights.golden.yaml", manifests(t, Rights{Namespace: "models", Name: "probe", Cluster: true, Outside: true}.Objects()))
}

// A probe reads, and reads no Secret; from outside it also opens port-forwards.
func TestRightsOnlyRead(t *testing.T) {
	for _, r := range []Rights{{Namespace: "models", Name: "probe"}, {Namespace: "models", Name: "probe", Cluster: true, Outside: true}} {
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
