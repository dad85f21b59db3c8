// kserve_route.go: what can go wrong at the hop kserve-route: the VirtualService that KServe writes for the InferenceService's own host, its
// references, and the paths that clients ask for.
package hops

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

func kserveRouteRules() []Rule {
	return append([]Rule{
		{
			ID: "kserve-gateway-reference-wrong", Hop: KServeRoute,
			Title: "KServe's route names a gateway or Service that does not exist",
			Means: "KServe copies the names of gateways and of the cluster-local gateway's Service from its own configuration, without looking whether they exist. After an upgrade of Knative they often name the gateway of before: cluster-local-gateway became knative-local-gateway.",
			Fix:   "compare `kubectl get virtualservice {isvc} -n {ns} -o yaml` with `kubectl get gateways.networking.istio.io -A` and `kubectl get svc -n istio-system`; set ingressGateway, localGateway, localGatewayService and knativeLocalGatewayService under `ingress` in ConfigMap inferenceservice-config (namespace kserve) to what exists, restart kserve-controller-manager, and touch {isvc} (an annotation) so that its route is written anew",
			Looks: Looks{
				Status: "InferenceService Ready=True; VirtualService with a destination or gateway that does not exist",
				Client: "503 with an empty body (no such Service), or 404 (no such Gateway)",
				Logs:   "503 NC cluster_not_found; istioctl analyze IST0101 Referenced host not found",
			},
			Needs:    []Source{VirtualServices, SystemServices, IstioGateways, SystemConfigMaps, Analysis, Requests, AccessLogs},
			Explains: []string{"wrong-host-no-route"},
			Match:    referenceWrong,
		},
		{
			ID: "kserve-virtualservice-missing", Hop: KServeRoute,
			Title: "there is no route for the InferenceService's own host",
			Means: "KServe writes its VirtualService only when all components are ready, so most often this is a consequence: the cause lies with the predictor. With a predictor that is ready, KServe's controller is down or could not write it.",
			Fix:   "look at the conditions of the components first: `kubectl get inferenceservice {isvc} -n {ns} -o yaml`; when PredictorReady is True, look at kserve-controller-manager (`kubectl get pods,deploy -n kserve`, its log: fails to reconcile ingress); without Istio set disableIstioVirtualHost: true in inferenceservice-config",
			Looks: Looks{
				Status: "IngressReady Unknown or False 'Predictor ingress not created'; event VirtualServiceCRDNotFound; or all True while the VirtualService is gone",
				Client: "404 with an empty body on the InferenceService's host, 200 on the predictor's",
				Logs:   "kserve-controller-manager: fails to reconcile ingress; gateway: 404 NR route_not_found",
			},
			Needs:    []Source{VirtualServices, InferenceServices, Events, SystemConfigMaps, Requests},
			Explains: []string{"wrong-host-no-route"},
			Match:    routeMissing,
		},
		{
			ID: "host-rewrite-or-path-wrong", Hop: KServeRoute,
			Title: "the path is none that this service answers",
			Means: "The request arrived and no route or server knows its path: it is not a path of the inference protocol, it asks for an explainer that is not there, or it lacks the prefix of path-based routing.",
			Fix:   "V1: POST /v1/models/NAME:predict; V2: POST /v2/models/NAME/infer; with path-based routing put the path of .status.url before it: `kubectl get inferenceservice {isvc} -n {ns} -o jsonpath={.status.url}`",
			Looks: Looks{
				Status: "all True",
				Client: "404 {\"detail\":\"Not Found\"} from the model server, or 404 with an empty body",
				Logs:   "the model server logs the path that it does not know",
			},
			Needs: []Source{Requests, InferenceServices, VirtualServices},
			Match: wrongPath,
		},
	}, routeNameRules()...)
}

