// require.go: what a cluster must have for a scenario.
package scenarios

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// requirement looks at a cluster; its error is why the cluster does not do.
type requirement func(ctx context.Context, k *kube) error

// requirements are what a scenario may require, by name.
func requirements() map[string]requirement {
	return map[string]requirement{
		// The store's address and keys come as placeholders, which are looked at for every scenario.
		"model-store": func(context.Context, *kube) error { return nil },
		"knative":     kind(schema.GroupVersionKind{Group: "serving.knative.dev", Version: "v1", Kind: "Service"}),
		"istio":       kind(schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "VirtualService"}),
		"net-istio":   deployment("knative-serving", "net-istio-controller"),
		"istiod":      deployment("istio-system", "istiod"),
		"gateways":    deployment("istio-system", "istio-ingressgateway", "knative-local-gateway"),
		"controllers": deployment("kserve", "kserve-controller-manager"),
	}
}

// kind demands that the cluster knows a kind.
func kind(gvk schema.GroupVersionKind) requirement {
	return func(_ context.Context, k *kube) error {
		_, err := k.resource(gvk, "")
		return err
	}
}

// deployment demands Deployments.
func deployment(namespace string, names ...string) requirement {
	return func(ctx context.Context, k *kube) error {
		for _, name := range names {
			if _, _, err := k.get(ctx, Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: name}, ""); err != nil {
				return err
			}
		}
		return nil
	}
}

// lacks says why a scenario cannot run here; "" when it can.
func (r *Runner) lacks(ctx context.Context, k *kube, s *Scenario) string {
	if s.Shared && !r.AllowShared {
		return "it breaks what other services of the cluster use too; --allow-shared runs it"
	}
	if values, err := s.lacking(r.Values); err != nil {
		return err.Error()
	} else if len(values) > 0 {
		return fmt.Sprintf("no value for %s; give --set %s=VALUE", strings.Join(values, ", "), values[0])
	}
	for _, name := range s.Requires {
		if err := requirements()[name](ctx, k); err != nil {
			return fmt.Sprintf("the cluster lacks %s: %v", name, err)
		}
	}
	return ""
}
