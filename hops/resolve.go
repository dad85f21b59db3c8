// resolve.go: from objects to the path. Resolve always gives a flow; what the objects do not tell is listed in it as unknown.
package hops

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// Annotations and values read here (kserve/pkg/constants/constants.go, knative.dev/serving/pkg/apis/autoscaling/register.go).
const (
	annMode     = "serving.kserve.io/deploymentMode"
	annStop     = "serving.kserve.io/stop"
	annMinScale = "autoscaling.knative.dev/min-scale"
	annOldMin   = "autoscaling.knative.dev/minScale"
	clusterZone = ".svc.cluster.local"
)

// Resolve gives the path of the service as the snapshot shows it.
func Resolve(s *Snapshot, ref Ref) Flow {
	r := resolver{ix: newIndex(Facts{Ref: ref, Snapshots: []Snapshot{*s}}, s.Time), f: Flow{Ref: ref, Protocol: "v1", Model: ref.Name}}
	r.service()
	r.components()
	r.routing()
	r.doors()
	r.steps()
	r.entries()
	if c, _ := r.f.Component(Predictor); c.H2C { // Knative and KServe give the port of a gRPC server this name
		r.f.Protocol = GRPC
	}
	r.f.Speak(r.f.Protocol)
	return r.f
}

type resolver struct {
	ix   *index
	isvc *Object
	f    Flow
}

func (r *resolver) unknown(what string) { r.f.Unknown = append(r.f.Unknown, what) }

// objects lists what was read of a source.
func (r *resolver) objects(s Source) []*Object { return r.ix.objects[s] }

func (r *resolver) named(s Source, name string) *Object {
	for _, o := range r.objects(s) {
		if o.Name == name {
			return o
		}
	}
	return nil
}

// service reads the InferenceService: mode, protocol, whether it is stopped.
func (r *resolver) service() {
	for _, o := range r.objects(InferenceServices) {
		r.isvc = o
	}
	r.f.EntryPoint, r.f.Routing = Predictor, VirtualServices
	if r.isvc == nil {
		r.unknown("the InferenceService itself was not read")
	}
	if r.f.Mode = r.mode(); r.f.Mode == UnknownMode {
		r.unknown("whether the service is deployed by Knative or in Standard mode: the path shown is Knative's")
	}
	r.f.Stopped = strings.EqualFold(r.isvc.Annotation(annStop), "true")
	predictor, _ := r.isvc.Get("spec", Predictor).(map[string]any)
	for _, framework := range predictor { // "model", or in older specs the framework's own name
		if p := text(dig(framework, "protocolVersion")); p != "" {
			r.f.Protocol = p
		}
	}
}

// mode follows KServe: the status says what was decided, else the annotation, else the child objects tell.
func (r *resolver) mode() Mode {
	switch cmp.Or(r.isvc.Str("status", "deploymentMode"), r.isvc.Annotation(annMode)) {
	case "Knative", "Serverless":
		return Knative
	case "Standard", "RawDeployment":
		return Standard
	case "ModelMesh":
		return ModelMesh
	}
	switch {
	case len(r.objects(KnativeServices))+len(r.objects(Revisions)) > 0:
		return Knative
	case slices.ContainsFunc(r.objects(Deployments), func(o *Object) bool { return RevisionOf(o) == "" }):
		return Standard
	}
	return UnknownMode
}

// components finds predictor, transformer and explainer with their revisions.
func (r *resolver) components() {
	for _, name := range []string{Transformer, Explainer, Predictor} {
		c := ComponentState{Name: name, Port: 8080}
		switch r.f.Mode {
		case Standard:
			r.standard(&c)
		default:
			r.knative(&c)
		}
		if c.Service == "" && name != Predictor && !r.isvc.Has("spec", name) {
			continue
		}
		for _, p := range r.ix.pods {
			if model := modelOf(p.List("spec", "containers")); c.Container == "" && p.Component == name && !oneOf(model, modelContainers) {
				c.Container = model
			}
		}
		c.Service = cmp.Or(c.Service, r.f.Ref.Name+"-"+name)
		c.LocalHost = cmp.Or(c.LocalHost, c.Service+"."+r.f.Ref.Namespace+clusterZone)
		if name == Transformer {
			r.f.EntryPoint = Transformer
		}
		r.f.Components = append(r.f.Components, c)
	}
}

// template reads the port and the model name from the containers of a pod template.
func (r *resolver) template(c *ComponentState, containers []map[string]any) {
	if model := modelOf(containers); !oneOf(model, modelContainers) {
		c.Container = model
	}
	for _, k := range containers {
		if !isModelIn(containers, text(k["name"])) {
			continue
		}
		for _, p := range maps(k["ports"]) {
			c.Port = cmp.Or(number(p["containerPort"]), c.Port)
			c.H2C = text(p["name"]) == "h2c"
		}
		if c.Name != Predictor {
			continue
		}
		if m := argument(k["args"], "--model_name", "--model-name"); m != "" {
			r.f.Model = m
		}
	}
}

