// ingress_access.go: what a gateway refuses: authentication, authorization, mesh TLS, protocols and certificates.
package hops

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

func ingressAccessRules() []Rule {
	return append([]Rule{
		{
			ID: "gateway-auth-redirect", Hop: IngressGateway,
			Title: "the gateway asks for a login or token before it lets a request through",
			Means: "An authentication service (oauth2-proxy, oidc-authservice, Dex) or a RequestAuthentication stands in front of the gateway. The model never saw the request. Where the cluster-local gateway shares the pods, calls from inside are asked too.",
			Fix:   "send a valid session cookie or `Authorization: Bearer` token (probe: --header-from-env), or exempt the path or host in the AuthorizationPolicy, RequestAuthentication or EnvoyFilter: `kubectl get authorizationpolicy,requestauthentication,envoyfilter -n istio-system`",
			Looks: Looks{
				Status: "Ready=True (Knative of old: IngressNotConfigured, because its probe was redirected)",
				Client: "302 to /dex/auth, /oauth2/start or another login; 401 or 403 with www-authenticate, x-ext-authz-*, or 'Jwt ...'",
				Logs:   "gateway: 302 UAEX ext_authz_denied; 401 jwt_authn_access_denied{...}",
			},
			Needs: []Source{Requests, AccessLogs, VirtualServices},
			Match: FirstOf(askedToLogin, askedToLoginLines),
		},
		{
			ID: "ext-authz-down", Hop: IngressGateway,
			Title: "the authorization service that the gateway asks does not answer",
			Means: "The gateway asks an external service about every request and refuses all when it gets no answer. The empty body tells it from a real denial.",
			Fix:   "bring the provider up: its name stands under extensionProviders in `kubectl get cm istio -n istio-system -o yaml` or in the EnvoyFilter; see that its Service has ready pods and that the gateway may reach it",
			Looks: Looks{
				Status: "Ready=True",
				Client: "403 with an empty body for every request, server: istio-envoy, no x-envoy-upstream-service-time",
				Logs:   "gateway: 403 UAEX ext_authz_error",
			},
			Needs: []Source{Requests, AccessLogs, VirtualServices},
			Match: FirstOf(authzDownLines, Sure(Likely, authzDown)),
		},
		{
			ID: "authz-policy-denied", Hop: IngressGateway,
			Title: "an AuthorizationPolicy denies the request",
			Means: "A policy of Istio says no: a DENY rule matches, or ALLOW policies exist and none matches. Callers without a sidecar have no principal. Knative's prober takes the refusal for an answer, so everything looks Ready.",
			Fix:   "the access log names the policy (rbac_access_denied_matched_policy[ns[NAMESPACE]-policy[NAME]...]; none: no ALLOW rule fits); see `kubectl get authorizationpolicy -A`: allow this caller, and the gateways and knative-serving with the paths /healthz and /metrics",
			Looks: Looks{
				Status: "Ready=True (Knative of old: IngressNotConfigured)",
				Client: "403 'RBAC: access denied' (19 bytes); with x-envoy-upstream-service-time it came from behind the first gateway",
				Logs:   "rbac_access_denied_matched_policy[...]; net-istio: the response status is 403",
			},
			Needs:    []Source{Requests, AccessLogs, VirtualServices, AuthPolicies, SystemAuthPolicies, SystemLogs},
			Explains: []string{"ingress-probe-failing", "transformer-predictor-unreachable", "explainer-not-ready-or-unreachable"},
			Match:    policyDenied,
		},
		{
			ID: "mtls-mismatch", Hop: IngressGateway,
			Title: "one side of a connection speaks mesh TLS and the other does not",
			Means: "A PeerAuthentication demands mutual TLS while the caller (a gateway or activator without a sidecar, a probe) sends plain text, or a DestinationRule sets TLS for a server that has none. The connection ends before any answer.",
			Fix:   "see `kubectl get peerauthentication,destinationrule -A`: set PERMISSIVE for this workload or for ports 8012, 8013 and 8112, give knative-serving sidecars, or drop the DestinationRule's tls mode",
			Looks: Looks{
				Status: "Ready=True, or a revision that never gets ready because probes are plain text",
				Client: "503 '... TLS error ...', or connection reset by peer from a pod without a sidecar",
				Logs:   "gateway: 503 UF,URX with TLS_error; UC; activator: connection reset by peer",
			},
			Needs: []Source{Requests, AccessLogs, VirtualServices, PeerAuths, SystemPeerAuths, DestinationRules, SystemLogs},
			Explains: []string{"gateway-protocol-mismatch", "ingress-probe-failing", "transformer-predictor-unreachable",
				"explainer-not-ready-or-unreachable"},
			Match: tlsMismatch,
		},
	}, protocolRules()...)
}

