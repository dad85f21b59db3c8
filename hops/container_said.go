// container_said.go: where the end of a model's container is told when its pod does not tell: conditions, the last failure, events, logs.
package hops

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// failedPrefix is how Knative quotes a container's termination message (knative.dev/serving/pkg/apis/serving/v1/revision_lifecycle.go).
const failedPrefix = "Container failed with: "

// cleanWords stand for the message of a container that exited with code 0 (knative.dev/serving/pkg/reconciler/revision/reconcile_resources.go).
var cleanWords = Any("container exited with no error")

// onRevisionEnd finds revisions that say how their container ended. While no pod of the revision is ready this is the last word, whether the
// pods are gone or were just made anew.
func onRevisionEnd(tell func(code, words string) bool) func(*View) []Match {
	return func(v *View) []Match {
		pods := v.Pods()
		var out []Match
		for _, o := range v.Objects(Revisions) {
			for _, c := range o.Conditions() {
				code, exited := strings.CutPrefix(c.Reason, "ExitCode")
				words, quoted := strings.CutPrefix(c.Message, failedPrefix)
				if !c.False() || c.Type == "Active" || !exited && !quoted || !tell(code, words) {
					continue
				}
				if v.matters(o.Name) && !readyPod(pods, o.Name) {
					out = append(out, Match{Step: v.StepOf(Container, o), Evidence: []Evidence{conditionWords(o, c, words)}, Summary: endSummary(o.Name, c.Reason, words)})
					break
				}
			}
		}
		return out
	}
}

// conditionWords quotes of a condition that holds a traceback the line that tells.
func conditionWords(o *Object, c Condition, words string) Evidence {
	e := ConditionEvidence(o, c)
	if strings.TrimSpace(words) != "" {
		e.Value = tellingLine(words)
	}
	return e
}

func endSummary(revision, reason, words string) string {
	s := "the container of " + revision + " ended"
	if code, ok := strings.CutPrefix(reason, "ExitCode"); ok {
		s += " with exit code " + code
	}
	if strings.TrimSpace(words) != "" {
		s += ": " + Clip(tellingLine(words), 200)
	}
	return s
}

// readyPod says whether some pod of the revision is ready.
func readyPod(pods []PodState, revision string) bool {
	return slices.ContainsFunc(pods, func(p PodState) bool { return p.Ready && !p.Deleted() && p.Revision == revision })
}

// onCopiedEnd finds what Configuration, Knative Service and InferenceService copied from a revision: the words, not the code.
func onCopiedEnd(tell func(words string) bool) func(*View) []Match {
	return func(v *View) []Match {
		pods := v.Pods()
		var out []Match
		for _, s := range []Source{Configurations, KnativeServices, InferenceServices} {
			for _, o := range v.Objects(s) {
				for _, c := range o.Conditions() {
					_, words, ok := strings.Cut(c.Message, failedPrefix)
					step := stepOfCondition(v, Container, o, c)
					if ok && c.False() && len(out) == 0 && tell(words) && v.matters(step.Revision) && !readyPod(pods, step.Revision) {
						out = append(out, Match{Step: step, Evidence: []Evidence{conditionWords(o, c, words)}, Summary: endSummary(step.Revision, "", words)})
					}
				}
			}
		}
		return out
	}
}

// onLastFailure reads modelStatus.lastFailureInfo where it is not the storage-initializer's. It never clears: see failureText.
func onLastFailure(tell func(code, words string) bool) func(*View) []Match {
	return func(v *View) []Match {
		svc := v.Service()
		path := []string{"status", "modelStatus", "lastFailureInfo"}
		words, code := svc.Str(append(path, "message")...), svc.Str(append(path, "exitCode")...)
		s := complete(v, Step{Hop: Container, Component: Predictor}, "")
		up := mended(v, s, "", time.Time{}, func(Event) bool { return false })
		if svc.Str(append(path, "reason")...) != "ModelLoadFailed" || code == "" || storageSigns.Match(words) || up || loadedAgain(v) || !tell(code, words) {
			return nil
		}
		e := FieldEvidence(svc, code, append(path, "exitCode")...)
		if strings.TrimSpace(words) != "" {
			e = FieldEvidence(svc, tellingLine(words), append(path, "message")...)
		}
		return []Match{{Step: s, Evidence: []Evidence{e}, Summary: endSummary(svc.Name, "ExitCode"+code, words)}}
	}
}

