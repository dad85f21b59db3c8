// knative_traffic.go: what can go wrong at the hop knative-route with the share of traffic that each revision gets, and on purpose.
package hops

import "strings"

func trafficRules() []Rule {
	return []Rule{
		{
			ID: "canary-bad-revision", Hop: KnativeRoute,
			Title: "one of the revisions that share the traffic fails, the other answers",
			Means: "Traffic is split, and the share of requests that goes to one revision fails. The InferenceService can be Ready all the same: the revision was ready once.",
			Fix:   "set spec.{component}.canaryTrafficPercent of inferenceservice {isvc} (-n {ns}) to 0 to send everything to the revision that works, then mend the new one",
			Looks: Looks{
				Status: "two revisions with percent > 0 in status.traffic; all conditions can be True",
				Client: "a share of requests fails with 5xx, the rest is 200",
				Logs:   "errors only in the pods of one revision",
			},
			Needs:    []Source{Requests, Pods, AccessLogs},
			Explains: nil,
			Match:    FirstOf(splitRequests, splitAccess, Sure(Likely, splitPods)),
		},
		{
			ID: "latest-created-not-ready-old-serving", Hop: KnativeRoute, Severity: Warning,
			Title: "the newest revision failed; the one before it goes on answering",
			Means: "An update did not work out. Requests are safe and get the old model: traffic to the latest revision stays on the last one that was ready. Ready=False here does not mean that requests fail.",
			Fix:   "mend the cause in the newest revision and apply the InferenceService again, or apply the old specification; until then {isvc} answers with the old model",
			Looks: Looks{
				Status: "latestCreatedRevision differs from latestReadyRevision; ConfigurationsReady=False RevisionFailed while RoutesReady=True; LatestDeploymentReady=False",
				Client: "200, from the old model",
			},
			Needs: []Source{KnativeServices, Configurations, InferenceServices, Revisions, Pods, Deployments},
			Match: oldServes,
		},
		{
			ID: "http-downgrade-or-redirect", Hop: KnativeRoute, Severity: Warning,
			Title: "the gateway sends http callers to https, or serves http only although https was asked for",
			Means: "With http-protocol Redirected the answer to http is a redirect, and most clients turn a redirected POST into a GET. HTTPDowngrade is the reverse: there is no certificate yet, so only http works.",
			Fix:   "call {isvc} with https; or set http-protocol to Enabled in ConfigMap config-network of knative-serving; for HTTPDowngrade see `kubectl get certificate.networking.internal.knative.dev -n {ns}`",
			Looks: Looks{
				Status: "CertificateProvisioned True HTTPDowngrade; kingress httpOption Redirected",
				Client: "301 or 308 with location https:// and the same host",
			},
			Needs: []Source{Requests, Routes, KnativeServices},
			Match: AnyOf(
				OnAnswer(KnativeRoute, toHTTPS),
				stepless(downgraded(Routes)), stepless(downgraded(KnativeServices)),
			),
		},
		{
			ID: "service-stopped", Hop: KnativeRoute,
			Title: "the service is stopped on purpose",
			Means: "The annotation serving.kserve.io/stop is true: KServe removed everything that would answer. Nothing is broken.",
			Fix:   "start it again: `kubectl annotate inferenceservice {isvc} -n {ns} serving.kserve.io/stop-`",
			Looks: Looks{
				Status: "isvc Stopped=True; Ready, PredictorReady, IngressReady False Stopped",
				Client: "404 with an empty body",
			},
			Needs: []Source{InferenceServices},
			Explains: []string{"kserve-virtualservice-missing", "wrong-host-no-route", "revision-missing-waiting", "no-healthy-backends",
				"stale-not-ready-status", "kserve-controller-slow", "ingress-controller-not-running"},
			Match: stopped,
		},
	}
}

// splitRequests finds a revision whose own requests fail while those of another one of the same component are answered.
func splitRequests(v *View) []Match {
	var out []Match
	seen := v.Observations()
	last := map[string]*Observation{}
	for i := range seen {
		if o := &seen[i]; o.Step.Revision != "" && o.Asked == RealRequest && o.Judged() {
			last[o.Step.ID()] = o
		}
	}
	for i := range seen {
		o := &seen[i]
		if last[o.Step.ID()] != o || o.OK() || o.Outcome == Answered && o.Status < 500 || !carries(v, o.Step) {
			continue
		}
		for j := range seen {
			other := &seen[j]
			if last[other.Step.ID()] == other && other.OK() && other.Step.Component == o.Step.Component && other.Step.Revision != o.Step.Revision {
				out = append(out, Match{Step: v.weigh(Step{Hop: KnativeRoute, Component: o.Step.Component, Revision: o.Step.Revision}),
					Evidence: []Evidence{RequestEvidence(o, "answer", sawLiterally(o))}, Summary: "requests to revision " + o.Step.Revision + " fail, those to " + other.Step.Revision + " are answered"})
				break
			}
		}
	}
	return merge(out)
}

