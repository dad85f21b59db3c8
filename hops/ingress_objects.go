// ingress_objects.go: what can go wrong with the Gateway objects in front of the service, and with the controller's probes of the gateways.
package hops

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

func ingressObjectRules() []Rule {
	return []Rule{
		{
			ID: "gateway-selector-mismatch", Hop: IngressGateway,
			Title: "a Gateway selects other pods than those of its gateway, or none",
			Means: "The selector of an Istio Gateway says which pods open its port. Labels that differ by one (a common label added by kustomize is enough) leave the real gateway without a listener. Knative finds nobody to probe then, and may count the route as ready.",
			Fix:   "compare spec.selector in `kubectl get gateways.networking.istio.io -A -o yaml` with `kubectl get pods -n istio-system --show-labels`; align it with the pods that the gateway's Service selects, and see config-istio in knative-serving",
			Looks: Looks{
				Status: "all True for what exists; a new kingress is Uninitialized, or Ready without a probe",
				Client: "outside Gateway: connection refused; cluster-local Gateway: 503 'upstream connect error ... remote connection failure' on the InferenceService's host",
				Logs:   "net-istio 'Skipping Gateway ... because it has no corresponding Service'; gateway 503 URX,UF; istioctl analyze IST0101 Referenced selector not found, IST0104",
			},
			Needs:    []Source{IstioGateways, VirtualServices, SystemPods, SystemDeployments, SystemServices, SystemLogs, Analysis, Requests, AccessLogs},
			Explains: []string{"gateway-unreachable", "ingress-probe-failing", "wrong-host-no-route"},
			Match:    selectorMismatch,
		},
		{
			ID: "gateway-object-missing", Hop: IngressGateway,
			Title: "a Gateway that the routes name does not exist",
			Means: "Knative and KServe bind their routes to Gateway objects by name. Without the object no listener is opened: nothing new becomes ready, and what exists stops at that gateway.",
			Fix:   "`kubectl get gateways.networking.istio.io -A`: apply net-istio.yaml of the Knative release to get knative-ingress-gateway and knative-local-gateway back, or name the existing ones in config-istio (knative-serving) and inferenceservice-config (kserve)",
			Looks: Looks{
				Status: "new kingress, ksvc: Unknown ReconcileIngressFailed 'Ingress reconciliation failed'; existing ones True",
				Client: "cluster-local Gateway gone: 503 'upstream connect error ... remote connection failure'; outside Gateway gone: connection refused",
				Logs:   "net-istio: failed to get Gateway \"NAMESPACE/NAME\": ... not found",
			},
			Needs:    []Source{IstioGateways, VirtualServices, KnativeIngresses, Routes, KnativeServices, InferenceServices, SystemLogs, Requests, AccessLogs},
			Explains: []string{"gateway-unreachable", "ingress-probe-failing", "wrong-host-no-route", "gateway-selector-mismatch", "kserve-virtualservice-missing"},
			Match:    gatewayMissing,
		},
		{
			ID: "ingress-probe-failing", Hop: IngressGateway,
			Title: "the gateways do not serve the Knative route yet, by the ingress controller's own probes",
			Means: "After writing the route the ingress controller asks every gateway pod for it and waits until all answer. They do not: they are not there or not reachable from the controller, or the route does not reach them. Restarting the model changes nothing.",
			Fix:   "read the probe's error in `kubectl logs -n knative-serving deploy/net-istio-controller` ('Probing of ... failed'): refused or timeout means gateway pods, ports or network policies; 404 means that istiod does not hand the route on; 503 means the revision; then see `kubectl get pods -n istio-system`",
			Looks: Looks{
				Status: "kingress LoadBalancerReady Unknown Uninitialized 'Waiting for load balancer to be ready'; ksvc and isvc the same",
				Client: "404 with an empty body, or nothing",
				Logs:   "net-istio: Probing of http://HOST:80/healthz failed, IP: ..., ready: false, error: ... (depth: N)",
			},
			Needs:    []Source{KnativeIngresses, Routes, KnativeServices, InferenceServices, SystemLogs, VirtualServices},
			Explains: []string{"kserve-virtualservice-missing", "wrong-host-no-route"},
			Match:    probesFail,
		},
	}
}

// gatewayPlace is the step at which a Gateway of that name works.
func gatewayPlace(v *View, name string) Step {
	if strings.Contains(name, "local") {
		return Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}
	}
	return gatewayStep(Outside)
}

// knativeGateways lists the Gateways that Knative's own routes of the service are bound to.
func knativeGateways(v *View) []gatewayRef {
	var out []gatewayRef
	for _, vs := range v.Objects(VirtualServices) {
		if vs.Name != v.Ref().Name && NamedFor(v.Ref().Name, vs.Name) {
			out = append(out, boundTo(vs)...)
		}
	}
	return out
}

