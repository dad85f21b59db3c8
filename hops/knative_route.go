// knative_route.go: what can go wrong at the hop knative-route: the Knative Service's route, its traffic, and the ingress controller behind it.
package hops

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// A healthy service shows IngressNotConfigured for one to three seconds at each change.
const routeGrace = 60 * time.Second

func knativeRouteRules() []Rule {
	broken := []string{"revision-missing-waiting", "kserve-virtualservice-missing", "wrong-host-no-route"}
	return append([]Rule{
		{
			ID: "ingress-controller-not-running", Hop: KnativeRoute,
			Title: "no ingress controller has looked at the Knative route, so no gateway knows the host",
			Means: "Knative wrote an Ingress object and nobody turns it into routes of a gateway: the controller of its ingress class (net-istio, net-kourier, ...) is down, not installed, or config-network names another class.",
			Fix:   "see `kubectl get deploy -n knative-serving` for net-istio-controller (or net-kourier-controller, net-gateway-api-controller) and `kubectl get cm config-network -n knative-serving -o yaml` for ingress-class; bring the controller of that class up, or set ingress-class to the one that is installed",
			Looks: Looks{
				Status: "ksvc, Route and isvc Unknown IngressNotConfigured 'Ingress has not yet been reconciled.'; kingress without status",
				Client: "404 with an empty body, flag NR",
				Logs:   "nothing about this service in the controller's log, or no controller",
			},
			Needs: []Source{KnativeIngresses, Routes, KnativeServices, InferenceServices, SystemDeployments, SystemPods, SystemConfigMaps, VirtualServices,
				Requests},
			Explains: broken,
			Match:    AnyOf(controllerDown, routeGone),
		},
		{
			ID: "ingress-controller-stuck", Hop: KnativeRoute,
			Title: "the ingress controller runs and does not look at the Knative route",
			Means: "The controller cannot list or watch what it works on, so nothing new gets through: most often one foreign Istio object has a field that its version does not know. Routes from before go on working.",
			Fix:   "read `kubectl logs -n knative-serving deploy/net-istio-controller`: remove the object or field that it cannot read, or take the net-istio release that matches the Istio; then `kubectl rollout restart -n knative-serving deploy/net-istio-controller`",
			Looks: Looks{
				Status: "as ingress-controller-not-running, with the controller Running; no VirtualService is written",
				Client: "404 with an empty body for a new service, old ones work",
				Logs:   "Failed to list *v1alpha3.VirtualService: ... unknown field; leader election lost; timed out waiting for caches to sync",
			},
			Needs:    []Source{KnativeIngresses, Routes, KnativeServices, InferenceServices, SystemDeployments, SystemPods, SystemConfigMaps, SystemLogs},
			Explains: slices.Concat(broken, []string{"ingress-probe-failing"}),
			Match:    controllerStuck(Re(`(?i)(failed to (list|watch) \S*(virtualservice|gateway|ingress|destinationrule|httproute)\b.*(unknown field|cannot unmarshal|unmarshal|decode|could not find the requested resource|forbidden))|leader ?election lost|(failed to wait for|timed out waiting for).* caches? to sync`)),
		},
		{
			ID: "reconcile-virtualservice-failed", Hop: KnativeRoute,
			Title: "the ingress controller could not write the route",
			Means: "The API server or a webhook refused the VirtualService of the Knative route, or one of that name belongs to somebody else. Gateways keep the old route, or have none.",
			Fix:   "read the message: free the name (`kubectl get virtualservice -n {ns}`), repair the webhook that denies, or give net-istio-controller its ClusterRole back",
			Looks: Looks{
				Status: "kingress LoadBalancerReady=False ReconcileVirtualServiceFailed, or NetworkConfigured=False NotOwned",
				Client: "404 with an empty body, or the old route answers",
				Logs:   "Failed to reconcile Ingress: failed to create VirtualService",
			},
			Needs:    []Source{KnativeIngresses, Routes, KnativeServices, InferenceServices, Events, SystemLogs},
			Explains: broken,
			Match: FirstOf(
				FirstOf(routeCondition(KnativeIngresses, "False", notWritten), routeCondition(Routes, "False", notWritten),
					routeCondition(KnativeServices, "False", notWritten), routeCondition(InferenceServices, "False", notWritten)),
				Sure(Likely, AnyOf(
					OnEvent(KnativeRoute, "", Re(`(?i)failed to (create|update|reconcile) VirtualService.*(denied|forbidden|invalid|not own|already exists)`)),
					controllerSaid(KnativeRoute, Re(`(?i)(failed to reconcile ingress|failed to (create|update) VirtualService).*(denied the request|forbidden|is invalid|already exists|not own)`)))),
			),
		},
		{
			ID: "route-target-missing", Hop: KnativeRoute,
			Title: "the route names a revision or configuration that does not exist",
			Means: "The traffic block points at a revision that was deleted, garbage-collected, or that belongs to another service. Knative changes nothing until it is corrected.",
			Fix:   "list the revisions (`kubectl get revisions -n {ns}`) and let the traffic point at one of them: for an InferenceService remove or set spec.predictor.canaryTrafficPercent of {isvc} and apply it again",
			Looks: Looks{
				Status: "Route AllTrafficAssigned=False RevisionMissing or ConfigurationMissing '... referenced in traffic not found.'; RevisionNotOwned",
				Client: "the old route answers; 404 or 503 for a tag or a new service",
			},
			Needs:    []Source{Routes, KnativeServices, InferenceServices},
			Explains: broken,
			Match: FirstOf(routeCondition(Routes, "False", noTarget), routeCondition(KnativeServices, "False", noTarget),
				routeCondition(InferenceServices, "False", noTarget)),
		},
		{
			ID: "revision-missing-waiting", Hop: KnativeRoute,
			Title: "the route has no revision that is ready",
			Means: "No request can be answered until a revision is ready. In the first minutes of a new service that is normal; later it is a consequence: the cause lies with the revision, its pods or its containers.",
			Fix:   "look at `kubectl get revisions,pods -n {ns} -l serving.kserve.io/inferenceservice={isvc}` and at the events of the pods; if they still start, wait for the progress deadline",
			Looks: Looks{
				Status: "ksvc and Route RevisionMissing: Unknown 'Configuration ... is waiting for a Revision to become ready.', False 'does not have any ready Revision.'",
				Client: "404 with an empty body: there is no route yet",
			},
			Needs:    []Source{Routes, KnativeServices, InferenceServices},
			Explains: []string{"kserve-virtualservice-missing", "wrong-host-no-route"},
			Match:    noRevision,
		},
	}, trafficRules()...)
}