// referenceWrong asks the objects first; an answer that fits and no objects leave it possible.
func referenceWrong(v *View) []Match {
	named := FirstOf(absentDestination, absentGateway(true), absentInConfig, analysed)(v)
	saw := FirstOf(unknownClusterLines, unknownCluster)(v)
	sound := false
	for _, n := range nextHops(v) {
		sound = sound || n.svc != nil || n.absent
	}
	switch {
	case v.Flow().Mode == Standard || worksBy(v, Outside):
		return nil
	case len(named) > 0:
		for _, m := range saw {
			named[0].Evidence = append(named[0].Evidence, m.Evidence...)
		}
		return latest(named, 4)
	case len(saw) > 0 && len(elsewhere(v)) > 0:
		return []Match{{Step: Step{Hop: KServeRoute}, Confidence: Likely, Evidence: append(elsewhere(v), saw[0].Evidence...),
			Summary: "KServe's route leads to a Service that the gateway does not know"}}
	case sound || kserveRoute(v) != nil && !kserveRoute(v).Partial && len(v.Objects(SystemServices)) > 0:
		return nil
	}
	for i := range saw {
		saw[i].Step, saw[i].Confidence = Step{Hop: KServeRoute}, Possible
	}
	return saw
}

// absentDestination finds a Service that KServe's route leads to and that does not exist, although another local gateway does.
func absentDestination(v *View) []Match {
	for _, n := range nextHops(v) {
		evidence := n.named(v)
		gone, whole := v.Absent(SystemServices)
		if !n.absent || len(evidence) == 0 || n.other == nil && toLocalGateway(v, n.host) || !whole {
			continue
		}
		m := Match{Step: Step{Hop: KServeRoute, Object: kserveRoute(v).Ref()}, Evidence: append(evidence, gone), Summary: "KServe's route leads to " + n.host + ", which does not exist"}
		if n.other != nil {
			m.Evidence = append(m.Evidence, FieldEvidence(n.other, n.other.Name, "metadata", "name"))
			m.Summary += "; the local gateway of this cluster is " + n.other.Name + "." + n.other.Namespace
		}
		return []Match{m}
	}
	return nil
}

// elsewhere quotes where KServe's route leads when that is no gateway that is known or named like one.
func elsewhere(v *View) []Evidence {
	for _, n := range nextHops(v) {
		if n.svc == nil && !toLocalGateway(v, n.host) && len(n.named(v)) > 0 {
			return n.named(v)
		}
	}
	return nil
}

// absentInConfig finds names in KServe's configuration that do not exist while others of their kind do. It speaks of routes still to be written.
func absentInConfig(v *View) []Match {
	var out []Match
	services := v.Objects(SystemServices)
	for _, o := range v.Objects(SystemConfigMaps) {
		config := ingressConfig(o)
		for _, key := range []string{"knativeLocalGatewayService", "localGatewayService"} {
			host := text(config[key])
			_, absent := systemService(v, host)
			if host != "" && absent && slices.ContainsFunc(services, func(s *Object) bool { return localGatewayName(s.Name) }) {
				gone, _ := v.Absent(SystemServices)
				out = append(out, Match{Step: Step{Hop: KServeRoute, Object: o.Ref()}, Confidence: Likely,
					Evidence: []Evidence{FieldEvidence(o, host, "data", "ingress", key), gone}, Summary: key + " in inferenceservice-config is " + host + ", which does not exist"})
			}
		}
	}
	return merge(out)
}

var notFound = Re(`(?i)virtualservice \S*.*referenced (host|gateway) not found: "?[^" ]*gateway`)

// analysed finds what istioctl says of KServe's route (istio.io/istio/pkg/config/analysis/msg, IST0101).
func analysed(v *View) []Match {
	var out []Match
	for _, l := range v.Lines(Analysis) {
		if notFound.Match(l.Text) && strings.Contains(l.Text, v.Ref().Name) {
			out = append(out, Match{Step: Step{Hop: KServeRoute}, Confidence: Likely, Evidence: []Evidence{LineEvidence(l)}})
		}
	}
	return latest(merge(out), 3)
}

