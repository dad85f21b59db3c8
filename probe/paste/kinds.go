// kinds.go: the kinds of objects by every name that kubectl users type, and how a kind is told from the shape of a fragment.
package paste

import "strings"

// kind is one kind of object.
type kind struct {
	kind, api string
	aliases   []string // the first is the plural resource name
}

// kindTable finds kinds by name.
type kindTable map[string]kind

func newKinds() kindTable {
	t := kindTable{}
	put := func(name string, k kind) {
		if _, taken := t[name]; !taken {
			t[name] = k
		}
	}
	for _, k := range allKinds() {
		for _, a := range k.aliases {
			put(a, k)
		}
	}
	for _, k := range allKinds() {
		put(strings.ToLower(k.kind), k)
	}
	return t
}

// allKinds lists the kinds. Where a short name belongs to two, the one that stands first has it.
func allKinds() []kind {
	const (
		serving  = "serving.knative.dev/v1"
		internal = "networking.internal.knative.dev/v1alpha1"
		kserve   = "serving.kserve.io/v1beta1"
		kserve1  = "serving.kserve.io/v1alpha1"
		istio    = "networking.istio.io/v1"
		security = "security.istio.io/v1"
		gateway  = "gateway.networking.k8s.io/v1"
	)
	return []kind{
		{"InferenceService", kserve, []string{"inferenceservices", "isvc", "inferenceservice", "kfservice", "kfservices", "inferenceservices.serving.kubeflow.org",
			"inferenceservice.serving.kubeflow.org", "inferenceservices.serving.kserve.io", "inferenceservice.serving.kserve.io"}},
		{"InferenceGraph", kserve1, []string{"inferencegraphs", "ig", "inferencegraph.serving.kserve.io"}},
		{"ServingRuntime", kserve1, []string{"servingruntimes", "servingruntime.serving.kserve.io"}},
		{"ClusterServingRuntime", kserve1, []string{"clusterservingruntimes", "clusterservingruntime.serving.kserve.io"}},
		{"Service", serving, []string{"services.serving.knative.dev", "ksvc", "kservice", "kservices", "service.serving.knative.dev", "ksvcs"}},
		{"Configuration", serving, []string{"configurations", "config", "cfg", "kcfg", "configuration.serving.knative.dev", "configurations.serving.knative.dev"}},
		{"Route", serving, []string{"routes", "rt", "route.serving.knative.dev", "routes.serving.knative.dev"}},
		{"Revision", serving, []string{"revisions", "rev", "revision.serving.knative.dev", "revisions.serving.knative.dev"}},
		{"PodAutoscaler", "autoscaling.internal.knative.dev/v1alpha1", []string{"podautoscalers", "pa", "kpa", "podautoscaler.autoscaling.internal.knative.dev"}},
		{"ServerlessService", internal, []string{"serverlessservices", "sks", "serverlessservice.networking.internal.knative.dev"}},
		{"Ingress", internal, []string{"kingresses", "kingress", "king", "ingresses.networking.internal.knative.dev", "ingress.networking.internal.knative.dev"}},
		{"Certificate", internal, []string{"kcert", "certificates.networking.internal.knative.dev", "certificate.networking.internal.knative.dev"}},
		{"VirtualService", istio, []string{"virtualservices", "vs", "virtualservice.networking.istio.io", "virtualservices.networking.istio.io"}},
		{"DestinationRule", istio, []string{"destinationrules", "dr", "destinationrule.networking.istio.io"}},
		{"Gateway", istio, []string{"gateways.networking.istio.io", "gw", "gateway", "gateways", "gateway.networking.istio.io"}},
		{"EnvoyFilter", "networking.istio.io/v1alpha3", []string{"envoyfilters", "envoyfilter.networking.istio.io"}},
		{"AuthorizationPolicy", security, []string{"authorizationpolicies", "ap", "authorizationpolicy.security.istio.io"}},
		{"PeerAuthentication", security, []string{"peerauthentications", "pa.security", "peerauthentication.security.istio.io"}},
		{"HTTPRoute", gateway, []string{"httproutes", "httproute.gateway.networking.k8s.io"}},
		{"Gateway", gateway, []string{"gateways.gateway.networking.k8s.io", "gtw", "gateway.gateway.networking.k8s.io"}},
		{"Ingress", "networking.k8s.io/v1", []string{"ingresses", "ing", "ingress", "ingress.networking.k8s.io", "ingress.extensions", "ingresses.networking.k8s.io"}},
		{"IngressClass", "networking.k8s.io/v1", []string{"ingressclasses", "ingressclass.networking.k8s.io"}},
		{"NetworkPolicy", "networking.k8s.io/v1", []string{"networkpolicies", "netpol", "networkpolicy.networking.k8s.io"}},
		{"Deployment", "apps/v1", []string{"deployments", "deploy", "deployment.apps", "deployments.apps", "deployment.extensions"}},
		{"ReplicaSet", "apps/v1", []string{"replicasets", "rs", "replicaset.apps", "replicaset.extensions"}},
		{"Pod", "v1", []string{"pods", "po"}},
		{"Service", "v1", []string{"services", "svc", "service"}},
		{"Endpoints", "v1", []string{"endpoints", "ep"}},
		{"EndpointSlice", "discovery.k8s.io/v1", []string{"endpointslices", "endpointslice.discovery.k8s.io", "eps"}},
		{"Event", "v1", []string{"events", "ev", "event.events.k8s.io"}},
		{"ConfigMap", "v1", []string{"configmaps", "cm"}},
		{"Secret", "v1", []string{"secrets"}},
		{"ResourceQuota", "v1", []string{"resourcequotas", "quota"}},
		{"ServiceAccount", "v1", []string{"serviceaccounts", "sa"}},
		{"PersistentVolumeClaim", "v1", []string{"persistentvolumeclaims", "pvc"}},
		{"Namespace", "v1", []string{"namespaces", "ns"}},
		{"Node", "v1", []string{"nodes", "no"}},
		{"MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1", []string{"mutatingwebhookconfigurations", "mutatingwebhookconfiguration.admissionregistration.k8s.io"}},
		{"ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1", []string{"validatingwebhookconfigurations", "validatingwebhookconfiguration.admissionregistration.k8s.io"}},
		{"CustomResourceDefinition", "apiextensions.k8s.io/v1", []string{"customresourcedefinitions", "crd", "crds"}},
		{"HorizontalPodAutoscaler", "autoscaling/v2", []string{"horizontalpodautoscalers", "hpa", "horizontalpodautoscaler.autoscaling"}},
		{"StatefulSet", "apps/v1", []string{"statefulsets", "sts", "statefulset.apps"}},
		{"DaemonSet", "apps/v1", []string{"daemonsets", "ds", "daemonset.apps"}},
		{"Job", "batch/v1", []string{"jobs", "job.batch"}},
	}
}

