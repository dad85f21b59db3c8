package main

// Which gateways routes are attached to: the ConfigMap config-istio, as net-istio reads it (pkg/reconciler/ingress/config/istio.go).

import (
	"fmt"

	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"sigs.k8s.io/yaml"
)

// Gateway is one entry of config-istio's lists.
type Gateway struct {
	Namespace     string         `json:"namespace"`
	Name          string         `json:"name"`
	Service       string         `json:"service"` // its host inside the cluster, which goes into the Ingress status
	LabelSelector map[string]any `json:"labelSelector,omitempty"`
}

func (g Gateway) key() string { return g.Namespace + "/" + g.Name }

// Gateways are the gateways for rules of either visibility. An empty list means that such rules are served inside the mesh only.
type Gateways struct{ External, Local []Gateway }

func (g Gateways) of(visibility v1alpha1.IngressVisibility) []Gateway {
	if visibility == v1alpha1.IngressVisibilityClusterLocal {
		return g.Local
	}
	return g.External
}

func (g Gateways) names(visibility v1alpha1.IngressVisibility) []string {
	var out []string
	for _, gateway := range g.of(visibility) {
		out = append(out, gateway.key())
	}
	return out
}

// parseGateways reads the data of config-istio; a list that is absent is net-istio's default.
func parseGateways(data map[string]string) (Gateways, error) {
	out := Gateways{
		External: []Gateway{{Namespace: "knative-serving", Name: "knative-ingress-gateway", Service: "istio-ingressgateway.istio-system.svc.cluster.local"}},
		Local:    []Gateway{{Namespace: "knative-serving", Name: "knative-local-gateway", Service: "knative-local-gateway.istio-system.svc.cluster.local"}},
	}
	for key, list := range map[string]*[]Gateway{"external-gateways": &out.External, "local-gateways": &out.Local} {
		text, ok := data[key]
		if !ok {
			continue
		}
		var parsed []Gateway
		if err := yaml.UnmarshalStrict([]byte(text), &parsed); err != nil {
			return Gateways{}, fmt.Errorf("config-istio: failed to parse %s: %w", key, err)
		}
		for i, gateway := range parsed {
			switch {
			case gateway.Name == "" || gateway.Namespace == "" || gateway.Service == "":
				return Gateways{}, fmt.Errorf("config-istio: %s[%d] needs name, namespace and service", key, i)
			case gateway.LabelSelector != nil:
				return Gateways{}, fmt.Errorf("config-istio: %s[%d] has a labelSelector, which this stand-in does not know", key, i)
			}
		}
		*list = parsed
	}
	return out, nil
}
