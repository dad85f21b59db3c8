// rbac.go: `probe rbac`: the rights that a probe needs, as manifests.
package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"probe/probe/agent"
)

func newRBAC(s streams) *cobra.Command {
	var r agent.Rights
	cmd := &cobra.Command{
		Use:   "rbac -n NAMESPACE",
		Short: "Print the least rights that a probe needs, derived from what the rules read",
		Long: `Print a ServiceAccount with the least rights that a probe of the services in NAMESPACE needs, for ` + "`kubectl apply -f -`" + `.
Without --system and --all the rules that look outside the namespace are listed as not checked in each run.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if r.Namespace == "" {
				return usage("which namespace? Give -n NAMESPACE")
			}
			return printManifests(s.out, r.Objects())
		},
	}
	cmd.Flags().StringVarP(&r.Namespace, "namespace", "n", "", "namespace of the services")
	cmd.Flags().StringVar(&r.Name, "name", "probe", "name of the ServiceAccount and of the roles")
	cmd.Flags().BoolVar(&r.System, "system", false, "also read the system namespaces: gateways, activator, controllers, configuration")
	cmd.Flags().BoolVar(&r.Cluster, "all", false, "also read cluster-wide objects: webhooks, nodes, runtimes (implies --system)")
	cmd.Flags().BoolVar(&r.Outside, "port-forward", false, "also forward ports: for use from outside the cluster")
	return cmd
}

// printManifests writes objects for `kubectl apply -f -`, without the empty status that API types have.
func printManifests(w io.Writer, objects []any) error {
	for i, o := range objects {
		raw, err := json.Marshal(o)
		if err != nil {
			return err
		}
		var tree map[string]any
		if err := json.Unmarshal(raw, &tree); err != nil {
			return err
		}
		delete(tree, "status")
		if raw, err = yaml.Marshal(tree); err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(w, "---")
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}
