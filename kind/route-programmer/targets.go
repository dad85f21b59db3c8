package main

// Where Knative's prober looks for an Ingress: the pods of the gateways (net-istio's pkg/reconciler/ingress/lister.go).

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/ingress"
	"knative.dev/networking/pkg/status"
)

// lister finds gateway pods: Gateway -> selector -> Service with these labels -> Endpoints.
type lister struct {
	kube     kubernetes.Interface
	dyn      dynamic.Interface
	gateways func() Gateways
}

// ListProbeTargets implements status.ProbeTargetLister.
func (l *lister) ListProbeTargets(ctx context.Context, ing *v1alpha1.Ingress) ([]status.ProbeTarget, error) {
	targets, _, err := l.targets(ctx, ing)
	return targets, err
}

// targets also names the gateways that have no pod to probe.
func (l *lister) targets(ctx context.Context, ing *v1alpha1.Ingress) (targets []status.ProbeTarget, missing []string, err error) {
	gateways := l.gateways()
	byName := ingress.HostsPerVisibility(ing, map[v1alpha1.IngressVisibility]sets.Set[string]{
		v1alpha1.IngressVisibilityClusterLocal: sets.New(gateways.names(v1alpha1.IngressVisibilityClusterLocal)...),
		v1alpha1.IngressVisibilityExternalIP:   sets.New(gateways.names(v1alpha1.IngressVisibilityExternalIP)...),
	})
	for _, gateway := range slices.Concat(gateways.External, gateways.Local) {
		hosts := byName[gateway.key()]
		if hosts.Len() == 0 {
			continue
		}
		found, err := l.gatewayTargets(ctx, gateway, sets.List(hosts)[0])
		if err != nil {
			return nil, nil, err
		}
		if len(found) == 0 {
			missing = append(missing, gateway.key())
		}
		targets = append(targets, found...)
	}
	return targets, missing, nil
}

func (l *lister) gatewayTargets(ctx context.Context, gateway Gateway, host string) ([]status.ProbeTarget, error) {
	gw, err := l.dyn.Resource(gatewayResource).Namespace(gateway.Namespace).Get(ctx, gateway.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("failed to get Gateway %q: %w", gateway.key(), err)
	}
	selector, _, _ := unstructured.NestedStringMap(gw.Object, "spec", "selector")
	services, err := l.kube.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(selector).String()})
	if err != nil {
		return nil, fmt.Errorf("failed to list Services: %w", err)
	}
	if len(services.Items) == 0 {
		return nil, nil // net-istio: Skipping Gateway ... because it has no corresponding Service
	}
	service := services.Items[0]
	endpoints, err := l.kube.CoreV1().Endpoints(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{}) //nolint:staticcheck // as net-istio
	if err != nil {
		return nil, fmt.Errorf("failed to get Endpoints: %w", err)
	}
	servers, _, _ := unstructured.NestedSlice(gw.Object, "spec", "servers")
	var targets []status.ProbeTarget
	for _, server := range servers {
		number, _, _ := unstructured.NestedInt64(server.(object), "port", "number")
		targets = append(targets, serverTargets(service.Spec.Ports, endpoints, number, host)...)
	}
	return targets, nil
}

// serverTargets finds the pods behind one server of a Gateway. Unlike net-istio it also takes a Service whose targetPort (not port) is the
// server's: else the cluster-local gateway of a default installation, Service port 80 for server port 8081, would never be probed.
func serverTargets(ports []corev1.ServicePort, endpoints *corev1.Endpoints, number int64, host string) []status.ProbeTarget { //nolint:staticcheck // as net-istio
	i := slices.IndexFunc(ports, func(p corev1.ServicePort) bool {
		return int64(p.Port) == number || int64(p.TargetPort.IntValue()) == number
	})
	if i < 0 {
		return nil // net-istio: Skipping Server ... because Service ... doesn't contain a port
	}
	var targets []status.ProbeTarget
	for _, subset := range endpoints.Subsets {
		ips := sets.New[string]()
		for _, address := range subset.Addresses {
			ips.Insert(address.IP)
		}
		for _, port := range subset.Ports {
			if port.Name != ports[i].Name || ips.Len() == 0 {
				continue
			}
			targets = append(targets, status.ProbeTarget{
				PodIPs:  ips,
				PodPort: strconv.Itoa(int(port.Port)),
				Port:    strconv.FormatInt(number, 10),
				URLs:    []*url.URL{{Scheme: "http", Host: host + ":" + strconv.FormatInt(number, 10)}},
			})
		}
	}
	return targets
}
