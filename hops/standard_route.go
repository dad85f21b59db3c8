// standard_route.go: what can go wrong with the routes of Standard mode: Ingress and HTTPRoute.
package hops

import (
	"slices"
	"strings"
)

func standardRouteRules() []Rule {
	return []Rule{
		{
			ID: "raw-ingress-class-mismatch", Hop: IngressGateway,
			Title: "no controller serves the Ingress that KServe wrote",
			Means: "In Standard mode KServe writes an Ingress of one class and calls that ready, without asking whether a controller of the class exists or whether it is the one that requests reach.",
			Fix:   "see `kubectl get ingress {isvc} -n {ns}` and `kubectl get ingressclass`: set ingressClassName under `ingress` in inferenceservice-config (kserve) to the installed class, or create the IngressClass (for Istio: name istio, controller istio.io/ingress-controller); then touch {isvc} so that it is written anew",
			Looks: Looks{
				Status: "Ready=True, IngressReady=True",
				Client: "404 with an empty body from the gateway, or another controller's 'default backend - 404'",
				Logs:   "gateway: 404 NR route_not_found",
			},
			Needs:    []Source{Ingresses, IngressClasses, InferenceServices, Requests, VirtualServices},
			Explains: []string{"wrong-host-no-route", "answered-before-gateway"},
			Match:    classMismatch,
		},
		{
			ID: "httproute-not-accepted", Hop: KServeRoute,
			Title: "the Gateway does not accept the service's HTTPRoute",
			Means: "With the Gateway API a route counts only when its parent Gateway takes it: the Gateway must exist, a listener must admit the namespace and the host, and references across namespaces need a grant.",
			Fix:   "see status.parents in `kubectl get httproute -n {ns} -o yaml`: correct kserveIngressGateway in inferenceservice-config, the listener's allowedRoutes and hostname (`kubectl get gateways.gateway.networking.k8s.io -A -o yaml`), or add a ReferenceGrant",
			Looks: Looks{
				Status: "IngressReady=False with the parent's reason: NoMatchingParent, NotAllowedByListeners, NoMatchingListenerHostname, RefNotPermitted, BackendNotFound, ParentStatusNotAvailable",
				Client: "404, or 500 from the Gateway",
			},
			Needs:    []Source{HTTPRoutes, InferenceServices, APIGateways},
			Explains: []string{"wrong-host-no-route", "kserve-virtualservice-missing"},
			Match:    FirstOf(notAccepted, acceptedCopies, noParent),
		},
	}
}

// ourIngress is the Ingress that KServe wrote.
func ourIngress(v *View) *Object {
	for _, o := range v.Objects(Ingresses) {
		if NamedFor(v.Ref().Name, o.Name) && v.Ref().Name != "" {
			return o
		}
	}
	return nil
}

// classOf reads an Ingress' class in both of its forms, and from a table row.
func classOf(o *Object) (class string, path []string) {
	for _, path := range [][]string{{"spec", "ingressClassName"}, {"metadata", "annotations", "kubernetes.io/ingress.class"}, {"row", "CLASS"}} {
		if c := o.Str(path...); c != "" && c != "<none>" {
			return c, path
		}
	}
	return "", nil
}

// classMismatch finds an Ingress whose class does not exist, or requests to the right host that its controller does not know.
func classMismatch(v *View) []Match {
	ingress, classes := ourIngress(v), v.Objects(IngressClasses)
	gone, whole := v.Absent(IngressClasses)
	isvc, known := v.Service(), v.hosts()
	saw := frontRequests(v, func(o *Observation) (Match, bool) {
		sure, may := gatewayAnswered(o)
		body := strings.TrimSpace(o.Body)
		stranger := strings.HasPrefix(body, "default backend - 404") || body == "404 page not found" && !o.FromEnvoy() || strings.Contains(body, "<center>nginx")
		m := Match{Step: gatewayStep(Outside), Confidence: Likely, Evidence: sawStatus(o)}
		if stranger {
			m.Evidence = sawBody(o)
		} else if !sure || known.kind(o.Host) == hostUnknown {
			m.Confidence = Possible
		}
		return m, o.Status == 404 && (stranger || may && emptyAnswer(o)) && known.kind(o.Host) != hostForeign && o.Step.Door == Outside
	})
	class, path := classOf(ingress)
	served := slices.ContainsFunc(classes, func(o *Object) bool { return o.Name == class })
	switch {
	case v.Flow().Mode != Standard && (ingress == nil || isvc != nil) || worksBy(v, Outside):
		return nil
	case ingress != nil && class != "" && whole && !served:
		m := Match{Step: gatewayStep(Outside), Evidence: []Evidence{FieldEvidence(ingress, class, path...), gone},
			Summary: "the Ingress is of class " + class + ", and there is no such IngressClass"}
		m.Step.Object = ingress.Ref()
		for _, s := range saw {
			m.Evidence = append(m.Evidence, s.Evidence...)
		}
		return []Match{m}
	case len(saw) > 0 && ingress != nil && class != "":
		saw[0].Evidence = append(saw[0].Evidence, FieldEvidence(ingress, class, path...))
	}
	return saw
}

