// resolve_standard.go: Standard mode: a Deployment and a Service for each component, and an Ingress or an HTTPRoute in front. There is no queue-proxy,
// so no knock is ever sent.
package hops

import (
	"cmp"
	"net/url"
)

// standard reads a component of Standard mode: one Deployment, no revisions.
func (r *resolver) standard(c *ComponentState) {
	for _, d := range r.objects(Deployments) {
		if ComponentOf(d) != c.Name {
			continue
		}
		c.Service = d.Name
		r.template(c, d.List("spec", "template", "spec", "containers"))
		c.Revisions = []RevisionState{{Name: d.Name, Weight: 100, Latest: true, Ready: d.Int("status", "readyReplicas") > 0,
			Asleep: d.Has("spec", "replicas") && d.Int("spec", "replicas") == 0, Pods: r.pods(c.Name, "")}}
	}
}

// standardDoors finds the gateway that the Ingress or HTTPRoute leads through, and the component's own Service, which callers in the cluster use.
func (r *resolver) standardDoors(outside, local *DoorState) {
	if r.f.Routing == HTTPRoutes {
		r.routeGateway(outside)
	} else {
		r.ingressGateway(outside)
	}
	c, _ := r.f.Component(r.f.EntryPoint)
	ns := r.f.Ref.Namespace
	port := r.servicePort(c)
	local.Host = c.Service + "." + ns + clusterZone
	local.Gateway, local.Guessed = Target{Kind: "service", Namespace: ns, Name: c.Service, Port: port}, false
	local.URL = (&url.URL{Scheme: "http", Host: local.Host + portSuffix(port)}).String()
}

// servicePort is the port at which callers reach a component's Service. The name of a headless Service leads to the pods themselves, so its own
// port number means nothing there.
func (r *resolver) servicePort(c ComponentState) int {
	service := r.named(Services, c.Service)
	ports := service.List("spec", "ports")
	switch {
	case len(ports) == 0:
		return 80
	case service.Str("spec", "clusterIP") == "None":
		return cmp.Or(number(ports[0]["targetPort"]), c.Port) // a targetPort that is a name is the container's own
	}
	return number(ports[0]["port"])
}

// standardSteps lays out the shorter path: gateway, route, Service, container. Cluster-local callers use the Service itself.
func (r *resolver) standardSteps() {
	for _, d := range r.f.Doors {
		if d.Closed != "" {
			continue
		}
		r.add(Step{Hop: Client, Door: d.Door})
		if d.Door == Outside {
			r.add(Step{Hop: IngressGateway, Door: Outside, Object: d.Gateway.object()},
				Step{Hop: KServeRoute, Door: Outside, Object: r.routeObject()})
		}
	}
	for _, c := range r.f.Components {
		r.links(c)
		s := Step{Component: c.Name, Weight: 100, Hop: Revision, Object: ObjectRef{Source: Services, Kind: "Service", Namespace: r.f.Ref.Namespace, Name: c.Service}}
		r.add(s)
		s.Hop = Container
		for _, v := range c.Revisions {
			if len(v.Pods) > 0 {
				s.Object = ObjectRef{Source: Pods, Kind: "Pod", Namespace: r.f.Ref.Namespace, Name: v.Pods[0]}
			}
		}
		r.add(s)
	}
}
