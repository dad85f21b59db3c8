// activator.go: what can go wrong at the hop activator, and with the autoscaler behind it.
package hops

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	activatorNames  = regexp.MustCompile(`^activator(-|$)`)
	autoscalerNames = regexp.MustCompile(`^autoscaler($|-[^h]|-h[^p]|-hp[^a]|-hpa[^-])`) // not autoscaler-hpa
)

func activatorRules() []Rule {
	return append([]Rule{
		{
			ID: "activator-down", Hop: Activator,
			Title: "the activator is not ready",
			Means: "Requests for a service at zero, and all requests while burst capacity is short, go through the activator. Without it they get 503; a service with running pods still answers.",
			Fix:   "see `kubectl get pods -n knative-serving -l app=activator` and `kubectl logs -n knative-serving deploy/activator`: most often it cannot reach the autoscaler",
			Looks: Looks{
				Status: "activator Deployment 0/1, pod 0/1 Running; SKS mode Proxy; the ksvc stays Ready=True",
				Client: "503 'no healthy upstream' while scaled to zero, 200 once a pod exists",
				Logs:   "activator: Healthcheck failed: connection has not yet been established",
			},
			Needs:    []Source{SystemDeployments, SystemPods, Pods},
			Explains: []string{"no-healthy-backends", "scale-from-zero-timeout", "ingress-probe-failing"},
			Match:    systemDown(Activator, activatorNames),
		},
		{
			ID: "activator-autoscaler-unreachable", Hop: Activator,
			Title: "the activator cannot reach the autoscaler",
			Means: "The activator reports waiting requests to the autoscaler over a websocket and is not ready without it: nothing scales up from zero. The name resolves to a foreign address, a NetworkPolicy is in the way, or the autoscaler is down.",
			Fix:   "from a pod in knative-serving, GET http://autoscaler.knative-serving.svc.cluster.local:8080/: a healthy autoscaler answers 400 with Sec-Websocket-Version: 13; a timeout is a NetworkPolicy, another answer is DNS",
			Looks: Looks{
				Status: "activator 0/1 Running with restarts, event Readiness probe failed: HTTP probe failed with statuscode: 500",
				Client: "503 for a service at zero",
				Logs:   "Websocket connection could not be established: dial tcp ...:8080: i/o timeout; bad handshake",
			},
			Needs:    []Source{SystemLogs, SystemPods, Events},
			Explains: []string{"activator-down", "scale-from-zero-timeout", "no-healthy-backends"},
			Match:    noAutoscaler,
		},
		{
			ID: "network-policy-blocks", Hop: Activator,
			Title: "connections between Knative and the pods time out, as they do behind a NetworkPolicy",
			Means: "A dropped packet times out, a closed port refuses. The kubelet still reaches the pod, so it looks ready, while the activator, a gateway or a controller does not.",
			Fix:   "allow in the NetworkPolicies of {ns} and of the system namespaces: knative-serving to the pods on 8012, 8013 and 8112, the gateways to pods and activator, the ingress controller to the gateway pods, the activator to the autoscaler on 8080",
			Looks: Looks{
				Status: "revision Unknown Queued, or kingress Uninitialized, by where it blocks; pods ready",
				Client: "timeout, never refused",
				Logs:   "dial tcp <pod ip>:8012: i/o timeout",
			},
			Needs: []Source{SystemLogs, AccessLogs, Requests, NetworkPolicies, SystemPolicies},
			Explains: []string{"activator-autoscaler-unreachable", "activator-down", "scale-from-zero-timeout", "no-healthy-backends", "progress-deadline-exceeded",
				"ingress-probe-failing", "transformer-predictor-unreachable", "explainer-not-ready-or-unreachable"},
			Match: blocked,
		},
		{
			ID: "autoscaler-down", Hop: Activator,
			Title: "the autoscaler is not ready, so nothing scales up",
			Means: "The autoscaler decides how many pods a revision gets. Without it, requests for a service at zero wait in the activator until they time out, and new revisions get no pods.",
			Fix:   "see `kubectl get pods -n knative-serving -l app=autoscaler` and `kubectl logs -n knative-serving deploy/autoscaler`",
			Looks: Looks{
				Status: "autoscaler Deployment 0/1; a new PodAutoscaler stays without status",
				Client: "hangs until the timeout, then 504 'activator request timeout'",
				Logs:   "autoscaler: panic, leader election lost",
			},
			Needs:    []Source{SystemDeployments, SystemPods, Pods, PodAutoscalers},
			Explains: []string{"activator-autoscaler-unreachable", "activator-down", "scale-from-zero-timeout", "no-healthy-backends", "revision-missing-waiting"},
			Match:    FirstOf(systemDown(Activator, autoscalerNames), Sure(Likely, unscaled)),
		},
	}, wakingRules()...)
}