// routes says whether an HTTPRoute belongs to the service: by its name, or as net-gateway-api names them, by its host.
func (v *View) routes(o *Object) bool {
	name := v.Ref().Name
	return name == "" || NamedFor(name, o.Name) || slices.ContainsFunc(words(o, "HOSTNAMES", "spec", "hostnames"), func(h string) bool {
		first, _, _ := strings.Cut(h, ".")
		return NamedFor(name, first)
	})
}

// notAccepted finds what a route's parents say.
func notAccepted(v *View) []Match {
	var out []Match
	for _, o := range v.Objects(HTTPRoutes) {
		for _, parent := range o.List("status", "parents") {
			for _, c := range maps(parent["conditions"]) {
				kind, reason, message := text(c["type"]), text(c["reason"]), text(c["message"])
				if text(c["status"]) != "False" || kind != "Accepted" && kind != "ResolvedRefs" && kind != "Programmed" || !v.routes(o) || reason == "Pending" {
					continue
				}
				e := FieldEvidence(o, reason, "status", "parents", "conditions["+kind+"]=False", "reason")
				e.At = when(c["lastTransitionTime"])
				out = append(out, Match{Step: Step{Hop: KServeRoute, Object: o.Ref()}, Evidence: []Evidence{e}, Summary: Clip("HTTPRoute "+o.Name+": "+reason+" "+message, 300)})
			}
		}
	}
	return latest(merge(out), 3)
}

const parentReasons = "NoMatchingParent|NotAllowedByListeners|NoMatchingListenerHostname|RefNotPermitted|BackendNotFound|InvalidKind|UnsupportedValue|UnsupportedProtocol|" +
	"InvalidParameters|IncompatibleFilters"

// acceptedCopies finds the same on the InferenceService, which copies the reason; and that no controller said anything, which is normal for seconds.
func acceptedCopies(v *View) []Match {
	var out []Match
	for _, o := range v.Objects(InferenceServices) {
		for _, c := range o.Conditions() {
			silent := c.Reason == "ParentStatusNotAvailable" && v.past(c.Since, routeGrace)
			if c.False() && (oneOf(c.Reason, parentReasons) || silent) {
				out = append(out, Match{Step: Step{Hop: KServeRoute, Object: o.Ref()}, Evidence: []Evidence{ConditionEvidence(o, c)}, Summary: Clip(c.Reason+": "+c.Message, 300)})
			}
		}
	}
	return latest(merge(out), 2)
}

// noParent finds routes whose Gateway does not exist.
func noParent(v *View) []Match {
	gone, whole := v.Absent(APIGateways)
	gateways := v.Objects(APIGateways)
	var out []Match
	for _, o := range v.Objects(HTTPRoutes) {
		for _, p := range o.List("spec", "parentRefs") {
			name, ns := text(p["name"]), text(p["namespace"])
			if kind := text(p["kind"]); kind != "" && kind != "Gateway" || ns == "" || !v.routes(o) {
				continue
			}
			read := slices.ContainsFunc(gateways, func(g *Object) bool { return g.Namespace == ns })
			there := slices.ContainsFunc(gateways, func(g *Object) bool { return g.Namespace == ns && g.Name == name })
			if whole && !there && (read || ns == "kserve" || ns == "istio-system" || ns == "knative-serving") && len(o.List("status", "parents")) == 0 {
				out = append(out, Match{Step: Step{Hop: KServeRoute, Object: o.Ref()}, Evidence: []Evidence{FieldEvidence(o, name, "spec", "parentRefs", "name"), gone},
					Summary: "HTTPRoute " + o.Name + " names Gateway " + ns + "/" + name + ", which does not exist"})
			}
		}
	}
	return latest(merge(out), 2)
}
