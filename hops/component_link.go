// component_link.go: what can go wrong between the components of a service: transformer or explainer to predictor.
package hops

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

func componentLinkRules() []Rule {
	return []Rule{
		{
			ID: "transformer-predictor-unreachable", Hop: ComponentLink,
			Title: "the transformer cannot reach the predictor",
			Means: "The transformer answers, and its own call to the predictor fails: the cluster-local gateway is missing, a mesh or network policy refuses it, host, port or protocol do not fit, or the predictor took too long. The predictor itself can be fine.",
			Fix:   "ask the predictor from the transformer's pod: `kubectl exec -n {ns} {pod} -c {container} -- python3 -c \"import urllib.request as u; print(u.urlopen('http://{isvc}-predictor.{ns}/v1/models').read())\"`; then look at the cluster-local gateway (knative-local-gateway in istio-system) and at AuthorizationPolicies and NetworkPolicies of {ns}",
			Looks: Looks{
				Status: "everything True",
				Client: "500 {\"error\":\"ConnectError : All connection attempts failed\"}, ReadTimeout, or HTTPStatusError with 403, 404, 503, while the predictor's own host answers",
				Logs:   "transformer: httpx.ConnectError, ConnectionRefusedError, ReadTimeout",
			},
			Needs: linkSources(),
			Match: FirstOf(onLink(Transformer, false), onLinkLine(Transformer, false)),
		},
		{
			ID: "transformer-host-wrong", Hop: ComponentLink,
			Title: "the transformer calls a predictor host that is not this service's predictor",
			Means: "--predictor_host was set by hand to a name that does not exist or is not the predictor's. KServe gives it to the transformer unless its arguments have one.",
			Fix:   "leave --predictor_host out of spec.transformer.containers[].args of inferenceservice {isvc} (-n {ns}), so that KServe puts it in, or set it to {isvc}-predictor.{ns}",
			Looks: Looks{
				Status: "everything True",
				Client: "500 {\"error\":\"ConnectError : [Errno -2] Name or service not known\"}; older: gaierror",
				Logs:   "transformer: as left",
			},
			Needs:    linkSources(),
			Explains: []string{"transformer-predictor-unreachable"},
			Match:    FirstOf(onLink(Transformer, true), onLinkLine(Transformer, true)),
		},
		{
			ID: "explainer-not-ready-or-unreachable", Hop: ComponentLink,
			Title: "the explainer is not there, not ready, or cannot reach the predictor",
			Means: "Explanations have a component of their own, which calls the predictor. KServe creates no route for the whole service before it is ready.",
			Fix:   "look at the explainer as at a predictor: `kubectl get pods -n {ns} -l component=explainer,serving.kserve.io/inferenceservice={isvc}` and their events and logs, but mend the predictor first; without spec.explainer in {isvc} there is nothing that answers :explain",
			Looks: Looks{
				Status: "ExplainerReady=False; IngressReady=False or Unknown, reason 'Explainer ingress not created'",
				Client: "404, 501 {\"error\":\"Could not find explainer_host.\"}, 500 or 503 on :explain",
				Logs:   "explainer: ConnectError, Connection refused",
			},
			Needs:    linkSources(),
			Explains: []string{"kserve-virtualservice-missing"},
			Match:    FirstOf(onLink(Explainer, false), onLink(Explainer, true), noExplainer, explainerDown, onLinkLine(Explainer, false), onLinkLine(Explainer, true)),
		},
	}
}

func linkSources() []Source { return []Source{Requests, InferenceServices, Pods, ContainerLogs} }

var (
	// noName are the words of the C library, Go, Node and gRPC for a name that does not resolve.
	noName = Re(`(?i)name or service not known|gaierror|nodename nor servname|no address associated with hostname|temporary failure in name resolution|NameResolutionError|failed to resolve|no such host|\bENOTFOUND\b|EAI_AGAIN|DNS resolution failed|name does not resolve`)
	// unlinked are those of the clients that transformers and explainers use: httpx (KServe), tornado and requests (KFServing), aiohttp, grpcio.
	unlinked = Re(`\b(ConnectError|ConnectTimeout|ReadTimeout|ReadError|WriteError|RemoteProtocolError|NewConnectionError|MaxRetryError|ClientConnectorError|ClientOSError|ServerDisconnectedError|HTTPTimeoutError|ConnectionRefusedError|HTTPConnectionPool)\b|` +
		`All connection attempts failed|failed to connect to all addresses|Failed to communicate with upstream|Timed out when communicating with upstream|Cannot connect to host|Server disconnected without sending|\[Errno 111\]|could not find (PredictorConfig|predictor_host)|Could not find predictor_host`)
	// urlHost is the host of an address in such a text.
	urlHost = regexp.MustCompile(`https?://([\w.-]+)`)
)

