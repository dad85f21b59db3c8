// rights.go: the rights that the reads need, as rules of a Role or ClusterRole.
package read

import (
	"cmp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probe/hops"
)

// access is one thing that is asked of the API server.
type access struct {
	group, resource, verb string
	names                 []string // of the objects, when they are known beforehand
}

// Rules are the rights that reading the sources takes, for the part of them that lives in the scope: the namespace of the service, the system
// namespaces, or the cluster. Sorted, each right once.
func Rules(needs []hops.Source, scope hops.Scope) []rbacv1.PolicyRule {
	var all []access
	for _, s := range needs {
		if info, ok := hops.Info(s); ok && info.Scope == scope && scope != hops.ScopeNone {
			all = append(all, accessOf(info)...)
		}
	}
	return ruled(all)
}

// DialRules are the rights that getting to a target takes besides reading: finding its pods and, from outside the cluster, forwarding a port.
func DialRules(outside bool) []rbacv1.PolicyRule {
	all := []access{{"", "services", "list", nil}, {"discovery.k8s.io", "endpointslices", "list", nil}}
	if outside {
		// A WebSocket is opened by a GET, which API servers of some versions take for the verb get, of others for create.
		all = append(all, access{"", "pods/portforward", "create", nil}, access{"", "pods/portforward", "get", nil})
	}
	return ruled(all)
}

// SweepRules are the rights of List over all namespaces.
func SweepRules() []rbacv1.PolicyRule {
	return ruled([]access{{"serving.kserve.io", "inferenceservices", "list", nil}})
}

// Merge joins rules, sorted and each right once.
func Merge(lists ...[]rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var all []access
	for _, r := range slices.Concat(lists...) {
		for _, g := range r.APIGroups {
			for _, res := range r.Resources {
				for _, v := range r.Verbs {
					all = append(all, access{g, res, v, r.ResourceNames})
				}
			}
		}
	}
	return ruled(all)
}

// Role makes a Role of rules.
func Role(namespace, name string, rules []rbacv1.PolicyRule) *rbacv1.Role {
	return &rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Rules: rules}
}

// ClusterRole makes a ClusterRole of rules.
func ClusterRole(name string, rules []rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
}

// accessOf says what reading a source asks for. Most are lists; the verbs of hops.Known are what others may need of them too.
func accessOf(info hops.SourceInfo) []access {
	list := access{info.Group, info.Resource, "list", nil}
	get := access{info.Group, info.Resource, "get", nil}
	switch info.Source {
	case hops.InferenceServices: // by name; the list is for the names near one that does not exist
		return []access{get, list}
	case hops.Pods: // by name: a pod that came after the list
		return []access{get, list}
	case hops.Namespaces, hops.ContainerLogs:
		return []access{get}
	case hops.AccessLogs: // the pods behind the gateways' Services
		return []access{get, {"", "services", "list", nil}, {"discovery.k8s.io", "endpointslices", "list", nil}}
	case hops.SystemLogs:
		return []access{get, {"", "pods", "list", nil}}
	case hops.SystemConfigMaps:
		get.names = append([]string{kserveConfigMap, istioConfigMap}, knativeConfigMaps()...)
		return []access{get}
	case hops.CustomResources:
		get.names = customResources()
		return []access{get}
	case hops.Webhooks:
		return []access{list, {info.Group, "validatingwebhookconfigurations", "list", nil}}
	}
	return []access{list}
}

// ruled makes one rule of all resources of a group that need the same verbs and names.
func ruled(all []access) []rbacv1.PolicyRule {
	type place struct{ group, resource, names string }
	verbs := map[place][]string{}
	for _, a := range all {
		names := slices.Clone(a.names)
		slices.Sort(names)
		p := place{a.group, a.resource, strings.Join(slices.Compact(names), ",")}
		if !slices.Contains(verbs[p], a.verb) {
			verbs[p] = append(verbs[p], a.verb)
		}
	}
	type kind struct{ group, verbs, names string }
	resources := map[kind][]string{}
	for p, v := range verbs {
		slices.Sort(v)
		k := kind{p.group, strings.Join(v, ","), p.names}
		resources[k] = append(resources[k], p.resource)
	}
	var out []rbacv1.PolicyRule
	for k, r := range resources {
		slices.Sort(r)
		rule := rbacv1.PolicyRule{APIGroups: []string{k.group}, Resources: r, Verbs: strings.Split(k.verbs, ",")}
		if k.names != "" {
			rule.ResourceNames = strings.Split(k.names, ",")
		}
		out = append(out, rule)
	}
	slices.SortFunc(out, func(a, b rbacv1.PolicyRule) int {
		return cmp.Or(strings.Compare(a.APIGroups[0], b.APIGroups[0]), strings.Compare(a.Resources[0], b.Resources[0]), strings.Compare(a.Verbs[0], b.Verbs[0]),
			slices.Compare(a.ResourceNames, b.ResourceNames))
	})
	return out
}