func protocolRules() []Rule {
	return []Rule{
		{
			ID: "gateway-protocol-mismatch", Hop: IngressGateway,
			Title: "the gateway and the next hop do not speak the same protocol",
			Means: "The connection to the next hop comes about and is dropped: the second gateway's listener expects the PROXY protocol or TLS, or HTTP/1 meets HTTP/2. The name of a Service's port (http2, http, https) decides what a gateway speaks.",
			Fix:   "restrict an EnvoyFilter with the PROXY protocol to the external listener; compare the port names of the next Service (`kubectl get svc -n istio-system -o yaml`) with what it speaks; give cluster-local traffic a gateway of its own",
			Looks: Looks{
				Status: "all True, or Uninitialized (the probe is reset)",
				Client: "503 '... reset reason: connection termination', 502 '... reset reason: protocol error' on the InferenceService's host",
				Logs:   "ingress gateway: UC upstream_reset_before_response_started{connection_termination}, or UPE, with the local gateway as cluster",
			},
			Needs:    []Source{Requests, AccessLogs, VirtualServices},
			Explains: []string{"ingress-probe-failing"},
			Match:    droppedByNextHop,
		},
		{
			ID: "certificate-not-ready", Hop: IngressGateway,
			Title: "the certificate of the host is not there or not trusted",
			Means: "TLS is asked for and the certificate was not issued, does not fit the host, has run out, or comes from an authority that the caller does not know. Until it is issued Knative may hold the route back.",
			Fix:   "look at `kubectl get certificate -A` and `kubectl get order,challenge -A` of cert-manager for the reason; shorten domain-template where the CommonName exceeds 64 bytes; see that the Gateway's credentialName names a Secret in the gateway's namespace; callers need the issuer's CA",
			Looks: Looks{
				Status: "Route CertificateProvisioned Unknown CertificateNotReady or False CertificateProvisionFailed",
				Client: "TLS handshake error, unknown authority, expired",
				Logs:   "net-certmanager: CommonName too long; istiod: secret not found",
			},
			Needs:    []Source{Routes, KnativeServices, InferenceServices, Certificates, Requests, SystemLogs},
			Explains: []string{"ingress-probe-failing", "kserve-virtualservice-missing", "wrong-host-no-route"},
			Match:    FirstOf(notIssued, notTrusted),
		},
	}
}

var loginWords = regexp.MustCompile(`(?i)(/dex(/|$)|oauth2?/|/authorize|authservice|openid|oidc|/login|/signin|/sign_in|/auth(/|$|\?)|keycloak|/realms/|/sso|saml|//(login|auth|sso|accounts|dex|keycloak|idp)[.-])`)

