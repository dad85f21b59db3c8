// ingress_gateway.go: what can go wrong at the hop ingress-gateway: hosts that it does not know, visibility, reachability, timeouts.
package hops

import (
	"cmp"
	"net"
	"slices"
	"strings"
)

func ingressGatewayRules() []Rule {
	return slices.Concat([]Rule{
		{
			ID: "wrong-host-no-route", Hop: IngressGateway,
			Title: "the gateway has no route for the host that was asked for",
			Means: "A gateway chooses by the Host header alone. A request by IP address, with another domain, with a name that only the other gateway knows, or without the header finds no route. When the host is right, the route is missing, belongs to another gateway, or has not reached this one.",
			Fix:   "send exactly the host of `kubectl get inferenceservice {isvc} -n {ns} -o jsonpath={.status.url}` (curl -H 'Host: ...') to the ingress gateway; names ending in svc.cluster.local are known at the cluster-local gateway only. If it is that host already, see `kubectl get virtualservice -n {ns}` for hosts and gateways",
			Looks: Looks{
				Status: "all True",
				Client: "404 with an empty body, server: istio-envoy, no x-envoy-upstream-service-time",
				Logs:   "gateway: 404 NR route_not_found",
			},
			Needs: []Source{Requests, AccessLogs, VirtualServices},
			Match: FirstOf(wrongHost, wrongHostLines),
		},
		{
			ID: "domain-cluster-local-default", Hop: IngressGateway,
			Title: "the cluster has no outside domain, so the service has a cluster-local address only",
			Means: "ConfigMap config-domain names no domain. Knative since 1.8 then uses svc.cluster.local and puts nothing on the outside gateway.",
			Fix:   "set a domain that leads to the ingress gateway: `kubectl patch cm config-domain -n knative-serving --type merge -p '{\"data\":{\"YOUR.DOMAIN\":\"\"}}'`; the URLs change by themselves",
			Looks: Looks{
				Status: "Ready=True, .status.url ends in svc.cluster.local",
				Client: "404 with an empty body from outside, 200 from inside",
				Logs:   "gateway: 404 NR route_not_found",
			},
			Needs:    []Source{InferenceServices, KnativeServices, Routes, SystemConfigMaps, Requests},
			Explains: []string{"wrong-host-no-route"},
			Match:    noDomain,
		},
		{
			ID: "cluster-local-visibility", Hop: IngressGateway,
			Title: "the service is labelled cluster-local, so the outside gateway does not know it",
			Means: "The visibility label keeps the service off the outside gateway on purpose; labels are often copied along with an example.",
			Fix:   "remove the label: `kubectl label inferenceservice {isvc} -n {ns} networking.knative.dev/visibility- networking.kserve.io/visibility-`; or call it from inside the cluster with the host of .status.address.url",
			Looks: Looks{
				Status: "label visibility=cluster-local; .status.url ends in svc.cluster.local",
				Client: "404 with an empty body from outside, 200 from inside",
				Logs:   "gateway: 404 NR route_not_found",
			},
			Needs:    []Source{InferenceServices, KnativeServices, Routes, Requests},
			Explains: []string{"wrong-host-no-route", "domain-cluster-local-default"},
			Match:    labelledLocal,
		},
		{
			ID: "gateway-unreachable", Hop: IngressGateway,
			Title: "nobody answers at the gateway's address",
			Means: "The connection is refused or times out before any HTTP: there is no gateway pod, no listener, no external address, or a firewall or a wrong port lies in between.",
			Fix:   "look at `kubectl get svc,pods -n istio-system`: without an EXTERNAL-IP use a NodePort or `kubectl port-forward`, or install a load balancer; without ready gateway pods mend their Deployment; with both, see whether a Gateway selects these pods (`kubectl get gateways.networking.istio.io -A -o yaml`), then firewalls",
			Looks: Looks{
				Status: "all True; Service of the gateway EXTERNAL-IP <pending>; gateway pods missing or not ready",
				Client: "connection refused (curl 7) or connect timeout (curl 28)",
			},
			Needs:    []Source{Requests, SystemServices, SystemPods, SystemDeployments},
			Explains: nil,
			Match:    FirstOf(gatewayDown, gatewayRefuses, noAddress),
		},
		{
			ID: "gateway-timeout", Hop: IngressGateway,
			Title: "a gateway gave up waiting for the answer",
			Means: "A timeout on the VirtualService or HTTPRoute is shorter than the answer takes. The model may still be computing. 'request timeout' comes from queue-proxy and 'activator request timeout' from the activator instead.",
			Fix:   "raise or remove `timeout` on the route (`kubectl get virtualservice,httproute -n {ns} -o yaml`; for HTTPRoutes of KServe set spec.{component}.timeout or disableHTTPRouteTimeout in inferenceservice-config); or make the answer faster",
			Looks: Looks{
				Client: "504 'upstream request timeout' (24 bytes)",
				Logs:   "504 UT response_timeout",
			},
			Needs: []Source{Requests, AccessLogs, VirtualServices},
			Match: FirstOf(gaveUp, gaveUpLines),
		},
	}, ingressObjectRules(), ingressAccessRules(), standardRouteRules())
}

