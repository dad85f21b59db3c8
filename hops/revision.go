// revision.go: what can go wrong at the hop revision: the Revision, its Service and endpoints, and statuses that do not tell the truth.
package hops

import (
	"strings"
	"time"
)

func revisionRules() []Rule {
	return append([]Rule{
		{
			ID: "image-digest-resolution-failed", Hop: Revision,
			Title: "Knative could not ask the registry for the image's digest, so there is no pod",
			Means: "Before it creates a Deployment, the Knative controller itself (not the kubelet) asks the registry what the tag stands for. It got no answer or a refusal: wrong name or tag, no way out of the cluster, no credentials, an unknown CA, or a slow registry.",
			Fix:   "correct the image; or name it by digest (image@sha256:...); or add its registry to registries-skipping-tag-resolving in ConfigMap config-deployment of knative-serving; for a private registry put the pull secret on the service account in {ns}; for a slow one raise digest-resolution-timeout",
			Looks: Looks{
				Status: "Revision ContainerHealthy=False ContainerMissing 'Unable to fetch image ...: failed to resolve image to digest: ...'; no Deployment, no pod",
				Client: "404 with an empty body, or the old revision answers",
				Logs:   "knative controller: context deadline exceeded, 401 Unauthorized, MANIFEST_UNKNOWN, x509",
			},
			Needs:    []Source{Revisions, Configurations, KnativeServices, InferenceServices, Events, SystemLogs},
			Explains: []string{"progress-deadline-exceeded", "revision-missing-waiting", "no-healthy-backends"},
			Match: FirstOf(
				revisionCondition("ContainerMissing", Pattern{}), revisionCondition("", digest),
				failedWith(digest),
				Sure(Likely, OnEvent(Revision, "InternalError", digest)),
				Sure(Likely, controllerSaid(Revision, Re(`(?i)failed to resolve image to digest`))),
			),
		},
		{
			ID: "progress-deadline-exceeded", Hop: Revision,
			Title: "no pod became ready before the progress deadline",
			Means: "Knative waited for the progress deadline (600 s unless set) and gave up. Half a minute later the pods are deleted and the first cause is overwritten: only events, the InferenceService's lastFailureInfo and logs that somebody kept still tell it.",
			Fix:   "read `kubectl get events -n {ns} --sort-by=.lastTimestamp` for the first cause. When the model only needs longer to load, set the annotation serving.knative.dev/progress-deadline (for example 1800s) on inferenceservice {isvc} (spec.{component}.timeout is for requests, not for the start)",
			Looks: Looks{
				Status: "Revision ResourcesAvailable=False ProgressDeadlineExceeded 'ReplicaSet ... has timed out progressing.' or 'Initial scale was never achieved'; PA TimedOut",
				Client: "503 or 504 while it starts, 404 afterwards; an older revision answers",
			},
			Needs:    []Source{Revisions, Deployments, PodAutoscalers, Configurations, KnativeServices, InferenceServices, Events},
			Explains: []string{"revision-missing-waiting", "no-healthy-backends", "scale-from-zero-timeout", "kserve-virtualservice-missing"},
			Match: FirstOf(
				revisionCondition("ProgressDeadlineExceeded", Pattern{}),
				timedOutDeployment,
				failedWith(Any("Initial scale was never achieved", "has timed out progressing")),
				OnCondition(Revision, InferenceServices, "", "False", "ProgressDeadlineExceeded", Pattern{}),
				Sure(Likely, neverActivated),
				Sure(Likely, OnEvent(Revision, "", Any("Initial scale was never achieved", "has timed out progressing"))),
			),
		},
		{
			ID: "no-healthy-backends", Hop: Revision,
			Title: "the revision has no pod that can take requests",
			Means: "The revision's Service has no ready endpoint. That is a consequence of pods that are not ready, or of a missing activator while the revision is at zero.",
			Fix:   "find out why no pod is ready: `kubectl get pods -n {ns} -l serving.knative.dev/revision={revision}`, then `kubectl describe pod`",
			Looks: Looks{
				Status: "SKS EndpointsPopulated=Unknown NoHealthyBackends while requests wait (at zero that is normal)",
				Client: "503 'no healthy upstream' from behind the first gateway, or the request hangs in the activator",
				Logs:   "gateway access log 503 UH with the revision's Service as cluster",
			},
			Needs:    []Source{Requests, AccessLogs, ServerlessServices, PodAutoscalers},
			Explains: []string{"revision-missing-waiting", "transformer-predictor-unreachable", "explainer-not-ready-or-unreachable"},
			Match: FirstOf(
				OnAnswer(Revision, noUpstream),
				Sure(Likely, accessOfRevision(Revision, func(e AccessEntry) bool { return e.Flag("UH") || e.Details == "no_healthy_upstream" })),
				Sure(Likely, emptyService),
			),
		},
		{
			ID: "stale-ready-status", Hop: Revision,
			Title: "the statuses say Ready, and no pod of the revision is",
			Means: "Knative never takes Ready back once a revision was ready. Its pods were replaced or restarted later and do not come up: trust the pods, not the conditions.",
			Fix:   "look at the pods of {revision}: `kubectl get pods -n {ns} -l serving.knative.dev/revision={revision}`; what keeps them down is the fault",
			Looks: Looks{
				Status: "isvc, ksvc and Revision Ready=True, Deployment 0/1, pods Init:CrashLoopBackOff or CrashLoopBackOff",
				Client: "503, or it hangs until the timeout",
			},
			Needs:    []Source{Revisions, InferenceServices, Pods},
			Explains: []string{"no-healthy-backends"},
			Match:    readyWithoutPods,
		},
		{
			ID: "stale-not-ready-status", Hop: Revision, Severity: Warning,
			Title: "the InferenceService says that it is not ready, and everything under it is",
			Means: "KServe's status lags behind: a conflict while writing, a restarted controller, or an old copy. Callers get answers.",
			Fix:   "make KServe look again: `kubectl annotate inferenceservice {isvc} -n {ns} probe/look-again=1 --overwrite`; if it stays, read the log of kserve-controller-manager in kserve",
			Looks: Looks{
				Status: "isvc Ready=False or Unknown while every ksvc is Ready=True; observedGeneration behind; InternalError events",
				Client: "200",
			},
			Needs: []Source{InferenceServices, KnativeServices, Requests},
			Match: notReadyButServing,
		},
		{
			ID: "resource-not-owned", Hop: Revision,
			Title: "an object of the name that Knative needs exists already and belongs to somebody else",
			Means: "Knative found a Service, Deployment, Route or another object of that name that it did not create, and does not touch it. Nothing goes on until the name is free.",
			Fix:   "read which kind and name the message gives; delete or rename that object in {ns}, or give {isvc} another name",
			Looks: Looks{
				Status: "NotOwned 'There is an existing <kind> ... that we do not own.' on ksvc, Route, Revision, PodAutoscaler or SKS; RevisionNameTaken",
				Client: "404 with an empty body",
			},
			Needs:    []Source{KnativeServices, Configurations, Routes, Revisions, PodAutoscalers, ServerlessServices, KnativeIngresses, InferenceServices},
			Explains: []string{"progress-deadline-exceeded", "revision-missing-waiting", "no-healthy-backends", "kserve-virtualservice-missing", "wrong-host-no-route"},
			Match:    notOwned,
		},
	}, endpointRules()...)
}

