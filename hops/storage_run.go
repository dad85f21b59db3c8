// storage_run.go: the storage-initializer as a container: how it ended, how long it runs, what surrounds it.
package hops

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// initKilled tells an initializer that the kernel killed the last time it ran.
func initKilled(_ *View, _ PodState, c ContainerState) (field, value string, ok bool) {
	if !initFails(c) || len(c.Exits()) == 0 || c.Exits()[0].Reason != "OOMKilled" {
		return "", "", false
	}
	return "terminated.reason", "OOMKilled", true
}

// failedWith137 reads lastFailureInfo when the pod is gone: exit 137 with the initializer's words.
func failedWith137(v *View) []Match {
	var out []Match
	svc := v.Service()
	code := svc.Str("status", "modelStatus", "lastFailureInfo", "exitCode")
	for _, t := range storageTexts(v) {
		if code == "137" && t.pod == "" && t.lines[0].Ref == svc.Ref().String() {
			out = append(out, Match{Step: t.step, Confidence: Likely, Evidence: []Evidence{FieldEvidence(svc, code, "status", "modelStatus", "lastFailureInfo", "exitCode")},
				Summary: "the storage-initializer ended with exit code 137: killed, most likely for its memory limit"})
		}
	}
	return out
}

// initCrashes finds initializers that fail for whatever reason but memory, and quotes their last words.
func initCrashes(v *View) []Match {
	return OnContainer(StorageInitializer, func(_ *View, _ PodState, c ContainerState) (field, value string, ok bool) {
		if !initFails(c) || len(c.Exits()) > 0 && c.Exits()[0].Reason == "OOMKilled" {
			return "", "", false
		}
		ends := c.Exits()
		switch {
		case len(ends) == 0:
			return "state.waiting.reason", c.Waiting, true
		case ends[0].Message != "":
			return "terminated.message", lastLine(ends[0].Message), true
		case ends[0].CodeUnknown:
			return "terminated.reason", ends[0].Reason, true
		}
		return "terminated.exitCode", strconv.Itoa(ends[0].Code), true
	})(v)
}

// initialized says whether a pod got past its init containers.
func initialized(p PodState) bool {
	c, _ := p.Condition("Initialized")
	return c.True() || slices.ContainsFunc(p.Containers, func(c ContainerState) bool { return !c.Init && (c.Started || len(c.Exits()) > 0) })
}

// A download is worth telling after startDownload and a warning after slowDownload; past the progress deadline it is an error (Deployments of
// Standard mode have the same default).
const (
	startDownload = 10 * time.Second
	slowDownload  = 90 * time.Second
)

// downloading finds initializers that are at work. For how long is not known when the input has no time later than their start: a note, then.
func downloading(v *View) []Match {
	var out []Match
	failed := failureText(v) // the pod's status may lag behind: this is the next try, then
	for _, p := range v.Pods() {
		for i, c := range p.Containers {
			if slices.ContainsFunc(failed, func(t storageText) bool { return t.step.Component == p.Component }) {
				continue
			}
			if !c.Init || c.Hop() != StorageInitializer || !c.Started || initFails(c) || p.Deleted() {
				continue
			}
			since, took := runningSince(v, p, i)
			if took > 0 && took < startDownload {
				continue
			}
			m := Match{Step: v.StepOf(StorageInitializer, p.Object), Confidence: Likely, Severity: Note, Evidence: []Evidence{PodEvidence(p, c, "state.running", since)},
				Pod: p.Name, Container: c.Name, Summary: "the storage-initializer of pod " + p.Name + " is fetching the model"}
			if took > 0 {
				m.Summary += " for " + took.Round(time.Second).String()
			}
			switch {
			case took >= deadlineOf(p.Object):
				m.Severity = Error
			case took >= slowDownload:
				m.Severity = Warning
			}
			out = append(out, m)
		}
	}
	return out
}

// runningSince gives the start of a container as it stands in the input and how long ago that was. A table row has the pod's age instead.
func runningSince(v *View, p PodState, i int) (string, time.Duration) {
	c := p.Containers[i]
	if !c.Running.IsZero() {
		return text(dig(p.List("status", "initContainerStatuses")[i], "state", "running", "startedAt")), v.Age(c.Running)
	}
	return p.Str("row", "STATUS"), tableAge(p.Str("row", "AGE"))
}

// tableAge reads the AGE column of kubectl: 45s, 3m20s, 5h, 2d3h (k8s.io/apimachinery/pkg/util/duration).
func tableAge(s string) time.Duration {
	var days time.Duration
	if d, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(d)
		if err != nil {
			return 0
		}
		days, s = time.Duration(n)*24*time.Hour, rest
	}
	if s == "" {
		return days
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return days + d
}

// beforeSidecar finds initializers that cannot reach the store while Istio's CNI plugin sends their traffic to a sidecar that is not up.
func beforeSidecar(table []storageWords) func(*View) []Match {
	unreachable := storageTold(table, "storage-bad-endpoint")
	return func(v *View) []Match { return behindSidecar(v, unreachable(v)) }
}