// askedToLogin tells the answers of gates: redirects to a login, challenges, and refusals that a provider explained. A caller who gave credentials
// and is refused has an error; a request of ours without any only shows the gate.
func askedToLogin(v *View) []Match {
	return frontRequests(v, func(o *Observation) (Match, bool) {
		sure, may := gatewayAnswered(o)
		m, jwt := jwtRefused(v, o)
		if !o.Credentials && o.From == "" {
			m.Severity = Warning
		}
		if jwt {
			return m, true
		}
		switch location := o.Header["location"]; {
		case o.Status >= 301 && o.Status <= 308 && location != "" && loginWords.MatchString(location) && !o.Upstream():
			m.Evidence = []Evidence{RequestEvidence(o, "location", location)}
			return m, true
		case o.Upstream() || !may || o.Status != 401 && o.Status != 403:
			return m, false
		}
		for _, name := range slices.Sorted(headerNames(o)) {
			if (name == "www-authenticate" || strings.HasPrefix(name, "x-ext-authz-")) && o.Header[name] != "" {
				m.Evidence = []Evidence{RequestEvidence(o, name, o.Header[name])}
				return m, true
			}
		}
		body := strings.TrimSpace(o.Body)
		switch {
		case sure && o.Status == 401:
			m.Evidence = sawStatus(o)
		case sure && body != "" && !strings.HasPrefix(body, "RBAC: access denied"):
			m.Evidence, m.Confidence = sawBody(o), Likely
		default:
			return m, false
		}
		return m, true
	})
}

func headerNames(o *Observation) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range o.Header {
			if !yield(name) {
				return
			}
		}
	}
}

func askedToLoginLines(v *View) []Match {
	return accessLines(v, func(e AccessEntry) (Match, bool) {
		m := Match{}
		said, jwt := strings.CutPrefix(e.Details, "jwt_authn_access_denied")
		if jwt {
			m.Summary, m.Fix = jwtSays(strings.Trim(said, "{}"))
		}
		if strings.HasPrefix(e.Cluster, "inbound|") {
			m.Step = Step{Hop: QueueProxy, Component: cmp.Or(ComponentInName(bareHost(e.Authority)), ComponentInName(e.Line.Pod), v.Flow().EntryPoint)}
		}
		return m, jwt || e.Flag("UAEX") && e.Details != "ext_authz_error" || e.Details == "ext_authz_denied"
	})
}

// authzDown tells the refusal of a gateway that got no answer itself; a provider's own denial carries a header or a body.
func authzDown(v *View) []Match {
	denied := accessLines(v, func(e AccessEntry) (Match, bool) { return Match{}, e.Details == "ext_authz_denied" })
	out := frontRequests(v, func(o *Observation) (Match, bool) {
		sure, _ := gatewayAnswered(o)
		explained := o.Header["www-authenticate"] != ""
		for name := range o.Header {
			explained = explained || strings.HasPrefix(name, "x-ext-authz-")
		}
		return Match{Evidence: sawStatus(o)}, sure && o.Status == 403 && emptyAnswer(o) && !explained
	})
	if len(denied) > 0 {
		return nil
	}
	return out
}

func authzDownLines(v *View) []Match {
	return accessLines(v, func(e AccessEntry) (Match, bool) { return Match{}, e.Details == "ext_authz_error" })
}

var (
	deniedBy    = regexp.MustCompile(`rbac_access_denied_matched_policy\[(?:ns\[([^\]]+)\]-policy\[([^\]]+)\])?`)
	probeDenial = Re(`(?i)probing of \S+ abandoned.*status is 403|unexpected status code: want \[200\], got 403|RBAC: access denied`)
)