// wrongHost finds the first gateway's 404 to a host that is not the service's, or that this gateway does not serve.
func wrongHost(v *View) []Match {
	known, route := v.hosts(), kserveRoute(v)
	return frontRequests(v, func(o *Observation) (Match, bool) {
		sure, may := gatewayAnswered(o)
		m := Match{Evidence: sawStatus(o)}
		if o.Status != 404 || !emptyAnswer(o) || !may {
			return m, false
		}
		kind, host := known.kind(o.Host), bareHost(o.Host)
		want := known.doors[o.Step.Door]
		if host != "" {
			m.Evidence = []Evidence{RequestEvidence(o, "host", o.Host)}
		}
		switch {
		case kind == hostForeign:
			m.Summary = "host " + o.Host + " is none of this service's; it is " + want
		case o.Step.Door == Outside && inCluster(host) && kind != hostUnknown && !inCluster(want):
			m.Summary = "host " + o.Host + " is known inside the cluster only; outside it is " + want
		case inCluster(host) && o.Vantage == Address && kind == hostOwn:
			m.Confidence, m.Summary = Likely, "host "+o.Host+" is known at the cluster-local gateway only; the outside host is "+known.doors[Outside]
		case kind == hostPart:
			return m, false // Knative's route, not KServe's
		case kind == hostOwn:
			m.Confidence = Possible
			m.Summary = "the gateway that was asked has no route for " + o.Host
			if route != nil && len(words(route, "HOSTS", "spec", "hosts")) > 0 {
				m.Summary += ", although VirtualService " + route.Name + " names it"
			}
		default:
			m.Confidence = Likely
		}
		if !sure {
			m.Confidence = Possible
		}
		return m, true
	})
}

// wrongHostLines finds the same in an access log, whose authority is the client's where no route matched. What was logged before a request of ours to the
// same host found a route, be it to a server that does not answer, is over.
func wrongHostLines(v *View) []Match {
	known, name, seen := v.hosts(), v.Ref().Name, v.Observations()
	return latest(merge(func() (out []Match) {
		for _, e := range v.Access() {
			kind := known.kind(e.Authority)
			m := Match{Step: lineStep(v, known, e), Confidence: Likely, Evidence: []Evidence{LineEvidence(e.Line)}}
			if e.Code != 404 || !e.Flag("NR") || kind == hostPart || slices.ContainsFunc(seen, e.foundLater) {
				continue
			}
			if kind == hostOwn || kind == hostForeign && !strings.HasPrefix(bareHost(e.Authority), name) && net.ParseIP(bareHost(e.Authority)) == nil {
				m.Confidence = Possible
			}
			out = append(out, m)
		}
		return out
	}()), 3)
}

// foundLater says whether a request to the same host was sent later and found a route. A gateway without one answers at once.
func (e AccessEntry) foundLater(o Observation) bool {
	found := o.Outcome == Timeout || o.Outcome == Answered && o.Status != 404
	return found && o.entersGateway() && bareHost(o.Host) == bareHost(e.Authority) && !e.Start.IsZero() && o.Start.After(e.Start)
}