func behindSidecar(v *View, unreachable []Match) []Match {
	var out []Match
	for _, m := range unreachable {
		if !refused.Match(m.Evidence[0].Value) {
			continue
		}
		for _, p := range v.Pods() {
			if (m.Pod == p.Name || m.Pod == "" && p.Component == m.Step.Component) && redirected(p) {
				m.Confidence = Likely
				m.Evidence = append(m.Evidence, FieldEvidence(p.Object, "istio-proxy", "spec", "containers", "name"))
				out = append(out, m)
				break
			}
		}
	}
	return out
}

var refused = Re(`(?i)connection refused|errno 111|could not connect to the endpoint|failed to connect to|connection timed out|connect ?timeout|connection reset`)

// redirected says whether the pod has a sidecar that starts after its init containers, and rules that already send their traffic to it: those
// of the CNI plugin, or of an istio-init that runs before. A native sidecar is itself an init container. User 1337 is the sidecar's own, whose
// traffic passes.
func redirected(p PodState) bool {
	inits := p.List("spec", "initContainers")
	at := func(name string) int {
		return slices.IndexFunc(inits, func(c map[string]any) bool { return text(c["name"]) == name })
	}
	loader := at("storage-initializer")
	sidecar := slices.ContainsFunc(p.List("spec", "containers"), func(c map[string]any) bool { return text(c["name"]) == "istio-proxy" })
	if loader < 0 || !sidecar || number(dig(inits[loader], "securityContext", "runAsUser")) == 1337 {
		return false
	}
	return at("istio-init") < loader // also when there is none: then the CNI plugin has set the rules
}

// knownSchemes are those of KServe's own list (kserve/pkg/controller/v1beta1/inferenceservice/utils, SupportedStorageURIPrefixList), and older ones.
func knownSchemes() []string {
	return []string{"gs", "s3", "pvc", "file", "https", "http", "hdfs", "webhdfs", "oci", "oci+native", "hf", "azure", "git"}
}

// schemeUnknown finds an address of another scheme in a spec of which nothing was made. The event that says so is gone after an hour.
func schemeUnknown(v *View) []Match {
	svc := v.Service()
	made := len(v.Pods()) + len(v.Objects(KnativeServices)) + len(v.Objects(Deployments)) + len(v.Objects(Revisions))
	var out []Match
	for _, u := range storageURIs(svc) {
		scheme, _, ok := strings.Cut(u.Value, "://")
		if !ok || slices.Contains(knownSchemes(), strings.ToLower(scheme)) || made > 0 || svc.Ready() || !svc.Has("status") {
			continue
		}
		out = append(out, Match{Step: complete(v, Step{Hop: StorageInitializer, Component: u.Component}, ""), Confidence: Likely,
			Evidence: []Evidence{FieldEvidence(svc, u.Value, u.Path...)}, Summary: "storageUri " + u.Value + ": KServe does not know the scheme " + scheme + "://, and has created nothing"})
	}
	return out
}

// hubRefusesModel finds model servers that fetch from Hugging Face themselves and are refused.
func hubRefusesModel(table []storageWords) func(*View) []Match {
	words := hubWords(table)
	return func(v *View) []Match { return hubRefusals(v, words) }
}

func hubRefusals(v *View, words func(string) bool) []Match {
	out := OnContainer(Container, func(_ *View, _ PodState, c ContainerState) (field, value string, ok bool) {
		if !c.IsModel() || c.Ready {
			return "", "", false
		}
		for _, e := range c.Exits() {
			for line := range strings.Lines(e.Message) {
				if words(line) {
					return "terminated.message", strings.TrimSpace(line), true
				}
			}
		}
		return "", "", false
	})(v)
	for _, o := range v.Objects(Revisions) {
		for _, c := range o.Conditions() {
			if c.Type != "Ready" && c.False() && words(c.Message) {
				out = append(out, Match{Step: v.StepOf(Container, o), Evidence: []Evidence{ConditionEvidence(o, c)}})
			}
		}
	}
	for _, l := range v.Lines(ContainerLogs) {
		if !v.modelNamed(l.Container) || !words(l.Text) || storageSigns.Match(l.Text) {
			continue
		}
		s := v.StepOfName(Container, ObjectRef{Source: Pods, Kind: "Pod", Namespace: l.Namespace, Name: l.Pod})
		if !mended(v, s, l.Pod, l.Time, ranModel) {
			out = append(out, Match{Step: s, Confidence: Likely, Evidence: []Evidence{LineEvidence(l)}, Pod: l.Pod, Container: l.Container})
		}
	}
	return out
}

// hubWords matches the rows of the table of words that speak of Hugging Face.
func hubWords(table []storageWords) func(string) bool {
	rows := slices.DeleteFunc(slices.Clone(table), func(r storageWords) bool { return r.id != "huggingface-token-or-limit" })
	return func(s string) bool {
		return hasAny(s, "ugging", "hf.co", "HfHub", "gated", "Gated", "HF_TOKEN", "is restricted") && slices.ContainsFunc(rows, func(r storageWords) bool { return r.says.MatchString(s) })
	}
}
