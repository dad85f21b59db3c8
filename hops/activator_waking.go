// activator_waking.go: what can go wrong at the hop activator while a request waits for a pod.
package hops

import (
	"strings"
	"time"
)

func wakingRules() []Rule {
	return []Rule{
		{
			ID: "scale-from-zero-timeout", Hop: Activator,
			Title: "no pod was ready before the waiting request timed out",
			Means: "The activator held the request while a pod started, and the start took longer than the request may wait: a large model or image, a node that has to be made first, or a pod that does not start at all.",
			Fix:   "set spec.{component}.minReplicas of inferenceservice {isvc} (-n {ns}) to 1, or raise spec.{component}.timeout above the length of a cold start and the client's own timeout with it; keep the model near (modelcar, PVC, image on the node)",
			Looks: Looks{
				Status: "Revision Active Unknown Queued; PA TimedOut; Ready stays True",
				Client: "504 'activator request timeout' or 503 'context deadline exceeded' at the first request, or the client's own timeout; 200 later",
				Logs:   "activator: Throttler try error ... context deadline exceeded",
			},
			Needs:    []Source{Requests, ClientLog, SystemLogs, Pods, Revisions, PodAutoscalers},
			Explains: []string{"gateway-timeout"},
			Match: FirstOf(
				OnAnswer(Activator, wokeTooLate),
				Sure(Likely, waitedInActivator),
				Sure(Likely, OnLine(Activator, ClientLog, "", Any("activator request timeout"))),
				Sure(Likely, gaveUpWaking),
			),
		},
		{
			ID: "activator-probe-denied", Hop: Activator,
			Title: "the mesh refuses the activator's probe of the pods",
			Means: "Before it sends a request the activator asks each pod's queue-proxy whether it is ready, in plaintext and by address. An AuthorizationPolicy or strict mTLS refuses that, so the pods never count as ready although the kubelet says so.",
			Fix:   "allow the principal of knative-serving (or the paths /healthz and /) in the AuthorizationPolicies of {ns}; or set mesh-compatibility-mode to enabled in ConfigMap config-network of knative-serving; or keep the sidecar out with the annotation sidecar.istio.io/inject: \"false\" on inferenceservice {isvc}",
			Looks: Looks{
				Status: "revision Unknown Queued, pods 3/3 ready",
				Client: "hangs, then 503 or 504",
				Logs:   "activator: Failed probing pods / Failed to probe clusterIP: unexpected body: want \"queue\", got \"RBAC: access denied\"",
			},
			Needs:    []Source{SystemLogs, Pods},
			Explains: []string{"scale-from-zero-timeout", "progress-deadline-exceeded", "no-healthy-backends"},
			Match:    probeDenied,
		},
		{
			ID: "activator-queue-full", Hop: Activator,
			Title: "too many requests wait in the activator",
			Means: "More than 10000 requests wait for one revision in one activator, so it refuses further ones: capacity does not come, or does not come fast enough.",
			Fix:   "find out why {revision} gets no more pods (quota, nodes, spec.{component}.maxReplicas of {isvc}); raise maxReplicas or let callers send less",
			Looks: Looks{
				Status: "conditions normal; PodAutoscaler desiredScale above actualScale",
				Client: "503 'pending request queue full' at once",
				Logs:   "activator: Throttler try error ... pending request queue full",
			},
			Needs: []Source{Requests, ClientLog, SystemLogs, Revisions},
			Match: FirstOf(
				throttled("pending request queue full"),
				Sure(Likely, OnAnswer(Activator, func(v *View, o *Observation) (field, value string, ok bool) {
					return "body", strings.TrimSpace(o.Body), queueFull(o) && concurrency(v, v.behind(Activator, o)) == 0
				})),
				Sure(Possible, OnAnswer(Activator, func(v *View, o *Observation) (field, value string, ok bool) {
					return "body", strings.TrimSpace(o.Body), queueFull(o) && concurrency(v, v.behind(Activator, o)) < 0
				})),
				Sure(Possible, OnLine(Activator, ClientLog, "", Any("pending request queue full"))),
			),
		},
		{
			ID: "activator-revision-unknown", Hop: Activator,
			Title: "the activator was asked for a revision that it does not know",
			Means: "The route still names a revision that is gone, or the request came to the activator without the headers that a gateway sets: somebody called a revision's Service or the activator directly.",
			Fix:   "call the host of inferenceservice {isvc}, not the Service of a revision; if the gateway's route is old, make Knative write it again: `kubectl annotate route.serving.knative.dev -n {ns} {isvc}-{component} probe/look-again=1 --overwrite`",
			Looks: Looks{
				Status: "all True",
				Client: "404 'Error getting active endpoint: revision.serving.knative.dev \"x\" not found'",
				Logs:   "activator: Error while getting revision",
			},
			Needs: []Source{Requests, ClientLog, SystemLogs},
			Match: FirstOf(
				OnAnswer(Activator, unknownRevision),
				OnLine(Activator, ClientLog, "", Any("Error getting active endpoint")),
				Sure(Likely, ofService(Any("Error while getting revision"))),
			),
		},
	}
}

