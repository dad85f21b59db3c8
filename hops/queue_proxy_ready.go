// queue_proxy_ready.go: what can go wrong at the hop queue-proxy while it waits for the container to become ready.
package hops

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// A model server that is healthy opens its port within 3 to 16 seconds of its start on a busy machine.
const portGrace = 20 * time.Second

func readinessRules() []Rule {
	neverReady := []string{"progress-deadline-exceeded", "revision-missing-waiting", "no-healthy-backends", "stale-ready-status", "scale-from-zero-timeout"}
	return []Rule{
		{
			ID: "container-port-refused", Hop: QueueProxy,
			Title: "nothing listens on the port that requests are sent to",
			Means: "The container runs and its port refuses connections: the server listens on another port than containerPort (8080 unless set), has not come so far as to listen, or (in Standard mode) listens on 127.0.0.1 only.",
			Fix:   "make the server of {container} listen on the port in its PORT variable, or set ports[0].containerPort in spec.{component} of inferenceservice {isvc} (-n {ns}) to the port that it uses; `kubectl logs -n {ns} {pod} -c {container}` usually names it",
			Looks: Looks{
				Status: "pod 1/2 Running without restarts; Revision Unknown Deploying, then ProgressDeadlineExceeded",
				Client: "502 'dial tcp 127.0.0.1:8080: connect: connection refused'; mostly it never gets ready",
				Logs:   "queue-proxy: aggressive probe error (failed 199 times): dial tcp 127.0.0.1:8080: connect: connection refused",
			},
			Needs:    []Source{Requests, ClientLog, ContainerLogs, Events, Pods, Revisions, Deployments},
			Explains: append([]string{"readiness-probe-failing"}, neverReady...),
			Match: FirstOf(
				otherPort,
				refusedAnswers,
				OnLine(QueueProxy, ClientLog, "", refusedHere),
				unreadyLines("queue-proxy|agent", refusedHere),
				refusedProbes,
				unopened,
			),
		},
		{
			ID: "readiness-probe-failing", Hop: QueueProxy,
			Title: "the container runs and its readiness probe fails",
			Means: "The server is up and says that it is not ready, or the probe asks for a path or port that it does not have: a wrong path, a model that still loads, or one that could not be loaded.",
			Fix:   "ask by hand what the probe asks: `kubectl port-forward -n {ns} pod/{pod} 8080` and GET the path of the readinessProbe; correct readinessProbe in spec.{component} of {isvc} or in its ServingRuntime; when the model only loads long, raise failureThreshold or the progress deadline; then read `kubectl logs -n {ns} {pod} -c {container}`",
			Looks: Looks{
				Status: "pod 1/2 Running; event Unhealthy 'Readiness probe failed: HTTP probe failed with statuscode: 503', again and again; Revision Unknown Deploying, then ProgressDeadlineExceeded",
				Client: "503, 504, or 404 while there is no route",
				Logs:   "queue-proxy: HTTP probe did not respond Ready, got status code: 404; service unhealthy (responded with \"NOT_SERVING\")",
			},
			Needs:    []Source{ContainerLogs, Events, Pods, Revisions, Deployments},
			Explains: neverReady,
			Match: FirstOf(
				unreadyLines("queue-proxy", Re(`HTTP probe did not respond Ready, got status code|service unhealthy \(responded with|does not implement the grpc health protocol|health rpc did not complete within`)),
				failingProbes(Re(`(?i)readiness probe failed: .*(statuscode|status code|NOT_SERVING|unhealthy|health rpc|does not implement|no such file|exit(ed)? )`).Match, 5),
				unansweredProbe,
				Sure(Possible, failingProbes(Re(`(?i)readiness probe failed: .*(context deadline exceeded|timeout|timed out|EOF|connection reset)`).Match, 12)),
			),
		},
		{
			ID: "agent-port-mismatch", Hop: QueueProxy,
			Title: "KServe's agent sits between queue-proxy and the model, and the ports do not fit",
			Means: "With a logger or batcher KServe puts its agent on port 9081 and lets queue-proxy send there, but leaves the readiness probe on the port that the model was given. A model on another port than 8080 never gets ready.",
			Fix:   "let the model of {isvc} listen on 8080 (no ports in spec.{component}), or leave logger and batcher out of spec.{component}, or update KServe",
			Looks: Looks{
				Status: "pod with a container named agent 2/3 Running; Revision Unknown Deploying, then ProgressDeadlineExceeded",
				Client: "502 'dial tcp 127.0.0.1:...: connect: connection refused'",
				Logs:   "queue-proxy: dial tcp 127.0.0.1:8080: connect: connection refused, while USER_PORT is 9081",
			},
			Needs:    []Source{Pods, Revisions, Deployments},
			Explains: []string{"container-port-refused"},
			Match:    Sure(Likely, agentPorts),
		},
	}
}