// find looks a kind up as users write it: "pods", "po", "Pod", "isvc.serving.kserve.io", "inferenceservices.v1beta1.serving.kserve.io".
func (t kindTable) find(name string) (kind, bool) {
	low := strings.ToLower(name)
	if k, ok := t[low]; ok {
		return k, true
	}
	head, group, ok := strings.Cut(low, ".")
	if !ok {
		return kind{}, false
	}
	if strings.HasPrefix(group, "v1") || strings.HasPrefix(group, "v2") {
		_, group, _ = strings.Cut(group, ".")
		if k, ok := t[head+"."+group]; ok {
			return k, true
		}
	}
	k, ok := t[head]
	return k, ok && strings.HasPrefix(k.api, group)
}

// shape tells the kind of a fragment that does not say: by the types of its conditions and by fields that one kind alone has.
func (t kindTable) shape(tree map[string]any) (kind, bool) {
	if name := byFields(tree); name != "" {
		return t.find(name)
	}
	for _, c := range conditionsOf(tree) {
		if name := byCondition(str(c["type"])); name != "" {
			return t.find(name)
		}
	}
	return kind{}, false
}

func byFields(tree map[string]any) string {
	spec, _ := tree["spec"].(map[string]any)
	status, _ := tree["status"].(map[string]any)
	has := func(m map[string]any, keys ...string) bool {
		for _, k := range keys {
			if _, ok := m[k]; ok {
				return true
			}
		}
		return false
	}
	switch {
	case has(spec, "predictor"), has(status, "modelStatus") && !has(status, "podIP"):
		return "isvc"
	case has(status, "containerStatuses", "initContainerStatuses", "podIP", "qosClass"):
		return "pods"
	case has(tree, "involvedObject", "regarding"):
		return "events"
	case has(status, "latestCreatedRevisionName") && has(status, "url", "traffic"):
		return "ksvc"
	case has(status, "privateServiceName"):
		return "sks"
	case has(status, "unavailableReplicas", "updatedReplicas"):
		return "deployments"
	case has(spec, "http") && has(spec, "gateways"):
		return "vs"
	case has(spec, "containers"):
		return "pods"
	}
	return ""
}

// byCondition knows the condition types that tell a kind (knative.dev/serving and kserve API packages, k8s.io/api/core/v1).
func byCondition(kind string) string {
	switch kind {
	case "PredictorReady", "IngressReady", "PredictorRouteReady", "PredictorConfigurationReady", "DefaultPredictorReady", "LatestDeploymentReady",
		"TransformerReady", "ExplainerReady", "CanaryPredictorReady":
		return "isvc"
	case "ConfigurationsReady", "RoutesReady":
		return "ksvc"
	case "AllTrafficAssigned", "CertificateProvisioned":
		return "route.serving.knative.dev"
	case "ResourcesAvailable", "ContainerHealthy":
		return "revisions"
	case "ScaleTargetInitialized", "SKSReady":
		return "kpa"
	case "EndpointsPopulated", "ActivatorEndpointsPopulated":
		return "sks"
	case "NetworkConfigured", "LoadBalancerReady":
		return "kingress"
	case "PodScheduled", "ContainersReady", "Initialized":
		return "pods"
	case "Progressing", "ReplicaFailure":
		return "deployments"
	}
	return ""
}

// conditionsOf gives status.conditions of a tree.
func conditionsOf(tree map[string]any) []map[string]any {
	status, _ := tree["status"].(map[string]any)
	return mapsIn(status["conditions"])
}

// mapsIn gives the maps of a list.
func mapsIn(v any) []map[string]any {
	list, _ := v.([]any)
	var out []map[string]any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func str(v any) string {
	s, _ := v.(string)
	return s
}