// sawLiterally quotes the part of an observation that tells that it failed.
func sawLiterally(o *Observation) string {
	switch {
	case o.Outcome != Answered:
		return string(o.Outcome)
	case o.Body != "":
		return o.Body
	}
	return text(float64(o.Status))
}

// carries says whether the step's revision has a share of the traffic while another one has the rest.
func carries(v *View, s Step) bool {
	c, _ := v.Flow().Component(s.Component)
	own, others := false, false
	for _, r := range c.Revisions {
		own = own || r.Name == s.Revision && r.Weight > 0
		others = others || r.Name != s.Revision && r.Weight > 0
	}
	return own && others
}

// splitAccess finds in a gateway's access log a revision that fails most of its requests while another one fails none.
func splitAccess(v *View) []Match {
	type tally struct {
		good, bad int
		last      Line
	}
	seen := map[string]*tally{}
	var order []string
	for _, e := range v.Access() {
		r := revisionInCluster(e.Cluster)
		if r == "" || e.Line.Source == Spans { // only spans of requests that failed are here: no fair sample
			continue
		}
		if seen[r] == nil {
			seen[r] = &tally{}
			order = append(order, r)
		}
		if e.Code >= 500 {
			seen[r].bad++
			seen[r].last = e.Line
		} else {
			seen[r].good++
		}
	}
	var out []Match
	for _, r := range order {
		for _, other := range order {
			same := ComponentInName(r) == ComponentInName(other)
			if same && seen[r].bad >= 2 && seen[r].bad > seen[r].good && seen[other].good >= 2 && seen[other].bad == 0 {
				out = append(out, Match{Step: v.weigh(Step{Hop: KnativeRoute, Component: ComponentInName(r), Revision: r}), Confidence: Likely,
					Evidence: []Evidence{LineEvidence(seen[r].last)}, Summary: "requests to revision " + r + " fail, those to " + other + " are answered"})
			}
		}
	}
	return merge(out)
}

// revisionInCluster tells a revision by an Envoy cluster such as outbound|80||x-predictor-00001.ns.svc.cluster.local.
func revisionInCluster(cluster string) string {
	_, host, ok := strings.Cut(cluster, "||")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(host, ".")
	return RevisionInName(name)
}

// splitPods finds a revision with weight none of whose pods is ready and one of which failed, beside another one that is up.
func splitPods(v *View) []Match {
	var out []Match
	pods := v.Pods()
	for _, c := range v.Flow().Components {
		for _, r := range c.Revisions {
			step := Step{Hop: KnativeRoute, Component: c.Name, Revision: r.Name, Weight: r.Weight}
			if !carries(v, step) || upPods(pods, r.Name) > 0 || !othersUp(pods, c, r.Name) {
				continue
			}
			if e, ok := failingPod(pods, r.Name); ok {
				out = append(out, Match{Step: step, Evidence: []Evidence{e}, Summary: "revision " + r.Name + " has a share of the traffic and no ready pod"})
			}
		}
	}
	return out
}

func upPods(pods []PodState, revision string) int {
	n := 0
	for _, p := range pods {
		if p.Revision == revision && p.Ready && !p.Deleted() {
			n++
		}
	}
	return n
}

func othersUp(pods []PodState, c ComponentState, revision string) bool {
	for _, r := range c.Revisions {
		if r.Name != revision && r.Weight > 0 && upPods(pods, r.Name) > 0 {
			return true
		}
	}
	return false
}

// failingPod quotes a container of the revision that ended with an error or cannot start.
func failingPod(pods []PodState, revision string) (Evidence, bool) {
	for _, p := range pods {
		if p.Revision != revision || p.Deleted() {
			continue
		}
		for _, c := range p.Containers {
			if c.Ready {
				continue
			}
			switch c.Waiting {
			case "", "PodInitializing", "ContainerCreating":
			default:
				return PodEvidence(p, c, "state.waiting.reason", c.Waiting), true
			}
			for _, e := range c.Exits() {
				if e.Reason != "" && e.Reason != "Completed" {
					return PodEvidence(p, c, "terminated.reason", e.Reason), true
				}
			}
		}
	}
	return Evidence{}, false
}

// oldServes finds components whose newest revision failed beside one that is ready.
func oldServes(v *View) []Match {
	pods, configurations, revisions := v.Pods(), v.Objects(Configurations), v.Objects(Revisions)
	var out []Match
	add := func(o *Object, component, created, ready string, path ...string) {
		if created == "" || ready == "" || created == ready {
			return
		}
		why, sure, ok := newestFailed(pods, append(revisions, append(configurations, o)...), created)
		if !ok {
			return
		}
		out = append(out, Match{Step: Step{Hop: KnativeRoute, Component: component, Object: o.Ref()}, Confidence: sure,
			Evidence: []Evidence{FieldEvidence(o, created, path...), why},
			Summary:  "revision " + created + " failed; " + ready + " goes on answering"})
	}
	for _, s := range []Source{KnativeServices, Configurations} {
		for _, o := range v.Objects(s) {
			if row := o.Str("row", "LATESTCREATED"); row != "" {
				add(o, ComponentOf(o), row, o.Str("row", "LATESTREADY"), "LATESTCREATED")
			}
			add(o, ComponentOf(o), o.Str("status", "latestCreatedRevisionName"), o.Str("status", "latestReadyRevisionName"), "status", "latestCreatedRevisionName")
		}
	}
	for _, o := range v.Objects(InferenceServices) {
		for _, c := range []string{Predictor, Transformer, Explainer} {
			at := []string{"status", "components", c}
			add(o, c, o.Str(append(at, "latestCreatedRevision")...), o.Str(append(at, "latestReadyRevision")...), append(at, "latestCreatedRevision")...)
		}
	}
	return latest(merge(append(out, oldDeployment(v)...)), 2)
}

