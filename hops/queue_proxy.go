// queue_proxy.go: what can go wrong at the hop queue-proxy once the pod is up: limits, timeouts, protocol, the end of a pod.
package hops

import "strings"

func queueProxyRules() []Rule {
	return append([]Rule{
		{
			ID: "queue-proxy-overload", Hop: QueueProxy,
			Title: "the pod's queue is full: more requests than it may take and hold",
			Means: "containerConcurrency limits how many requests the container gets at a time; queue-proxy holds ten times as many and refuses the rest at once.",
			Fix:   "raise spec.{component}.containerConcurrency or spec.{component}.maxReplicas of inferenceservice {isvc} (-n {ns}), lower its scaleTarget so that pods come earlier, and let clients back off",
			Looks: Looks{
				Status: "conditions True; PodAutoscaler at max-scale",
				Client: "503 'pending request queue full' within milliseconds, for a part of the requests",
			},
			Needs:    []Source{Requests, ClientLog, Revisions},
			Explains: nil,
			Match: FirstOf(
				OnAnswer(QueueProxy, func(v *View, o *Observation) (field, value string, ok bool) {
					return "body", strings.TrimSpace(o.Body), queueFull(o) && concurrency(v, v.behind(QueueProxy, o)) > 0
				}),
				Sure(Likely, OnAnswer(QueueProxy, func(v *View, o *Observation) (field, value string, ok bool) {
					return "body", strings.TrimSpace(o.Body), queueFull(o) && concurrency(v, v.behind(QueueProxy, o)) < 0
				})),
				Sure(Likely, OnLine(QueueProxy, ClientLog, "", Any("pending request queue full"))),
			),
		},
		{
			ID: "queue-proxy-wait-timeout", Hop: QueueProxy,
			Title: "the request waited for a free slot in the pod until its time was up",
			Means: "containerConcurrency lets in only so many requests at a time, and those that are in take longer than the others may wait.",
			Fix:   "give {isvc} more pods (spec.{component}.minReplicas, maxReplicas, -n {ns}), raise spec.{component}.containerConcurrency, or make a prediction shorter",
			Looks: Looks{
				Status: "conditions True, pods ready and busy",
				Client: "503 'context deadline exceeded' after the timeout",
			},
			Needs: []Source{Requests, ClientLog, Revisions, Pods, Spans},
			Match: FirstOf(
				OnAnswer(QueueProxy, func(v *View, o *Observation) (field, value string, ok bool) {
					body, known, full := waitedForSlot(v, o)
					return "body", body, full && known
				}),
				Sure(Likely, spanOfTheWait),
				Sure(Possible, OnAnswer(QueueProxy, func(v *View, o *Observation) (field, value string, ok bool) {
					body, known, full := waitedForSlot(v, o)
					return "body", body, full && !known
				})),
				Sure(Possible, OnLine(QueueProxy, ClientLog, "", Re(`(?i)503.*context deadline exceeded`))),
			),
		},
		{
			ID: "revision-timeout", Hop: QueueProxy,
			Title: "the model took longer than the revision's timeout",
			Means: "queue-proxy (or the activator in front of it) ends a request that is not answered within timeoutSeconds, 300 unless set (60 in old KFServing). The container goes on computing.",
			Fix:   "set spec.{component}.timeout of inferenceservice {isvc} (-n {ns}) to more seconds (Knative's max-revision-timeout-seconds, 600, is the limit), or make the request smaller; a slow model also blocks its health checks",
			Looks: Looks{
				Status: "conditions True",
				Client: "504 'request timeout' (15 bytes) after just the timeout, or 504 'activator request timeout' with ready pods",
				Logs:   "queue-proxy: Request timeout: 5m0s",
			},
			Needs:    []Source{Requests, ClientLog, ContainerLogs, Pods, Revisions},
			Explains: []string{"gateway-timeout"},
			Match: FirstOf(
				OnAnswer(QueueProxy, tookTooLong),
				OnLine(QueueProxy, ClientLog, "", Re(`(?i)(?:^|[^a-z\s])\s*request timeout`)),
				quiet(Sure(Likely, OnLine(QueueProxy, ContainerLogs, "queue-proxy", Re(`(?:Request|Idle|Response start) timeout: ?[0-9]`)))),
				Sure(Possible, OnAnswer(QueueProxy, func(v *View, o *Observation) (field, value string, ok bool) {
					body, byActivator, _ := timedOutWaiting(o)
					_, known := podsAt(v, v.behind(QueueProxy, o))
					return "body", body, byActivator && !known
				})),
			),
		},
		{
			ID: "grpc-port-name-mismatch", Hop: QueueProxy,
			Title: "HTTP/1 and HTTP/2 do not match between the gateway and the model server",
			Means: "A gRPC server needs HTTP/2 all the way. Knative speaks it only to a container port named h2c; a port so named in front of an HTTP/1 server fails the other way round.",
			Fix:   "for gRPC name the container's port h2c in spec.{component} of inferenceservice {isvc} (-n {ns}) or in its ServingRuntime (Knative refuses other names than h2c and http1), for HTTP leave the name away; one protocol a component",
			Looks: Looks{
				Status: "Ready=True",
				Client: "gRPC UNAVAILABLE or 502 '... reset reason: protocol error'; UNIMPLEMENTED with http2 status 404",
				Logs:   "gateway access log UPE, protocol_error",
			},
			Needs: []Source{Requests, ClientLog, AccessLogs, InferenceServices, Revisions},
			Match: FirstOf(
				OnAnswer(QueueProxy, protocolError),
				Sure(Likely, accessOfRevision(QueueProxy, func(e AccessEntry) bool { return e.Flag("UPE") || strings.Contains(e.Details, "protocol_error") })),
				Sure(Likely, OnLine(QueueProxy, ClientLog, "", Re(`(?i)reset reason: protocol error|Missing :te header|malformed HTTP response "\\x00\\x00|http2: frame too large|first record does not look like .*h2c`))),
				Sure(Possible, OnLine(QueueProxy, ClientLog, "", Re(`(?i)UNIMPLEMENTED.*http2 header with status: 404|unexpected HTTP status code received from server: 502`))),
				Sure(Likely, portNames),
			),
		},
		{
			ID: "ephemeral-port-exhaustion", Hop: QueueProxy,
			Title: "queue-proxy ran out of local ports to the container",
			Means: "Each connection from queue-proxy to the model server takes a port of the pod for a minute after it ends. When the server closes connections (no keep-alive), a high rate of requests uses them all up.",
			Fix:   "switch keep-alive on in the model server of {isvc}, update Knative (newer releases keep more idle connections), or spread the load over more pods (spec.{component}.minReplicas)",
			Looks: Looks{
				Status: "conditions True",
				Client: "502 'dial tcp 127.0.0.1:8080: connect: cannot assign requested address' for a share of requests under load",
				Logs:   "queue-proxy: the same text",
			},
			Needs: []Source{Requests, ClientLog, ContainerLogs},
			Match: FirstOf(
				OnAnswer(QueueProxy, func(_ *View, o *Observation) (field, value string, ok bool) {
					return "body", strings.TrimSpace(o.Body), strings.Contains(o.Body, "cannot assign requested address")
				}),
				OnLine(QueueProxy, ClientLog, "", Re(`dial tcp (127\.0\.0\.1|\[::1\]):\d+: connect: cannot assign requested address`)),
				quiet(Sure(Likely, OnLine(QueueProxy, ContainerLogs, "queue-proxy|agent", Any("connect: cannot assign requested address")))),
			),
		},
		{
			ID: "draining-or-evicted", Hop: QueueProxy, Severity: Warning,
			Title: "the request met a pod that is shutting down",
			Means: "A pod that stops tells everybody and waits 30 seconds; a request that comes later, or takes longer than the grace period, is cut off. It happens while a service scales down or a node is drained.",
			Fix:   "let the client try again; when it happens often raise spec.{component}.timeout of {isvc} (it sets the grace period too), or slow down scaling in ConfigMap config-autoscaler of knative-serving",
			Looks: Looks{
				Status: "conditions True, a pod Terminating",
				Client: "short 502, 503 or a cut connection; 503 'shutting down' to a probe",
				Logs:   "queue-proxy: Sleeping 30s to allow K8s propagation of non-ready state",
			},
			Needs: []Source{Requests, ContainerLogs, Pods},
			Match: FirstOf(
				quiet(OnAnswer(QueueProxy, func(_ *View, o *Observation) (field, value string, ok bool) {
					body := strings.TrimSpace(o.Body)
					return "body", body, o.Status == 503 && body == "shutting down"
				})),
				quiet(Sure(Likely, metDeletedPod)),
				quiet(Sure(Possible, drained)),
			),
		},
		{
			ID: "sidecar-config-rejected", Hop: QueueProxy,
			Title: "a proxy refused the configuration that Istio sent it",
			Means: "An EnvoyFilter or policy makes a listener that Envoy cannot use. The proxy keeps its old configuration, or has no listener at all, and later changes do not arrive either.",
			Fix:   "read the refusal in the istio-proxy log or in istiod's, find the EnvoyFilter, AuthorizationPolicy or RequestAuthentication that it comes from (`istioctl proxy-status`, `istioctl analyze -n {ns}`), and correct or narrow it",
			Looks: Looks{
				Status: "isvc and ksvc can stay Ready",
				Client: "503, or an old route answers",
				Logs:   "istio-proxy: gRPC config for ...Listener rejected: Error adding/updating listener(s); istiod: ADS:LDS: ACK ERROR",
			},
			Needs:    []Source{ContainerLogs, SystemLogs, AccessLogs},
			Explains: []string{"no-healthy-backends", "readiness-probe-failing"},
			Match: AnyOf(
				Sure(Likely, OnLine(QueueProxy, ContainerLogs, "istio-proxy", rejected)),
				Sure(Likely, proxyRefused),
			),
		},
	}, readinessRules()...)
}