// digest is the stable part of what the Knative controller says (knative.dev/serving/pkg/reconciler/revision/background.go); before 0.21 it said
// only that it could not fetch the image.
var digest = Any("failed to resolve image to digest", "Unable to fetch image")

// revisionCondition finds conditions that are False on a revision that still matters. One revision shows the same in several conditions.
func revisionCondition(reason string, message Pattern) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, o := range v.Objects(Revisions) {
			for _, c := range o.Conditions() {
				if c.False() && oneOf(c.Reason, reason) && message.Match(c.Message) && c.Type != "Active" && v.matters(o.Name) {
					out = append(out, Match{Step: v.StepOf(Revision, o), Evidence: []Evidence{ConditionEvidence(o, c)}, Summary: Clip(c.Message, 300)})
				}
			}
		}
		return latest(merge(out), 2)
	}
}

// matters says whether a revision is on somebody's path, or is the newest: an old one that failed and was replaced is history.
func (v *View) matters(revision string) bool {
	for _, c := range v.Flow().Components {
		for _, r := range c.Revisions {
			if ComponentInName(revision) != c.Name && revision != r.Name {
				continue
			}
			if revision == r.Name {
				return r.Weight > 0 || r.Latest
			}
		}
	}
	c, ok := v.Flow().Component(ComponentInName(revision))
	return !ok || len(c.Revisions) == 0
}

