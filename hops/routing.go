// routing.go: what the rules of the gateways and of KServe's route share: which host a request bore, which gateway answered it, and what the
// VirtualServices, Gateways and Services on the path say.
package hops

import (
	"cmp"
	"net"
	"slices"
	"strings"
)

// hostKind says whose host a request bore.
type hostKind int

const (
	hostUnknown hostKind = iota // the request's host, or the service's, is not known
	hostOwn                     // a host of the InferenceService
	hostPart                    // a host of one of its components
	hostForeign                 // neither
)

// hosts sorts hosts by whose they are.
type hosts struct {
	ref   Ref
	doors map[Door]string
	own   []string // of the doors and of KServe's VirtualService
	parts []string
	told  bool // some component's outside host is known
}

// hosts lists the hosts of the service. It reads VirtualServices.
func (v *View) hosts() hosts {
	h := hosts{ref: v.Ref(), doors: map[Door]string{}}
	route := kserveRoute(v)
	if v.Ref().Name == "" {
		return h
	}
	for _, d := range v.Flow().Doors {
		if d.Host != "" {
			h.doors[d.Door] = bareHost(d.Host)
			h.own = append(h.own, bareHost(d.Host))
		}
	}
	h.own = append(h.own, words(route, "HOSTS", "spec", "hosts")...)
	for _, c := range v.Flow().Components {
		for _, name := range []string{c.Host, c.LocalHost} {
			if name == "" {
				continue
			}
			h.parts, h.told = append(h.parts, bareHost(name)), h.told || !inCluster(name)
			if short, local := strings.CutSuffix(name, clusterZone); local {
				h.parts = append(h.parts, short, short+".svc")
			}
		}
	}
	return h
}

// kind says whose a host is.
func (h hosts) kind(host string) hostKind {
	host = bareHost(host)
	switch {
	case host == "" || len(h.own) == 0:
		return hostUnknown
	case slices.Contains(h.own, host):
		return hostOwn
	case slices.Contains(h.parts, host) || h.named(host):
		return hostPart
	case inCluster(host) || h.doors[Outside] != "":
		return hostForeign
	}
	return hostUnknown
}

// named knows components by the names that KServe and KFServing give them: within the cluster, and outside while no such host was read.
func (h hosts) named(host string) bool {
	label, rest, _ := strings.Cut(host, ".")
	if label == h.ref.Name || !NamedFor(h.ref.Name, label) {
		return false
	}
	ns, _, _ := strings.Cut(rest, ".")
	return (inCluster(host) || !h.told) && (h.ref.Namespace == "" || ns == h.ref.Namespace)
}

// inCluster says whether a host is a name that only the cluster's DNS knows.
func inCluster(host string) bool { return strings.HasSuffix(bareHost(host), clusterZone) }

// bareHost is a host in lower case without its port.
func bareHost(h string) string {
	if name, _, err := net.SplitHostPort(h); err == nil {
		h = name
	}
	return strings.ToLower(strings.Trim(h, "[]"))
}

// entersGateway says whether a request came by a front door, so that a gateway took it.
func (o *Observation) entersGateway() bool {
	return o.Step.Hop == Client || o.Step.Hop == IngressGateway || o.Step.Hop == LocalGateway && o.Step.Door != ""
}

// gatewayStep is the first gateway behind a door.
func gatewayStep(d Door) Step {
	if d == ClusterLocal {
		return Step{Hop: LocalGateway, Door: ClusterLocal}
	}
	return Step{Hop: IngressGateway, Door: Outside}
}

// gatewayAnswered says whether the first gateway itself wrote an answer, and whether that is sure: a paste without headers leaves it open.
func gatewayAnswered(o *Observation) (sure, may bool) {
	if o.Outcome != Answered {
		return false, false
	}
	sure = o.FromEnvoy() && !o.Upstream()
	return sure, sure || len(o.Header) == 0
}

// emptyAnswer says whether an answer has no body, as those that Envoy writes for lack of a route or cluster.
func emptyAnswer(o *Observation) bool { return strings.TrimSpace(o.Body) == "" && o.BodyBytes == 0 }

// frontRequests finds what requests saw that came by a front door, unless a later one to the same host was answered well. A match without a step
// lies at the gateway that took the request.
func frontRequests(v *View, tell func(o *Observation) (Match, bool)) []Match {
	var out []Match
	seen := v.Observations()
	for i := range seen {
		o := &seen[i]
		if !o.entersGateway() || slices.ContainsFunc(seen[i+1:], o.redoneBy) {
			continue
		}
		if v.Flow().Mode == Standard && o.Step.Door == ClusterLocal && o.Outcome != DNSFailed { // that door is the component's own Service
			continue
		}
		m, ok := tell(o)
		if !ok {
			continue
		}
		if m.Step.Hop == "" {
			m.Step = gatewayStep(o.Step.Door)
		}
		out = append(out, m)
	}
	return latest(merge(out), 3)
}