// quiet drops what a matcher finds while a front door answers: traces of the past say nothing then.
func quiet(m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		out := m(v)
		if answers(v) {
			return nil
		}
		return out
	}
}

// answers says whether the last request at some front door was answered well, and none failed.
func answers(v *View) bool {
	seen, good := v.Observations(), false
	for _, door := range []Door{Outside, ClusterLocal} {
		if o := doorAnswer(seen, door); o != nil {
			if !o.OK() {
				return false
			}
			good = true
		}
	}
	return good
}

// waitedForSlot tells the answer to a request that waited in a pod that is ready; known says whether the pod's limit is.
func waitedForSlot(v *View, o *Observation) (body string, known, full bool) {
	body, byActivator, timedOut := timedOutWaiting(o)
	s := v.behind(QueueProxy, o)
	limit := concurrency(v, s)
	ready, _ := podsAt(v, s)
	return body, limit > 0 && ready > 0, timedOut && !byActivator && !o.ColdStart && limit != 0 && (ready > 0 || limit > 0)
}

// tookTooLong tells a timeout of queue-proxy, or one of the activator while a pod was ready.
func tookTooLong(v *View, o *Observation) (field, value string, ok bool) {
	body, byActivator, _ := timedOutWaiting(o)
	ready, _ := podsAt(v, v.behind(QueueProxy, o))
	own := (o.Status == 504 || o.Status == 503) && strings.HasPrefix(body, "request timeout") && o.Step.Hop != Container
	return "body", body, own || byActivator && ready > 0 && !o.ColdStart
}

