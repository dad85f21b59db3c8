// client.go: what can go wrong at the hop client: names, what stands in front of the gateway, and the caller's rights at the API server.
package hops

import (
	"regexp"
	"strings"
)

func clientRules() []Rule {
	return []Rule{
		{
			ID: "dns-failure", Hop: Client,
			Title: "the host's name cannot be resolved",
			Means: "The request never left: the caller's DNS does not know the host. Names ending in svc.cluster.local exist inside the cluster only, and the default domains (example.com, svc.cluster.local) are in nobody's public DNS.",
			Fix:   "send the request to the gateway's address with the service's host as Host header: `curl -H 'Host: HOST' http://GATEWAY-ADDRESS/...` (address: `kubectl get svc -n istio-system istio-ingressgateway`); for real use set a domain in config-domain with a wildcard DNS record, or Magic DNS; inside the cluster look at CoreDNS (`kubectl get pods -n kube-system -l k8s-app=kube-dns`) and the node's resolv.conf",
			Looks: Looks{
				Status: "Ready=True",
				Client: "Could not resolve host; no such host; gaierror: Name or service not known; Temporary failure in name resolution",
				Logs:   "CoreDNS: Loop ... detected",
			},
			Needs: []Source{Requests, ClientLog},
			Match: FirstOf(unresolved, Sure(Likely, unresolvedLines)),
		},
		{
			ID: "answered-before-gateway", Hop: Client,
			Title: "something in front of the gateway answered",
			Means: "The answer bears no mark of Envoy: a proxy, CDN, load balancer, login page or another ingress controller took the request. The gateway never saw it, and its access log has no line.",
			Fix:   "follow the name and address to what answered (`curl -v`, headers server and via); compare with a request to the gateway's own address: `kubectl get svc -n istio-system istio-ingressgateway`; then correct DNS, proxy variables (NO_PROXY) or that proxy's route",
			Looks: Looks{
				Status: "all True",
				Client: "any status without server: istio-envoy and x-envoy-*; another server, via, or an HTML page",
				Logs:   "no line in the gateway's access log",
			},
			Needs: []Source{Requests, Ingresses},
			Match: answeredBefore,
		},
		{
			ID: "k8s-rbac-denied", Hop: Client,
			Title: "the API server does not let this account do that",
			Means: "The Kubernetes role of the user, notebook or controller lacks a right. When it is the caller, nothing was created; when it is a controller, objects stay without status.",
			Fix:   "grant what the message names in that namespace: `kubectl auth can-i VERB RESOURCE -n {ns} --as=USER` shows it; in a Kubeflow profile the role is kubeflow-edit (kserve-edit); controllers get theirs from the release's manifests",
			Looks: Looks{
				Status: "the object does not exist, or never gets a status",
				Client: "403 Forbidden: User ... cannot create resource \"inferenceservices\"",
				Logs:   "controller: is forbidden: User \"system:serviceaccount:...\" cannot ...",
			},
			Needs:    []Source{ClientLog, SystemLogs, Events},
			Explains: []string{"kserve-controller-slow", "kserve-virtualservice-missing"},
			Match:    FirstOf(callerForbidden, controllerForbidden),
		},
	}
}

// unresolved finds requests whose host the caller's DNS did not know.
func unresolved(v *View) []Match {
	return frontRequests(v, func(o *Observation) (Match, bool) {
		m := Match{Step: Step{Hop: Client, Door: o.Step.Door}, Evidence: []Evidence{RequestEvidence(o, "outcome", string(o.Outcome))}}
		if o.Err != "" {
			m.Evidence = []Evidence{RequestEvidence(o, "error", o.Err)}
		}
		if o.Host != "" {
			m.Summary = "host " + o.Host + " cannot be resolved"
			if inCluster(o.Host) {
				m.Summary += ": it exists inside the cluster only"
			}
		}
		return m, o.Outcome == DNSFailed
	})
}

var unresolvedWords = Re(`(?i)could not resolve host|gaierror|no such host|name or service not known|temporary failure in name resolution|nodename nor servname|getaddrinfo (ENOTFOUND|EAI_AGAIN)|UnknownHostException|name resolution (failed|failure)|DNS resolution failed`)

func unresolvedLines(v *View) []Match {
	var out []Match
	for _, l := range v.Lines(ClientLog) {
		if unresolvedWords.Match(l.Text) {
			out = append(out, Match{Step: Step{Hop: Client, Door: Outside}, Evidence: []Evidence{LineEvidence(l)}})
		}
	}
	return latest(merge(out), 3)
}

var otherServers = regexp.MustCompile(`(?i)^(nginx|openresty|cloudflare|awselb|akamai|apache|traefik|haproxy|squid|microsoft-|google frontend|gws|varnish|caddy|kong|bigip|netscaler|cowboy|tengine|bfe|zscaler)`)