// redoneBy says whether a later request asked for the same and was answered well.
func (o *Observation) redoneBy(later Observation) bool {
	return later.Asked == RealRequest && later.OK() && later.entersGateway() && later.Step.Door == o.Step.Door && later.Host == o.Host &&
		(later.Path == o.Path || o.Asked == Knock)
}

// sawStatus quotes the status of an answer.
func sawStatus(o *Observation) []Evidence {
	return []Evidence{RequestEvidence(o, "status", text(float64(o.Status)))}
}

// wording is what an answer says: its body, or for gRPC the message, into which Envoy puts what it would write as a body.
func (o *Observation) wording() string {
	return cmp.Or(strings.TrimSpace(o.Body), o.Header["grpc-message"])
}

// sawBody quotes what an answer says.
func sawBody(o *Observation) []Evidence {
	return []Evidence{RequestEvidence(o, "body", o.wording())}
}

// accessLines finds access log lines of requests to the service, or to a host that a request of ours bore. A match without a step lies at the
// gateway that wrote the line.
func accessLines(v *View, tell func(e AccessEntry) (Match, bool)) []Match {
	var out []Match
	seen, known := v.Observations(), v.hosts()
	for _, e := range v.Access() {
		asked := slices.ContainsFunc(seen, func(o Observation) bool { return o.Host != "" && bareHost(o.Host) == bareHost(e.Authority) })
		if known.kind(e.Authority) == hostForeign && !asked && !NamedFor(v.Ref().Name, revisionInCluster(e.Cluster)) {
			continue
		}
		m, ok := tell(e)
		if !ok {
			continue
		}
		m.Evidence = append([]Evidence{LineEvidence(e.Line)}, m.Evidence...)
		if m.Step.Hop == "" {
			m.Step = lineStep(v, known, e)
		}
		out = append(out, m)
	}
	return latest(merge(out), 3)
}

// lineStep tells which gateway wrote a line: behind KServe's route requests bear the component's cluster-local host and go to a revision.
func lineStep(v *View, known hosts, e AccessEntry) Step {
	local := inCluster(e.Authority)
	switch {
	case toLocalGateway(v, e.Cluster):
		return gatewayStep(Outside)
	case local && known.kind(e.Authority) == hostPart, revisionInCluster(e.Cluster) != "" && local:
		return Step{Hop: LocalGateway, Component: cmp.Or(ComponentInName(bareHost(e.Authority)), v.Flow().EntryPoint)}
	case local:
		return gatewayStep(ClusterLocal)
	}
	return gatewayStep(Outside)
}

// clusterHost is the host in the name of an Envoy cluster such as outbound|80||x.ns.svc.cluster.local.
func clusterHost(cluster string) string {
	_, host, _ := strings.Cut(cluster, "||")
	return host
}

// toLocalGateway says whether an Envoy cluster, or a host, is the gateway for cluster-local hosts, to which KServe's route leads.
func toLocalGateway(v *View, cluster string) bool {
	host := cmp.Or(clusterHost(cluster), cluster)
	name, rest, _ := strings.Cut(host, ".")
	if localGatewayName(name) {
		return true
	}
	for _, d := range v.Flow().Doors {
		same := name != "" && d.Gateway.Name == name && strings.HasPrefix(rest, d.Gateway.Namespace+".")
		if d.Door == ClusterLocal && same && d.Gateway.Namespace != v.Ref().Namespace { // a Service beside the model is no gateway
			return true
		}
	}
	return false
}

// localGatewayName knows the names that net-istio (knative-local-gateway, before 0.18 cluster-local-gateway) and its likes give.
func localGatewayName(name string) bool { return strings.Contains(name, "local-gateway") }

// kserveRoute is the VirtualService that KServe wrote for the service's own host; nil when it was not read.
func kserveRoute(v *View) *Object {
	name := v.Ref().Name
	for _, o := range v.Objects(VirtualServices) {
		if name != "" && o.Name == name {
			return o
		}
	}
	return nil
}

// words reads a list of strings from an object, or from the column of a table row in which kubectl prints it as JSON.
func words(o *Object, column string, path ...string) []string {
	var out []string
	list, _ := o.Get(path...).([]any)
	for _, w := range list {
		out = append(out, text(w))
	}
	if len(out) == 0 && column != "" {
		for w := range strings.SplitSeq(strings.Trim(o.Str("row", column), "[]"), ",") {
			if w = strings.Trim(w, `" `); w != "" {
				out = append(out, w)
			}
		}
	}
	return out
}