// systemWorkload says whether a Deployment of the system namespaces has a ready pod. Pods tell more than the Deployment. That there is none at all
// is only known from full lists in which other parts of Knative stand.
func systemWorkload(v *View, names *regexp.Regexp) (up, known bool, why []Evidence) {
	deployments, pods := v.Objects(SystemDeployments), v.Objects(SystemPods)
	full := v.Full(SystemDeployments)
	if names == nil {
		return false, false, nil
	}
	for _, o := range pods {
		if p := parsePod(o); names.MatchString(o.Name) && !o.Deleted() {
			known, up = true, up || p.Ready
			why = append(why, unreadyPod(p))
		}
	}
	if known {
		return up, true, why
	}
	beside := false
	for _, o := range deployments {
		beside = beside || o.Name == "controller" || activatorNames.MatchString(o.Name)
		if !names.MatchString(o.Name) {
			continue
		}
		c, _ := o.Condition("Available")
		switch {
		case o.Has("spec", "replicas") && o.Int("spec", "replicas") == 0:
			known, why = true, append(why, FieldEvidence(o, o.Str("spec", "replicas"), "spec", "replicas"))
		case c.Status != "":
			known, up, why = true, up || c.True(), append(why, ConditionEvidence(o, c))
		case strings.HasPrefix(o.Str("row", "READY"), "0/"):
			known, why = true, append(why, FieldEvidence(o, o.Str("row", "READY"), "READY"))
		}
	}
	if !known && full && beside {
		absent, _ := v.Absent(SystemDeployments)
		return false, true, []Evidence{absent}
	}
	return up, known, why
}

// unreadyPod quotes what tells most about a pod that is not ready.
func unreadyPod(p PodState) Evidence {
	for _, c := range p.Containers {
		if c.Waiting != "" {
			return PodEvidence(p, c, "state.waiting.reason", c.Waiting)
		}
	}
	if c, ok := p.Condition("Ready"); ok {
		return ConditionEvidence(p.Object, c)
	}
	if row := p.Str("row", "READY"); row != "" {
		return FieldEvidence(p.Object, row, "READY")
	}
	return FieldEvidence(p.Object, p.Name, "metadata", "name")
}

// systemDown finds a system workload without a ready pod. A service that is awake goes on without it.
func systemDown(h Hop, names *regexp.Regexp) func(*View) []Match {
	return func(v *View) []Match {
		up, known, why := systemWorkload(v, names)
		serving := awake(v)
		if up || !known {
			return nil
		}
		m := Match{Step: Step{Hop: h}, Evidence: why[:min(len(why), 3)]}
		if serving {
			m.Severity = Warning
		}
		return []Match{m}
	}
}

// awake says whether every component has a ready pod, so that requests do without the activator.
func awake(v *View) bool {
	f, pods := v.Flow(), v.Pods()
	for _, c := range f.Components {
		for _, r := range c.Revisions {
			if r.Weight > 0 && upPods(pods, r.Name) == 0 {
				return false
			}
		}
	}
	return len(f.Components) > 0 && len(pods) > 0
}

var (
	lostSocket = Re(`(?i)websocket connection could not be established|connection has not yet been established|ws://autoscaler\S*.*(refused|timeout|bad handshake|no such host)|(bad handshake|i/o timeout|refused|no such host).*autoscaler\S*:8080`)
	probed500  = Re(`(?i)readiness probe failed: HTTP probe failed with statuscode: 500`)
)

// noAutoscaler finds activators without their websocket. They all log it for a moment when they start: one that is ready got it.
func noAutoscaler(v *View) []Match {
	var out []Match
	up, unready := false, []Evidence(nil)
	for _, o := range v.Objects(SystemPods) {
		if activatorNames.MatchString(o.Name) && !o.Deleted() {
			p := parsePod(o)
			up = up || p.Ready
			unready = append(unready, unreadyPod(p))
		}
	}
	for _, l := range v.Lines(SystemLogs) {
		if lostSocket.Match(l.Text) {
			m := Match{Step: Step{Hop: Activator}, Evidence: []Evidence{LineEvidence(l)}, Confidence: Likely}
			if len(unready) > 0 {
				m.Confidence = Certain
			}
			out = append(out, m)
		}
	}
	for _, e := range v.Events() {
		if activatorNames.MatchString(e.About.Name) && probed500.Match(e.Message) && (e.Count > 2 || len(unready) > 0) {
			out = append(out, Match{Step: Step{Hop: Activator}, Evidence: []Evidence{EventEvidence(e)}, Confidence: Likely})
		}
	}
	if up {
		return nil
	}
	return latest(merge(out), 3)
}