// askedOutside finds requests by the outside door to which the gateway knew no route.
func askedOutside(v *View) []Match {
	return frontRequests(v, func(o *Observation) (Match, bool) {
		_, may := gatewayAnswered(o)
		outside := o.Step.Door == Outside || o.Step.Hop == Client && o.Vantage == Address
		return Match{Step: gatewayStep(Outside), Evidence: sawStatus(o)}, may && outside && o.Status == 404 && emptyAnswer(o)
	})
}

// insideOnly quotes the URL of a service that has a cluster-local one only.
func insideOnly(v *View) []Match {
	var out []Match
	isvc := v.Objects(InferenceServices)
	for _, o := range slices.Concat(isvc, v.Objects(KnativeServices), v.Objects(Routes)) {
		address := o.Str("status", "url")
		if address == "" {
			address = o.Str("row", "URL")
		}
		if inCluster(hostOf(address)) && len(out) == 0 {
			out = append(out, Match{Step: gatewayStep(Outside), Evidence: []Evidence{FieldEvidence(o, address, "status", "url")}})
		}
	}
	return out
}

// The labels of visibility: Knative's since 0.15, its older one, and KServe's for Standard mode.
func visibilityLabels() []string {
	return []string{"networking.knative.dev/visibility", "serving.knative.dev/visibility", "networking.kserve.io/visibility"}
}

// labelledLocal finds the label; while nobody asks from outside it is as somebody wanted it.
func labelledLocal(v *View) []Match {
	asked := askedOutside(v)
	for _, o := range slices.Concat(v.Objects(InferenceServices), v.Objects(KnativeServices), v.Objects(Routes)) {
		for _, key := range visibilityLabels() {
			value := o.Label(key)
			if value != "cluster-local" && value != "cluster-Local" {
				continue
			}
			m := Match{Step: gatewayStep(Outside), Severity: Note, Evidence: []Evidence{FieldEvidence(o, value, "metadata", "labels", key)},
				Summary: o.Ref().String() + " is labelled " + key + "=" + value + ": it can be called from inside the cluster only"}
			m.Step.Object = o.Ref()
			for _, a := range asked {
				m.Severity, m.Evidence = Error, append(m.Evidence, a.Evidence...)
			}
			return []Match{m}
		}
	}
	return nil
}

// noDomain finds a service without an outside host and without the label that would explain it.
func noDomain(v *View) []Match {
	out, asked, label := insideOnly(v), askedOutside(v), labelledLocal(v)
	named, read := false, false
	for _, o := range v.Objects(SystemConfigMaps) {
		if o.Name != "config-domain" {
			continue
		}
		read = true
		for domain := range o.Map("data") {
			named = named || domain != "_example" && domain != "svc.cluster.local"
		}
	}
	if len(label) > 0 || named || v.Flow().Mode == Standard {
		return nil
	}
	for i := range out {
		out[i].Severity, out[i].Summary = Note, "the service has no address outside the cluster, and no label that says so"
		if !read {
			out[i].Confidence = Likely
		}
		for _, a := range asked {
			out[i].Severity, out[i].Evidence = Error, append(out[i].Evidence, a.Evidence...)
		}
	}
	return out
}

// gatewayService is the Service of a door's gateway; nil when it was not read.
func gatewayService(v *View, d Door) *Object {
	services := v.Objects(SystemServices)
	for _, s := range v.Flow().Doors {
		for _, o := range services {
			if s.Door == d && s.Gateway.Kind == "service" && o.Name == s.Gateway.Name && o.Namespace == s.Gateway.Namespace {
				return o
			}
		}
	}
	return nil
}

// gatewayDown finds a gateway without ready pods. The cluster-local one is local-gateway-missing.
func gatewayDown(v *View) []Match {
	svc := gatewayService(v, Outside)
	ready, known, why := standing(v, svc)
	refused := gatewayRefuses(v)
	if !known || ready || worksBy(v, Outside) {
		return nil
	}
	m := Match{Step: gatewayStep(Outside), Evidence: why, Summary: "no pod of the gateway " + svc.Namespace + "/" + svc.Name + " is ready"}
	m.Step.Object = svc.Ref()
	for _, r := range refused {
		m.Evidence = append(m.Evidence, r.Evidence...)
	}
	return []Match{m}
}