// controllerDown finds a route that nobody looked at while its controller is not there, or is not known to be.
func controllerDown(v *View) []Match {
	out := unreconciled(v)
	up, known, why := ingressController(v)
	if up {
		return nil
	}
	for i := range out {
		out[i].Evidence = append(out[i].Evidence, why...)
		if !known {
			out[i].Confidence = Likely
		}
	}
	return out
}

// controllerStuck finds a route that nobody looked at although the controller runs, or a controller that says so itself.
func controllerStuck(complaint Pattern) func(*View) []Match {
	return func(v *View) []Match {
		out := unreconciled(v)
		said := controllerSaid(KnativeRoute, complaint)(v)
		up, known, _ := ingressController(v)
		switch {
		case known && !up:
			return nil
		case len(said) == 0 && !known:
			return nil
		case len(out) == 0 && seenRoute(v):
			return nil // old routes go on working
		case len(out) == 0:
			for i := range said {
				said[i].Confidence = Likely
			}
			return said
		}
		for i := range out {
			out[i].Confidence = Likely
			for _, m := range said {
				out[i].Confidence = Certain
				out[i].Evidence = append(out[i].Evidence, m.Evidence...)
			}
		}
		return out
	}
}

// seenRoute says whether anything is known of the service's own route.
func seenRoute(v *View) bool {
	return len(v.Objects(KnativeIngresses))+len(v.Objects(Routes))+len(v.Objects(KnativeServices)) > 0
}

// controllerSaid finds lines of the controllers' logs, at the component that they name.
func controllerSaid(h Hop, p Pattern) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, l := range v.Lines(SystemLogs) {
			if p.Match(l.Text) && !strings.Contains(l.Text, "the object has been modified") {
				out = append(out, Match{Step: Step{Hop: h, Component: ComponentInName(l.Text)}, Evidence: []Evidence{LineEvidence(l)}})
			}
		}
		return latest(merge(out), 3)
	}
}