// timedOutWaiting tells the answers to a request that waited for a pod, or for a slot in one, until its time was up. Knative before 1.2 wrote
// 503 where it writes 504 now (knative.dev/serving/pkg/http/handler/timeout.go).
func timedOutWaiting(o *Observation) (body string, byActivator, any bool) {
	body = strings.TrimSpace(o.Body)
	byActivator = (o.Status == 504 || o.Status == 503) && strings.HasPrefix(body, "activator request timeout")
	return body, byActivator, byActivator || o.Status == 503 && strings.HasPrefix(body, "context deadline exceeded")
}

// wokeTooLate tells a request that timed out while no pod was ready. With a ready pod the same answer speaks of a slow one: revision-timeout,
// queue-proxy-wait-timeout.
func wokeTooLate(v *View, o *Observation) (field, value string, ok bool) {
	body, _, timedOut := timedOutWaiting(o)
	ready, known := podsAt(v, v.behind(Activator, o))
	switch {
	case timedOut && (o.ColdStart || known && ready == 0):
		return "body", body, true
	case o.Outcome == Timeout && o.ColdStart:
		return "outcome", string(o.Outcome), true
	}
	return "", "", false
}

// waitedInActivator tells the same where nothing is known of the pods.
func waitedInActivator(v *View) []Match {
	return FirstOf(
		OnAnswer(Activator, func(v *View, o *Observation) (field, value string, ok bool) {
			body, byActivator, _ := timedOutWaiting(o)
			_, known := podsAt(v, v.behind(Activator, o))
			return "body", body, byActivator && !known
		}),
		func(v *View) []Match { // the activator's own word, while no pod is ready
			var out []Match
			for _, m := range throttled("context deadline exceeded")(v) {
				if ready, known := podsAt(v, m.Step); !known || ready == 0 {
					out = append(out, m)
				}
			}
			return out
		},
	)(v)
}

// podsAt counts the ready pods of a step's revision, or component; known is false when no pod and no revision of it was read.
func podsAt(v *View, s Step) (ready int, known bool) {
	for _, p := range v.Pods() {
		if (s.Component == "" || p.Component == s.Component) && (s.Revision == "" || p.Revision == s.Revision) && !p.Deleted() {
			known = true
			if p.Ready {
				ready++
			}
		}
	}
	for _, o := range v.Objects(Revisions) {
		active, _ := o.Condition("Active")
		known = known || o.Name == s.Revision && active.Reason == "NoTraffic"
	}
	return ready, known
}