// waiter is a pod whose containers run and that is not ready all the same.
type waiter struct {
	pod   PodState
	model ContainerState
	probe string // of the model, as it stands in the pod; "" when the pod's specification is not known
	field string // where it stands
	tcp   bool
	late  bool // longer than a start may take
	since time.Time
}

// waiters finds them. Pods on their way out count only when their revision failed: others stop because nobody needs them.
func waiters(v *View) []waiter {
	revisions, deployments := v.Objects(Revisions), v.Objects(Deployments)
	var out []waiter
	for _, p := range v.Pods() {
		if p.Ready || p.Phase != "Running" || p.Revision != "" && !v.matters(p.Revision) || p.Deleted() && !failed(revisions, p.Revision) {
			continue
		}
		w, ok := waits(p)
		age, row := rowAge(p.Object)
		if !ok || !v.past(w.since, portGrace) || w.model.Restarts > 0 && !v.past(w.since, 2*time.Minute) || row && age < 2*time.Minute {
			continue
		}
		w.late = overdue(v, p, revisions, deployments) && !(row && w.model.Restarts > 0)
		out = append(out, w)
	}
	return out
}

// waits says whether all containers of a pod run and the one that tells readiness is not ready.
func waits(p PodState) (w waiter, ok bool) {
	w.pod = p
	unready := false
	for _, c := range p.Containers {
		switch {
		case c.Init && c.Exit == nil && c.Name != "":
			return w, false
		case c.Init:
			continue
		case !c.Started || c.Waiting != "":
			return w, false
		case c.IsModel():
			w.model = c
			if c.Running.After(w.since) {
				w.since = c.Running
			}
		}
		unready = unready || !c.Ready && (c.Name == "queue-proxy" || c.IsModel())
	}
	w.probe, w.field, w.tcp = readinessProbe(p)
	return w, unready && w.model.Started
}

// failed says whether the revision is known not to be ready for good.
func failed(revisions []*Object, name string) bool {
	for _, o := range revisions {
		c, _ := o.Condition("Ready")
		if o.Name == name && c.False() {
			return true
		}
	}
	return false
}

// overdue says whether the pod's revision is known to have had its time: until the progress deadline a pod that is not ready may still load its
// model.
func overdue(v *View, p PodState, revisions, deployments []*Object) bool {
	for _, o := range revisions {
		if o.Name == p.Revision {
			return failed(revisions, o.Name) || v.Age(o.Created()) >= deadlineOf(o)
		}
	}
	for _, o := range deployments {
		c, ok := o.Condition("Progressing")
		if strings.HasPrefix(p.Name, o.Name+"-") && ok && c.False() {
			return true
		}
	}
	if age, row := rowAge(p.Object); row {
		return age >= defaultDeadline
	}
	return v.Age(p.Created()) >= defaultDeadline
}

// rowAge reads the AGE column of a table row, such as 45s, 3m10s, 5h or 2d4h; from a day on it is a day.
func rowAge(o *Object) (age time.Duration, ok bool) {
	s := o.Str("row", "AGE")
	if strings.ContainsAny(s, "dy") {
		return 24 * time.Hour, true
	}
	age, err := time.ParseDuration(s)
	return age, err == nil
}