// absentGateway finds Gateways that a route of the service names and that do not exist. foreign asks for those that KServe alone names, while
// Knative's routes use others, or others of the kind are there.
func absentGateway(foreign bool) func(*View) []Match {
	return func(v *View) []Match {
		there := v.Objects(IstioGateways)
		gone, whole := v.Absent(IstioGateways)
		theirs, route := knativeGateways(v), kserveRoute(v)
		var out []Match
		for _, vs := range v.Objects(VirtualServices) {
			for _, g := range boundTo(vs) {
				if !whole || v.Ref().Name == "" || !NamedFor(v.Ref().Name, vs.Name) || !gatewayRead(there, g) || slices.ContainsFunc(there, g.is) {
					continue
				}
				used := slices.ContainsFunc(theirs, func(t gatewayRef) bool { return t.String() == g.String() })
				alike := slices.ContainsFunc(there, func(o *Object) bool { return strings.Contains(o.Name, "local") == strings.Contains(g.name, "local") })
				if alone := vs == route && !used && (alike || len(theirs) > 0); alone != foreign {
					continue
				}
				m := Match{Step: gatewayPlace(v, g.name), Evidence: []Evidence{FieldEvidence(vs, g.said, "spec", "gateways"), gone},
					Summary: "Gateway " + g.String() + ", which VirtualService " + vs.Name + " names, does not exist"}
				if foreign {
					m.Step = Step{Hop: KServeRoute, Object: vs.Ref()}
				}
				out = append(out, m)
			}
		}
		return latest(merge(out), 3)
	}
}

func (g gatewayRef) is(o *Object) bool { return o.Name == g.name && o.Namespace == g.namespace }

// gatewayRead says whether the Gateways of a reference's namespace were among those that were read.
func gatewayRead(there []*Object, g gatewayRef) bool {
	return g.namespace == "knative-serving" || g.namespace == "istio-system" ||
		slices.ContainsFunc(there, func(o *Object) bool { return o.Namespace == g.namespace })
}

var getGateway = regexp.MustCompile(`failed to get Gateway \\*"?([a-z0-9-]+)/([a-z0-9.-]+?)\\*"?:.*not found`)

// gatewayMissing asks the list of Gateways, the controller's log, the conditions that it leaves, and the answers that fit.
func gatewayMissing(v *View) []Match {
	absent := absentGateway(false)(v)
	there, whole := v.Objects(IstioGateways), v.Full(IstioGateways)
	logged, failed := gatewayNotFound(v), reconcileFailed(v)
	saw := append(refusedBehind(v), gatewayRefuses(v)...)
	switch {
	case worksBy(v, Outside) && worksBy(v, ClusterLocal):
		return nil
	case len(absent) > 0:
		for _, m := range append(logged, append(failed, saw...)...) {
			absent[0].Evidence = append(absent[0].Evidence, m.Evidence...)
		}
		return latest(absent, 5)
	case len(logged) > 0:
		for _, m := range failed {
			logged[0].Evidence = append(logged[0].Evidence, m.Evidence...)
		}
		return logged
	case whole && len(there) > 0:
		return failed
	}
	for i := range saw {
		saw[i].Confidence, saw[i].Summary = Possible, ""
	}
	return append(failed, saw...)
}

// gatewayNotFound finds the controller's word for it. It is about every route; a Gateway that is there again is no longer missing.
func gatewayNotFound(v *View) []Match {
	there := v.Objects(IstioGateways)
	var out []Match
	for _, l := range v.Lines(SystemLogs) {
		m := getGateway.FindStringSubmatch(l.Text)
		if m == nil || slices.ContainsFunc(there, gatewayRef{"", m[1], m[2]}.is) {
			continue
		}
		out = append(out, Match{Step: gatewayPlace(v, m[2]), Evidence: []Evidence{LineEvidence(l)}, Summary: "Gateway " + m[1] + "/" + m[2] + " does not exist"})
	}
	return latest(merge(out), 2)
}

// reconcileFailed finds the condition that the controller leaves when it cannot list what it should probe.
func reconcileFailed(v *View) []Match {
	tell := func(_ *Object, c Condition) bool {
		return c.Reason == "ReconcileIngressFailed" && v.past(c.Since, routeGrace)
	}
	found := FirstOf(routeCondition(KnativeIngresses, "Unknown", tell), routeCondition(Routes, "Unknown", tell),
		routeCondition(KnativeServices, "Unknown", tell), routeCondition(InferenceServices, "Unknown", tell))(v)
	for i := range found {
		found[i].Confidence = Likely
	}
	return found
}

var connectFailed = Re(`(?i)upstream connect error.*(remote connection failure|connection failure|delayed_connect_error|connection refused)`)

