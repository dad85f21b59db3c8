// source.go: what can be read at all, by name. A Source is the unit of needs, of gaps, of rights and of "this list was read in full".
package hops

import (
	"slices"
	"sync"
)

// Source names one kind of thing that evidence can come from: a kind of object in one scope, a kind of log, or what requests saw.
type Source string

// Scope tells where a source lives, and so which part of the shipped Role reading it needs.
type Scope string

// The scopes, in the order in which rights grow.
const (
	ScopeNone      Scope = ""          // nothing to read: requests, spans
	ScopeNamespace Scope = "namespace" // the InferenceService's own namespace
	ScopeSystem    Scope = "system"    // the namespaces of gateways, Knative, KServe, Istio
	ScopeCluster   Scope = "cluster"   // cluster-wide objects
)

// Sources of the InferenceService's own namespace.
const (
	InferenceServices  Source = "inferenceservices"
	InferenceGraphs    Source = "inferencegraphs"
	ServingRuntimes    Source = "servingruntimes"
	KnativeServices    Source = "ksvc"
	Configurations     Source = "configurations"
	Routes             Source = "routes"
	Revisions          Source = "revisions"
	PodAutoscalers     Source = "podautoscalers"
	ServerlessServices Source = "serverlessservices"
	KnativeIngresses   Source = "kingress"
	Certificates       Source = "certificates"
	VirtualServices    Source = "virtualservices"
	DestinationRules   Source = "destinationrules"
	AuthPolicies       Source = "authorizationpolicies"
	PeerAuths          Source = "peerauthentications"
	EnvoyFilters       Source = "envoyfilters"
	HTTPRoutes         Source = "httproutes"
	Ingresses          Source = "ingresses"
	Deployments        Source = "deployments"
	ReplicaSets        Source = "replicasets"
	Pods               Source = "pods"
	Services           Source = "services"
	EndpointSlices     Source = "endpointslices"
	Events             Source = "events"
	NetworkPolicies    Source = "networkpolicies"
	ResourceQuotas     Source = "resourcequotas"
	ServiceAccounts    Source = "serviceaccounts"
	Claims             Source = "persistentvolumeclaims"
	ContainerLogs      Source = "logs"
)

// Sources of the system namespaces.
const (
	SystemPods         Source = "system-pods"
	SystemServices     Source = "system-services"
	SystemDeployments  Source = "system-deployments"
	SystemEndpoints    Source = "system-endpointslices"
	SystemConfigMaps   Source = "system-configmaps"
	SystemAuthPolicies Source = "system-authorizationpolicies"
	SystemPeerAuths    Source = "system-peerauthentications"
	SystemEnvoyFilters Source = "system-envoyfilters"
	SystemPolicies     Source = "system-networkpolicies"
	SystemEvents       Source = "system-events"
	IstioGateways      Source = "gateways"      // networking.istio.io
	APIGateways        Source = "api-gateways"  // gateway.networking.k8s.io
	AccessLogs         Source = "access-logs"   // of the gateways
	SystemLogs         Source = "system-logs"   // controllers, activator, autoscaler, istiod
	Analysis           Source = "istio-analyze" // lines of `istioctl analyze`; only a paste has them
)

// Cluster-wide sources.
const (
	Namespaces             Source = "namespaces"
	Nodes                  Source = "nodes"
	ClusterServingRuntimes Source = "clusterservingruntimes"
	Webhooks               Source = "webhooks"
	IngressClasses         Source = "ingressclasses"
	AllVirtualServices     Source = "all-virtualservices" // of every namespace: two with one host are a conflict
	CustomResources        Source = "customresourcedefinitions"
)

// What requests saw.
const (
	Requests  Source = "requests"   // observations of requests and knocks
	ClientLog Source = "client-log" // error text of a client that somebody pasted
	Spans     Source = "spans"      // spans read back from a trace store
)

// SourceInfo says how a source is read from a cluster.
type SourceInfo struct {
	Source   Source
	Scope    Scope
	Group    string   // API group; empty is the core group
	Versions []string // newest first; older ones for clusters and pastes of other years
	Resource string   // plural resource name; with "/log" for a subresource
	Kind     string   // kind as it stands in the object
	Short    string   // what kubectl users call it, for "pod/x"
	Verbs    []string
}

