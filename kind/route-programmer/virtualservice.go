package main

// The pure part: what VirtualServices a Knative Ingress becomes. It follows net-istio's pkg/reconciler/ingress/resources (MakeVirtualServices).

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/ingress"
	"knative.dev/pkg/kmeta"
)

const localSuffix = ".svc.cluster.local"

// object is a part of an untyped API object.
type object = map[string]any

// virtualServices builds <ingress>-mesh, for the cluster-local hosts inside the mesh, and <ingress>-ingress, for all hosts at the gateways.
// One that would have no host is left out.
func virtualServices(ing *v1alpha1.Ingress, gateways Gateways) ([]*unstructured.Unstructured, error) {
	ing = ing.DeepCopy()
	if _, err := ingress.InsertProbe(ing); err != nil {
		return nil, fmt.Errorf("failed to insert a probe into the Ingress: %w", err)
	}
	all := sets.New[string]()
	for _, rule := range ing.Spec.Rules {
		all.Insert(rule.Hosts...)
	}
	local := sets.New[string]()
	for host := range all {
		if strings.HasSuffix(host, localSuffix) {
			local.Insert(host)
		}
	}
	mesh := virtualService(ing, "-mesh", local, func(v1alpha1.IngressVisibility) []string { return []string{"mesh"} })
	front := virtualService(ing, "-ingress", all, gateways.names)
	return slices.DeleteFunc([]*unstructured.Unstructured{mesh, front}, func(vs *unstructured.Unstructured) bool { return vs == nil }), nil
}

// virtualService has one route for each path of the rules that serve one of the hosts; nil when there is none.
func virtualService(ing *v1alpha1.Ingress, suffix string, hosts sets.Set[string], gateways func(v1alpha1.IngressVisibility) []string) *unstructured.Unstructured {
	hosts = ingress.ExpandedHosts(hosts)
	used, routes := sets.New[string](), []any{}
	for _, rule := range ing.Spec.Rules {
		mine, names := hosts.Intersection(sets.New(rule.Hosts...)), gateways(rule.Visibility)
		if mine.Len() == 0 || len(names) == 0 {
			continue
		}
		used.Insert(names...)
		for _, path := range rule.HTTP.Paths {
			routes = append(routes, httpRoute(path, names, mine))
		}
	}
	if len(routes) == 0 {
		return nil
	}
	vs := &unstructured.Unstructured{Object: object{
		"apiVersion": virtualServiceResource.GroupVersion().String(),
		"kind":       "VirtualService",
		"spec":       object{"hosts": sorted(hosts), "gateways": sorted(used), "http": routes},
	}}
	vs.SetName(kmeta.ChildName(ing.Name, suffix))
	vs.SetNamespace(ing.Namespace)
	vs.SetLabels(labelsOf(ing))
	vs.SetAnnotations(ing.GetAnnotations())
	vs.SetOwnerReferences([]metav1.OwnerReference{*kmeta.NewControllerRef(ing)})
	return vs
}

// httpRoute is one path of a rule. Retries are switched off, as net-istio does: the activator and queue-proxy have their own.
func httpRoute(path v1alpha1.HTTPIngressPath, gateways []string, hosts sets.Set[string]) object {
	var match []any
	for _, gateway := range gateways {
		for _, prefix := range authorityPrefixes(hosts) {
			match = append(match, httpMatch(path, gateway, prefix))
		}
	}
	var splits []any
	for _, split := range path.Splits {
		splits = append(splits, destination(split))
	}
	route := object{"retries": object{}, "match": match, "route": splits}
	if len(path.AppendHeaders) > 0 {
		route["headers"] = setHeaders(path.AppendHeaders)
	}
	if path.RewriteHost != "" {
		route["rewrite"] = object{"authority": path.RewriteHost}
	}
	return route
}

func httpMatch(path v1alpha1.HTTPIngressPath, gateway, prefix string) object {
	match := object{"gateways": []any{gateway}, "authority": object{"prefix": prefix}}
	if path.Path != "" {
		match["uri"] = object{"prefix": path.Path}
	}
	if len(path.Headers) > 0 {
		headers := object{}
		for name, value := range path.Headers {
			headers[name] = object{"exact": value.Exact}
		}
		match["headers"] = headers
	}
	return match
}

func destination(split v1alpha1.IngressBackendSplit) object {
	dest := object{"destination": object{
		"host": split.ServiceName + "." + split.ServiceNamespace + localSuffix,
		"port": object{"number": int64(split.ServicePort.IntValue())},
	}}
	if split.Percent > 0 {
		dest["weight"] = int64(split.Percent)
	}
	if len(split.AppendHeaders) > 0 {
		dest["headers"] = setHeaders(split.AppendHeaders)
	}
	return dest
}

func setHeaders(headers map[string]string) object {
	set := object{}
	for name, value := range headers {
		set[name] = value
	}
	return object{"request": object{"set": set}}
}

// labelsOf keeps the two labels of the route and adds the one by which the Ingress is found again.
func labelsOf(ing *v1alpha1.Ingress) map[string]string {
	kept := kmeta.FilterMap(ing.GetLabels(), func(key string) bool {
		return key != "serving.knative.dev/route" && key != "serving.knative.dev/routeNamespace"
	})
	kept[networking.IngressLabelKey] = ing.Name
	return kept
}

// authorityPrefixes cuts the cluster suffix off local hosts and drops every host that another one is a prefix of.
func authorityPrefixes(hosts sets.Set[string]) []string {
	var out []string
	for _, host := range sets.List(hosts) {
		host = strings.TrimSuffix(host, localSuffix)
		if !slices.ContainsFunc(out, func(shorter string) bool { return strings.HasPrefix(host, shorter) }) {
			out = append(out, host)
		}
	}
	return out
}

func sorted(set sets.Set[string]) []any {
	var out []any
	for _, v := range sets.List(set) {
		out = append(out, v)
	}
	return out
}