// protocolError tells a server that speaks the other HTTP. From the first gateway in Knative mode the words speak of the second gateway.
func protocolError(v *View, o *Observation) (field, value string, ok bool) {
	inner := o.Upstream() || o.Step.Door == "" && o.Step.Hop != Client && o.Step.Hop != "" || v.Flow().Mode == Standard
	switch {
	case inner && strings.Contains(o.Body, "reset reason: protocol error"):
		return "body", strings.TrimSpace(o.Body), true
	case o.Outcome == Malformed && (o.Step.Hop == Container || o.Step.Hop == QueueProxy):
		return "outcome", string(o.Outcome), true
	}
	return "", "", false
}

// portNames finds gRPC services in Knative mode whose port does not say h2c. Nothing fails before somebody asks.
func portNames(v *View) []Match {
	var out []Match
	revisions, services := v.Objects(Revisions), v.Objects(InferenceServices)
	for _, isvc := range services {
		protocol := isvc.Str("spec", Predictor, "model", "protocolVersion")
		if protocol != "grpc-v2" {
			continue
		}
		for _, o := range revisions {
			named := len(o.List("spec", "containers")) == 0 || ComponentOf(o) != Predictor || !v.matters(o.Name)
			for _, c := range o.List("spec", "containers") {
				for _, p := range maps(c["ports"]) {
					named = named || text(p["name"]) == "h2c"
				}
			}
			if !named {
				out = append(out, Match{Step: v.StepOf(QueueProxy, o), Severity: Warning,
					Evidence: []Evidence{FieldEvidence(isvc, protocol, "spec", Predictor, "model", "protocolVersion"), FieldEvidence(o, o.Name, "metadata", "name")},
					Summary:  "the predictor speaks gRPC, and no container port of revision " + o.Name + " is named h2c"})
			}
		}
	}
	return merge(out)
}