// refusedBehind finds the words of a gateway to which the next hop's port is shut: the cluster-local gateway has no listener.
func refusedBehind(v *View) []Match {
	answers := atSecondGateway(func(o *Observation) ([]Evidence, bool) {
		text := o.wording()
		return sawBody(o), connectFailed.Match(text) && !strings.Contains(text, "TLS") && !strings.Contains(text, "timeout")
	})(v)
	otherwise := false
	lines := accessLines(v, func(e AccessEntry) (Match, bool) {
		refused := e.Flag("UF") && strings.Contains(strings.ToLower(e.Details+e.Failure), "refused")
		otherwise = otherwise || refused && !toLocalGateway(v, e.Cluster) && clusterHost(e.Cluster) != ""
		return Match{Step: Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}}, refused && toLocalGateway(v, e.Cluster)
	})
	if otherwise && len(lines) == 0 { // the log names another hop
		return nil
	}
	return merge(append(lines, answers...))
}

// selectorMismatch asks the objects; then what controllers and istioctl say; then the answers that fit.
func selectorMismatch(v *View) []Match {
	told, judged := selectsOthers(v)
	said := selectorSaid(v)
	refused := refusedBehind(v)
	gatewaysRead := v.Full(IstioGateways)
	switch {
	case len(told) > 0:
		for i := range told {
			for _, m := range append(refused, gatewayRefuses(v)...) {
				if m.Step.Hop == told[i].Step.Hop {
					told[i].Evidence = append(told[i].Evidence, m.Evidence...)
				}
			}
		}
		return latest(told, 4)
	case len(said) > 0:
		return said
	case judged || gatewaysRead || v.Flow().Mode == Standard:
		return nil
	}
	for i := range refused {
		refused[i].Confidence = Likely
		refused[i].Summary = "nobody listens at the cluster-local gateway: its Gateway object is missing or selects other pods"
	}
	return refused
}

// selectsOthers compares the selectors of the path's Gateways with the labels of the pods behind the doors' Services. A Gateway without any
// matching workload is told from one whose pods are only down by the templates of the Deployments.
func selectsOthers(v *View) (out []Match, judged bool) {
	pods, deployments := v.Objects(SystemPods), v.Objects(SystemDeployments)
	whole := v.Full(SystemPods)
	for _, d := range []Door{Outside, ClusterLocal} {
		svc := gatewayService(v, d)
		for _, g := range pathGateways(v, d) {
			selector := g.Map("spec", "selector")
			if len(selector) == 0 {
				continue
			}
			behind, any, there := false, false, 0
			for _, p := range pods {
				labels := p.Map("metadata", "labels")
				taken := satisfies(selector, labels)
				any = any || taken
				if svc != nil && p.Namespace == svc.Namespace && len(svc.Map("spec", "selector")) > 0 && satisfies(svc.Map("spec", "selector"), labels) && len(labels) > 0 {
					there, behind = there+1, behind || taken
				}
			}
			for _, o := range deployments {
				any = any || satisfies(selector, o.Map("spec", "template", "metadata", "labels"))
			}
			judged = judged || there > 0 || any
			works := worksBy(v, d) || worksBy(v, Outside)
			if behind || works || there == 0 && (any || !whole || len(pods) == 0) || any && !failsBy(v, d) && !failsBy(v, Outside) {
				continue
			}
			m := Match{Step: gatewayStep(Outside), Evidence: unmet(g, selector, pods), Summary: "Gateway " + g.Namespace + "/" + g.Name + " does not select the pods of its gateway"}
			if d == ClusterLocal {
				m.Step = Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}
			}
			if there == 0 || any {
				m.Confidence = Likely
			}
			m.Step.Object = g.Ref()
			out = append(out, m)
		}
	}
	return merge(out), judged
}