// argument finds the value of a flag in a container's arguments, in both forms. The last one counts, as for the servers.
func argument(args any, names ...string) string {
	list, _ := args.([]any)
	last := ""
	for i, a := range list {
		flag, value, joined := strings.Cut(text(a), "=")
		switch {
		case !slices.Contains(names, flag):
		case joined:
			last = value
		case i+1 < len(list):
			last = text(list[i+1])
		}
	}
	return last
}

// pods lists the names of a component's or revision's pods that are not on their way out, ready ones first.
func (r *resolver) pods(component, revision string) []string {
	var ready, rest []string
	for _, p := range r.ix.pods {
		if p.Component != component || revision != "" && p.Revision != revision || p.Deleted() {
			continue
		}
		if p.Ready {
			ready = append(ready, p.Name)
		} else {
			rest = append(rest, p.Name)
		}
	}
	return append(ready, rest...)
}

// doors finds hosts and gateways of both front doors.
func (r *resolver) doors() {
	ns, name := r.f.Ref.Namespace, r.f.Ref.Name
	address := r.isvc.Str("status", "url")
	outside := DoorState{Door: Outside, URL: address, Host: hostOf(address), Guessed: true}
	if outside.Host == "" {
		outside.Host = r.hostFromComponent()
	}
	switch {
	case r.f.Stopped:
		outside.Closed = "the service is stopped"
	case outside.Host == "":
		outside.Closed = "the service has no URL yet"
		if r.isvc == nil {
			outside.Closed = "the InferenceService was not read, so its URL is not known"
		}
	case strings.HasSuffix(outside.Host, clusterZone):
		outside.Closed = "the service has no outside address: its URL is cluster-local (" + outside.Host + ")"
	}
	local := DoorState{Door: ClusterLocal, URL: "http://" + name + "." + ns + clusterZone, Host: name + "." + ns + clusterZone, Guessed: true}
	if a := r.isvc.Str("status", "address", "url"); a != "" {
		local.URL, local.Host = a, hostOf(a)
	} else if c, _ := r.f.Component(r.f.EntryPoint); r.f.Routing == KnativeIngresses {
		local.URL, local.Host = "http://"+c.LocalHost, c.LocalHost
	}
	if r.f.Stopped {
		local.Closed = outside.Closed
	}
	if r.f.Mode == Standard {
		r.standardDoors(&outside, &local)
	} else {
		r.gateways(&outside, &local)
	}
	r.f.Doors = []DoorState{outside, local}
}

// hostFromComponent derives the service's host from its component's: KServe puts NAME where Knative has NAME-predictor
// (kserve/pkg/controller/v1beta1/inferenceservice/reconcilers/ingress). Only used while the service has no URL of its own.
func (r *resolver) hostFromComponent() string {
	c, _ := r.f.Component(r.f.EntryPoint)
	if r.f.Routing == KnativeIngresses {
		return c.Host
	}
	if rest, ok := strings.CutPrefix(c.Host, c.Service); ok && c.Host != "" && !strings.HasSuffix(c.Host, clusterZone) {
		return r.f.Ref.Name + rest
	}
	return ""
}

// steps lays out the path, outermost first.
func (r *resolver) steps() {
	if r.f.Mode == Standard {
		r.standardSteps()
		return
	}
	for _, d := range r.f.Doors {
		if d.Closed != "" && d.Door == Outside {
			continue
		}
		gateway := Step{Hop: IngressGateway, Door: Outside}
		if d.Door == ClusterLocal {
			gateway = Step{Hop: LocalGateway, Door: ClusterLocal}
		}
		gateway.Object = d.Gateway.object()
		r.add(Step{Hop: Client, Door: d.Door}, gateway)
		if !r.direct() {
			r.add(Step{Hop: KServeRoute, Door: d.Door, Object: r.routeObject()})
		}
	}
	for _, c := range r.f.Components {
		local := r.f.Doors[1].Gateway
		r.links(c)
		if r.secondPass(c) {
			r.add(Step{Hop: LocalGateway, Component: c.Name, Object: local.object()})
		}
		r.add(Step{Hop: KnativeRoute, Component: c.Name, Object: ObjectRef{Source: KnativeIngresses, Kind: "Ingress", Namespace: r.f.Ref.Namespace, Name: c.Service}})
		for _, v := range c.Revisions {
			r.revisionSteps(c, v)
		}
		if len(c.Revisions) == 0 {
			r.revisionSteps(c, RevisionState{})
		}
	}
}

// links adds the calls that other components make to the predictor, before the predictor's own steps.
func (r *resolver) links(c ComponentState) {
	for _, caller := range []string{Transformer, Explainer} {
		if _, ok := r.f.Component(caller); ok && c.Name == Predictor {
			r.add(Step{Hop: ComponentLink, Component: caller})
		}
	}
}

// secondPass says whether requests to a component go through the local gateway once more: all that KServe's own route passes on, and the calls
// from one component to another.
func (r *resolver) secondPass(c ComponentState) bool { return !r.direct() || c.Name != r.f.EntryPoint }

