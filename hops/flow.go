// flow.go: the path of a request as data: doors, components, revisions and the steps between them.
package hops

import (
	"fmt"
	"slices"
)

// Ref names one InferenceService.
type Ref struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (r Ref) String() string { return r.Namespace + "/" + r.Name }

// Mode is how KServe deploys the service.
type Mode string

// The modes. Serverless and RawDeployment are the older names of the first two.
const (
	Knative     Mode = "Knative"
	Standard    Mode = "Standard"
	ModelMesh   Mode = "ModelMesh"
	UnknownMode Mode = ""
)

// Component names as KServe labels them.
const (
	Predictor   = "predictor"
	Transformer = "transformer"
	Explainer   = "explainer"
)

// Step is one place that a request of this service passes, or one beside it. Findings, observations and rows all name their step.
type Step struct {
	Hop       Hop       `json:"hop"`
	Door      Door      `json:"door,omitempty"`      // "" behind the point where both doors meet
	Component string    `json:"component,omitempty"` // "" before the component is chosen
	Revision  string    `json:"revision,omitempty"`
	Object    ObjectRef `json:"object,omitzero"`
	Weight    int       `json:"weight,omitempty"` // percent of the component's traffic
}

// ID is stable for one flow: "outside/ingress-gateway", "predictor/x-00001/queue-proxy".
func (s Step) ID() string {
	id := ""
	for _, part := range []string{string(s.Door), s.Component, s.Revision} {
		if part != "" {
			id += part + "/"
		}
	}
	return id + string(s.Hop)
}

// Within says whether a request that passes (or depends on) s also passes outer: outer is the same step or lies further out along s's path.
// A step that leaves door, component or revision open lies on every path. A transformer and an explainer lie outside the predictor they call. The
// control plane lies beside the path: what it leaves undone may have its cause at any step.
func (s Step) Within(outer Step) bool {
	if outer.Hop == ControlPlane {
		return true
	}
	if s.Door != "" && outer.Door != "" && s.Door != outer.Door {
		return false
	}
	if s.Component != "" && outer.Component != "" && s.Component != outer.Component {
		return s.Component == Predictor // whatever calls the predictor is further out
	}
	if s.Revision != "" && outer.Revision != "" && s.Revision != outer.Revision {
		return false
	}
	return s.place() <= outer.place()
}

// place is how far out a step lies along the path: 0 is the deepest. The first pass of the local gateway is the cluster-local door's own gateway.
func (s Step) place() int {
	h := s.Hop
	if h == LocalGateway && s.Door != "" {
		h = IngressGateway
	}
	order := []Hop{ControlPlane, Pod, StorageInitializer, Container, QueueProxy, Activator, Revision, KnativeRoute, LocalGateway, ComponentLink,
		KServeRoute, IngressGateway, Client}
	return slices.Index(order, h)
}

// Target is what a step is dialled at.
type Target struct {
	Kind      string `json:"kind"` // "service", "pod" or "address"
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"` // of the Service or pod; host of an address
	Port      int    `json:"port"`           // Service port, container port, or port of the address
	// Selector finds the pods when the Service itself cannot be read.
	Selector map[string]string `json:"selector,omitempty"`
}

func (t Target) String() string {
	if t.Kind == "address" {
		return fmt.Sprintf("%s:%d", t.Name, t.Port)
	}
	return fmt.Sprintf("%s %s/%s:%d", t.Kind, t.Namespace, t.Name, t.Port)
}

// Entry is one way to enter the path at a step: what to dial and which Host to send.
type Entry struct {
	Step   Step              `json:"step"`
	Target Target            `json:"target"`
	Host   string            `json:"host,omitempty"`
	Scheme string            `json:"scheme,omitempty"`
	Header map[string]string `json:"header,omitempty"` // routing headers such as Knative-Serving-Revision
	// Knock and Request say what may be sent here.
	Knock   bool `json:"knock,omitempty"`
	Request bool `json:"request,omitempty"`
	// H2C says that the step speaks HTTP/2 in the clear only.
	H2C bool `json:"h2c,omitempty"`
	// Knocking adds what this hop alone wants on a knock, such as a User-Agent.
	Knocking map[string]string `json:"knocking,omitempty"`
}