// metDeletedPod finds requests to a pod that is on its way out.
func metDeletedPod(v *View) []Match {
	gone := map[string]bool{}
	for _, p := range v.Pods() {
		gone[p.Name] = p.Deleted()
	}
	return OnAnswer(QueueProxy, func(_ *View, o *Observation) (field, value string, ok bool) {
		_, name, _ := strings.Cut(o.Target, "/")
		name, _, _ = strings.Cut(name, ":")
		return "target", o.Target, cutOff(o) && gone[name]
	})(v)
}

// cutOff tells a request that ended as one does whose pod goes away.
func cutOff(o *Observation) bool {
	return o.Outcome == ResetByPeer || o.Outcome == ClosedEarly || o.Outcome == Refused || o.Status == 502 || o.Status == 503
}

// drained finds a pod that said that it stops, beside a request that was cut off. Every pod says so when it is scaled down.
func drained(v *View) []Match {
	cut := OnAnswer(QueueProxy, func(_ *View, o *Observation) (field, value string, ok bool) {
		return "answer", sawLiterally(o), o.Asked == RealRequest && cutOff(o)
	})(v)
	said := OnLine(QueueProxy, ContainerLogs, "queue-proxy", Re(`Sleeping .*to allow K8s propagation|Received TERM signal, attempting to gracefully shutdown`))(v)
	if len(cut) == 0 {
		return nil
	}
	return said
}

var (
	rejected = Re(`(?i)gRPC config for \S*(listener|cluster|routeconfiguration|extension)\S* rejected|error adding/updating (listener|cluster)`)
	refusal  = Re(`(?i)ADS:(LDS|CDS|EDS|RDS): (ACK ERROR|NACK)|ACK ERROR .*(listener|cluster)`)
)

// proxyRefused finds refusals that istiod logged of this service's pods or of a gateway, and those in a gateway's own log. A doubled host is
// virtualservice-conflict.
func proxyRefused(v *View) []Match {
	var out []Match
	name := v.Ref().Name
	for _, l := range append(v.Lines(SystemLogs), v.Lines(AccessLogs)...) {
		if !refusal.Match(l.Text) && !rejected.Match(l.Text) || strings.Contains(l.Text, "Only unique values for domains") {
			continue
		}
		m := Match{Step: Step{Hop: QueueProxy, Component: ComponentInName(l.Text)}, Evidence: []Evidence{LineEvidence(l)}}
		switch {
		case l.Source == AccessLogs || strings.Contains(l.Text, "gateway"):
			m.Step, m.Severity = Step{Hop: IngressGateway, Door: Outside}, Warning
		case name != "" && !strings.Contains(l.Text, name+"-"):
			continue
		}
		out = append(out, m)
	}
	return latest(merge(out), 3)
}
