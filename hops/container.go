// container.go: what can go wrong in the model server's container.
package hops

import (
	"slices"
	"strconv"
	"strings"
)

func containerRules() []Rule {
	return []Rule{
		{
			ID: "oom-killed", Hop: Container,
			Title: "the kernel killed the model server for using more memory than its limit",
			Means: "The container reached its memory limit (or the node ran out) and was killed with SIGKILL. Nothing is logged at that moment. While it loads the model it never gets ready; while it predicts, the caller gets 502 or 503 and the container restarts.",
			Fix:   "raise resources.limits.memory of {container} in the spec.{component} of inferenceservice {isvc} (-n {ns}), or make the model or the batch smaller",
			Looks: Looks{
				Status: "Revision ContainerHealthy=False ExitCode137; modelStatus.lastFailureInfo exitCode 137; pod OOMKilled",
				Client: "502 EOF or 503 while it predicts; 503 or 504 while it starts",
				Logs:   "cut short, no last line",
			},
			Needs:    []Source{Pods, Revisions},
			Explains: []string{"container-crash-loop", "progress-deadline-exceeded", "revision-missing-waiting", "no-healthy-backends", "stale-ready-status", "model-not-ready", "readiness-probe-failing", "container-port-refused"},
			Match: FirstOf(
				OnContainer(Container, oomKilled),
				Sure(Likely, When(noReadyPods, OnCondition(Container, Revisions, "ContainerHealthy", "False", "ExitCode137", Pattern{}))),
			),
		},
		{
			ID: "container-crash-loop", Hop: Container,
			Title: "the model server starts and exits again and again",
			Means: "The process in the container ends with an error. Its last words tell why: a missing module, a model file made by another version, a bad argument.",
			Fix:   "read `kubectl logs -n {ns} {pod} -c {container} --previous`; match the runtime's version with the one that made the model (spec.{component}.model.runtimeVersion), or correct the arguments",
			Looks: Looks{
				Status: "Revision ContainerHealthy=False ExitCode1 'Container failed with: ...'; isvc ModelLoadFailed; pod CrashLoopBackOff",
				Client: "503 or 504; on an update the old revision goes on answering",
				Logs:   "traceback of the model server",
			},
			Needs:    []Source{Pods, Revisions},
			Explains: []string{"progress-deadline-exceeded", "revision-missing-waiting", "no-healthy-backends", "stale-ready-status", "model-not-ready", "readiness-probe-failing", "container-port-refused"},
			Match: FirstOf(
				OnContainer(Container, crashed),
				When(noReadyPods, OnCondition(Container, Revisions, "ContainerHealthy", "False", "", Re(`^Container failed with: `))),
			),
		},
	}
}

// oomKilled tells a container that the kernel killed for memory. Exit code 137 alone does not: a failed liveness probe ends the same way.
func oomKilled(_ *View, _ PodState, c ContainerState) (field, value string, ok bool) {
	if !c.IsModel() {
		return "", "", false
	}
	for _, e := range c.Exits() {
		if e.Reason == "OOMKilled" {
			return "terminated.reason", e.Reason, true
		}
	}
	return "", "", false
}

// crashed tells a container of the model that ended with an error of its own and is not up again for good: it waits to be restarted, is down
// now, or keeps restarting without getting ready.
func crashed(_ *View, _ PodState, c ContainerState) (field, value string, ok bool) {
	if !c.IsModel() || c.Ready {
		return "", "", false
	}
	for _, e := range c.Exits() {
		if e.Code == 0 && !e.CodeUnknown || e.Reason == "OOMKilled" || e.Reason == "Completed" {
			return "", "", false
		}
		if e.Message != "" {
			return "terminated.message", lastLine(e.Message), true
		}
		return "terminated.exitCode", strconv.Itoa(e.Code), true
	}
	return "state.waiting.reason", c.Waiting, c.Waiting == "CrashLoopBackOff"
}

// lastLine is the last line of a text that says something.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// noReadyPods says that no pod of the service is ready. A revision's condition then stands as the last word on how its container ended, whether
// the pods are gone or were just made anew; a ready pod outweighs it.
func noReadyPods(v *View) bool {
	return !slices.ContainsFunc(v.Pods(), func(p PodState) bool { return p.Ready })
}