// gaveUpWaking finds revisions that were ready once, were asked for, and did not come up again.
func gaveUpWaking(v *View) []Match {
	var out []Match
	revisions := v.Objects(Revisions)
	for _, pa := range v.Objects(PodAutoscalers) {
		active, _ := pa.Condition("Active")
		started, _ := pa.Condition("ScaleTargetInitialized")
		late := active.False() && active.Reason == "TimedOut" || active.Unknown() && active.Reason == "Queued" && v.Age(active.Since) > 5*time.Minute
		if !late || !started.True() || !v.matters(pa.Name) {
			continue
		}
		m := Match{Step: v.StepOf(Activator, pa), Evidence: []Evidence{ConditionEvidence(pa, active)}, Summary: "revision " + pa.Name + " was asked for and did not come up from zero"}
		for _, o := range revisions {
			if o.Name == pa.Name {
				m.Step.Object = o.Ref()
			}
		}
		out = append(out, m)
	}
	return out
}

// throttled finds what the activator's throttler says of this service (knative.dev/serving/pkg/activator/handler/handler.go).
func throttled(why string) func(*View) []Match {
	return ofService(Re(`(?i)throttler (try )?error.*` + why + `|` + why + `.*throttler (try )?error`))
}

// ofService finds lines of the system's logs that speak of this service.
func ofService(p Pattern) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, l := range v.Lines(SystemLogs) {
			if p.Match(l.Text) && concerns(v, l.Text) {
				r := revisionInKey(l.Text)
				out = append(out, Match{Step: v.weigh(Step{Hop: Activator, Component: ComponentInName(r), Revision: r}), Evidence: []Evidence{LineEvidence(l)}})
			}
		}
		return latest(merge(out), 3)
	}
}

var (
	probing     = Re(`(?i)failed probing pods|failed to probe clusterIP|unexpected body: want \\?"queue\\?"`)
	probeRefuse = Re(`(?i)RBAC: access denied|unexpected status code: want \[200\], got 403`)
	probeBroken = Re(`(?i)unexpected status code: want \[200\], got 50[23]|connection reset by peer|: EOF|tls: `)
)

// probeDenied finds probes that were refused. What a pod that still starts answers looks like a broken connection: that counts for ready pods in
// the mesh only.
func probeDenied(v *View) []Match {
	meshed := false
	for _, p := range v.Pods() {
		for _, c := range p.Containers {
			meshed = meshed || c.Name == "istio-proxy" && p.Ready
		}
	}
	var refused []Match
	for _, l := range v.Lines(SystemLogs) {
		deny := probeRefuse.Match(l.Text)
		if !probing.Match(l.Text) || !concerns(v, l.Text) || !deny && !(meshed && probeBroken.Match(l.Text)) {
			continue
		}
		r := revisionInKey(l.Text)
		m := Match{Step: v.weigh(Step{Hop: Activator, Component: ComponentInName(r), Revision: r}), Evidence: []Evidence{LineEvidence(l)}}
		if !deny {
			m.Confidence = Likely
		}
		refused = append(refused, m)
	}
	return latest(merge(refused), 3)
}

// queueFull tells a request that found no place to wait. Activator and queue-proxy write the same words.
func queueFull(o *Observation) bool {
	return o.Status == 503 && strings.HasPrefix(strings.TrimSpace(o.Body), "pending request queue full")
}

// concurrency is the containerConcurrency of a step's revision; -1 when it is not known. With 0 queue-proxy has no queue.
func concurrency(v *View, s Step) int {
	for _, o := range v.Objects(Revisions) {
		if o.Name == s.Revision && o.Has("spec", "containerConcurrency") {
			return o.Int("spec", "containerConcurrency")
		}
	}
	return -1
}

// unknownRevision tells the activator's 404. A dial of a revision's Service without the routing headers gets it from a healthy activator too.
func unknownRevision(_ *View, o *Observation) (field, value string, ok bool) {
	body := strings.TrimSpace(o.Body)
	bare := o.Step.Hop == Revision || strings.Contains(body, `""`) && o.Step.Hop != Client && o.Step.Door == ""
	return "body", body, (o.Status == 404 || o.Status == 500) && strings.HasPrefix(body, "Error getting active endpoint") && !bare
}