// linkFault gives the words of an answer that tell of a failed call to another component; "" for any other answer. Only JSON and pages of the
// server count: queue-proxy and Envoy write of refused connections too, in plain text.
func linkFault(o *Observation) string {
	body := strings.TrimSpace(o.Body)
	if o.Outcome != Answered || o.Status < 500 || !strings.HasPrefix(body, "{") && !strings.HasPrefix(body, "<") {
		return ""
	}
	s := serverText(o)
	if m := wrapped.FindStringSubmatch(s); m != nil {
		if (m[2] == "403" || m[2] >= "502") && !unreadyWords.Match(m[1]) || m[2] == "404" && firstGroup(noModel, m[1]) == "" {
			return s
		}
		return "" // the predictor's own answer
	}
	if unlinked.Match(s) || noName.Match(s) {
		return s
	}
	return ""
}

// onLink finds answers of a component that could not call the predictor; foreign picks those whose host is not the predictor's.
func onLink(component string, foreign bool) func(*View) []Match {
	return func(v *View) []Match {
		h := handSet(v, component)
		seen := v.Observations()
		pods := v.Pods()
		var out []Match
		for i := range seen {
			o := &seen[i]
			words := linkFault(o)
			if words == "" || calledOf(v, o) != component || !has(v, component) || answeredLater(seen[i+1:], o) || h.foreign(words) != foreign {
				continue
			}
			m := Match{Step: v.weigh(Step{Hop: ComponentLink, Component: component}), Evidence: []Evidence{RequestEvidence(o, "body", strings.TrimSpace(o.Body))},
				Summary: "the " + component + " could not call the predictor: " + Clip(words, 200)}
			m.Pod, m.Confidence = podOf(pods, component), h.sure(foreign, words)
			if foreign && h.value != "" {
				m.Evidence = append(m.Evidence, h.evidence)
				m.Summary = "the " + component + " calls " + h.value + ", which is not this service's predictor: " + Clip(words, 160)
			}
			if !foreign && down(v, Predictor) {
				m.Confidence = Possible
			}
			out = append(out, m)
		}
		return latest(merge(out), 3)
	}
}

// onLinkLine finds the same in the component's log. While the service answers it is of the past.
func onLinkLine(component string, foreign bool) func(*View) []Match {
	return quiet(func(v *View) []Match {
		h := handSet(v, component)
		var out []Match
		for _, l := range v.Lines(ContainerLogs) {
			s := v.StepOfName(ComponentLink, ObjectRef{Source: Pods, Kind: "Pod", Namespace: l.Namespace, Name: l.Pod})
			model := v.modelNamed(l.Container)
			if s.Component != component || !model || l.Previous || !unlinked.Match(l.Text) && !noName.Match(l.Text) || v.Age(l.Time) > crashTime || h.foreign(l.Text) != foreign || down(v, Predictor) {
				continue
			}
			m := Match{Step: Step{Hop: ComponentLink, Component: component}, Pod: l.Pod, Container: l.Container, Confidence: Likely, Evidence: []Evidence{LineEvidence(l)},
				Summary: "the " + component + " could not call the predictor: " + Clip(l.Text, 200)}
			if !doorFails(v) {
				m.Severity = Warning
			}
			out = append(out, m)
		}
		return latest(merge(out), 2)
	})
}

// calledOf is the component that called on: the explainer for explanations.
func calledOf(v *View, o *Observation) string {
	switch {
	case o.Step.Component != "":
		return o.Step.Component
	case strings.Contains(o.Path, ":explain"):
		return Explainer
	}
	return Transformer
}

// has says whether the service has the component, or may have it.
func has(v *View, component string) bool {
	svc := v.Service()
	return svc == nil || svc.Has("spec", component) || svc.Has("spec", "default", component)
}

// hostSet is what is known of --predictor_host in the user's own arguments.
type hostSet struct {
	service  string // of the InferenceService; "" when it was not read
	value    string
	evidence Evidence
}