// gatewayRefuses finds connections to a gateway that did not come about. The way there is part of the address, unless it leads into the pod itself.
func gatewayRefuses(v *View) []Match {
	return frontRequests(v, func(o *Observation) (Match, bool) {
		m := Match{Confidence: Likely, Evidence: []Evidence{RequestEvidence(o, "outcome", string(o.Outcome))}}
		if o.Err != "" {
			m.Evidence = []Evidence{RequestEvidence(o, "error", o.Err)}
		}
		if at := bareHost(o.Target); at == "localhost" || strings.HasPrefix(at, "127.") {
			m.Summary = "nobody listens at " + o.Target + " on the caller's machine: the port-forward is not running, or uses another port"
		}
		return m, o.Outcome == Refused || o.Outcome == ConnectTimeout || o.Outcome == Unreachable
	})
}

// noAddress finds a load balancer that never came. Many test clusters live with that, so it is a fault only where nothing else is known to work.
func noAddress(v *View) []Match {
	svc := gatewayService(v, Outside)
	pending := svc.Str("row", "EXTERNAL-IP") == "<pending>"
	waits := svc.Str("spec", "type") == "LoadBalancer" && !svc.Partial && len(svc.List("status", "loadBalancer", "ingress")) == 0 && v.past(svc.Created(), routeGrace)
	answered := slices.ContainsFunc(v.Observations(), func(o Observation) bool { return o.AtDoor(Outside) && o.Outcome == Answered })
	if svc == nil || !pending && !waits || answered {
		return nil
	}
	value, path := "LoadBalancer", []string{"spec", "type"}
	if pending {
		value, path = "<pending>", []string{"EXTERNAL-IP"}
	}
	m := Match{Step: gatewayStep(Outside), Confidence: Possible, Severity: Warning, Evidence: []Evidence{FieldEvidence(svc, value, path...)},
		Summary: "Service " + svc.Namespace + "/" + svc.Name + " has no external address"}
	m.Step.Object = svc.Ref()
	return []Match{m}
}

// gaveUp tells Envoy's timeout by its words; they are the second gateway's when the answer came from behind the first.
func gaveUp(v *View) []Match {
	known := v.hosts()
	return frontRequests(v, func(o *Observation) (Match, bool) {
		m := Match{Evidence: sawBody(o), Summary: "the gateway gave up waiting for the answer"}
		if o.Upstream() {
			m.Step = Step{Hop: LocalGateway, Component: cmp.Or(ComponentInName(bareHost(o.Host)), v.Flow().EntryPoint)}
		}
		body := o.wording()
		gaveUp := strings.HasPrefix(body, "upstream request timeout") || strings.HasPrefix(body, "stream timeout")
		if page := nginxPage(o); v.Flow().Mode == Standard && o.Status == 504 && page != "" { // an ingress controller built on nginx
			_, m.Fix = proxySays(o, page)
			m.Evidence, gaveUp = append(sawStatus(o), RequestEvidence(o, "body", page)), true
		}
		m.Evidence = append(m.Evidence, routeTimeout(v)...)
		return m, gaveUp && known.kind(o.Host) != hostForeign
	})
}

// gaveUpLines finds the same in an access log.
func gaveUpLines(v *View) []Match {
	return accessLines(v, func(e AccessEntry) (Match, bool) {
		return Match{Evidence: routeTimeout(v)}, e.Flag("UT") && (e.Code == 504 || e.Code == 408)
	})
}

// routeTimeout quotes the timeouts of the service's routes.
func routeTimeout(v *View) []Evidence {
	for _, o := range v.Objects(VirtualServices) {
		for _, h := range o.List("spec", "http") {
			if t := text(h["timeout"]); t != "" && NamedFor(v.Ref().Name, o.Name) {
				return []Evidence{FieldEvidence(o, t, "spec", "http", "timeout")}
			}
		}
	}
	return nil
}