// readinessProbe quotes the probe of the model: Knative moves it into queue-proxy's environment.
func readinessProbe(p PodState) (probe, field string, tcp bool) {
	for _, c := range p.List("spec", "containers") {
		name := text(c["name"])
		for _, e := range maps(c["env"]) {
			if name == "queue-proxy" && text(e["name"]) == "SERVING_READINESS_PROBE" {
				value := text(e["value"])
				return value, "spec.containers[queue-proxy].env[SERVING_READINESS_PROBE]", strings.Contains(value, `"tcpSocket"`)
			}
		}
	}
	for _, c := range p.List("spec", "containers") {
		if !isModelIn(p.List("spec", "containers"), text(c["name"])) {
			continue
		}
		for _, kind := range []string{"tcpSocket", "httpGet", "grpc"} {
			if port := text(dig(c, "readinessProbe", kind, "port")); port != "" {
				return port, "spec.containers[" + text(c["name"]) + "].readinessProbe." + kind + ".port", kind == "tcpSocket"
			}
		}
	}
	return "", "", false
}

// match makes a match of a waiter: before its revision had its time it is possible only.
func (w waiter) match(v *View, summary string) Match {
	m := Match{Step: v.StepOf(QueueProxy, w.pod.Object), Pod: w.pod.Name, Container: w.model.Name, Summary: summary, Confidence: Possible}
	if w.late {
		m.Confidence = Likely
	}
	if w.probe != "" {
		m.Evidence = append(m.Evidence, FieldEvidence(w.pod.Object, w.probe, w.field))
	}
	if c, ok := w.pod.Condition("Ready"); ok {
		m.Evidence = append(m.Evidence, ConditionEvidence(w.pod.Object, c))
	}
	if row := w.pod.Str("row", "READY"); row != "" {
		m.Evidence = append(m.Evidence, FieldEvidence(w.pod.Object, row, "READY"))
	}
	if len(m.Evidence) == 0 {
		m.Evidence = append(m.Evidence, PodEvidence(w.pod, w.model, "ready", text(w.model.Ready)))
	}
	return m
}

// unopened finds pods whose only readiness check is that the port is open.
func unopened(v *View) []Match {
	var out []Match
	for _, w := range waiters(v) {
		if w.tcp {
			out = append(out, w.match(v, "container "+orUnnamed(w.model.Name)+" of pod "+w.pod.Name+" runs, and its port is not open"))
		}
	}
	return merge(out)
}

// unansweredProbe finds pods whose readiness check asks more than that, or is not known.
func unansweredProbe(v *View) []Match {
	var out []Match
	for _, w := range waiters(v) {
		if !w.tcp {
			out = append(out, w.match(v, "container "+orUnnamed(w.model.Name)+" of pod "+w.pod.Name+" runs, and does not get ready"))
		}
	}
	return merge(out)
}

// What servers print when they listen: uvicorn, gunicorn, Flask, Triton, TensorFlow Serving, TorchServe. gRPC and metrics ports are others.
var listening = regexp.MustCompile(`(?i)(?:running on|listening (?:at|on)|HTTPService at|HTTP/REST API at:?|Inference address:)\s*:?(?:https?://)?[\w.\[\]*-]*:(\d{2,5})\b`)

// otherPort finds servers that say that they listen, on another port than the pod's.
func otherPort(v *View) []Match {
	waiting, all := waiters(v), v.Lines(ContainerLogs)
	if len(waiting) == 0 {
		return nil
	}
	said := map[string]map[string]Line{} // pod, then port
	for _, l := range all {
		m := listening.FindStringSubmatch(l.Text)
		if m == nil || l.Previous || l.Container != "" && !v.modelNamed(l.Container) {
			continue
		}
		if said[l.Pod] == nil {
			said[l.Pod] = map[string]Line{}
		}
		said[l.Pod][m[1]] = l
	}
	var out []Match
	for _, w := range waiting {
		port := userPort(w.pod)
		lines := said[w.pod.Name]
		if _, right := lines[port]; right || port == "" || len(lines) == 0 {
			continue
		}
		m := w.match(v, "")
		m.Confidence = Certain
		other := ""
		for p := range lines {
			other = max(other, p)
		}
		m.Summary = "the server in pod " + w.pod.Name + " listens on port " + other + ", requests go to " + port
		m.Evidence = append(m.Evidence, LineEvidence(lines[other]))
		out = append(out, m)
	}
	return merge(out)
}