// handSet reads it, in the forms of v1beta1 and KFServing's v1alpha2.
func handSet(v *View, component string) hostSet {
	svc := v.Service()
	if svc == nil {
		return hostSet{}
	}
	h := hostSet{service: svc.Name}
	for _, root := range [][]string{{"spec", component, "containers"}, {"spec", component, "custom", "container"}, {"spec", "default", component, "custom", "container"}} {
		list := svc.List(root...)
		if one, ok := svc.Get(root...).(map[string]any); ok {
			list = append(list, one)
		}
		for _, c := range list {
			args := c["args"]
			if argument(args, "--predictor_host") == "" {
				args = c["command"]
			}
			if value := argument(args, "--predictor_host"); value != "" {
				h.value, h.evidence = value, FieldEvidence(svc, value, strings.Join(root, ".")+" --predictor_host")
			}
		}
	}
	return h
}

// foreign says whether the host that failed is not the predictor's: it was set by hand to another, or, when nothing more is known, does not
// resolve.
func (h hostSet) foreign(words string) bool {
	host, _, _ := strings.Cut(h.value, ":")
	host = strings.TrimPrefix(strings.TrimPrefix(host, "http"), "//")
	switch {
	case h.service == "":
		if m := urlHost.FindStringSubmatch(words); m != nil && strings.Contains(m[1], "-predictor") {
			return false
		}
		return noName.Match(words)
	case h.value == "":
		return false
	}
	return host != h.service+"-predictor" && !strings.HasPrefix(host, h.service+"-predictor.") && !strings.HasPrefix(host, h.service+"-predictor-default.")
}

// sure says how sure the cause is.
func (h hostSet) sure(foreign bool, words string) Confidence {
	if h.service == "" || foreign && h.value == "" || strings.Contains(strings.ToLower(words), "temporary failure in name") && !foreign {
		return Likely
	}
	return Certain
}

// down says whether the component is known not to be up: then that is the fault, not the way to it.
func down(v *View, component string) bool {
	n := 0
	for _, p := range v.Pods() {
		if p.Component == component && !p.Deleted() {
			if n++; p.Ready {
				return false
			}
		}
	}
	c, _ := v.Service().Condition("PredictorReady")
	return n > 0 || component == Predictor && c.False()
}

func podOf(pods []PodState, component string) string {
	at := slices.IndexFunc(pods, func(p PodState) bool { return p.Component == component && !p.Deleted() })
	if at < 0 {
		return ""
	}
	return pods[at].Name
}

// noExplainer finds requests for explanations to a service that has nothing to give them.
func noExplainer(v *View) []Match {
	with := has(v, Explainer) && v.Service() != nil
	return OnResponse(ComponentLink, func(_ *View, o *Observation) (field, value string, ok bool) {
		return "body", strings.TrimSpace(o.Body), o.Outcome == Answered && o.Status == 501 && strings.Contains(o.Body, "Could not find explainer_host") && !with
	})(v)
}

// explainerStart is how long an explainer may take to come up; Standard mode says MinimumReplicasUnavailable from its first second.
const explainerStart = 2 * time.Minute

// explainerDown finds an explainer that is not ready, and is not just starting, while the predictor is.
func explainerDown(v *View) []Match {
	var out []Match
	for _, o := range v.Objects(InferenceServices) {
		own, ok := o.Condition("ExplainerReady")
		predictor, _ := o.Condition("PredictorReady")
		if !ok || own.True() || own.Reason == "Stopped" || predictor.False() || !v.past(own.Since, explainerStart) || own.Unknown() && !v.past(own.Since, defaultDeadline) {
			continue
		}
		m := Match{Step: Step{Hop: ComponentLink, Component: Explainer, Object: o.Ref()}, Confidence: Likely, Evidence: []Evidence{ConditionEvidence(o, own)},
			Summary: "the explainer is not ready: " + Clip(cmp.Or(own.Message, own.Reason, own.Type+"="+own.Status), 200)}
		if c, _ := o.Condition("IngressReady"); strings.HasPrefix(c.Reason, "Explainer ") && !c.True() {
			m.Evidence = append(m.Evidence, ConditionEvidence(o, c))
		} else if answers(v) || o.Ready() {
			m.Severity = Warning
		}
		out = append(out, m)
	}
	return out
}