// policyDenied tells Istio's words, and names the policy that the access log gives.
func policyDenied(v *View) []Match {
	policies, known := slices.Concat(v.Objects(SystemAuthPolicies), v.Objects(AuthPolicies)), v.hosts()
	lines := accessLines(v, func(e AccessEntry) (Match, bool) {
		found := deniedBy.FindStringSubmatch(e.Details)
		if found == nil {
			return Match{}, false
		}
		m := Match{Summary: "no ALLOW policy of Istio admits the request"}
		if found[2] != "" {
			m.Summary = "AuthorizationPolicy " + found[1] + "/" + found[2] + " denies the request"
		}
		for _, o := range policies {
			if o.Namespace == found[1] && o.Name == found[2] {
				m.Evidence = append(m.Evidence, FieldEvidence(o, o.Name, "metadata", "name"))
			}
		}
		if strings.HasPrefix(e.Cluster, "inbound|") {
			m.Step = Step{Hop: QueueProxy, Component: cmp.Or(ComponentInName(bareHost(e.Authority)), ComponentInName(e.Line.Pod), v.Flow().EntryPoint)}
		}
		return m, true
	})
	answers := frontRequests(v, func(o *Observation) (Match, bool) {
		m := Match{Evidence: sawBody(o)}
		if o.Upstream() {
			m.Step = Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}
		}
		return m, strings.HasPrefix(o.wording(), "RBAC: access denied")
	})
	var probes []Match
	for _, l := range v.Lines(SystemLogs) {
		if probeDenial.Match(l.Text) && strings.Contains(strings.ToLower(l.Text), "probing of") && probesOurs(v, known, l.Text) {
			probes = append(probes, Match{Step: gatewayStep(Outside), Confidence: Possible, Evidence: []Evidence{LineEvidence(l)}})
		}
	}
	if out := merge(append(lines, answers...)); len(out) > 0 {
		return latest(out, 4)
	}
	return latest(merge(probes), 2)
}

var (
	tlsWords   = Re(`(?i)TLS[ _]error|SSL routines|CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|tls: first record`)
	resetWords = Re(`(?i)connection reset by peer|reset reason: (connection termination|remote reset|connection failure)`)
)

// strict quotes the PeerAuthentications that demand mutual TLS here, and DestinationRules for hosts of the service that set a mode.
func strict(v *View) []Evidence {
	var out []Evidence
	for _, o := range slices.Concat(v.Objects(PeerAuths), v.Objects(SystemPeerAuths)) {
		if o.Str("spec", "mtls", "mode") == "STRICT" && (o.Source == PeerAuths || o.Namespace != "") {
			out = append(out, FieldEvidence(o, "STRICT", "spec", "mtls", "mode"))
		}
	}
	name := v.Ref().Name
	for _, o := range v.Objects(DestinationRules) {
		host, mode := o.Str("spec", "host"), o.Str("spec", "trafficPolicy", "tls", "mode")
		if mode != "" && name != "" && (NamedFor(name, strings.SplitN(host, ".", 2)[0]) || strings.HasPrefix(host, "*")) {
			out = append(out, FieldEvidence(o, mode, "spec", "trafficPolicy", "tls", "mode"))
		}
	}
	return out
}

// tlsMismatch finds connections that ended over TLS. Resets speak of it only beside a policy that demands it.
func tlsMismatch(v *View) []Match {
	policies, known := strict(v), v.hosts()
	place := func(o *Observation) Step {
		if o.Upstream() {
			return Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}
		}
		return Step{}
	}
	sure := append(accessLines(v, func(e AccessEntry) (Match, bool) {
		return Match{}, tlsWords.Match(e.Failure) || tlsWords.Match(e.Details)
	}),
		frontRequests(v, func(o *Observation) (Match, bool) {
			return Match{Step: place(o), Evidence: sawBody(o)}, (o.Status >= 500 || o.GRPCStatus > 0) && tlsWords.Match(o.wording())
		})...)
	reset := append(accessLines(v, func(e AccessEntry) (Match, bool) { return Match{}, e.Flag("UC") && e.Code >= 500 }),
		frontRequests(v, func(o *Observation) (Match, bool) {
			if o.Outcome == ResetByPeer {
				return Match{Evidence: []Evidence{RequestEvidence(o, "outcome", string(o.Outcome))}}, true
			}
			return Match{Step: place(o), Evidence: sawBody(o)}, resetWords.Match(o.wording())
		})...)
	for _, l := range v.Lines(SystemLogs) {
		if !resetWords.Match(l.Text) || !strings.Contains(l.Text, "robing") && !strings.Contains(l.Text, "probe") {
			continue
		}
		if hostInProbe(l.Text) == "" && concerns(v, l.Text) || hostInProbe(l.Text) != "" && probesOurs(v, known, l.Text) {
			reset = append(reset, Match{Step: gatewayStep(Outside), Evidence: []Evidence{LineEvidence(l)}})
		}
	}
	out := merge(sure)
	if len(out) == 0 && len(policies) > 0 {
		out = merge(reset)
		for i := range out {
			out[i].Confidence = Likely
		}
	}
	for i := range out {
		out[i].Evidence = append(latest(out[i:i+1], 3)[0].Evidence, policies[:min(len(policies), 2)]...)
	}
	return out
}