// answeredBefore tells answers that no Envoy had in its hands. In Standard mode the ingress controller may be another on purpose.
func answeredBefore(v *View) []Match {
	class, _ := classOf(ourIngress(v))
	out := frontRequests(v, func(o *Observation) (Match, bool) {
		m := Match{Step: Step{Hop: Client, Door: o.Step.Door}}
		server, via, page := o.Header["server"], o.Header["via"], nginxPage(o)
		html := strings.Contains(o.Header["content-type"], "text/html") || strings.HasPrefix(strings.ToLower(strings.TrimSpace(o.Body)), "<!doctype html") || strings.HasPrefix(strings.ToLower(strings.TrimSpace(o.Body)), "<html")
		switch {
		case o.Outcome != Answered || len(o.Header) == 0 && page == "" || throughEnvoy(o) || o.OK() && !html || o.Status == 0:
			return m, false
		case page != "":
			m.Evidence = append(sawStatus(o), RequestEvidence(o, "body", page))
			m.Summary, m.Fix = proxySays(o, page)
			if server == "" { // a server behind the gateway may be an nginx too
				m.Confidence = Likely
			}
		case otherServers.MatchString(server):
			m.Evidence = []Evidence{RequestEvidence(o, "server", server)}
			m.Summary = "the answer comes from " + server + ", not from the gateway"
		case via != "":
			m.Evidence = []Evidence{RequestEvidence(o, "via", via)}
		case html && server != "uvicorn":
			m.Confidence, m.Evidence = Likely, sawStatus(o)
		case WroteIt(o) == BeforeGateway && server != "" && o.Vantage != PortForward:
			m.Confidence, m.Evidence = Likely, []Evidence{RequestEvidence(o, "server", server)}
		default:
			return m, false
		}
		return m, true
	})
	switch standard := v.Flow().Mode == Standard; {
	case standard && class != "" && class != "istio":
		return bodyRefused(v)
	case standard && class == "":
		return Sure(Possible, func(*View) []Match { return out })(v)
	}
	return out
}

// proxySays reads the own error page of an nginx in front of the gateway: what went wrong between the two, and what to do.
func proxySays(o *Observation, server string) (summary, fix string) {
	const compare = "; ask the gateway itself to compare: its address is in `kubectl get svc -n istio-system istio-ingressgateway`"
	switch o.Status {
	case 413:
		return server + " refuses the body: it is larger than its limit",
			"raise client_max_body_size of that nginx (annotation nginx.ingress.kubernetes.io/proxy-body-size on its Ingress, 1m unless set), " +
				"or send fewer instances in one request"
	case 502, 503:
		return server + " stands in front of the gateway and finds nobody behind it who answers",
			"look where that nginx sends requests: its upstream, or the Service of its Ingress and its endpoints, must lead to the gateway, " +
				"by the protocol that the port speaks" + compare
	case 504:
		return server + " stands in front of the gateway and gave up waiting for it",
			"raise proxy_read_timeout of that nginx (annotation nginx.ingress.kubernetes.io/proxy-read-timeout, 60 s unless set), " +
				"or make the answer faster" + compare
	case 404:
		return server + " stands in front of the gateway and knows no such host or path",
			"let that nginx pass the host of .status.url of {isvc}, with its Host header and path as they are, to the gateway" + compare
	}
	return "the answer comes from " + server + ", not from the gateway", ""
}

// bodyRefused finds the one answer of a Standard mode's own nginx that is about the request: its body is too large. The others are the route's and
// the pods'.
func bodyRefused(v *View) []Match {
	return frontRequests(v, func(o *Observation) (Match, bool) {
		page := nginxPage(o)
		m := Match{Step: gatewayStep(Outside), Evidence: append(sawStatus(o), RequestEvidence(o, "body", page))}
		m.Summary, m.Fix = proxySays(o, page)
		return m, page != "" && o.Status == 413
	})
}

// throughEnvoy says whether some header shows that an Envoy had the answer in its hands, even where it keeps the upstream's server header.
func throughEnvoy(o *Observation) bool {
	for name := range o.Header {
		if strings.HasPrefix(name, "x-envoy-") {
			return true
		}
	}
	return o.FromEnvoy()
}

var (
	forbidden     = Re(`(?i)is forbidden: User .* cannot |User \\?"[^"]+\\?" cannot (create|get|list|watch|update|patch|delete) `)
	forbiddenVerb = Re(`(?i)cannot (create|update|patch|delete)|inferenceservices|serving\.k(serve|ubeflow)\.`)
)

// callerForbidden finds refusals that a caller got. What somebody may not read when collecting evidence is no fault of the service.
func callerForbidden(v *View) []Match {
	var out []Match
	for _, l := range v.Lines(ClientLog) {
		if forbidden.Match(l.Text) && forbiddenVerb.Match(l.Text) {
			out = append(out, Match{Step: Step{Hop: Client}, Evidence: []Evidence{LineEvidence(l)}, Summary: Clip(l.Text, 300)})
		}
	}
	return latest(merge(out), 3)
}

// controllerForbidden finds refusals that a controller got about this service, or about whole kinds.
func controllerForbidden(v *View) []Match {
	var out []Match
	for _, l := range v.Lines(SystemLogs) {
		if forbidden.Match(l.Text) && strings.Contains(l.Text, "system:serviceaccount:") {
			m := Match{Step: Step{Hop: ControlPlane}, Confidence: Likely, Evidence: []Evidence{LineEvidence(l)}, Summary: Clip(l.Text, 300)}
			if !strings.Contains(l.Text, v.Ref().Name) {
				m.Confidence = Possible
			}
			out = append(out, m)
		}
	}
	for _, e := range v.Events() {
		if forbidden.Match(e.Message) && strings.Contains(e.Message, "system:serviceaccount:") {
			out = append(out, Match{Step: Step{Hop: ControlPlane, Object: e.About}, Confidence: Likely, Evidence: []Evidence{EventEvidence(e)}, Summary: Clip(e.Message, 300)})
		}
	}
	return latest(merge(out), 3)
}