// unreconciled finds routes that no ingress controller has looked at (knative.dev/serving/pkg/reconciler/route: the condition stands while the
// Ingress' observed generation is not its generation). Before a revision is ready there is no Ingress, and the condition means nothing.
func unreconciled(v *View) []Match {
	var bare []Match
	seen := false
	for _, o := range v.Objects(KnativeIngresses) {
		switch {
		case len(o.Conditions()) > 0:
			seen = seen || o.Int("status", "observedGeneration") >= o.Int("metadata", "generation")
		case !o.Partial && v.past(o.Created(), routeGrace):
			e := FieldEvidence(o, o.Name, "metadata", "name")
			if at := o.Str("metadata", "creationTimestamp"); at != "" {
				e = FieldEvidence(o, at, "metadata", "creationTimestamp")
			}
			bare = append(bare, Match{Step: v.StepOf(KnativeRoute, o), Evidence: []Evidence{e},
				Summary: "Knative Ingress " + o.Name + " has no status: no ingress controller has looked at it"})
		}
	}
	route := func(o *Object, c Condition) bool {
		assigned, known := o.Condition("AllTrafficAssigned")
		return c.Reason == "IngressNotConfigured" && c.Type == "IngressReady" && (!known || assigned.True())
	}
	copied := func(_ *Object, c Condition) bool { return c.Reason == "IngressNotConfigured" }
	conditions := FirstOf(stale(Routes, route), stale(KnativeServices, copied), stale(InferenceServices, copied))(v)
	switch {
	case seen:
		return nil // old Knative says the same while its probes fail
	case len(bare) > 0:
		return append(bare, conditions...)[:len(bare)]
	}
	return conditions
}

// stale finds conditions that are Unknown for longer than a healthy change takes.
func stale(s Source, tell func(*Object, Condition) bool) func(*View) []Match {
	return func(v *View) []Match {
		return routeCondition(s, "Unknown", func(o *Object, c Condition) bool { return tell(o, c) && v.past(c.Since, routeGrace) })(v)
	}
}

var componentCondition = regexp.MustCompile(`^(Predictor|Transformer|Explainer)`)

// routeCondition finds conditions of a route, or copies of them on the objects above; a component's on the InferenceService at that component.
func routeCondition(s Source, status string, tell func(*Object, Condition) bool) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, o := range v.Objects(s) {
			for _, c := range o.Conditions() {
				if c.Status != status || !tell(o, c) {
					continue
				}
				step := v.StepOf(KnativeRoute, o)
				step.Revision, step.Weight = "", 0
				if m := componentCondition.FindString(c.Type); m != "" && s == InferenceServices {
					step.Component = strings.ToLower(m)
				}
				out = append(out, Match{Step: step, Evidence: []Evidence{ConditionEvidence(o, c)}, Summary: Clip(c.Message, 300)})
			}
		}
		return latest(merge(out), 2)
	}
}

// notWritten tells a route that the controller could not write.
func notWritten(_ *Object, c Condition) bool {
	return c.Reason == "ReconcileVirtualServiceFailed" || c.Reason == "NotOwned" && foreignRoute(c.Message)
}

// foreignRoute says whether a message speaks of an Istio object that Knative does not own; of others, resource-not-owned speaks.
func foreignRoute(message string) bool {
	return strings.Contains(message, "existing VirtualService") || strings.Contains(message, "existing Gateway")
}

// noTarget tells a traffic block that names what is not there.
func noTarget(_ *Object, c Condition) bool {
	return c.Reason == "RevisionNotOwned" || strings.HasSuffix(c.Reason, "Missing") && strings.Contains(c.Message, "referenced in traffic not found")
}