// routeMissing finds that KServe wrote no route, by the list, by what KServe says, or by what requests saw.
func routeMissing(v *View) []Match {
	route, isvc := kserveRoute(v), v.Service()
	gone, whole := v.Absent(VirtualServices)
	crd, failed := notPresent(v), notReconciled(v)
	saw, off := unroutedHost(v, whole), routeDisabled(v)
	step := Step{Hop: KServeRoute}
	waits, since := notCreated(isvc)
	ready, unready, turned := componentsReady(isvc)
	long := v.past(isvc.Created(), routeGrace) && v.past(turned, routeGrace)
	late := v.past(since, startGrace) && v.past(isvc.Created(), startGrace)
	switch {
	case v.Flow().Mode == Standard || v.Flow().Mode == ModelMesh || v.Flow().Stopped || isvc.Deleted() || off:
		return nil
	case len(crd) > 0:
		return crd
	case route != nil:
		return nil
	case whole && isvc != nil && v.Ref().Name != "" && len(waits)+len(unready) == 0 && ready && long:
		out := []Match{{Step: step, Evidence: []Evidence{gone}, Summary: "there is no VirtualService " + v.Ref().Name + " although every component is ready"}}
		for _, m := range append(saw, failed...) {
			out[0].Evidence = append(out[0].Evidence, m.Evidence...)
		}
		return out
	case len(failed) > 0:
		return failed
	case len(waits) > 0 && late, whole && len(unready) > 0 && late:
		m := Match{Step: step, Confidence: Likely, Severity: Warning, Evidence: append(waits, unready...), Summary: "KServe has not written the route of " + v.Ref().Name + " because a component is not ready"}
		for _, s := range saw {
			m.Severity, m.Evidence = Error, append(m.Evidence, s.Evidence...)
		}
		return []Match{m}
	case v.starts(isvc):
		for i := range saw {
			saw[i].Severity, saw[i].Summary = Note, "KServe has not written the route of "+isvc.Name+" yet: it does so when every component is ready"
		}
	}
	return saw
}

// startGrace is how long a new service may take to come up before what it lacks counts for more than a note.
const startGrace = 3 * time.Minute

// starts says whether a service is in the first moments of a healthy start, in which it has no route: KServe's controller has not looked at it yet,
// its components come up, or they have just done so (kserve/pkg/controller/v1beta1/inferenceservice/reconcilers/ingress: the VirtualService is
// written once every component is ready). A component that failed is no healthy start.
func (v *View) starts(isvc *Object) bool {
	ready, unready, turned := componentsReady(isvc)
	failed := slices.ContainsFunc(isvc.Conditions(), func(c Condition) bool {
		return oneOf(c.Type, "PredictorReady|TransformerReady|ExplainerReady") && c.False()
	})
	switch {
	case isvc == nil || isvc.Partial || isvc.Created().IsZero() || failed:
		return false
	case len(isvc.Conditions()) == 0:
		return !v.past(isvc.Created(), controllerGrace)
	case ready && len(unready) == 0:
		return !v.past(turned, routeGrace)
	}
	return !v.past(isvc.Created(), startGrace)
}

// notCreated finds KServe's word that it waits for a component before it writes a route (kserve/pkg/controller/v1beta1/inferenceservice/
// reconcilers/ingress/ingress_reconciler.go). Older versions put the words into the message, newer ones into the reason.
func notCreated(isvc *Object) (e []Evidence, since time.Time) {
	for _, c := range isvc.Conditions() {
		if (c.Type == "IngressReady" || c.Type == "Ready") && !c.True() && (strings.HasSuffix(c.Reason, "ingress not created") || strings.HasSuffix(c.Message, "ingress not created")) {
			if len(e) == 0 {
				e, since = append(e, ConditionEvidence(isvc, c)), c.Since
			}
		}
	}
	return e, since
}

// componentsReady says whether all components are ready as far as the InferenceService tells, and since when; and quotes those that are not.
func componentsReady(isvc *Object) (ready bool, unready []Evidence, since time.Time) {
	for _, c := range isvc.Conditions() {
		switch c.Type {
		case "PredictorReady", "TransformerReady", "ExplainerReady":
			ready = true
			if c.Since.After(since) {
				since = c.Since
			}
			if !c.True() {
				unready = append(unready, ConditionEvidence(isvc, c))
			}
		}
	}
	return ready && len(unready) == 0 || isvc.Ready(), unready, since
}

// routeDisabled says whether KServe is told to write no VirtualServices.
func routeDisabled(v *View) bool {
	for _, o := range v.Objects(SystemConfigMaps) {
		if config := ingressConfig(o); text(config["disableIstioVirtualHost"]) == "true" || text(config["disableIngressCreation"]) == "true" {
			return true
		}
	}
	return false
}