// RevisionState is one revision of a component (Knative), or its Deployment (Standard).
type RevisionState struct {
	Name        string   `json:"name"`
	Weight      int      `json:"weight"`
	Tag         string   `json:"tag,omitempty"`
	Latest      bool     `json:"latest,omitempty"` // the newest that was created
	Ready       bool     `json:"ready,omitempty"`
	Asleep      bool     `json:"asleep,omitempty"`      // no pods on purpose: inactive for lack of traffic
	ScaleToZero bool     `json:"scaleToZero,omitempty"` // may go to zero
	ViaProxy    bool     `json:"viaProxy,omitempty"`    // the activator is in the path (SKS mode Proxy)
	Pods        []string `json:"pods,omitempty"`        // ready ones first
}

// ComponentState is one component: predictor, transformer or explainer.
type ComponentState struct {
	Name      string          `json:"name"`
	Service   string          `json:"service"` // name of the Knative Service or Deployment
	Host      string          `json:"host,omitempty"`
	LocalHost string          `json:"localHost,omitempty"`
	Revisions []RevisionState `json:"revisions,omitempty"`
	Container string          `json:"container,omitempty"` // of the model, where its name is none of the usual ones
	Port      int             `json:"port,omitempty"`      // of the user container
	H2C       bool            `json:"h2c,omitempty"`
}

// Awake says whether some revision with weight has pods, or may have: an unknown revision counts as awake only when wake is allowed elsewhere.
func (c ComponentState) Awake() bool {
	for _, r := range c.Revisions {
		if r.Weight > 0 && !r.Asleep {
			return true
		}
	}
	return len(c.Revisions) == 0
}

// DoorState is one front door.
type DoorState struct {
	Door    Door   `json:"door"`
	URL     string `json:"url,omitempty"`
	Host    string `json:"host,omitempty"`
	Gateway Target `json:"gateway"`
	// Guessed says that the gateway's address was not read from an object but is Knative's default.
	Guessed bool `json:"guessed,omitempty"`
	// Closed says why the service has no such door: cluster-local visibility, no URL yet.
	Closed string `json:"closed,omitempty"`
}

// GRPC is the protocol of servers that speak the Open Inference Protocol over gRPC. The others, "v1" and "v2", go over HTTP.
const GRPC = "grpc-v2"

// Flow is the path of one service as far as it is known.
type Flow struct {
	Ref        Ref              `json:"ref"`
	Mode       Mode             `json:"mode"`
	Routing    Source           `json:"routing,omitempty"` // VirtualServices, HTTPRoutes, Ingresses, or kingress where KServe writes no route
	Protocol   string           `json:"protocol"`          // v1, v2 or grpc-v2
	Model      string           `json:"model"`             // model name in paths
	EntryPoint string           `json:"entryPoint"`        // component that the InferenceService's host leads to
	Doors      []DoorState      `json:"doors"`
	Components []ComponentState `json:"components"`
	Steps      []Step           `json:"steps"`
	Entries    []Entry          `json:"entries,omitempty"`
	// Unknown lists what the objects did not tell, in the user's words.
	Unknown []string `json:"unknown,omitempty"`
	Stopped bool     `json:"stopped,omitempty"`
}

// Component finds a component by name.
func (f *Flow) Component(name string) (ComponentState, bool) {
	for _, c := range f.Components {
		if c.Name == name {
			return c, true
		}
	}
	return ComponentState{}, false
}

// Speak sets the protocol. gRPC needs HTTP/2 from the first hop on; gateways take both on one port, so HTTP/1.1 is kept for the rest.
func (f *Flow) Speak(protocol string) {
	f.Protocol = protocol
	for i := range f.Entries {
		e := &f.Entries[i]
		c, _ := f.Component(e.Step.Component)
		e.H2C = protocol == GRPC || c.H2C && e.Step.Hop != LocalGateway
	}
}

// Asleep says whether the component that callers reach has weighted revisions and all of them are at zero.
func (f *Flow) Asleep() bool {
	for _, c := range f.Components {
		if !c.Awake() {
			return true
		}
	}
	return false
}

// Path lists the steps a request through the door passes, outermost first, down to the containers of every weighted revision.
func (f *Flow) Path(door Door) []Step {
	var out []Step
	for _, s := range f.Steps {
		if s.Hop.OnPath() && (s.Door == "" || s.Door == door) {
			out = append(out, s)
		}
	}
	return out
}

// StepFor gives the flow's own step for a place, with its object and weight; the place itself when the flow has none.
func (f *Flow) StepFor(want Step) Step {
	for _, s := range f.Steps {
		if s.ID() == want.ID() {
			if want.Object.Name != "" {
				s.Object = want.Object
			}
			return s
		}
	}
	return want
}
