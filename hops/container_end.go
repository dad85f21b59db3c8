// container_end.go: how containers of the model ended, whether that still matters, and what it means.
package hops

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// modelContainers are the names that KServe, KFServing and Knative give to the model server's container.
const modelContainers = "kserve-container|kfserving-container|user-container|transformer-container|worker-container"

const (
	// An end that is older than this does not matter while the pod is ready again.
	flapTime = time.Hour
	// A container that keeps crashing does so within this time, also while its pod is ready in between.
	crashTime = 10 * time.Minute
	// A container that was restarted once and runs for longer than this got over it.
	settleTime = 2 * time.Minute
)

// ended is a container's end that still matters.
type ended struct {
	pod   PodState
	state ContainerState
	exit  *Exit
	field string // where it stands
	up    bool   // the pod is ready again
}

// endOf gives the last end of a container; ok is false when it is history: the container is on its way out or of a replaced revision, or it has
// been well for a while since.
func endOf(v *View, revisions []*Object, p PodState, c ContainerState) (e ended, ok bool) {
	e = ended{pod: p, state: c, exit: c.Exit, field: "state.terminated", up: p.Ready}
	if _, known := p.Condition("Ready"); !known {
		e.up = p.Ready || c.Ready
	}
	if e.exit == nil || p.Deleted() { // the present end of a pod that is deleted is its own
		e.exit, e.field = c.Last, "lastState.terminated"
	}
	switch {
	case e.exit == nil || p.Revision != "" && !v.matters(p.Revision) || p.Deleted() && !failed(revisions, p.Revision):
		return e, false
	case e.up:
		return e, v.Age(e.exit.Finished) <= flapTime
	case c.Started && c.Restarts < 2 && e.exit.Reason != "OOMKilled":
		return e, v.Age(c.Running) <= settleTime
	case c.Started:
		return e, v.Age(c.Running) <= flapTime
	}
	return e, true
}

// onEnd finds ends of the model's containers. What leaves the service answering is a warning.
func onEnd(tell func(v *View, e ended) (field, value string, ok bool)) func(*View) []Match {
	return func(v *View) []Match {
		revisions, failing := v.Objects(Revisions), doorFails(v)
		var out []Match
		for _, p := range v.Pods() {
			for _, c := range p.Containers {
				e, ok := endOf(v, revisions, p, c)
				if !ok || !c.IsModel() {
					continue
				}
				field, value, ok := tell(v, e)
				if !ok {
					continue
				}
				m := Match{Step: v.StepOf(Container, p.Object), Pod: p.Name, Container: c.Name, Evidence: []Evidence{PodEvidence(p, c, field, value)},
					Summary: e.story(value)}
				if e.exit.CodeUnknown || c.Restarts == 0 && e.exit.Reason != "OOMKilled" {
					m.Confidence = Likely
				}
				if (e.up || serves(v, m.Step)) && !failing {
					m.Severity = Warning
				}
				out = append(out, m)
			}
		}
		return merge(out)
	}
}

// withLog adds the last words of a container's log where its end has no message: Standard mode leaves it out.
func withLog(m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		out, words := m(v), lastWords(v)
		for i := range out {
			for _, w := range words {
				if w.Pod == out[i].Pod && w.Pod != "" && len(out[i].Evidence) == 1 && strings.HasSuffix(out[i].Evidence[0].Field, "exitCode") {
					out[i].Evidence = append(out[i].Evidence, w.Evidence...)
					out[i].Summary = Clip(w.Evidence[0].Value, 200) + " (" + out[i].Summary + ")"
				}
			}
		}
		return out
	}
}

// story says in words how a container ended.
func (e ended) story(said string) string {
	s := "ended"
	switch {
	case e.exit.Reason == "OOMKilled":
		s = "was killed for memory"
		for _, c := range e.pod.List("spec", "containers") {
			if limit := text(dig(c, "resources", "limits", "memory")); limit != "" && text(c["name"]) == e.state.Name {
				s += " (its limit is " + limit + ")"
			}
		}
	case !e.exit.CodeUnknown:
		s += " with exit code " + strconv.Itoa(e.exit.Code)
		if name := signalOf(e.exit.Code); name != "" {
			s += " (" + name + ")"
		}
	}
	if e.state.Restarts > 0 {
		s += ", " + strconv.Itoa(e.state.Restarts) + " restarts"
	}
	s = "container " + orUnnamed(e.state.Name) + " of pod " + e.pod.Name + " " + s
	if said != strconv.Itoa(e.exit.Code) && said != e.exit.Reason {
		return Clip(said, 200) + " (" + s + ")" // the words first: lines are cut at their end
	}
	return s
}

// signalOf names the signal that ended a process: its exit code is 128 and the signal's number.
func signalOf(code int) string {
	switch code {
	case 132:
		return "SIGILL: an instruction that this CPU does not have"
	case 134:
		return "SIGABRT"
	case 135:
		return "SIGBUS"
	case 137:
		return "SIGKILL"
	case 139:
		return "SIGSEGV: a crash in native code"
	case 143:
		return "SIGTERM"
	}
	return ""
}

