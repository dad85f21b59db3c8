// system.go: where the machinery lives: namespaces, ConfigMaps, controllers and gateways, and the lines of their logs that speak of the service.
package read

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"probe/hops"
	"probe/probe/dial"
)

// namespaces are those in which a system source is looked for: of the gateways on the path, of Istio, Knative and KServe.
func (w *want) namespaces(s hops.Source) []string {
	var out []string
	add := func(names ...string) {
		for _, n := range names {
			if n != "" && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	for _, g := range w.gateways() {
		add(g.Namespace)
	}
	add(w.opts.System.Istio, w.opts.System.Knative)
	switch s {
	case hops.SystemAuthPolicies, hops.SystemPeerAuths, hops.SystemEnvoyFilters, hops.SystemPolicies: // KServe's controller is on nobody's path
	case hops.IstioGateways:
		add(w.namedByRoutes()...)
	default:
		add(w.opts.System.KServe)
	}
	add(w.opts.System.More...)
	return out
}

// namedByRoutes are the namespaces of the Gateways that the service's VirtualServices name as NAMESPACE/NAME.
func (w *want) namedByRoutes() []string {
	var out []string
	for _, s := range w.facts.Snapshots {
		for i := range s.Objects {
			if s.Objects[i].Source != hops.VirtualServices {
				continue
			}
			names, _ := s.Objects[i].Get("spec", "gateways").([]any)
			for _, n := range names {
				name, _ := n.(string)
				if namespace, _, found := strings.Cut(name, "/"); found && !slices.Contains(out, namespace) {
					out = append(out, namespace)
				}
			}
		}
	}
	return out[:min(len(out), 4)] // a service with more is nobody's
}

// gateways are the doors' gateways that are part of the machinery. In Standard mode the cluster-local door is the service's own Service.
func (w *want) gateways() []hops.Target {
	var out []hops.Target
	for _, d := range w.facts.Flow.Doors {
		same := func(t hops.Target) bool { return t.Namespace == d.Gateway.Namespace && t.Name == d.Gateway.Name }
		if d.Gateway.Kind == "service" && !slices.ContainsFunc(out, same) && !hops.NamedFor(w.facts.Ref.Name, d.Gateway.Name) {
			out = append(out, d.Gateway)
		}
	}
	return out
}

// knativeConfigMaps names those of the ConfigMaps that decide how requests are routed and models are deployed (knative.dev/serving/config/core/configmaps,
// kserve/config/configmap, istio meshConfig).
func knativeConfigMaps() []string {
	return []string{"config-domain", "config-network", "config-istio", "config-gateway", "config-deployment", "config-features", "config-defaults",
		"config-autoscaler"}
}

const (
	kserveConfigMap = "inferenceservice-config"
	istioConfigMap  = "istio"
)

func (w *want) configMaps() []objectName {
	out := []objectName{{w.opts.System.KServe, kserveConfigMap}, {w.opts.System.Istio, istioConfigMap}}
	for _, n := range knativeConfigMaps() {
		out = append(out, objectName{w.opts.System.Knative, n})
	}
	return out
}

// systemPods lists the pods of a system namespace, once a snapshot.
func (w *want) systemPods(ctx context.Context, namespace string) ([]hops.Object, error) {
	info, _ := hops.Info(hops.SystemPods)
	return w.lists.do(ctx, namespace, func(ctx context.Context) ([]hops.Object, error) { return w.Cluster.list(ctx, info, namespace, query{}) })
}

// controller is one part of the machinery that writes about services: the pods whose names begin so, and how many of them to read.
type controller struct {
	title, namespace, prefix, container string
	pods                                int
}

func (k controller) what() string { return "log of " + k.title + " in " + k.namespace }

// controllers lists the parts whose logs are read.
func (w *want) controllers() []controller {
	s := w.opts.System
	return []controller{
		{"KServe's controller", s.KServe, "kserve-controller-manager-", "manager", 1},
		{"Knative's controller", s.Knative, "controller-", "controller", 1},
		{"the activator", s.Knative, "activator-", "activator", 2},
		{"the autoscaler", s.Knative, "autoscaler-", "autoscaler", 1},
		{"Knative's ingress controller", s.Knative, "net-", "controller", 1}, // net-istio-controller, net-gateway-api-controller, net-kourier-controller
		{"istiod", s.Istio, "istiod-", "discovery", 1},
	}
}

const systemTail = 200 // lines

// systemLogs reads the ends of the controllers' logs, the newest pod first.
func (w *want) systemLogs(info hops.SourceInfo) []task {
	var out []task
	for _, k := range w.controllers() {
		out = append(out, task{info, k.what(), k.pods, func(ctx context.Context, b *basket) {
			list, err := w.systemPods(ctx, k.namespace)
			if err != nil {
				b.done(info, k.what(), err)
				return
			}
			w.controllerLogs(ctx, b, info, k, list)
		}})
	}
	if len(out) > 0 { // the lists of pods that the tasks share
		out[0].cost += 3
	}
	return out
}

func (w *want) controllerLogs(ctx context.Context, b *basket, info hops.SourceInfo, k controller, list []hops.Object) {
	list = slices.DeleteFunc(slices.Clone(list), func(o hops.Object) bool { return !strings.HasPrefix(o.Name, k.prefix) })
	slices.SortStableFunc(list, func(a, b hops.Object) int { return b.Created().Compare(a.Created()) })
	if len(list) == 0 {
		b.done(info, k.what(), fmt.Errorf("no pod of %s is called %s...", k.namespace, k.prefix))
	}
	for i := range list[:min(len(list), k.pods)] {
		o := &list[i]
		l := logRead{namespace: o.Namespace, pod: o.Name, container: containerOf(o, k.container), tail: systemTail}
		lines, _, err := w.log(ctx, info.Source, l)
		if err != nil {
			b.done(info, l.String(), err)
			continue
		}
		if lines = slices.DeleteFunc(lines, func(l hops.Line) bool { return !w.speaks(l.Text) }); len(lines) == 0 {
			err = fmt.Errorf("its last %d lines do not speak of %s", systemTail, w.facts.Ref)
			b.done(info, l.String(), err)
			continue
		}
		b.lines(lines, false, info.Source) // only the end was read
	}
}

// containerOf finds the container by name, else the pod's first.
func containerOf(pod *hops.Object, name string) string {
	first := ""
	for _, k := range pod.List("spec", "containers") {
		o := hops.Object{Tree: k}
		if o.Str("name") == name {
			return name
		}
		if first == "" {
			first = o.Str("name")
		}
	}
	return first
}

// complaint tells warnings and errors in the logs of zap (Knative, KServe), of istiod and of klog.
var complaint = regexp.MustCompile(`(?i)"(?:severity|level)":\s*"(?:warn|error|fatal|panic|dpanic)|\t(?:warn|error|fatal)\t|^[EWF][0-9]{4} `)

// speaks says whether a line of the machinery's log may concern the service.
func (w *want) speaks(text string) bool {
	ref := w.facts.Ref
	return complaint.MatchString(text) || strings.Contains(text, ref.Name) && strings.Contains(text, ref.Namespace)
}

const (
	accessTail    = 400 // lines of one gateway pod
	accessSeconds = 60
	accessPods    = 3 // of one gateway; any of them may have taken the request
)

// accessLogs reads the last minute of the gateways' logs. Envoy flushes its access log once a second
// (envoy --file-flush-interval-msec of pilot-agent): who has just sent a request waits before asking.
func (w *want) accessLogs(info hops.SourceInfo) []task {
	var out []task
	for _, g := range w.gateways() {
		what := "access log of service " + g.Namespace + "/" + g.Name
		out = append(out, task{info, what, accessPods + 2, func(ctx context.Context, b *basket) {
			pods, err := w.Pods(ctx, g)
			if err != nil {
				b.done(info, what, err)
				return
			}
			w.gatewayLogs(ctx, b, info, what, pods)
		}})
	}
	return out
}

func (w *want) gatewayLogs(ctx context.Context, b *basket, info hops.SourceInfo, what string, pods []dial.PodAddress) {
	var jobs []job
	for _, p := range pods[:min(len(pods), accessPods)] {
		if p.Name == "" {
			continue
		}
		jobs = append(jobs, func(ctx context.Context, b *basket) {
			lines, _, err := w.log(ctx, info.Source, logRead{namespace: p.Namespace, pod: p.Name, other: "istio-proxy", tail: accessTail, seconds: accessSeconds})
			if err != nil {
				b.done(info, what+" in pod "+p.Name, err)
				return
			}
			b.lines(slices.DeleteFunc(lines, func(l hops.Line) bool { return !w.concerns(l) }), false, info.Source)
		})
	}
	own := newBasket(w.opts.Now())
	side(ctx, own, jobs)
	if len(own.snap.Lines) == 0 && len(own.snap.Gaps) == 0 { // silence does not prove that nothing came: the log is off by default
		own.done(info, what, errors.New("no line of this service in the last "+strconv.Itoa(accessSeconds)+" s: either nothing came, or access logging is off"))
	}
	b.add(own)
}

// concerns says whether an access log line is about a request to the service: by its authority, which is the one after the route's rewrite, by the
// cluster that it went to, or by an id that one of our answers bore.
func (w *want) concerns(l hops.Line) bool {
	e, ok := hops.ParseAccess(l)
	if !ok {
		return false
	}
	parts := strings.Split(e.Cluster, "|") // outbound|80||NAME.NAMESPACE.svc.cluster.local
	for _, host := range []string{bare(e.Authority), parts[len(parts)-1]} {
		if slices.Contains(w.hosts, host) || w.inService(host) {
			return true
		}
	}
	return slices.ContainsFunc(w.facts.Observations, func(o hops.Observation) bool {
		id := o.Header["x-request-id"]
		return id != "" && id == e.RequestID
	})
}

// inService tells the names that KServe and Knative give inside the cluster: NAME-predictor-00001.NAMESPACE, with or without svc.cluster.local.
func (w *want) inService(host string) bool {
	name, rest, _ := strings.Cut(host, ".")
	namespace, _, _ := strings.Cut(rest, ".")
	return namespace == w.facts.Ref.Namespace && hops.NamedFor(w.facts.Ref.Name, name)
}