// userPort is the port of the model as the pod says it; "" when it does not.
func userPort(p PodState) string {
	port := ""
	for _, c := range p.List("spec", "containers") {
		if text(c["name"]) == "queue-proxy" {
			if u := envOf(c, "USER_PORT"); u != "" {
				return u
			}
		}
		if isModelIn(p.List("spec", "containers"), text(c["name"])) {
			for _, x := range maps(c["ports"]) {
				port = text(x["containerPort"])
			}
			if port == "" {
				port = text(dig(c, "readinessProbe", "tcpSocket", "port"))
			}
		}
	}
	return port
}

func envOf(container map[string]any, name string) string {
	for _, e := range maps(container["env"]) {
		if text(e["name"]) == name {
			return text(e["value"])
		}
	}
	return ""
}

var refusedHere = Re(`dial tcp (127\.0\.0\.1|\[::1\]|localhost):\d+: (connect: )?connection refused`)

// portRefused tells the answer of a queue-proxy that found the port closed, or a direct dial that did. While a front door answers, the latter
// speaks of where it came from: a server behind queue-proxy may listen on the loopback only.
func portRefused(v *View, o *Observation) (field, value string, ok bool) {
	if body := strings.TrimSpace(o.Body); (o.Status == 502 || o.Status == 503) && refusedHere.Match(body) {
		return "body", body, true
	}
	return "outcome", string(o.Outcome), o.Step.Hop == Container && o.Outcome == Refused && !answers(v)
}

// refusedAnswers are those of portRefused. A container that has just been started does not listen yet, and one that loads a large model may need
// minutes to: until its start is overdue, a closed port is a guess.
func refusedAnswers(v *View) []Match {
	revisions, deployments := v.Objects(Revisions), v.Objects(Deployments)
	var out []Match
	for _, m := range OnAnswer(QueueProxy, portRefused)(v) {
		fresh, early := false, false
		for _, p := range v.Pods() {
			if !p.Ready && (m.Step.Revision == "" || p.Revision == m.Step.Revision) {
				fresh = fresh || justStarted(v, p)
				early = early || !overdue(v, p, revisions, deployments)
			}
		}
		switch {
		case fresh:
			continue
		case early:
			m.Confidence = Possible
		}
		out = append(out, m)
	}
	return out
}

// justStarted says whether the model's container was started so short a time ago that nothing can listen yet, or is still to be started.
func justStarted(v *View, p PodState) bool {
	for _, c := range p.Containers {
		if c.IsModel() && c.Restarts == 0 && (!c.Running.IsZero() && !v.past(c.Running, portGrace) || c.Waiting == "PodInitializing") {
			return true
		}
	}
	return false
}

// unreadyLines finds log lines of pods that are not ready, or not known. A pod that is ready now said it while it started.
func unreadyLines(containers string, p Pattern) func(*View) []Match {
	return func(v *View) []Match {
		revisions, deployments := v.Objects(Revisions), v.Objects(Deployments)
		pods := v.Pods()
		var out []Match
		for _, m := range OnLine(QueueProxy, ContainerLogs, containers, p)(v) {
			at := slices.IndexFunc(pods, func(x PodState) bool { return x.Name == m.Pod })
			m.Confidence = Likely
			switch {
			case at >= 0 && (pods[at].Ready || pods[at].Deleted() && !failed(revisions, pods[at].Revision)):
				continue
			case at >= 0 && justStarted(v, pods[at]):
				continue
			case at >= 0 && !overdue(v, pods[at], revisions, deployments):
				m.Confidence = Possible
			case m.Step.Revision != "" && !v.matters(m.Step.Revision):
				continue
			}
			m.Container = ""
			out = append(out, m)
		}
		return out
	}
}

