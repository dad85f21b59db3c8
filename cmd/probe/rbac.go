// rbac.go: `probe rbac`: the rights that a probe needs, as manifests.
package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"probe/hops"
	"probe/probe/read"
)

// systemNamespaces are where gateways, Knative, KServe and Istio live when nobody says otherwise.
var systemNamespaces = [...]string{"istio-system", "knative-serving", "kserve"}

type rbacFlags struct {
	namespace, name string
	system, all     bool
	outside         bool
}

func newRBAC(s streams) *cobra.Command {
	var f rbacFlags
	cmd := &cobra.Command{
		Use:   "rbac -n NAMESPACE",
		Short: "Print the least rights that a probe needs, derived from what the rules read",
		Long: `Print a ServiceAccount with the least rights that a probe of the services in NAMESPACE needs, for ` + "`kubectl apply -f -`" + `.
Without --system and --all the rules that look outside the namespace are listed as not checked in each run.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if f.namespace == "" {
				return usage("which namespace? Give -n NAMESPACE")
			}
			for i, o := range f.objects() {
				raw, err := yaml.Marshal(o)
				if err != nil {
					return err
				}
				if i > 0 {
					fmt.Fprintln(s.out, "---")
				}
				fmt.Fprint(s.out, string(raw))
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", "namespace of the services")
	cmd.Flags().StringVar(&f.name, "name", "probe", "name of the ServiceAccount and of the roles")
	cmd.Flags().BoolVar(&f.system, "system", false, "also read the system namespaces: gateways, activator, controllers, configuration")
	cmd.Flags().BoolVar(&f.all, "all", false, "also read cluster-wide objects: webhooks, nodes, runtimes (implies --system)")
	cmd.Flags().BoolVar(&f.outside, "port-forward", false, "also forward ports: for use from outside the cluster")
	return cmd
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

// objects are the manifests: the account, and a role and its binding for each part.
func (f rbacFlags) objects() []any {
	account := &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: f.name}}
	out := []any{account}
	own := read.Merge(read.Rules(needs(), hops.ScopeNamespace), read.DialRules(f.outside))
	out = append(out, read.Role(f.namespace, f.name, own), f.binding(f.namespace))
	if f.system || f.all {
		for _, ns := range systemNamespaces {
			rules := read.Merge(read.Rules(needs(), hops.ScopeSystem), read.DialRules(f.outside))
			out = append(out, read.Role(ns, f.name, rules), f.binding(ns))
		}
	}
	if f.all {
		name := f.name + "-" + f.namespace
		out = append(out, read.ClusterRole(name, read.Rules(needs(), hops.ScopeCluster)), &rbacv1.ClusterRoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"}, ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}, Subjects: f.subjects()})
	}
	return out
}

func (f rbacFlags) subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: f.namespace, Name: f.name}}
}

func (f rbacFlags) binding(namespace string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: f.name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: f.name}, Subjects: f.subjects()}
}
