// Package agent holds what probes that run by themselves need: their rights and their manifests.
//
// rights.go: the ServiceAccount of a probe with the least rights, derived from what the rules read.
package agent

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probe/hops"
	"probe/probe/read"
)

// systemNamespaces are where gateways, Knative, KServe and Istio live when nobody says otherwise.
var systemNamespaces = [...]string{"istio-system", "knative-serving", "kserve"}

// Rights say how far a probe may see.
type Rights struct {
	Namespace  string // of the account, and of the services
	Name       string // of the account and of the roles
	Everywhere bool   // the services of all namespaces
	System     bool   // also the system namespaces: gateways, activator, controllers, configuration
	Cluster    bool   // also cluster-wide objects: webhooks, nodes, runtimes; implies System
	Outside    bool   // also forward ports, for a probe that runs outside the cluster
}

// needs are the sources that the rules read, and those of the path itself.
func needs() []hops.Source {
	out := read.FirstSources()
	for _, r := range hops.Rules() {
		out = append(out, r.Needs...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Objects are the manifests: the account, and a role and its binding for each part.
func (r Rights) Objects() []any {
	account := &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name}}
	out := []any{account}
	own := read.Merge(read.Rules(needs(), hops.ScopeNamespace), read.DialRules(r.Outside))
	if !r.Everywhere {
		out = append(out, read.Role(r.Namespace, r.Name, own), r.binding(r.Namespace, r.Name))
	}
	if r.System || r.Cluster {
		for _, ns := range systemNamespaces {
			rules := read.Merge(read.Rules(needs(), hops.ScopeSystem), read.DialRules(r.Outside))
			out = append(out, read.Role(ns, r.Name, rules), r.binding(ns, r.Name))
		}
	}
	var wide []rbacv1.PolicyRule
	if r.Cluster {
		wide = read.Rules(needs(), hops.ScopeCluster)
	}
	if r.Everywhere {
		wide = read.Merge(wide, own, read.SweepRules())
	}
	if len(wide) > 0 {
		name := r.Name + "-" + r.Namespace
		out = append(out, read.ClusterRole(name, wide), &rbacv1.ClusterRoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"}, ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}, Subjects: r.subjects()})
	}
	return out
}

func (r Rights) subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: r.Namespace, Name: r.Name}}
}

// binding gives the account the Role of that name.
func (r Rights) binding(namespace, name string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}, Subjects: r.subjects()}
}
