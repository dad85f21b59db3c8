// pods.go: which pods stand behind a target, and on which of their ports.
package read

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"probe/hops"
	"probe/probe/dial"
)

// podSeen is what the lists of this run told of a pod.
type podSeen struct {
	ip    string
	ready bool
}

// remember keeps the addresses of pods that were read, so that they are not read again.
func (c *Cluster) remember(b *basket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.snap.Objects {
		if o := &b.snap.Objects[i]; o.Source == hops.Pods || o.Source == hops.SystemPods {
			c.pods[o.Namespace+"/"+o.Name] = seen(o)
		}
	}
}

func seen(o *hops.Object) podSeen { return podSeen{o.Str("status", "podIP"), o.Ready()} }

// noPodsError says that a target leads nowhere, for a reason that lies in the objects.
type noPodsError struct{ text string }

func (e *noPodsError) Error() string { return e.text }

// lastingly says which failures to find pods would come again within the run.
func lastingly(err error) bool {
	var none *noPodsError
	return errors.As(err, &none) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err)
}

// Pods implements dial.PodFinder: the pods behind a Service, ready ones first, with the pod's own port; or the pod itself. Each target is looked up
// once a run.
func (c *Cluster) Pods(ctx context.Context, t hops.Target) ([]dial.PodAddress, error) {
	c.mu.Lock()
	resolved := c.resolved
	c.mu.Unlock()
	return resolved.do(ctx, t.String(), func(ctx context.Context) ([]dial.PodAddress, error) {
		switch t.Kind {
		case "pod":
			return c.pod(ctx, t)
		case "service":
			return c.behind(ctx, t, true)
		}
		return nil, &noPodsError{t.String() + " leads to no pods"}
	})
}

// pod finds one pod's IP. A pod that has none yet is given without.
func (c *Cluster) pod(ctx context.Context, t hops.Target) ([]dial.PodAddress, error) {
	c.mu.Lock()
	p, known := c.pods[t.Namespace+"/"+t.Name]
	c.mu.Unlock()
	if !known || p.ip == "" {
		info, _ := hops.Info(hops.Pods)
		o, err := c.one(ctx, info, t.Namespace, t.Name)
		if err != nil {
			return nil, fmt.Errorf("pod %s/%s: %s: %w", t.Namespace, t.Name, why(err), err)
		}
		p = seen(&o)
	}
	return []dial.PodAddress{{Namespace: t.Namespace, Name: t.Name, IP: p.ip, Port: t.Port, Ready: p.ready}}, nil
}

// behind reads a Service and its EndpointSlices side by side. An ExternalName that names another Service of the cluster is followed once.
func (c *Cluster) behind(ctx context.Context, t hops.Target, follow bool) ([]dial.PodAddress, error) {
	services, _ := hops.Info(hops.Services)
	endpoints, _ := hops.Info(hops.EndpointSlices)
	var found, slices []hops.Object
	var noService, noSlices error
	side(ctx, newBasket(c.opts.Now()), []job{
		func(ctx context.Context, _ *basket) {
			found, noService = c.list(ctx, services, t.Namespace, named(t.Name))
		},
		func(ctx context.Context, _ *basket) {
			slices, noSlices = c.list(ctx, endpoints, t.Namespace, query{labels: "kubernetes.io/service-name=" + t.Name})
		},
	})
	switch {
	case noSlices == nil && len(found) == 0 && noService == nil:
		return nil, &noPodsError{fmt.Sprintf("service %s/%s does not exist", t.Namespace, t.Name)}
	case apierrors.IsForbidden(noSlices) && len(t.Selector) > 0, apierrors.IsForbidden(noService) && len(slices) == 0 && len(t.Selector) > 0:
		return c.selected(ctx, t)
	case noService != nil && len(slices) == 0 || noSlices != nil:
		err := cmp.Or(noSlices, noService)
		return nil, fmt.Errorf("service %s/%s: %s: %w", t.Namespace, t.Name, why(err), err)
	}
	var service *hops.Object
	if len(found) > 0 {
		service = &found[0]
	}
	if other, ok := external(service, t); ok {
		if !follow {
			return nil, &noPodsError{fmt.Sprintf("service %s/%s is an ExternalName behind an ExternalName", t.Namespace, t.Name)}
		}
		return c.behind(ctx, other, false)
	}
	return addresses(service, slices, t)
}

// external gives the Service that an ExternalName of the form NAME.NAMESPACE.svc... stands for.
func external(service *hops.Object, t hops.Target) (hops.Target, bool) {
	name, rest, _ := strings.Cut(service.Str("spec", "externalName"), ".")
	namespace, zone, _ := strings.Cut(rest, ".")
	if service.Str("spec", "type") != "ExternalName" || namespace == "" || zone != "svc" && !strings.HasPrefix(zone, "svc.") {
		return hops.Target{}, false
	}
	t.Name, t.Namespace, t.Selector = name, namespace, nil
	return t, true
}