var dropped = Re(`dial tcp [0-9a-fA-F.:\[\]]+:(8012|8013|8112|8022|8080|8081|8443|9090): i/o timeout`)

// blocked finds connections of Knative's data plane that time out. How likely a policy is depends on whether there is one.
func blocked(v *View) []Match {
	own, system := v.Objects(NetworkPolicies), v.Objects(SystemPolicies)
	none := v.Full(NetworkPolicies) && v.Full(SystemPolicies) && len(own)+len(system) == 0
	out := blockedLines(v)
	out = append(out, accessOfRevision(Activator, func(e AccessEntry) bool {
		return strings.Contains(e.Details, "connection_timeout") || strings.Contains(e.Failure, "connection_timeout")
	})(v)...)
	out = append(out, blockedRequests(v)...)
	out = latest(merge(out), 3)
	for i := range out {
		out[i].Confidence = Possible
		for _, p := range slices.Concat(own, system) {
			out[i].Confidence = Likely
			out[i].Evidence = append(out[i].Evidence, FieldEvidence(p, p.Name, "metadata", "name"))
			break
		}
	}
	if none {
		return nil
	}
	return out
}

// blockedLines finds timeouts in the logs of activator and controllers that concern this service, or all of Knative.
func blockedLines(v *View) []Match {
	var out []Match
	for _, l := range v.Lines(SystemLogs) {
		if dropped.Match(l.Text) && concerns(v, l.Text) {
			out = append(out, Match{Step: v.weigh(Step{Hop: Activator, Component: ComponentInName(l.Text), Revision: revisionInKey(l.Text)}), Evidence: []Evidence{LineEvidence(l)}})
		}
	}
	return out
}

// blockedRequests finds requests of our own that timed out while connecting behind the gateways. When the front door answers, that speaks of the
// place from where they were sent.
func blockedRequests(v *View) []Match {
	seen := v.Observations()
	for _, door := range []Door{Outside, ClusterLocal} {
		if o := doorAnswer(seen, door); o != nil && o.OK() {
			return nil
		}
	}
	return OnAnswer(Activator, func(_ *View, o *Observation) (field, value string, ok bool) {
		inner := o.Step.Hop == Activator || o.Step.Hop == QueueProxy || o.Step.Hop == Revision || o.Step.Hop == Container
		return "outcome", string(o.Outcome), inner && o.Outcome == ConnectTimeout
	})(v)
}

var revisionKey = regexp.MustCompile(`"?(?:knative\.dev/key|knative\.dev/revision|key|revision)"?[:=] ?"?([a-z0-9-]+)/([a-z0-9.-]+)`)

// revisionInKey reads the revision that a line of Knative's logs names in its key.
func revisionInKey(line string) string {
	if m := revisionKey.FindStringSubmatch(line); m != nil {
		return RevisionInName(m[2])
	}
	return ""
}

// concerns says whether a log line of the system speaks of this service: it names one of its parts, or no revision at all.
func concerns(v *View, line string) bool {
	ref := v.Ref()
	m := revisionKey.FindStringSubmatch(line)
	if m == nil || ref.Name == "" {
		return true
	}
	return (ref.Namespace == "" || m[1] == ref.Namespace) && NamedFor(ref.Name, m[2])
}

// unscaled finds PodAutoscalers that nobody gave a status.
func unscaled(v *View) []Match {
	var out []Match
	for _, o := range v.Objects(PodAutoscalers) {
		at := o.Str("metadata", "creationTimestamp")
		if at != "" && !o.Partial && len(o.Conditions()) == 0 && v.past(o.Created(), time.Minute) && v.matters(o.Name) {
			out = append(out, Match{Step: v.StepOf(Activator, o), Evidence: []Evidence{FieldEvidence(o, at, "metadata", "creationTimestamp")},
				Summary: "PodAutoscaler " + o.Name + " has no status: no autoscaler has looked at it"})
		}
	}
	return out
}