// newestFailed says whether a revision failed for good, rather than still starts: conditions say so only at the progress deadline, its pods before.
func newestFailed(pods []PodState, objects []*Object, revision string) (e Evidence, sure Confidence, ok bool) {
	for _, o := range objects {
		for _, c := range o.Conditions() {
			if !c.False() {
				continue
			}
			if o.Source == Revisions && o.Name == revision && c.Type == "Ready" ||
				o.Source != Revisions && c.Reason == "RevisionFailed" && strings.Contains(c.Message, `"`+revision+`"`) ||
				o.Source == KnativeServices && c.Reason == "RevisionFailed" && c.Message == "" {
				return ConditionEvidence(o, c), Certain, true
			}
		}
	}
	for _, p := range pods {
		for _, c := range p.Containers {
			if p.Revision == revision && c.Waiting == "CrashLoopBackOff" {
				return PodEvidence(p, c, "state.waiting.reason", c.Waiting), Likely, true
			}
			if p.Revision == revision && !c.Ready && c.Restarts > 1 && c.Last != nil && c.Last.Reason != "" {
				return PodEvidence(p, c, "terminated.reason", c.Last.Reason), Likely, true
			}
		}
	}
	return Evidence{}, "", false
}

// oldDeployment finds the same in Standard mode: the new ReplicaSet timed out while pods of the old one are available.
func oldDeployment(v *View) []Match {
	var out []Match
	for _, o := range v.Objects(Deployments) {
		progress, _ := o.Condition("Progressing")
		if RevisionOf(o) == "" && progress.False() && o.Int("status", "availableReplicas") > 0 {
			out = append(out, Match{Step: v.StepOf(KnativeRoute, o), Evidence: []Evidence{ConditionEvidence(o, progress)},
				Summary: "the update of " + o.Name + " timed out; its old pods go on answering"})
		}
	}
	return out
}

// toHTTPS tells a redirect that changes the scheme only; a login page has another host or path.
func toHTTPS(_ *View, o *Observation) (field, value string, ok bool) {
	location := o.Header["location"]
	rest, secure := strings.CutPrefix(strings.ToLower(location), "https://")
	if o.Status != 301 && o.Status != 302 && o.Status != 307 && o.Status != 308 || !secure || o.Scheme == "https" {
		return "", "", false
	}
	host, path, _ := strings.Cut(rest, "/")
	name, _, _ := strings.Cut(host, ":")
	asked, _, _ := strings.Cut(strings.ToLower(o.Host), ":")
	same := asked == name && (o.Path == "" || strings.HasPrefix("/"+path, strings.ToLower(o.Path)))
	return "location", location, same
}

// downgraded finds routes that fell back to http because their certificate is not ready.
func downgraded(s Source) func(*View) []Match {
	return func(v *View) []Match {
		out := OnCondition(KnativeRoute, s, "", "True", "HTTPDowngrade", Pattern{})(v)
		for i := range out {
			out[i].Severity = Note
		}
		return out
	}
}

// stepless clears what is not on the path, so that copies of one condition are one finding.
func stepless(m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		out := m(v)
		for i := range out {
			out[i].Step.Revision, out[i].Step.Weight = "", 0
		}
		return out
	}
}

// stopped finds the annotation, or what KServe made of it.
func stopped(v *View) []Match {
	var out []Match
	for _, o := range v.Objects(InferenceServices) {
		var e []Evidence
		if strings.EqualFold(o.Annotation(annStop), "true") {
			e = append(e, FieldEvidence(o, o.Annotation(annStop), "metadata", "annotations", annStop))
		}
		for _, c := range o.Conditions() {
			if c.Type == "Stopped" && c.True() || c.False() && c.Reason == "Stopped" {
				e = append(e, ConditionEvidence(o, c))
			}
		}
		if len(e) > 0 && !restarted(o) {
			out = append(out, Match{Step: v.StepOf(KnativeRoute, o), Evidence: e[:min(len(e), 2)], Summary: "inferenceservice " + o.Name + " is stopped by its annotation " + annStop})
		}
	}
	return out
}

// restarted says whether the annotation is gone again and only old conditions speak of it.
func restarted(o *Object) bool {
	return !o.Partial && o.Has("metadata", "annotations") && !strings.EqualFold(o.Annotation(annStop), "true")
}