var (
	// k8s.io/kubernetes/pkg/kubelet/kuberuntime; kubelets before 1.25 did not name the container of a back-off.
	backOff = regexp.MustCompile(`Back-off restarting failed container[= ]([\w-]+)`)
	// The second form is that of Docker's time.
	probeKill    = regexp.MustCompile(`(?i)\bfailed (?:liveness|startup) probe`)
	killedByName = regexp.MustCompile(`(?i)container ([\w-]+) failed (?:liveness|startup) probe|://([\w-]+):\s*container failed`)
)

// ofModel says whether a message names a container of the model, or none.
func (v *View) ofModel(names *regexp.Regexp, message string) (name string, ok bool) {
	for i, m := range names.FindStringSubmatch(message) {
		if i > 0 && m != "" {
			name = m
		}
	}
	return name, v.modelNamed(name)
}

// backOffEvents finds events that name a container of the model which keeps ending, of pods that are not known and were not followed by better.
func backOffEvents(v *View) []Match {
	pods := v.Pods()
	var out []Match
	for _, e := range v.Events() {
		name, model := v.ofModel(backOff, e.Message)
		s := v.StepOfName(Container, e.About)
		known := slices.ContainsFunc(pods, func(p PodState) bool { return p.Name == e.About.Name })
		if e.Reason == "BackOff" && name != "" && model && !known && (s.Revision == "" || v.matters(s.Revision)) && !mended(v, s, e.About.Name, e.Last, func(Event) bool { return false }) {
			out = append(out, Match{Step: s, Pod: e.About.Name, Container: name, Evidence: []Evidence{EventEvidence(e)}, Summary: Clip(e.Message, 200)})
		}
	}
	return latest(merge(out), 2)
}

// failedEvents finds events of containers that could not be created or started.
func failedEvents(words Pattern) func(*View) []Match {
	return func(v *View) []Match {
		pods := v.Pods()
		var out []Match
		for _, e := range v.Events() {
			if e.Reason != "Failed" && e.Reason != "FailedCreatePodContainer" && e.Reason != "BackOff" || !words.Match(e.Message) {
				continue
			}
			s := v.StepOfName(Container, e.About)
			ready := slices.ContainsFunc(pods, func(p PodState) bool { return p.Ready && p.Name == e.About.Name })
			if !ready && (s.Revision == "" || v.matters(s.Revision)) && !mended(v, s, e.About.Name, e.Last, ranModel) {
				out = append(out, Match{Step: s, Pod: e.About.Name, Evidence: []Evidence{EventEvidence(e)}, Summary: Clip(e.Message, 300)})
			}
		}
		return latest(merge(out), 2)
	}
}

// onServerLine finds lines of the model server's log. While the service answers they are of the past.
func onServerLine(words Pattern) func(*View) []Match {
	return quiet(func(v *View) []Match {
		pods, revisions, failing := v.Pods(), v.Objects(Revisions), doorFails(v)
		var out []Match
		for _, m := range OnLine(Container, ContainerLogs, modelContainers, words)(v) {
			last := m.Evidence[len(m.Evidence)-1]
			at := slices.IndexFunc(pods, func(p PodState) bool { return p.Name == m.Pod })
			switch {
			case m.Step.Revision != "" && !v.matters(m.Step.Revision):
				continue
			case at >= 0 && pods[at].Deleted() && !failed(revisions, pods[at].Revision):
				continue
			case at >= 0 && pods[at].Ready && (v.Age(last.At) > flapTime || strings.Contains(last.Ref, "(previous)")):
				continue
			case at >= 0 && pods[at].Ready && !failing:
				m.Severity = Warning
			}
			m.Summary = "the model server says: " + Clip(last.Value, 200)
			out = append(out, m)
		}
		return out
	})
}

// servedLine tells a line in which a server notes a request, as uvicorn and gunicorn do.
var servedLine = regexp.MustCompile(`"(?:GET|HEAD|POST|PUT|DELETE) \S+ HTTP/[\d.]+" \d{3}\b`)