// unmet quotes the first label of a selector that no pod has; the first of all when each is had by some.
func unmet(g *Object, selector map[string]string, pods []*Object) []Evidence {
	keys := make([]string, 0, len(selector))
	for k := range selector {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	at := slices.IndexFunc(keys, func(k string) bool {
		return !slices.ContainsFunc(pods, func(p *Object) bool { return p.Label(k) == selector[k] })
	})
	key := keys[max(at, 0)]
	return []Evidence{FieldEvidence(g, selector[key], "spec", "selector", key)}
}

// pathGateways lists the Gateways that stand for a door: those that the service's routes name, else those of Knative's default names.
func pathGateways(v *View, d Door) []*Object {
	refs := knativeGateways(v)
	if route := kserveRoute(v); route != nil {
		refs = append(refs, boundTo(route)...)
	}
	if len(refs) == 0 {
		refs = []gatewayRef{{"", "knative-serving", "knative-ingress-gateway"}, {"", "knative-serving", "knative-local-gateway"}, {"", "knative-serving", "cluster-local-gateway"}}
	}
	var out []*Object
	for _, o := range v.Objects(IstioGateways) {
		if slices.ContainsFunc(refs, func(g gatewayRef) bool { return g.is(o) }) && strings.Contains(o.Name, "local") == (d == ClusterLocal) {
			out = append(out, o)
		}
	}
	return out
}

var (
	skipped     = Re(`(?i)skipping gateway \S+ because it has no corresponding service|skipping server .* doesn't contain a port`)
	misselected = Re(`(?i)IST0104|referenced selector not found|\(gateway [^)]*\).*not exposed on (the|pod)`)
)

// selectorSaid finds what net-istio and istioctl say of it (istio.io/istio/pkg/config/analysis/msg).
func selectorSaid(v *View) []Match {
	var out []Match
	for _, l := range slices.Concat(v.Lines(SystemLogs), v.Lines(Analysis)) {
		if l.Source == SystemLogs && skipped.Match(l.Text) || l.Source == Analysis && misselected.Match(l.Text) && strings.Contains(strings.ToLower(l.Text), "gateway") {
			out = append(out, Match{Step: gatewayPlace(v, l.Text), Confidence: Likely, Evidence: []Evidence{LineEvidence(l)}})
		}
	}
	if worksBy(v, Outside) {
		return nil
	}
	return latest(merge(out), 3)
}

var probingFailed = Re(`(?i)probing of \S+ failed, IP: .*ready: false`)

// probesFail finds what the controller's prober says, and the conditions that stand meanwhile. A healthy change takes seconds.
func probesFail(v *View) []Match {
	waits := func(_ *Object, c Condition) bool {
		return c.Reason == "Uninitialized" && !strings.Contains(strings.ToLower(c.Message), "certificate") && v.past(c.Since, routeGrace)
	}
	conditions := FirstOf(routeCondition(KnativeIngresses, "Unknown", waits), routeCondition(Routes, "Unknown", waits),
		routeCondition(KnativeServices, "Unknown", waits), routeCondition(InferenceServices, "Unknown", waits))(v)
	ready, known := slices.ContainsFunc(v.Objects(KnativeIngresses), (*Object).Ready), v.hosts()
	var lines []Match
	for _, l := range v.Lines(SystemLogs) {
		before := !l.Time.IsZero() && l.Time.Before(v.ix.created) // of an earlier service of that name
		if !before && probingFailed.Match(l.Text) && probesOurs(v, known, l.Text) {
			lines = append(lines, Match{Step: Step{Hop: KnativeRoute, Component: cmp.Or(ComponentInName(hostInProbe(l.Text)), v.Flow().EntryPoint)}, Evidence: []Evidence{LineEvidence(l)},
				Summary: "the gateways do not answer the ingress controller's probe for this route"})
		}
	}
	lines = latest(merge(lines), 2)
	for i := range conditions {
		conditions[i].Confidence = Likely
		for _, l := range lines {
			conditions[i].Evidence = append(conditions[i].Evidence, l.Evidence...)
		}
	}
	if len(conditions) > 0 {
		return merge(conditions)
	}
	if ready {
		return nil // the probes of a healthy change fail for a moment too
	}
	return Sure(Possible, func(*View) []Match { return lines })(v)
}

var probedHost = regexp.MustCompile(`(?i)probing of https?://([^\s:/"]+)`)

// hostInProbe is the host that a line of the prober is about; "" for any other line.
func hostInProbe(line string) string {
	if m := probedHost.FindStringSubmatch(line); m != nil {
		return bareHost(m[1])
	}
	return ""
}

// probesOurs says whether a line of the prober is about a host of the service: one that is known, a tag's before it, or, while none is known, a name
// that Knative's default templates give (NAME.NAMESPACE.DOMAIN).
func probesOurs(v *View, known hosts, line string) bool {
	host, ref := hostInProbe(line), v.Ref()
	if ref.Name == "" || known.kind(host) == hostOwn || known.kind(host) == hostPart {
		return true
	}
	for _, c := range v.Flow().Components {
		for _, r := range c.Revisions {
			if rest, tagged := strings.CutPrefix(host, r.Tag+"-"); r.Tag != "" && tagged && known.kind(rest) == hostPart {
				return true
			}
		}
	}
	label, rest, _ := strings.Cut(host, ".")
	ns, _, _ := strings.Cut(rest, ".")
	return known.kind(host) == hostUnknown && NamedFor(ref.Name, label) && (ref.Namespace == "" || ns == "" || ns == ref.Namespace)
}

// ingressConfig reads the part of KServe's configuration that is about routes; nil when it is not there or no JSON.
func ingressConfig(o *Object) map[string]any {
	config := map[string]any{}
	if o.Name != "inferenceservice-config" || json.Unmarshal([]byte(o.Str("data", "ingress")), &config) != nil {
		return nil
	}
	return config
}