// known is the table, made once: it is asked for every object that is read and every finding that is named. Nothing changes it.
var known = sync.OnceValue(sources)

// Known lists every source with how it is read. Several sources may share a resource in different scopes.
func Known() []SourceInfo { return slices.Clone(known()) }

func sources() []SourceInfo {
	list := []string{"list"}
	get := []string{"get"}
	both := []string{"get", "list"}
	v1 := []string{"v1"}
	istio := []string{"v1", "v1beta1", "v1alpha3"}
	security := []string{"v1", "v1beta1"}
	return []SourceInfo{
		{InferenceServices, ScopeNamespace, "serving.kserve.io", []string{"v1beta1", "v1alpha2"}, "inferenceservices", "InferenceService", "isvc", both},
		{InferenceGraphs, ScopeNamespace, "serving.kserve.io", []string{"v1alpha1"}, "inferencegraphs", "InferenceGraph", "ig", both},
		{ServingRuntimes, ScopeNamespace, "serving.kserve.io", []string{"v1alpha1"}, "servingruntimes", "ServingRuntime", "servingruntime", list},
		{KnativeServices, ScopeNamespace, "serving.knative.dev", []string{"v1", "v1beta1", "v1alpha1"}, "services", "Service", "ksvc", list},
		{Configurations, ScopeNamespace, "serving.knative.dev", []string{"v1", "v1beta1", "v1alpha1"}, "configurations", "Configuration", "configuration", list},
		{Routes, ScopeNamespace, "serving.knative.dev", []string{"v1", "v1beta1", "v1alpha1"}, "routes", "Route", "route", list},
		{Revisions, ScopeNamespace, "serving.knative.dev", []string{"v1", "v1beta1", "v1alpha1"}, "revisions", "Revision", "revision", list},
		{PodAutoscalers, ScopeNamespace, "autoscaling.internal.knative.dev", []string{"v1alpha1"}, "podautoscalers", "PodAutoscaler", "podautoscaler", list},
		{ServerlessServices, ScopeNamespace, "networking.internal.knative.dev", []string{"v1alpha1"}, "serverlessservices", "ServerlessService", "sks", list},
		{KnativeIngresses, ScopeNamespace, "networking.internal.knative.dev", []string{"v1alpha1"}, "ingresses", "Ingress", "kingress", list},
		{Certificates, ScopeNamespace, "networking.internal.knative.dev", []string{"v1alpha1"}, "certificates", "Certificate", "kcert", list},
		{VirtualServices, ScopeNamespace, "networking.istio.io", istio, "virtualservices", "VirtualService", "virtualservice", list},
		{DestinationRules, ScopeNamespace, "networking.istio.io", istio, "destinationrules", "DestinationRule", "destinationrule", list},
		{AuthPolicies, ScopeNamespace, "security.istio.io", security, "authorizationpolicies", "AuthorizationPolicy", "authorizationpolicy", list},
		{PeerAuths, ScopeNamespace, "security.istio.io", security, "peerauthentications", "PeerAuthentication", "peerauthentication", list},
		{EnvoyFilters, ScopeNamespace, "networking.istio.io", []string{"v1alpha3"}, "envoyfilters", "EnvoyFilter", "envoyfilter", list},
		{HTTPRoutes, ScopeNamespace, "gateway.networking.k8s.io", []string{"v1", "v1beta1"}, "httproutes", "HTTPRoute", "httproute", list},
		{Ingresses, ScopeNamespace, "networking.k8s.io", v1, "ingresses", "Ingress", "ingress", list},
		{Deployments, ScopeNamespace, "apps", v1, "deployments", "Deployment", "deployment", list},
		{ReplicaSets, ScopeNamespace, "apps", v1, "replicasets", "ReplicaSet", "replicaset", list},
		{Pods, ScopeNamespace, "", v1, "pods", "Pod", "pod", both},
		{Services, ScopeNamespace, "", v1, "services", "Service", "service", list},
		{EndpointSlices, ScopeNamespace, "discovery.k8s.io", v1, "endpointslices", "EndpointSlice", "endpointslice", list},
		{Events, ScopeNamespace, "", v1, "events", "Event", "event", list},
		{NetworkPolicies, ScopeNamespace, "networking.k8s.io", v1, "networkpolicies", "NetworkPolicy", "networkpolicy", list},
		{ResourceQuotas, ScopeNamespace, "", v1, "resourcequotas", "ResourceQuota", "resourcequota", list},
		{ServiceAccounts, ScopeNamespace, "", v1, "serviceaccounts", "ServiceAccount", "serviceaccount", list},
		{Claims, ScopeNamespace, "", v1, "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", list},
		{ContainerLogs, ScopeNamespace, "", v1, "pods/log", "", "log", get},

		{SystemPods, ScopeSystem, "", v1, "pods", "Pod", "pod", list},
		{SystemServices, ScopeSystem, "", v1, "services", "Service", "service", list},
		{SystemDeployments, ScopeSystem, "apps", v1, "deployments", "Deployment", "deployment", list},
		{SystemEndpoints, ScopeSystem, "discovery.k8s.io", v1, "endpointslices", "EndpointSlice", "endpointslice", list},
		{SystemConfigMaps, ScopeSystem, "", v1, "configmaps", "ConfigMap", "configmap", get},
		{SystemAuthPolicies, ScopeSystem, "security.istio.io", security, "authorizationpolicies", "AuthorizationPolicy", "authorizationpolicy", list},
		{SystemPeerAuths, ScopeSystem, "security.istio.io", security, "peerauthentications", "PeerAuthentication", "peerauthentication", list},
		{SystemEnvoyFilters, ScopeSystem, "networking.istio.io", []string{"v1alpha3"}, "envoyfilters", "EnvoyFilter", "envoyfilter", list},
		{SystemPolicies, ScopeSystem, "networking.k8s.io", v1, "networkpolicies", "NetworkPolicy", "networkpolicy", list},
		{SystemEvents, ScopeSystem, "", v1, "events", "Event", "event", list},
		{IstioGateways, ScopeSystem, "networking.istio.io", istio, "gateways", "Gateway", "gateway", list},
		{APIGateways, ScopeSystem, "gateway.networking.k8s.io", []string{"v1", "v1beta1"}, "gateways", "Gateway", "gateway", list},
		{AccessLogs, ScopeSystem, "", v1, "pods/log", "", "access-log", get},
		{SystemLogs, ScopeSystem, "", v1, "pods/log", "", "log", get},
		{Analysis, ScopeNone, "", nil, "", "", "istioctl-analyze", nil},

		{Namespaces, ScopeCluster, "", v1, "namespaces", "Namespace", "namespace", get},
		{Nodes, ScopeCluster, "", v1, "nodes", "Node", "node", list},
		{ClusterServingRuntimes, ScopeCluster, "serving.kserve.io", []string{"v1alpha1"}, "clusterservingruntimes", "ClusterServingRuntime", "clusterservingruntime", list},
		{Webhooks, ScopeCluster, "admissionregistration.k8s.io", v1, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "mutatingwebhookconfiguration", list},
		{IngressClasses, ScopeCluster, "networking.k8s.io", v1, "ingressclasses", "IngressClass", "ingressclass", list},
		{AllVirtualServices, ScopeCluster, "networking.istio.io", istio, "virtualservices", "VirtualService", "virtualservice", list},
		{CustomResources, ScopeCluster, "apiextensions.k8s.io", v1, "customresourcedefinitions", "CustomResourceDefinition", "crd", list},

		{Requests, ScopeNone, "", nil, "", "", "request", nil},
		{ClientLog, ScopeNone, "", nil, "", "", "client", nil},
		{Spans, ScopeNone, "", nil, "", "", "span", nil},
	}
}

// Info gives the row of a source; ok is false for a name that is not in Known.
func Info(s Source) (info SourceInfo, ok bool) {
	for _, i := range known() {
		if i.Source == s {
			return i, true
		}
	}
	return SourceInfo{}, false
}
