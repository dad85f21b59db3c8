// Package hops says what the path of a request to an InferenceService is, and what can go wrong on it. It is pure: it is given what was read and
// what was seen, and answers with steps, findings and a verdict. It dials nothing, reads nothing and has no clock.
//
// hop.go: the closed set of places on, and beside, the path.
package hops

import "slices"

// Hop is one place on the request path, or one place beside it where a cause can live.
type Hop string

// The hops, outermost first, then the places beside the path from the shallowest to the deepest.
const (
	Client             Hop = "client"
	IngressGateway     Hop = "ingress-gateway"
	KServeRoute        Hop = "kserve-route"
	LocalGateway       Hop = "local-gateway"
	KnativeRoute       Hop = "knative-route"
	Revision           Hop = "revision"
	Activator          Hop = "activator"
	QueueProxy         Hop = "queue-proxy"
	Container          Hop = "container"
	ComponentLink      Hop = "component-link"
	StorageInitializer Hop = "storage-initializer"
	Pod                Hop = "pod"
	ControlPlane       Hop = "control-plane"
)

// All lists every hop, outermost first, then the places beside the path.
func All() []Hop {
	return []Hop{Client, IngressGateway, KServeRoute, LocalGateway, KnativeRoute, Revision, Activator, QueueProxy, Container, ComponentLink,
		StorageInitializer, Pod, ControlPlane}
}

// OnPath says whether a request passes the hop; the others are places where causes live.
func (h Hop) OnPath() bool {
	return h != ControlPlane && h != Pod && h != StorageInitializer && slices.Contains(All(), h)
}

// depth orders hops by how deep a cause lies: control-plane is the deepest (0), the client the shallowest.
func (h Hop) depth() int {
	order := []Hop{ControlPlane, Pod, StorageInitializer, Container, QueueProxy, Activator, Revision, ComponentLink, KnativeRoute, KServeRoute,
		LocalGateway, IngressGateway, Client}
	if i := slices.Index(order, h); i >= 0 {
		return i
	}
	return len(order)
}

// Door is one of the two entries that a caller can use.
type Door string

// The two front doors. A step behind the point where both meet has no door.
const (
	Outside      Door = "outside"       // the ingress gateway, with the external host
	ClusterLocal Door = "cluster-local" // the cluster-local gateway, with the cluster-local host
)