// failedWith finds what a failed revision's Configuration, Knative Service and InferenceService copied from it, for when it was not read itself.
func failedWith(message Pattern) func(*View) []Match {
	ms := make([]func(*View) []Match, 0, 3)
	for _, s := range []Source{Configurations, KnativeServices, InferenceServices} {
		ms = append(ms, func(v *View) []Match {
			out := OnCondition(Revision, s, "", "False", "RevisionFailed|RevisionMissing|ContainerMissing", message)(v)
			for i := range out {
				out[i].Evidence = out[i].Evidence[:1]
				if r := quoted(out[i].Evidence[0].Value); v.matters(r) && RevisionInName(r) != "" {
					out[i].Step.Revision, out[i].Step.Component = r, ComponentInName(r)
				}
			}
			return out
		})
	}
	return FirstOf(ms...)
}

// quoted is the first text in double quotes.
func quoted(s string) string {
	_, rest, _ := strings.Cut(s, `"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// timedOutDeployment finds Deployments that timed out. Those of a revision that was scaled away say the opposite, which is why the Revision is
// asked first.
func timedOutDeployment(v *View) []Match {
	var out []Match
	for _, o := range v.Objects(Deployments) {
		c, ok := o.Condition("Progressing")
		if ok && c.False() && c.Reason == "ProgressDeadlineExceeded" && (RevisionOf(o) == "" || v.matters(RevisionOf(o))) {
			out = append(out, Match{Step: v.StepOf(Revision, o), Evidence: []Evidence{ConditionEvidence(o, c)}, Summary: Clip(c.Message, 300)})
		}
	}
	return out
}

// neverActivated finds autoscalers that gave up on their revision.
func neverActivated(v *View) []Match {
	var out []Match
	for _, o := range v.Objects(PodAutoscalers) {
		c, _ := o.Condition("Active")
		started, _ := o.Condition("ScaleTargetInitialized")
		if c.False() && c.Reason == "TimedOut" && !started.True() && v.matters(o.Name) {
			out = append(out, Match{Step: v.StepOf(Revision, o), Evidence: []Evidence{ConditionEvidence(o, c)}})
		}
	}
	return out
}

// noUpstream tells the answer of a gateway that knows the revision's Service and found nothing behind it. From the first gateway, with the
// InferenceService's own host in Knative mode, the same words speak of the local gateway.
func noUpstream(v *View, o *Observation) (field, value string, ok bool) {
	body := strings.TrimSpace(o.Body)
	inner := o.Upstream() || o.Step.Door == "" && o.Step.Hop != Client && o.Step.Hop != "" || v.Flow().Mode == Standard
	if page := nginxPage(o); v.Flow().Mode == Standard && o.Status == 503 && page != "" && !o.Upstream() { // an ingress controller built on nginx
		return "body", page, true
	}
	return "body", body, o.Status == 503 && body == "no healthy upstream" && inner
}

// accessOfRevision finds access log entries whose cluster is a revision's Service.
func accessOfRevision(h Hop, tell func(AccessEntry) bool) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		for _, e := range v.Access() {
			if r := revisionInCluster(e.Cluster); r != "" && tell(e) {
				out = append(out, Match{Step: v.weigh(Step{Hop: h, Component: ComponentInName(r), Revision: r}), Evidence: []Evidence{LineEvidence(e.Line)}})
			}
		}
		return latest(merge(out), 3)
	}
}

// emptyService finds revisions that are asked for and have no endpoint. At zero the condition is normal, and so it is while the first pod starts.
func emptyService(v *View) []Match {
	var out []Match
	scalers := v.Objects(PodAutoscalers)
	for _, o := range v.Objects(ServerlessServices) {
		c, _ := o.Condition("EndpointsPopulated")
		if c.Reason == "" {
			c, _ = o.Condition("Ready")
		}
		if c.Reason != "NoHealthyBackends" || !v.matters(o.Name) {
			continue
		}
		for _, pa := range scalers {
			active, _ := pa.Condition("Active")
			if pa.Name == o.Name && !active.False() && active.Status != "" && v.Age(active.Since) >= 2*time.Minute && v.past(c.Since, time.Minute) {
				out = append(out, Match{Step: v.StepOf(Revision, o), Severity: Warning, Evidence: []Evidence{ConditionEvidence(o, c), ConditionEvidence(pa, active)},
					Summary: "revision " + o.Name + " is asked for and no pod of it is ready"})
			}
		}
	}
	return out
}

// readyWithoutPods finds revisions that count as ready while their pods exist and none is. A pod that wakes from zero gets a minute and a half.
func readyWithoutPods(v *View) []Match {
	pods := v.Pods()
	var out []Match
	tell := func(o *Object, revision string) {
		c, _ := o.Condition("Ready")
		failing, ok := failingPod(pods, revision)
		if !c.True() || !ok || upPods(pods, revision) > 0 {
			return
		}
		for _, p := range pods {
			if p.Revision == revision && !p.Deleted() && (v.past(p.Created(), 90*time.Second) || restarts(p) > 1) {
				step := v.StepOf(Revision, p.Object)
				step.Object = o.Ref()
				out = append(out, Match{Step: step, Pod: p.Name, Evidence: []Evidence{ConditionEvidence(o, c), failing},
					Summary: o.Ref().String() + " says Ready=True, and no pod of it is ready"})
				return
			}
		}
	}
	revisions, services := v.Objects(Revisions), v.Objects(InferenceServices)
	for _, o := range revisions {
		if v.matters(o.Name) {
			tell(o, o.Name)
		}
	}
	for _, o := range services {
		for _, p := range pods {
			if len(revisions) == 0 && len(out) == 0 {
				tell(o, p.Revision)
			}
		}
	}
	return merge(out)
}

// restarts is how often the pod's containers were started again.
func restarts(p PodState) int {
	n := 0
	for _, c := range p.Containers {
		n += c.Restarts
	}
	return n
}

// notReadyButServing finds an InferenceService that is not Ready for minutes while its Knative Services are and nothing newer is on its way, or
// whose front door answers.
func notReadyButServing(v *View) []Match {
	seen, parts := v.Observations(), v.Objects(KnativeServices)
	whole := len(parts) > 0
	for _, o := range parts {
		c, _ := o.Condition("Ready")
		whole = whole && c.True() && v.Age(c.Since) >= 2*time.Minute && o.Str("status", "latestCreatedRevisionName") == o.Str("status", "latestReadyRevisionName")
	}
	var out []Match
	for _, o := range v.Objects(InferenceServices) {
		c, ok := o.Condition("Ready")
		if !ok || c.True() || c.Reason == "Stopped" || updating(o, parts) {
			continue
		}
		m := Match{Step: Step{Hop: Revision, Object: o.Ref()}, Evidence: []Evidence{ConditionEvidence(o, c)}}
		for i := range seen {
			x := &seen[i]
			if x.Asked == RealRequest && x.OK() && (x.AtDoor(Outside) || x.AtDoor(ClusterLocal)) && v.past(c.Since, 30*time.Second) {
				m.Evidence = append(m.Evidence, RequestEvidence(x, "status", text(float64(x.Status))))
				m.Summary = "inferenceservice " + o.Name + " says Ready=" + c.Status + ", and it answers"
			}
		}
		if whole && m.Summary == "" && v.Age(c.Since) >= 2*time.Minute {
			m.Confidence, m.Summary = Likely, "inferenceservice "+o.Name+" says Ready="+c.Status+" while everything under it is ready"
			ready, _ := parts[0].Condition("Ready")
			m.Evidence = append(m.Evidence, ConditionEvidence(parts[0], ready))
		}
		if m.Summary != "" {
			out = append(out, m)
		}
	}
	return out
}

// updating says whether a newer revision is on its way or failed: then the status tells the truth about that.
func updating(isvc *Object, parts []*Object) bool {
	for _, o := range parts {
		if o.Str("status", "latestCreatedRevisionName") != o.Str("status", "latestReadyRevisionName") {
			return true
		}
	}
	for _, c := range isvc.Conditions() {
		if c.Reason == "RevisionFailed" || c.Reason == "ProgressDeadlineExceeded" || c.Type == "LatestDeploymentReady" && !c.True() {
			return true
		}
	}
	return false
}

// notOwned finds whatever says that a name is taken, nearest to the cause first.
func notOwned(v *View) []Match {
	sources := []Source{ServerlessServices, PodAutoscalers, Revisions, KnativeIngresses, Routes, Configurations, KnativeServices, InferenceServices}
	var out []Match
	for _, s := range sources {
		for _, o := range v.Objects(s) {
			for _, c := range o.Conditions() {
				taken := (c.Reason == "NotOwned" || c.Reason == "RevisionNameTaken") && !c.True() && !foreignRoute(c.Message)
				if taken && !said(out, c.Message) && (RevisionOf(o) == "" || v.matters(RevisionOf(o))) {
					out = append(out, Match{Step: v.StepOf(Revision, o), Evidence: []Evidence{ConditionEvidence(o, c)}, Summary: Clip(c.Message, 300)})
				}
			}
		}
	}
	return merge(out)
}

// said says whether a message was quoted already: objects further up copy it.
func said(ms []Match, message string) bool {
	for _, m := range ms {
		for _, e := range m.Evidence {
			if e.Value == message || message == "" {
				return true
			}
		}
	}
	return false
}
