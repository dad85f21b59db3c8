// vantage.go: what a success proves, by the place from where the request entered. A success proves nothing about what it went around.
package hops

// Concern is something in front of a hop that can be broken while the hop itself works.
type Concern string

// The concerns, outermost first.
const (
	NameResolution Concern = "name resolution"
	LoadBalancer   Concern = "load balancer"
	ServiceRouting Concern = "Service and its endpoints"
	Policy         Concern = "network and mesh policy"
	Listener       Concern = "listening process"
)

// Concerns lists them all.
func Concerns() []Concern {
	return []Concern{NameResolution, LoadBalancer, ServiceRouting, Policy, Listener}
}

// Clears says whether a success from the vantage proves that the concern is in order at the hop that was dialled. A port-forward enters on the
// pod's own loopback, behind the sidecar, the policies and the Service. A probe in a pod is inside the load balancer, and what it proves of
// policy holds for its own identity.
func Clears(v Vantage, c Concern) bool {
	switch v {
	case PortForward:
		return c == Listener
	case InPod:
		return c == NameResolution || c == ServiceRouting || c == Policy || c == Listener
	case Address: // the name was not resolved: the address was given
		return c == LoadBalancer || c == ServiceRouting || c == Policy || c == Listener
	case Network:
		return true
	}
	return false
}

// Missing lists what a success from the vantage leaves open.
func Missing(v Vantage) []Concern {
	var out []Concern
	for _, c := range Concerns() {
		if !Clears(v, c) {
			out = append(out, c)
		}
	}
	return out
}
