// local_gateway.go: what can go wrong at the hop local-gateway: the gateway for cluster-local hosts, which requests to an InferenceService pass a
// second time.
package hops

import "strings"

func localGatewayRules() []Rule {
	return []Rule{
		{
			ID: "local-gateway-missing", Hop: LocalGateway,
			Title: "the cluster-local gateway, to which KServe's route leads, is not there or has no pods",
			Means: "In Knative mode a request from outside passes a gateway twice: the ingress gateway hands it to the cluster-local gateway, which knows the revision. Without the second one nothing arrives, while the predictor's own host goes on answering and every condition stays True.",
			Fix:   "look at `kubectl get svc,pods,deploy -n istio-system` for knative-local-gateway (older: cluster-local-gateway): install or restore that Service and its Gateway (net-istio.yaml of the Knative release), and scale its Deployment up; compare `kubectl get virtualservice {isvc} -n {ns} -o yaml`, spec.http.route.destination.host",
			Looks: Looks{
				Status: "InferenceService Ready=True all the same",
				Client: "503 on the InferenceService's host: an empty body without the Service, 'no healthy upstream' without pods; 200 on the predictor's host",
				Logs:   "ingress gateway: 503 NC cluster_not_found, or 503 UH no_healthy_upstream with the local gateway as cluster",
			},
			Needs:    []Source{Requests, AccessLogs, VirtualServices, AllVirtualServices, SystemServices, SystemPods, SystemDeployments},
			Explains: []string{"transformer-predictor-unreachable", "explainer-not-ready-or-unreachable", "ingress-probe-failing"},
			Match:    localGatewayMissing,
		},
	}
}

// nextHop is where KServe's route leads to.
type nextHop struct {
	host   string
	svc    *Object // nil when it was not read
	absent bool    // it is known not to exist
	other  *Object // another local gateway's Service, when this one does not exist
}

// nextHops reads them from KServe's VirtualService, else takes the cluster-local door's gateway.
func nextHops(v *View) []nextHop {
	all := destinations(kserveRoute(v))
	if len(all) == 0 {
		for _, d := range v.Flow().Doors {
			if g := d.Gateway; d.Door == ClusterLocal && g.Name != "" {
				all = append(all, g.Name+"."+g.Namespace+clusterZone)
			}
		}
	}
	var out []nextHop
	services := v.Objects(SystemServices)
	for _, host := range all {
		n := nextHop{host: host}
		n.svc, n.absent = systemService(v, host)
		for _, o := range services {
			if n.absent && localGatewayName(o.Name) && (n.other == nil || len(o.Name) < len(n.other.Name)) { // others are named for it
				n.other = o
			}
		}
		out = append(out, n)
	}
	return out
}

// named quotes KServe's route where it names the next hop.
func (n nextHop) named(v *View) []Evidence {
	route := kserveRoute(v)
	for _, host := range destinations(route) {
		if host == n.host {
			return []Evidence{FieldEvidence(route, host, "spec", "http", "route", "destination", "host")}
		}
	}
	return nil
}

// localGatewayMissing joins what the objects tell with what requests saw. While the objects show the gateway in order, an answer that speaks of
// it is a trace of something else, or of a moment ago.
func localGatewayMissing(v *View) []Match {
	told, sound := localGatewayGone(v)
	saw := FirstOf(noUpstreamLines, Sure(Likely, noUpstreamAnswers), unknownClusterLines, Sure(Likely, unknownCluster))(v)
	taken := len(rivals(v, true)) > 0
	unknownNext := FirstOf(unknownClusterLines, unknownCluster)(v)
	referenceWrong := len(elsewhere(v)) > 0 && len(unknownNext) > 0
	for _, n := range nextHops(v) {
		referenceWrong = referenceWrong || n.absent && (n.other != nil || !toLocalGateway(v, n.host))
	}
	switch {
	case v.Flow().Mode == Standard || referenceWrong || worksBy(v, Outside) && worksBy(v, ClusterLocal):
		return nil
	case len(told) > 0 && (len(saw) > 0 || !worksBy(v, Outside)):
		for _, m := range saw {
			told[0].Evidence = append(told[0].Evidence, m.Evidence...)
		}
		return latest(told, 4)
	case taken:
		return nil
	case sound:
		saw = Sure(Possible, func(*View) []Match { return saw })(v)
	}
	return saw
}

// localGatewayGone finds a next hop whose Service does not exist or has no ready pods; sound says that it is known to be in order.
func localGatewayGone(v *View) (out []Match, sound bool) {
	step := Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}
	for _, n := range nextHops(v) {
		ready, known, why := standing(v, n.svc)
		switch {
		case n.absent && n.other == nil && toLocalGateway(v, n.host):
			gone, _ := v.Absent(SystemServices)
			out = append(out, Match{Step: step, Evidence: append(n.named(v), gone), Summary: "Service " + n.host + ", to which KServe's route leads, does not exist"})
		case known && !ready:
			step.Object = n.svc.Ref()
			out = append(out, Match{Step: step, Evidence: append(n.named(v), why...), Summary: "no pod of Service " + n.host + ", to which KServe's route leads, is ready"})
		case known && ready:
			sound = true
		}
	}
	if len(out) > 1 {
		out = out[:1]
	}
	return out, sound
}

// atSecondGateway keeps requests that asked for the InferenceService's own host, for which the first gateway turns to the local one.
func atSecondGateway(tell func(o *Observation) ([]Evidence, bool)) func(*View) []Match {
	return func(v *View) []Match {
		known := v.hosts()
		return frontRequests(v, func(o *Observation) (Match, bool) {
			kind := known.kind(o.Host)
			e, ok := tell(o)
			return Match{Step: Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}, Evidence: e},
				ok && !o.Upstream() && (kind == hostOwn || kind == hostUnknown)
		})
	}
}

// noUpstreamAnswers tells the words of a gateway that knows the next Service and found no pod behind it.
func noUpstreamAnswers(v *View) []Match {
	return atSecondGateway(func(o *Observation) ([]Evidence, bool) {
		return sawBody(o), o.Status != 404 && strings.HasPrefix(o.wording(), "no healthy upstream")
	})(v)
}

// unknownCluster tells the empty 503 of a gateway whose route leads to a Service that it does not know.
func unknownCluster(v *View) []Match {
	return atSecondGateway(func(o *Observation) ([]Evidence, bool) {
		sure, _ := gatewayAnswered(o)
		return sawStatus(o), sure && o.Status == 503 && emptyAnswer(o)
	})(v)
}

func noUpstreamLines(v *View) []Match {
	next := nextHops(v)
	return accessLines(v, func(e AccessEntry) (Match, bool) {
		to := toLocalGateway(v, e.Cluster) || own(next, clusterHost(e.Cluster))
		return Match{Step: Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}}, e.Flag("UH") && to
	})
}

// unknownClusterLines finds the same in an access log; Envoy before 1.16 flagged it NR.
func unknownClusterLines(v *View) []Match {
	known := v.hosts()
	return Sure(Likely, func(v *View) []Match {
		return accessLines(v, func(e AccessEntry) (Match, bool) {
			none := e.Flag("NC") || e.Code == 503 && (e.Flag("NR") || e.Details == "cluster_not_found")
			return Match{Step: Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}}, none && known.kind(e.Authority) != hostPart
		})
	})(v)
}

// own says whether a host is one of those that the route leads to.
func own(hops []nextHop, host string) bool {
	for _, n := range hops {
		if n.host == host && host != "" {
			return true
		}
	}
	return false
}