// revisionSteps adds the steps from a revision's Service to its container. A revision without weight is not on anybody's path.
func (r *resolver) revisionSteps(c ComponentState, v RevisionState) {
	if v.Name != "" && v.Weight == 0 {
		return
	}
	at := Step{Component: c.Name, Revision: v.Name, Weight: v.Weight, Object: ObjectRef{Source: Revisions, Kind: "Revision", Namespace: r.f.Ref.Namespace, Name: v.Name}}
	for _, h := range []Hop{Revision, Activator, QueueProxy, Container} {
		s := at
		s.Hop = h
		switch {
		case h == Activator:
			s.Object = ObjectRef{Source: SystemServices, Kind: "Service", Namespace: "knative-serving", Name: "activator-service"}
		case h != Revision && len(v.Pods) > 0:
			s.Object = ObjectRef{Source: Pods, Kind: "Pod", Namespace: r.f.Ref.Namespace, Name: v.Pods[0]}
		}
		r.add(s)
	}
}

func (r *resolver) add(steps ...Step) { r.f.Steps = append(r.f.Steps, steps...) }

// routeObject names the object that KServe wrote for its own host.
func (r *resolver) routeObject() ObjectRef {
	kinds := map[Source]string{VirtualServices: "VirtualService", HTTPRoutes: "HTTPRoute", Ingresses: "Ingress", KnativeIngresses: "Ingress"}
	return ObjectRef{Source: r.f.Routing, Kind: kinds[r.f.Routing], Namespace: r.f.Ref.Namespace, Name: r.f.Ref.Name}
}

// hostOf gives the host of a URL without its port.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// object names the Service that a target stands for; nothing for a bare address.
func (t Target) object() ObjectRef {
	if t.Kind != "service" {
		return ObjectRef{}
	}
	return ObjectRef{Source: SystemServices, Kind: "Service", Namespace: t.Namespace, Name: t.Name}
}

// entries lists where the path can be entered. A stopped service has no routes left to knock at.
func (r *resolver) entries() {
	if r.f.Stopped {
		return
	}
	for _, d := range r.f.Doors {
		if d.Closed != "" {
			continue
		}
		s := Step{Hop: IngressGateway, Door: Outside}
		switch {
		case d.Door == ClusterLocal && r.f.Mode == Standard:
			s = Step{Hop: Client, Door: ClusterLocal}
		case d.Door == ClusterLocal:
			s = Step{Hop: LocalGateway, Door: ClusterLocal}
		}
		r.enter(Entry{Step: s, Target: d.Gateway, Host: d.Host, Scheme: "http", Knock: r.f.Mode != Standard, Request: true})
	}
	for _, c := range r.f.Components {
		if r.f.Mode != Standard && r.secondPass(c) {
			r.enter(Entry{Step: Step{Hop: LocalGateway, Component: c.Name}, Target: r.f.Doors[1].Gateway, Host: c.LocalHost, Knock: true, Request: true})
		}
		for _, v := range c.Revisions {
			if v.Weight > 0 {
				r.revisionEntries(c, v)
			}
		}
	}
}

// revisionEntries are the ways into one revision: the activator with the routing headers, its queue-proxy, its container. The word that is sent
// for the hash is our own, so that its echo proves that the component itself answered.
func (r *resolver) revisionEntries(c ComponentState, v RevisionState) {
	ns := r.f.Ref.Namespace
	at := Step{Component: c.Name, Revision: v.Name, Weight: v.Weight}
	own := map[string]string{"K-Network-Hash": "probe"}
	pod := Target{Kind: "pod", Namespace: ns, Port: c.Port}
	if len(v.Pods) > 0 {
		pod.Name = v.Pods[0]
	}
	if r.f.Mode == Standard {
		at.Revision = ""
	} else {
		s := at
		s.Hop = Activator
		r.enter(Entry{Step: s, Target: Target{Kind: "service", Namespace: "knative-serving", Name: "activator-service", Port: 80}, Host: c.LocalHost,
			Header: map[string]string{"Knative-Serving-Namespace": ns, "Knative-Serving-Revision": v.Name}, Knock: v.ViaProxy, Request: !v.Asleep, H2C: c.H2C, Knocking: own})
		s.Hop = QueueProxy
		q := pod
		q.Port = 8012
		if c.H2C {
			q.Port = 8013
		}
		if pod.Name != "" {
			r.enter(Entry{Step: s, Target: q, Host: c.LocalHost, Knock: true, Request: true, H2C: c.H2C, Knocking: own})
		}
	}
	at.Hop = Container
	if pod.Name != "" {
		r.enter(Entry{Step: at, Target: pod, Host: c.LocalHost, Request: true, H2C: c.H2C})
	}
}

func (r *resolver) enter(e Entry) {
	e.Scheme = cmp.Or(e.Scheme, "http")
	e.Step = r.f.StepFor(e.Step)
	r.f.Entries = append(r.f.Entries, e)
}