// failingProbes finds probes that failed again and again, of pods that are not ready or that went with their revision. Every healthy start and
// every scale-down shows some.
func failingProbes(tell func(message string) bool, atLeast int) func(*View) []Match {
	return func(v *View) []Match {
		revisions, pods, deployments := v.Objects(Revisions), v.Pods(), v.Objects(Deployments)
		down := neverUp(v.Events())
		var out []Match
		for _, e := range v.Events() {
			if down[e.About.Name] || e.Reason != "Unhealthy" || e.Count < atLeast || !tell(e.Message) {
				continue
			}
			m := Match{Step: v.StepOfName(QueueProxy, e.About), Pod: e.About.Name, Evidence: []Evidence{EventEvidence(e)}, Summary: Clip(e.Message, 300), Confidence: Likely}
			at := slices.IndexFunc(pods, func(x PodState) bool { return x.Name == e.About.Name })
			rev := m.Step.Revision
			known := slices.ContainsFunc(revisions, func(o *Object) bool { return o.Name == rev })
			switch {
			case rev != "" && !v.matters(rev):
				continue
			case at >= 0 && pods[at].Ready, known && (at < 0 || pods[at].Deleted()) && !failed(revisions, rev):
				continue
			case at < 0 && !known && len(pods) > 0: // the pod is gone, others are there
				continue
			case at >= 0 && justStarted(v, pods[at]):
				continue
			case at >= 0 && !overdue(v, pods[at], revisions, deployments):
				m.Confidence = Possible
			}
			out = append(out, m)
		}
		return latest(merge(out), 3)
	}
}

// neverUp lists the pods whose containers ended or could not start: their probes fail for that.
func neverUp(events []Event) map[string]bool {
	out := map[string]bool{}
	for _, e := range events {
		if e.Reason == "BackOff" || e.Reason == "Failed" {
			out[e.About.Name] = true
		}
	}
	return out
}

var refusedPort = regexp.MustCompile(`(?i)(?:readiness|startup) probe failed: .*dial tcp \S+:(\d+): (?:connect: )?connection refused`)

// refusedProbes finds the kubelet's probes that were refused by the model's own port (Standard mode); queue-proxy's ports refuse while it starts.
func refusedProbes(v *View) []Match {
	return failingProbes(func(message string) bool {
		m := refusedPort.FindStringSubmatch(message)
		return m != nil && !oneOf(m[1], "8012|8013|8112|8022")
	}, 5)(v)
}

// agentPorts finds pods whose agent is in front of the model while the readiness probe asks the model's own, other port.
func agentPorts(v *View) []Match {
	var out []Match
	for _, w := range waiters(v) {
		agent, user, probed, model := false, "", "", ""
		for _, c := range w.pod.List("spec", "containers") {
			name := text(c["name"])
			switch {
			case name == "agent":
				agent = true
			case name == "queue-proxy":
				user, probed = envOf(c, "USER_PORT"), envOf(c, "SERVING_READINESS_PROBE")
			case isModelIn(w.pod.List("spec", "containers"), name):
				for _, p := range maps(c["ports"]) {
					model = text(p["containerPort"])
				}
			}
		}
		other := user == "9081" && probed != "" && !strings.Contains(probed, ":"+user+",") && !strings.Contains(probed, ":"+user+"}")
		if agent && other && (model != "8080" || w.late) {
			m := w.match(v, "queue-proxy of pod "+w.pod.Name+" sends to the agent on "+user+" and probes another port")
			m.Evidence = append(m.Evidence, FieldEvidence(w.pod.Object, user, "spec.containers[queue-proxy].env[USER_PORT]"))
			out = append(out, m)
		}
	}
	return merge(out)
}
