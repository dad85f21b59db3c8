package main

import (
	"strings"
	"testing"

	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

func TestParseGateways(t *testing.T) {
	const entry = "- name: edge\n  namespace: web\n  service: edge.web.svc.cluster.local\n"
	for name, c := range map[string]struct {
		data            map[string]string
		external, local string // names, joined by spaces
		err             string // part of it
	}{
		"nothing set":        {nil, "knative-serving/knative-ingress-gateway", "knative-serving/knative-local-gateway", ""},
		"only the example":   {map[string]string{"_example": "external-gateways: junk"}, "knative-serving/knative-ingress-gateway", "knative-serving/knative-local-gateway", ""},
		"external set":       {map[string]string{"external-gateways": entry}, "web/edge", "knative-serving/knative-local-gateway", ""},
		"both emptied":       {map[string]string{"external-gateways": "[]", "local-gateways": "[]"}, "", "", ""},
		"no service":         {map[string]string{"local-gateways": "- name: edge\n  namespace: web\n"}, "", "", "local-gateways[0] needs name, namespace and service"},
		"label selector":     {map[string]string{"local-gateways": entry + "  labelSelector: {matchLabels: {a: b}}\n"}, "", "", "labelSelector"},
		"not a list":         {map[string]string{"external-gateways": "edge"}, "", "", "failed to parse external-gateways"},
		"a field of its own": {map[string]string{"external-gateways": entry + "  port: 80\n"}, "", "", "failed to parse external-gateways"},
		"two external in order": {map[string]string{"external-gateways": entry + strings.Replace(entry, "edge", "second", 1)}, "web/edge web/second",
			"knative-serving/knative-local-gateway", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseGateways(c.data)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if names := strings.Join(got.names(v1alpha1.IngressVisibilityExternalIP), " "); names != c.external {
				t.Errorf("external gateways %q, want %q", names, c.external)
			}
			if names := strings.Join(got.names(v1alpha1.IngressVisibilityClusterLocal), " "); names != c.local {
				t.Errorf("local gateways %q, want %q", names, c.local)
			}
		})
	}
}