// lastWords finds logs of the model server that end with a traceback, of pods that are not ready or not known. A server that said that it listens, or
// that it was asked, got past its start: what it prints later is of a request.
func lastWords(v *View) []Match {
	type run struct {
		pod      string
		previous bool
	}
	var order []run
	last := map[run]Line{}
	trace, past := map[run]bool{}, map[run]bool{}
	for _, l := range v.Lines(ContainerLogs) {
		key := run{l.Pod, l.Previous}
		if !v.modelNamed(l.Container) || strings.TrimSpace(l.Text) == "" {
			continue
		}
		if _, seen := last[key]; !seen {
			order = append(order, key)
		}
		last[key] = l
		trace[key] = trace[key] || hasAny(l.Text, "Traceback (most recent call last)", "panic:")
		past[key] = past[key] || storageSigns.Match(l.Text) || listening.MatchString(l.Text) || servedLine.MatchString(l.Text) ||
			hasAny(l.Text, "Application startup complete")
	}
	pods := v.Pods()
	var out []Match
	for _, key := range order {
		l := last[key]
		s := v.StepOfName(Container, ObjectRef{Source: Pods, Kind: "Pod", Namespace: l.Namespace, Name: l.Pod})
		up := slices.ContainsFunc(pods, func(p PodState) bool { return p.Name == l.Pod && p.Ready })
		if trace[key] && !past[key] && !up && crashLine.MatchString(l.Text) && (s.Revision == "" || v.matters(s.Revision)) {
			out = append(out, Match{Step: s, Pod: l.Pod, Container: l.Container, Evidence: []Evidence{LineEvidence(l)}, Summary: "the model server's log ends with: " + Clip(l.Text, 200)})
		}
	}
	return merge(out)
}

// noProbeKill says that no event tells of a container that the kubelet ended for its probe: that, too, is exit code 137.
func noProbeKill(v *View) bool {
	return !slices.ContainsFunc(v.Events(), func(e Event) bool { return probeKill.MatchString(e.Message) })
}

// killedByProbe finds the kubelet's own word that it ended a container for its probe.
func killedByProbe(v *View) []Match {
	pods, failing := v.Pods(), doorFails(v)
	var out []Match
	for _, e := range v.Events() {
		name, model := v.ofModel(killedByName, e.Message)
		if e.Reason != "Killing" && e.Reason != "Unhealthy" || !probeKill.MatchString(e.Message) || !model {
			continue
		}
		m := Match{Step: v.StepOfName(Container, e.About), Pod: e.About.Name, Container: name, Evidence: []Evidence{EventEvidence(e)}, Summary: Clip(e.Message, 300)}
		at := slices.IndexFunc(pods, func(p PodState) bool { return p.Name == e.About.Name })
		switch {
		case m.Step.Revision != "" && !v.matters(m.Step.Revision), v.Age(e.Last) > flapTime:
			continue
		case at < 0 && mended(v, m.Step, e.About.Name, e.Last, func(Event) bool { return false }):
			continue
		case at >= 0 && pods[at].Ready && !failing:
			m.Severity = Warning
		}
		out = append(out, m)
	}
	return latest(merge(out), 2)
}

// killedFromOutside tells a container that was ended by a signal and not for memory, where its liveness probe is known to fail, or to exist.
func killedFromOutside(v *View, e ended) (field, value string, ok bool) {
	fails := slices.ContainsFunc(v.Events(), func(x Event) bool {
		return x.About.Name == e.pod.Name && strings.HasPrefix(x.Message, "Liveness probe failed")
	})
	killed := e.exit.Code == 137 && e.exit.Reason != "OOMKilled" || e.exit.Code == 143 || e.exit.Code == 0 && e.exit.Reason == "Completed" && !e.exit.CodeUnknown
	has := false
	for _, c := range e.pod.List("spec", "containers") {
		has = has || text(c["name"]) == e.state.Name && c["livenessProbe"] != nil
	}
	return e.field + ".exitCode", strconv.Itoa(e.exit.Code), killed && (fails || has && e.exit.Code == 137)
}