// destinations lists the hosts that a VirtualService leads to.
func destinations(vs *Object) []string {
	var out []string
	for _, h := range vs.List("spec", "http") {
		for _, r := range maps(h["route"]) {
			if host := text(dig(r, "destination", "host")); host != "" && !slices.Contains(out, host) {
				out = append(out, host)
			}
		}
	}
	return out
}

// gatewayRef is a Gateway as a route names it.
type gatewayRef struct {
	said            string // literally
	namespace, name string
}

func (g gatewayRef) String() string { return g.namespace + "/" + g.name }

// refTo reads a reference to a Gateway: namespace/name, a name beside the object that says it, or name.namespace.svc.cluster.local of old.
func refTo(said, beside string) gatewayRef {
	if ns, name, ok := strings.Cut(said, "/"); ok {
		return gatewayRef{said, ns, name}
	}
	name, rest, dotted := strings.Cut(said, ".")
	if ns, _, _ := strings.Cut(rest, "."); dotted {
		beside = ns
	}
	return gatewayRef{said, beside, name}
}

// boundTo lists the Gateways of a VirtualService, without the mesh.
func boundTo(vs *Object) []gatewayRef {
	var out []gatewayRef
	for _, g := range words(vs, "GATEWAYS", "spec", "gateways") {
		if g != "mesh" {
			out = append(out, refTo(g, vs.Namespace))
		}
	}
	return out
}

// systemService finds the Service that a cluster-local host names; absent says that it is known not to exist.
func systemService(v *View, host string) (svc *Object, absent bool) {
	inSystem, whole := v.Objects(SystemServices), v.Full(SystemServices)
	name, rest, _ := strings.Cut(host, ".")
	ns, _, _ := strings.Cut(rest, ".")
	read := false
	for _, o := range inSystem {
		if o.Namespace == ns && o.Name == name {
			return o, false
		}
		read = read || o.Namespace == ns
	}
	return nil, whole && read && name != "" // a namespace without any Service was not among those that were read
}

// standing says whether pods stand ready behind a Service of the system namespaces, as far as it is known.
func standing(v *View, svc *Object) (ready, known bool, why []Evidence) {
	pods, deployments, whole := v.Objects(SystemPods), v.Objects(SystemDeployments), v.Full(SystemPods)
	if svc == nil {
		return false, false, nil
	}
	selector, beside := svc.Map("spec", "selector"), false
	for _, o := range pods {
		beside = beside || o.Namespace == svc.Namespace
		taken := len(selector) > 0 && satisfies(selector, o.Map("metadata", "labels"))
		if o.Partial && !o.Has("metadata", "labels") {
			taken = strings.HasPrefix(o.Name, svc.Name+"-")
		}
		if p := parsePod(o); taken && o.Namespace == svc.Namespace && !o.Deleted() {
			known, ready = true, ready || p.Ready
			why = append(why, unreadyPod(p))
		}
	}
	for _, o := range deployments {
		labels := o.Map("spec", "template", "metadata", "labels")
		if known || o.Namespace != svc.Namespace || (len(selector) == 0 || !satisfies(selector, labels)) && o.Name != svc.Name {
			continue
		}
		if up, told, e := available(o); told {
			return up, true, []Evidence{e}
		}
	}
	if !known && whole && beside && len(selector) > 0 {
		absent, _ := v.Absent(SystemPods)
		return false, true, []Evidence{FieldEvidence(svc, svc.Name, "metadata", "name"), absent}
	}
	return ready, known, why
}

// available says whether a Deployment has pods that are ready.
func available(o *Object) (up, known bool, e Evidence) {
	c, _ := o.Condition("Available")
	row := o.Str("row", "READY")
	switch {
	case o.Has("spec", "replicas") && o.Int("spec", "replicas") == 0:
		return false, true, FieldEvidence(o, o.Str("spec", "replicas"), "spec", "replicas")
	case c.Status != "":
		return c.True(), true, ConditionEvidence(o, c)
	case row != "":
		return !strings.HasPrefix(row, "0/"), true, FieldEvidence(o, row, "READY")
	}
	return false, false, Evidence{}
}

// satisfies says whether labels satisfy a selector.
func satisfies(selector, labels map[string]string) bool {
	for k, want := range selector {
		if labels[k] != want {
			return false
		}
	}
	return true
}

// worksBy says whether the last request by a door was answered well.
func worksBy(v *View, d Door) bool {
	o := doorAnswer(v.Observations(), d)
	return o != nil && o.OK()
}

// failsBy says whether the last request by a door failed.
func failsBy(v *View, d Door) bool {
	o := doorAnswer(v.Observations(), d)
	return o != nil && o.Judged() && !o.OK()
}
