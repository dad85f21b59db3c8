// timeline.go: a timeline of a service: who followed it wrote a line for each change of a condition, a container or an event, with the seconds
// since its creation. The last word on each thing counts.
package paste

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"probe/hops"
)

var (
	timelineHead  = regexp.MustCompile(`^=== (\S+) created (\S+)$`)
	timelineEntry = regexp.MustCompile(`^T\+\s*([0-9.]+)\s+(?:event (Normal|Warning) (\w+)/(\S+) (\w+) x(\d+): (.*)|(\w+)/(\S+) (.*))$`)
	timelineCond  = regexp.MustCompile(`^cond (\w+): (True|False|Unknown)(?: reason=(.*?))?(?: msg=(.*))?$`)
	timelineState = regexp.MustCompile(`^container (\S+): (running|waiting|terminated)(?::(.*?))?(?: restarts=(\d+))?(?: ready=(True|False))?(?: last=(\w+)/exit(\d+))?$`)
)

// timelineKinds are the short names of a timeline, with the kind and the API group of each.
var timelineKinds = map[string][2]string{
	"isvc": {"InferenceService", "serving.kserve.io/v1beta1"}, "ksvc": {"Service", "serving.knative.dev/v1"}, "config": {"Configuration", "serving.knative.dev/v1"},
	"route": {"Route", "serving.knative.dev/v1"}, "rev": {"Revision", "serving.knative.dev/v1"}, "pod": {"Pod", "v1"}, "deploy": {"Deployment", "apps/v1"},
	"pa": {"PodAutoscaler", "autoscaling.internal.knative.dev/v1alpha1"}, "sks": {"ServerlessService", "networking.internal.knative.dev/v1alpha1"},
	"king": {"Ingress", "networking.internal.knative.dev/v1alpha1"},
}

// timeline is one being read.
type timeline struct {
	p       *parser
	created time.Time
	order   []string
	trees   map[string]map[string]any
}

// startTimeline takes a timeline to its end; what does not look like an entry goes on with the message before it.
func (p *parser) startTimeline(l line, t string) bool {
	head := timelineHead.FindStringSubmatch(t)
	if head == nil {
		return false
	}
	created, err := time.Parse(time.RFC3339, head[2])
	if err != nil {
		return false
	}
	p.endLog()
	tl := &timeline{p: p, created: created, trees: map[string]map[string]any{}}
	entry := ""
	for {
		next, more := p.next()
		if more && !strings.HasPrefix(next.text, "T+") && timelineHead.FindString(next.text) == "" {
			if len(entry) < maxLogLine {
				entry += "\n" + next.text
			}
			continue
		}
		tl.entry(entry)
		if !more {
			break
		}
		if !strings.HasPrefix(next.text, "T+") {
			p.unread(next)
			break
		}
		entry = next.text
	}
	for _, key := range tl.order {
		p.object(tl.trees[key], true, l.no)
	}
	return true
}

// entry takes one change.
func (tl *timeline) entry(text string) {
	first, rest, _ := strings.Cut(text, "\n")
	m := timelineEntry.FindStringSubmatch(first)
	if m == nil {
		return
	}
	seconds, _ := strconv.ParseFloat(m[1], 64)
	at := tl.created.Add(time.Duration(seconds * float64(time.Second)))
	tl.p.at(at)
	if m[2] != "" {
		count, _ := strconv.Atoi(m[6])
		tl.p.timed(timedEvent{Event: hops.Event{Type: m[2], Reason: m[5], Message: m[7], Count: count, Last: at, First: at, About: tl.p.about(m[3]+"/"+m[4], "")}})
		return
	}
	kind, known := timelineKinds[m[8]]
	if !known {
		return
	}
	tree := tl.tree(m[8]+"/"+m[9], kind, m[9])
	status := tree["status"].(map[string]any)
	what := m[10]
	switch {
	case what == "disappears":
		delete(tl.trees, m[8]+"/"+m[9])
		tl.order = slices.DeleteFunc(tl.order, func(k string) bool { return k == m[8]+"/"+m[9] })
	case strings.HasPrefix(what, "cond "):
		if c := timelineCond.FindStringSubmatch(what); c != nil {
			message := strings.TrimSpace(c[4] + "\n" + rest)
			replace(status, "conditions", "type", map[string]any{"type": c[1], "status": c[2], "reason": c[3], "message": message, "lastTransitionTime": at.Format(time.RFC3339)})
		}
	case strings.HasPrefix(what, "modelStatus: "):
		var model map[string]any
		if json.Unmarshal([]byte(strings.TrimPrefix(what, "modelStatus: ")), &model) == nil {
			status["modelStatus"] = model
		}
	case strings.HasPrefix(what, "container "):
		tl.container(status, what, rest)
	}
}

func (tl *timeline) tree(key string, kind [2]string, name string) map[string]any {
	if t, ok := tl.trees[key]; ok {
		return t
	}
	t := map[string]any{"kind": kind[0], "apiVersion": kind[1], "metadata": map[string]any{"name": name}, "status": map[string]any{}}
	if kind[0] == "InferenceService" {
		t["metadata"].(map[string]any)["creationTimestamp"] = tl.created.Format(time.RFC3339)
	}
	tl.trees[key], tl.order = t, append(tl.order, key)
	return t
}

// container takes "container NAME: terminated:Error:exit1:words restarts=2 ready=False last=Error/exit1".
func (tl *timeline) container(status map[string]any, what, rest string) {
	if i := strings.LastIndex(rest, " restarts="); i >= 0 { // the words of the end went over several lines
		what, rest = what+" "+rest[i+1:], rest[:i]
	}
	c := timelineState.FindStringSubmatch(what)
	if c == nil {
		return
	}
	state := map[string]any{}
	reason, more, _ := strings.Cut(c[3], ":")
	switch c[2] {
	case "waiting":
		state["waiting"] = map[string]any{"reason": reason, "message": more}
	case "terminated":
		code, words, _ := strings.Cut(strings.TrimPrefix(more, "exit"), ":")
		n, _ := strconv.Atoi(code)
		state["terminated"] = map[string]any{"reason": reason, "exitCode": float64(n), "message": strings.TrimSpace(words + "\n" + rest)}
	default:
		state["running"] = map[string]any{}
	}
	restarts, _ := strconv.Atoi(c[4])
	entry := map[string]any{"name": c[1], "state": state, "ready": c[5] == "True", "restartCount": float64(restarts)}
	if c[6] != "" {
		n, _ := strconv.Atoi(c[7])
		entry["lastState"] = map[string]any{"terminated": map[string]any{"reason": c[6], "exitCode": float64(n)}}
	}
	list := "containerStatuses"
	if c[1] == "storage-initializer" || strings.HasSuffix(c[1], "-init") {
		list = "initContainerStatuses"
	}
	replace(status, list, "name", entry)
}

// replace puts an entry into a list in the place of the one with the same key.
func replace(in map[string]any, list, key string, entry map[string]any) {
	all, _ := in[list].([]any)
	at := slices.IndexFunc(all, func(e any) bool { return e.(map[string]any)[key] == entry[key] })
	if at < 0 {
		in[list] = append(all, entry)
		return
	}
	all[at] = entry
}