var droppedWords = Re(`(?i)reset reason: (connection termination|protocol error|remote reset)`)

// droppedByNextHop finds connections that the hop behind the first gateway dropped. A log that shows another hop than the cluster-local gateway
// speaks of a server that went away: its pods tell more. A broken protocol is one wherever it leads but to a revision.
func droppedByNextHop(v *View) []Match {
	elsewhere := false
	lines := accessLines(v, func(e AccessEntry) (Match, bool) {
		dropped := e.Flag("UC") || e.Flag("UPE")
		next := toLocalGateway(v, e.Cluster)
		elsewhere = elsewhere || dropped && !next && e.Cluster != "" && e.Cluster != "-"
		broken := e.Flag("UPE") && revisionInCluster(e.Cluster) == "" && clusterHost(e.Cluster) != ""
		return Match{}, dropped && next || broken
	})
	answers := atSecondGateway(func(o *Observation) ([]Evidence, bool) { return sawBody(o), droppedWords.Match(o.wording()) })(v)
	for i := range answers {
		answers[i].Step, answers[i].Confidence = gatewayStep(Outside), Likely
	}
	if v.Flow().Mode == Standard || elsewhere && len(lines) == 0 {
		return nil
	}
	return latest(merge(append(lines, answers...)), 3)
}

// notIssued finds certificates that Knative waits for. Issuing takes a minute or two.
func notIssued(v *View) []Match {
	tell := func(_ *Object, c Condition) bool {
		return oneOf(c.Reason, "CertificateNotReady|CertificateProvisionFailed|CertificateNotOwned") && v.past(c.Since, 2*time.Minute)
	}
	ms := make([]func(*View) []Match, 0, 6)
	for _, s := range []Source{Routes, KnativeServices, InferenceServices} {
		ms = append(ms, routeCondition(s, "False", tell), routeCondition(s, "Unknown", tell))
	}
	out := FirstOf(ms...)(v)
	for _, o := range v.Objects(Certificates) {
		c, ok := o.Condition("Ready")
		if ok && !c.True() && v.past(c.Since, 2*time.Minute) && len(out) == 0 {
			out = append(out, Match{Step: Step{Hop: KnativeRoute, Component: cmp.Or(ComponentOf(o), v.Flow().EntryPoint), Object: o.Ref()}, Evidence: []Evidence{ConditionEvidence(o, c)}, Summary: Clip(c.Message, 300)})
		}
	}
	for _, l := range v.Lines(SystemLogs) {
		if strings.Contains(l.Text, "CommonName too long") && len(out) > 0 {
			out[0].Evidence = append(out[0].Evidence, LineEvidence(l))
		}
	}
	return out
}

var plainText = Re(`(?i)first record does not look like a TLS handshake|wrong version number|http: server gave HTTP response to HTTPS client|unrecognized name`)

// notTrusted finds handshakes that failed at a front door. A server that answers in plain text has no certificate at all there.
func notTrusted(v *View) []Match {
	return frontRequests(v, func(o *Observation) (Match, bool) {
		m := Match{Confidence: Likely, Evidence: []Evidence{RequestEvidence(o, "outcome", string(o.Outcome))}}
		if o.Err != "" {
			m.Evidence = []Evidence{RequestEvidence(o, "error", o.Err)}
		}
		if plainText.Match(o.Err) {
			m.Confidence, m.Summary = Possible, "https was spoken to a port that serves plain http, or has no certificate for this host"
		}
		return m, o.Outcome == TLSFailed
	})
}