// noRevision finds routes without a ready revision. One reason has five messages: Unknown while it waits, False when the revision failed.
func noRevision(v *View) []Match {
	missing := func(o *Object, c Condition) bool { return c.Reason == "RevisionMissing" && !noTarget(o, c) }
	failed := FirstOf(routeCondition(Routes, "False", missing), routeCondition(KnativeServices, "False", missing), routeCondition(InferenceServices, "False", missing))
	waits := FirstOf(routeCondition(Routes, "Unknown", missing), routeCondition(KnativeServices, "Unknown", missing), routeCondition(InferenceServices, "Unknown", missing))
	out := Sure(Likely, failed)(v)
	for _, m := range waits(v) {
		at := m.Evidence[len(m.Evidence)-1].At
		switch {
		case v.Age(at) == 0:
			m.Severity, m.Confidence = Warning, Possible
		case v.Age(at) < startGrace:
			m.Severity = Note
		default:
			m.Severity, m.Confidence = Warning, Likely
		}
		out = append(out, m)
	}
	return append(merge(out), justMade(v)...)
}

// justMade finds a service of Knative mode that was made so lately that KServe's controller has not looked at it: it has no revision yet.
func justMade(v *View) []Match {
	isvc := v.Service()
	if len(isvc.Conditions()) > 0 || v.Flow().Mode != Knative || !v.starts(isvc) || len(v.Objects(KnativeServices))+len(v.Objects(Routes)) > 0 {
		return nil
	}
	made := FieldEvidence(isvc, isvc.Str("metadata", "creationTimestamp"), "metadata", "creationTimestamp")
	made.At = isvc.Created()
	return []Match{{Step: Step{Hop: KnativeRoute, Component: v.Flow().EntryPoint}, Severity: Note, Evidence: []Evidence{made},
		Summary: "inferenceservice " + isvc.Name + " was just made: it has no revision yet"}}
}

// The controllers of the ingress classes (annotation networking.knative.dev/ingress-class), by the names of their Deployments, old ones included.
func controllerNames(class string) *regexp.Regexp {
	switch {
	case strings.Contains(class, "kourier"):
		return kourierController
	case strings.Contains(class, "contour"):
		return contourController
	case strings.Contains(class, "gateway-api"):
		return gatewayAPIController
	case class == "" || strings.Contains(class, "istio"):
		return istioController
	}
	return nil
}

var (
	istioController      = regexp.MustCompile(`^(net-istio-controller|networking-istio)`)
	kourierController    = regexp.MustCompile(`^(net-kourier-controller|3scale-kourier-control|kourier-control)`)
	contourController    = regexp.MustCompile(`^(net-contour-controller|contour-ingress-controller)`)
	gatewayAPIController = regexp.MustCompile(`^net-gateway-api-controller`)
)

// ingressController says whether the controller of the route's ingress class is up, as far as it is known.
func ingressController(v *View) (up, known bool, why []Evidence) {
	class := ""
	for _, o := range v.Objects(SystemConfigMaps) {
		if o.Name == "config-network" {
			for _, key := range []string{"ingress.class", "ingress-class"} {
				if c := o.Str("data", key); c != "" {
					class = c
				}
			}
		}
	}
	for _, o := range v.Objects(KnativeIngresses) {
		for _, key := range []string{"networking.knative.dev/ingress.class", "networking.knative.dev/ingress-class"} {
			if c := o.Annotation(key); c != "" {
				class = c
			}
		}
	}
	names := controllerNames(class)
	up, known, why = systemWorkload(v, names)
	return up, known && names != nil, why
}

// routeGone finds a route that was written once and is there no more, while the controller that would write it again is down: every status goes on
// saying True.
func routeGone(v *View) []Match {
	routes, whole := v.Objects(VirtualServices), v.Full(VirtualServices)
	up, known, why := ingressController(v)
	var stopped *Observation
	seen := v.Observations()
	for i := range seen {
		if o := &seen[i]; o.Judged() && !o.OK() && o.Status == 404 && Suspect(o) == KnativeRoute {
			stopped = o
		}
	}
	gone, listed := v.Absent(VirtualServices)
	if !whole || !listed || !known || up || stopped == nil || v.Flow().Mode != Knative {
		return nil
	}
	var out []Match
	for _, c := range v.Flow().Components {
		if slices.ContainsFunc(routes, func(o *Object) bool { return o.Name == c.Service+"-ingress" }) {
			continue
		}
		out = append(out, Match{Step: Step{Hop: KnativeRoute, Component: c.Name}, Summary: "the VirtualService " + c.Service + "-ingress is gone, and the controller that would write it again is down",
			Evidence: append([]Evidence{RequestEvidence(stopped, "status", "404"), gone}, why...)})
	}
	return out
}