// doorFails says whether the last request at some front door failed.
func doorFails(v *View) bool {
	seen := v.Observations()
	for _, door := range []Door{Outside, ClusterLocal} {
		if o := doorAnswer(seen, door); o != nil && !o.OK() && o.Judged() {
			return true
		}
	}
	return false
}

// oomKilled tells a container that the kernel killed for memory. Exit code 137 alone does not: a failed liveness probe ends the same way.
func oomKilled(_ *View, e ended) (field, value string, ok bool) {
	return e.field + ".reason", e.exit.Reason, e.exit.Reason == "OOMKilled"
}

// Servers with several processes outlive the one that the kernel killed (gunicorn/arbiter.py; ray/_private/memory_monitor.py).
var oomWords = Re(`(?i)was sent SIGKILL! Perhaps out of memory|Memory cgroup out of memory|ray\.exceptions\.OutOfMemoryError`)

// crashed tells a container that ended with an error of its own and is not up again for good.
func crashed(v *View, e ended) (field, value string, ok bool) {
	x, loops := e.exit, e.state.Waiting == "CrashLoopBackOff"
	switch {
	case x.Code == 0 && !x.CodeUnknown, x.Reason == "OOMKilled", x.Reason == "Completed":
		return "", "", false
	case e.up && (e.state.Restarts < 2 || x.Finished.IsZero() || v.Age(x.Finished) > crashTime):
		return "", "", false
	case (x.Code == 137 || x.Code == 143) && !loops: // somebody ended it
		return "", "", false
	case x.Message != "":
		return e.field + ".message", tellingLine(x.Message), true
	case x.CodeUnknown:
		return e.field + ".reason", x.Reason, true
	}
	return e.field + ".exitCode", strconv.Itoa(x.Code), true
}

// exitedClean tells a container whose command returned.
func exitedClean(v *View, e ended) (field, value string, ok bool) {
	x := e.exit
	switch {
	case x.Code != 0 || x.CodeUnknown && x.Reason != "Completed" || x.CodeUnknown && e.state.Restarts == 0:
		return "", "", false
	case e.pod.Phase == "Succeeded", e.up && (e.state.Restarts < 2 || x.Finished.IsZero() || v.Age(x.Finished) > crashTime):
		return "", "", false
	case x.CodeUnknown:
		return e.field + ".reason", x.Reason, true
	}
	return e.field + ".exitCode", "0", true
}

// backsOff finds containers that wait to be restarted where nothing tells how they ended, and containers beside the model's that do.
func backsOff(v *View) []Match {
	return OnContainer(Container, func(_ *View, p PodState, c ContainerState) (field, value string, ok bool) {
		if p.Revision != "" && !v.matters(p.Revision) {
			return "", "", false
		}
		return "state.waiting.reason", c.Waiting, !c.Init && c.Waiting == "CrashLoopBackOff" && (len(c.Exits()) == 0 || !c.IsModel())
	})(v)
}

// crashLine tells the line of a traceback or panic that says what happened; warnings and hints often follow it.
var crashLine = regexp.MustCompile(`^\s*(?:E?\[?[\w.\[\]]*(?:Error|Exception|Interrupt)\b|panic:|fatal|FATAL|error:|Error:|ERROR\b|Segmentation fault|Illegal instruction|\S+: error: )`)

// tellingLine is the last line of a text that names an error, else the last that says something.
func tellingLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for _, l := range slices.Backward(lines) {
		if crashLine.MatchString(l) {
			return strings.TrimSpace(l)
		}
	}
	return lastLine(s)
}

// lastLine is the last line of a text that says something.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// fixedBy sets the fix by what the evidence says, where the words tell more than the rule knows.
func fixedBy(fix func(said string) string, m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		out := m(v)
		for i := range out {
			for _, e := range out[i].Evidence {
				if f := fix(e.Value); f != "" {
					out[i].Fix = f
					break
				}
			}
		}
		return out
	}
}

// crashFix knows what to do about the commonest last words.
func crashFix(said string) string {
	switch {
	case hasAny(said, "ModuleNotFoundError", "No module named", "ImportError"):
		return "put the missing module into the image (a custom runtime, or a predictor image with your own code), or save the model without it; `kubectl logs -n {ns} {pod} -c {container} --previous` shows who imports it"
	case hasAny(said, "More than one model file"):
		return "leave one model file under the storageUri of {isvc}; an s3:// or gs:// address is a prefix, so end it with /"
	case hasAny(said, "address already in use", "Address already in use"):
		return "let {container} use another port: 8012, 8013, 8022, 9090 and 9091 belong to queue-proxy in the same pod; set --http_port and ports[0].containerPort in spec.{component} of {isvc}"
	case hasAny(said, "unrecognized arguments", "unknown flag", "invalid choice", "the following arguments are required", "unknown argument"):
		return "correct args of {container} in spec.{component} of inferenceservice {isvc} (-n {ns}); the image prints which it knows with --help"
	case hasAny(said, "PermissionError", "Permission denied", "Read-only file system"):
		return "let {container} write only where it may: /tmp or an emptyDir; images that need a certain user get it in securityContext.runAsUser of spec.{component} of {isvc} (-n {ns})"
	}
	return ""
}
