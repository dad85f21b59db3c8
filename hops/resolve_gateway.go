// resolve_gateway.go: which gateway stands at a door, by what the routes say: Knative's ingress class, an Ingress and its class, an HTTPRoute and the
// Gateway that it names.
package hops

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

const (
	annClass    = "networking.knative.dev/ingress-class"
	annOldClass = "networking.knative.dev/ingress.class"
	annIngress  = "kubernetes.io/ingress.class"
)

// routing says which objects bring requests to the entry component: those that KServe wrote, or Knative's alone.
func (r *resolver) routing() {
	switch {
	case r.f.Mode == Standard && r.named(HTTPRoutes, r.f.Ref.Name) != nil:
		r.f.Routing = HTTPRoutes
	case r.f.Mode == Standard:
		r.f.Routing = Ingresses
	case r.withoutKServe():
		r.f.Routing = KnativeIngresses
	}
}

// withoutKServe says whether KServe writes no route of its own (disableIstioVirtualHost): then the service's host is its component's. Before there
// is a host, an ingress class other than Istio's tells, as KServe's own routes are Istio's in Knative mode
// (kserve/pkg/controller/v1beta1/inferenceservice/reconcilers/ingress, getHostPrefix).
func (r *resolver) withoutKServe() bool {
	c, _ := r.f.Component(r.f.EntryPoint)
	if host := hostOf(r.isvc.Str("status", "url")); host != "" && c.Host != "" {
		return host == c.Host
	}
	class := r.ingressClass()
	return class != "" && !strings.HasPrefix(class, "istio.") && r.named(VirtualServices, r.f.Ref.Name) == nil
}

// direct says whether the gateways lead straight to the component, with no route of KServe's between.
func (r *resolver) direct() bool { return r.f.Routing == KnativeIngresses }

// ingressClass is the class that Knative's routes are written for; "" when none was read.
func (r *resolver) ingressClass() string {
	for _, o := range r.objects(KnativeIngresses) {
		if class := cmp.Or(o.Annotation(annClass), o.Annotation(annOldClass)); class != "" {
			return class
		}
	}
	return ""
}

// classGateways are the Services that an ingress class comes with, until a status names others (config/ of net-istio, net-gateway-api, net-kourier
// and net-contour).
func classGateways(class string) (outside, local Target) {
	outside = Target{Kind: "service", Namespace: "istio-system", Name: "istio-ingressgateway", Port: 80}
	local = Target{Kind: "service", Namespace: "istio-system", Name: "knative-local-gateway", Port: 80}
	switch name, _, _ := strings.Cut(class, "."); name {
	case "kourier":
		outside.Namespace, outside.Name = "kourier-system", "kourier"
		local.Namespace, local.Name = "kourier-system", "kourier-internal"
	case "contour":
		outside.Namespace, outside.Name = "contour-external", "envoy"
		local.Namespace, local.Name = "contour-internal", "envoy"
	}
	return outside, local
}

// ingressGateway finds the Service behind the class of the Ingress. Of a class that is not known here only the service's own address is.
func (r *resolver) ingressGateway(d *DoorState) {
	o := r.named(Ingresses, r.f.Ref.Name)
	d.Gateway, _ = classGateways("")
	switch class := cmp.Or(o.Str("spec", "ingressClassName"), o.Annotation(annIngress)); class {
	case "istio":
	case "nginx":
		d.Gateway.Namespace, d.Gateway.Name = "ingress-nginx", "ingress-nginx-controller"
	case "traefik":
		d.Gateway.Namespace, d.Gateway.Name = "traefik", "traefik"
	case "":
		if o == nil {
			r.unknown("the Ingress of the service was not read: its gateway is a guess")
		}
	default:
		d.Gateway = Target{Kind: "address", Name: d.Host, Port: 80}
		r.unknown("which Service stands for the ingress class " + class)
	}
}

// routeGateway finds the Service behind the Gateway that the HTTPRoute names: by the Gateway's addresses when it was read, else by the name that
// its controller gives to the Service that it makes.
func (r *resolver) routeGateway(d *DoorState) {
	route := r.named(HTTPRoutes, r.f.Ref.Name)
	d.Gateway = Target{Kind: "address", Name: d.Host, Port: 80}
	parents := route.List("spec", "parentRefs")
	if len(parents) == 0 {
		r.unknown("which Gateway the HTTPRoute belongs to: it names none")
		return
	}
	parent := parents[0]
	name, ns := text(parent["name"]), cmp.Or(text(parent["namespace"]), route.Namespace)
	gateway := r.apiGateway(ns, name)
	port := cmp.Or(number(parent["port"]), listenerPort(gateway, text(parent["sectionName"])), 80)
	if d.Gateway.Port = port; gateway == nil {
		r.unknown("Gateway " + ns + "/" + name + " was not read: its Service is a guess")
	}
	for _, at := range append(gateway.List("status", "addresses"), gateway.List("spec", "addresses")...) {
		if setGateway(d, text(at["value"])); !d.Guessed {
			d.Gateway.Kind, d.Gateway.Port = "service", port
			return
		}
	}
	switch controller := controllerOf(route, gateway); {
	case controller == "istio" || strings.HasPrefix(controller, "istio.io/"):
		d.Gateway = Target{Kind: "service", Namespace: ns, Name: name + "-istio", Port: port}
	case controller == "eg" || strings.HasPrefix(controller, "gateway.envoyproxy.io/"):
		d.Gateway = Target{Kind: "service", Namespace: "envoy-gateway-system", Name: envoyGateway(ns, name), Port: port}
	case gateway != nil || controller != "":
		r.unknown("which Service stands for Gateway " + ns + "/" + name)
	}
}

func (r *resolver) apiGateway(namespace, name string) *Object {
	for _, o := range r.objects(APIGateways) {
		if o.Namespace == namespace && o.Name == name {
			return o
		}
	}
	return nil
}

// listenerPort is the port of the Gateway's listener: the one that the route asks for, else the first that speaks HTTP.
func listenerPort(gateway *Object, section string) int {
	for _, l := range gateway.List("spec", "listeners") {
		if section == "" && text(l["protocol"]) == "HTTP" || section != "" && text(l["name"]) == section {
			return number(l["port"])
		}
	}
	return 0
}

// controllerOf names who serves the route: the controller that accepted it, else the class of its Gateway.
func controllerOf(route, gateway *Object) string {
	for _, p := range route.List("status", "parents") {
		if c := text(p["controllerName"]); c != "" {
			return c
		}
	}
	return gateway.Str("spec", "gatewayClassName")
}

// envoyGateway is the name of the Service that Envoy Gateway makes for a Gateway: envoy-NAMESPACE-NAME-HASH, with the beginning of a SHA-256 of
// NAMESPACE/NAME (envoyproxy/gateway internal/utils, GetHashedName, which cuts names over 48 bytes).
func envoyGateway(namespace, name string) string {
	sum := sha256.Sum256([]byte(namespace + "/" + name))
	short := namespace + "-" + name
	return "envoy-" + short[:min(len(short), 48)] + "-" + hex.EncodeToString(sum[:])[:8]
}

// portSuffix is how a URL of scheme http shows a port.
func portSuffix(port int) string {
	if port == 80 {
		return ""
	}
	return ":" + strconv.Itoa(port)
}