// notPresent finds KServe's word that Istio's definitions are not installed.
func notPresent(v *View) []Match {
	return OnEvent(KServeRoute, "VirtualServiceCRDNotFound", Pattern{})(v)
}

var unwritten = Re(`(?i)fails? to reconcile (virtual service|ingress|external name service)|failed to reconcile ingress`)

// notReconciled finds errors of KServe's controller about the route. Two writers that met are noise.
func notReconciled(v *View) []Match {
	out := Sure(Likely, OnEvent(KServeRoute, "InternalError|UpdateFailed", unwritten))(v)
	return slices.DeleteFunc(out, func(m Match) bool {
		last := m.Evidence[len(m.Evidence)-1]
		return strings.Contains(last.Value, "the object has been modified")
	})
}

// unroutedHost finds the first gateway's 404 to the right host. Beside a component's host that answers, it can only be KServe's route; alone it may
// be many things.
func unroutedHost(v *View, whole bool) []Match {
	known, seen := v.hosts(), v.Observations()
	route := kserveRoute(v)
	partAnswers := slices.ContainsFunc(seen, func(o Observation) bool {
		return o.OK() && (known.kind(o.Host) == hostPart || o.Step.Hop == LocalGateway && o.Step.Component != "")
	})
	if route != nil {
		return nil
	}
	out := frontRequests(v, func(o *Observation) (Match, bool) {
		sure, may := gatewayAnswered(o)
		m := Match{Step: Step{Hop: KServeRoute}, Confidence: Possible, Evidence: sawStatus(o)}
		if partAnswers && sure || whole {
			m.Confidence = Likely
		}
		right := known.kind(o.Host) == hostOwn && inCluster(o.Host) == (o.Step.Door == ClusterLocal)
		return m, may && o.Status == 404 && emptyAnswer(o) && (right || o.Host == "" || known.kind(o.Host) == hostUnknown)
	})
	return out
}

// protocolPath are the paths of the inference protocols: V1 (TF Serving's too), V2 and its generate extension, OpenAI, TorchServe, gRPC.
var protocolPath = Re(`(?i)^/(v1(/models(/[^/:]+(/versions/[^/:]+|/labels/[^/:]+)?((:|%(25)*3a)(predict|explain|classify|regress)|/metadata|/infer|/ready)?)?)?|` +
	`v2(/.*)?|(openai/)?v1/(chat/)?(completions|embeddings|rerank|score).*|openai/.*|predictions/.*|explanations/.*|inference\.GRPCInferenceService/.*)/?$`)

// pathOf is the path of a URL without its last slash: with path-based routing the prefix of every path of the service.
func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Path, "/")
}

// wrongPath finds requests whose path is no path of this service.
func wrongPath(v *View) []Match {
	isvc, known := v.Service(), v.hosts()
	_, explained := v.Flow().Component(Explainer)
	prefix := pathOf(isvc.Str("status", "url"))
	return frontRequests(v, func(o *Observation) (Match, bool) {
		m := Match{Step: Step{Hop: KServeRoute, Door: o.Step.Door}, Evidence: []Evidence{RequestEvidence(o, "path", o.Path)}}
		if o.Invented || o.Asked == Knock || o.Path == "" || !slices.Contains([]int{400, 404, 405, 501}, o.Status) {
			return m, false
		}
		gateway, _ := gatewayAnswered(o)
		switch {
		case prefix != "" && !strings.HasPrefix(o.Path, prefix+"/") && gateway:
			m.Summary = "path " + o.Path + " lacks " + prefix + ", under which the service is routed"
			return m, o.Status == 404
		case o.Status != 400 && strings.HasSuffix(o.Path, ":explain") && !explained && isvc != nil && known.kind(o.Host) != hostForeign && !gateway:
			m.Summary = "path " + o.Path + " asks for an explainer, and the service has none"
			return m, true
		case (unknownPath.Match(serverText(o)) || malformed.MatchString(o.Body)) && !protocolPath.Match(strings.TrimPrefix(o.Path, prefix)):
			m.Summary = "path " + o.Path + " is none of the inference protocols"
			return m, true
		}
		return m, false
	})
}