// addresses joins endpoints with the pod's port. A port of a slice bears the name of the Service's port
// (discovery.k8s.io/v1, EndpointPort); its number is the pod's.
func addresses(service *hops.Object, list []hops.Object, t hops.Target) ([]dial.PodAddress, error) {
	name, known := portName(service, t.Port)
	headless := service.Str("spec", "clusterIP") == "None" // its name leads to the pods, so the port that is asked for is theirs
	if service != nil && !known && !headless {
		return nil, &noPodsError{fmt.Sprintf("service %s/%s has no port %d; it has %s", t.Namespace, t.Name, t.Port, portsOf(service))}
	}
	var out []dial.PodAddress
	for i := range list {
		port := slicePort(&list[i], name, known, t.Port)
		if port == 0 {
			continue
		}
		for _, e := range list[i].List("endpoints") {
			out = append(out, endpoints(t.Namespace, e, port)...)
		}
	}
	sortReady(out)
	return out, nil
}

func sortReady(list []dial.PodAddress) {
	slices.SortStableFunc(list, func(a, b dial.PodAddress) int {
		return cmp.Or(compareBool(b.Ready, a.Ready), strings.Compare(a.Name, b.Name), strings.Compare(a.IP, b.IP))
	})
}

func portName(service *hops.Object, port int) (name string, known bool) {
	for _, p := range service.List("spec", "ports") {
		o := hops.Object{Tree: p}
		if o.Int("port") == port {
			return o.Str("name"), true
		}
	}
	return "", false
}

func portsOf(service *hops.Object) string {
	var all []string
	for _, p := range service.List("spec", "ports") {
		o := hops.Object{Tree: p}
		all = append(all, o.Str("port"))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// slicePort picks the slice's port: by the name that the Service gave it or, when the Service was not to be read, the only one there is.
func slicePort(slice *hops.Object, name string, known bool, wanted int) int {
	ports := slice.List("ports")
	for _, p := range ports {
		o := hops.Object{Tree: p}
		if known && o.Str("name") == name || !known && (len(ports) == 1 || o.Int("port") == wanted) {
			return o.Int("port")
		}
	}
	return 0
}

// endpoints gives the addresses of one endpoint, but not of one that is on its way out. No ready condition means ready.
func endpoints(namespace string, endpoint map[string]any, port int) []dial.PodAddress {
	o := hops.Object{Tree: endpoint}
	if o.Str("conditions", "terminating") == "true" {
		return nil
	}
	a := dial.PodAddress{Namespace: namespace, Port: port, Ready: o.Str("conditions", "ready") != "false"}
	if o.Str("targetRef", "kind") == "Pod" {
		a.Name, a.Namespace = o.Str("targetRef", "name"), cmp.Or(o.Str("targetRef", "namespace"), namespace)
	}
	var out []dial.PodAddress
	list, _ := o.Get("addresses").([]any)
	for _, ip := range list {
		a.IP, _ = ip.(string)
		out = append(out, a)
	}
	return out
}

// selected finds the pods by their labels, for who may not read Services.
func (c *Cluster) selected(ctx context.Context, t hops.Target) ([]dial.PodAddress, error) {
	info, _ := hops.Info(hops.Pods)
	list, err := c.list(ctx, info, t.Namespace, query{labels: labels.Set(t.Selector).String()})
	var cut *cutError
	if err != nil && !errors.As(err, &cut) {
		return nil, fmt.Errorf("pods of service %s/%s: %s: %w", t.Namespace, t.Name, why(err), err)
	}
	var out []dial.PodAddress
	for i := range list {
		if o := &list[i]; !o.Deleted() && o.Str("status", "podIP") != "" {
			out = append(out, dial.PodAddress{Namespace: t.Namespace, Name: o.Name, IP: o.Str("status", "podIP"), Port: guessPort(o, t), Ready: o.Ready()})
		}
	}
	sortReady(out)
	return out, nil
}

// guessPort says on which port of a pod a Service's port ends when the Service cannot be read: on the same one if the pod declares it, else where
// the gateways of Istio and Knative listen (istio manifests/charts/gateways: 80 to 8080, 443 to 8443; net-istio config/203-local-gateway.yaml: 80 to
// 8081).
func guessPort(pod *hops.Object, t hops.Target) int {
	for _, k := range pod.List("spec", "containers") {
		for _, p := range (&hops.Object{Tree: k}).List("ports") {
			o := hops.Object{Tree: p}
			if o.Int("containerPort") == t.Port {
				return t.Port
			}
		}
	}
	switch {
	case t.Port == 80 && t.Name == "knative-local-gateway":
		return 8081
	case t.Port == 80:
		return 8080
	case t.Port == 443:
		return 8443
	}
	return t.Port
}
