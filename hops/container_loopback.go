// container_loopback.go: a server that listens on its pod's loopback alone: it says so, or answers there and refuses at the pod's address.
package hops

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// loopback tells servers that say that they listen on the loopback: uvicorn, gunicorn, Flask, TorchServe, hypercorn. Addresses for management and
// metrics are meant for the pod alone.
var loopback = regexp.MustCompile(`(?i)(?:running on|listening (?:at|on)|inference (?:API bind to|address):?|HTTPService at|serving on|bound to)\s*:?(?:https?://)?(?:127\.0\.0\.1|localhost|\[::1\]):(\d{2,5})\b`)

// saysLoopback finds servers that say so, in pods without a queue-proxy, where nothing says that they listen on that port elsewhere too.
func saysLoopback(v *View) []Match {
	pods := v.Pods()
	wide := map[string]bool{} // pod and port
	for _, l := range v.Lines(ContainerLogs) {
		if m := listening.FindStringSubmatch(l.Text); m != nil && !loopback.MatchString(l.Text) {
			wide[l.Pod+":"+m[1]] = true
		}
	}
	var out []Match
	for _, l := range v.Lines(ContainerLogs) {
		m := loopback.FindStringSubmatch(l.Text)
		if m == nil || l.Previous || wide[l.Pod+":"+m[1]] || !v.modelNamed(l.Container) || v.Flow().Mode == Knative {
			continue
		}
		s := v.StepOfName(Container, ObjectRef{Source: Pods, Kind: "Pod", Namespace: l.Namespace, Name: l.Pod})
		at := slices.IndexFunc(pods, func(p PodState) bool { return p.Name == l.Pod })
		if s.Revision != "" || at >= 0 && (pods[at].Deleted() || proxied(pods[at]) || userPort(pods[at]) != "" && userPort(pods[at]) != m[1]) {
			continue
		}
		out = append(out, Match{Step: s, Pod: l.Pod, Container: l.Container, Confidence: Likely, Evidence: []Evidence{LineEvidence(l)},
			Summary: "the model server listens on the loopback only: " + Clip(l.Text, 160)})
	}
	return unlessAnswered(v, latest(merge(out), 2))
}

// proxied says whether requests come to the pod through queue-proxy.
func proxied(p PodState) bool {
	return slices.ContainsFunc(p.Containers, func(c ContainerState) bool { return c.Name == "queue-proxy" })
}

// unlessAnswered drops what was found while a front door answers.
func unlessAnswered(v *View, found []Match) []Match {
	return quiet(func(*View) []Match { return found })(v)
}

// answersOnLoopback finds servers that answer through a port-forward, which ends at the pod's loopback, and refuse at the pod's address.
func answersOnLoopback(v *View) []Match {
	var good, bad *Observation
	seen := v.Observations()
	for i := range seen {
		o := &seen[i]
		switch {
		case o.Step.Hop == Container && o.Vantage == PortForward && o.OK():
			if good == nil {
				good = o
			}
		case o.Outcome == Refused && (o.Step.Hop == Client || o.Step.Hop == Revision || o.Step.Hop == Container && o.Vantage == InPod),
			o.Status == 503 && strings.Contains(strings.ToLower(o.Body), "connection refused") && strings.HasPrefix(o.Body, "upstream connect error"),
			o.Status == 503 && strings.Contains(o.Body, "delayed connect error: 111"):
			bad = o
		}
	}
	if good == nil || bad == nil || v.Flow().Mode != Standard || !bad.Start.IsZero() && !bad.Start.After(good.Ended()) { // it may have begun to listen in between
		return nil
	}
	return []Match{{Step: v.behind(Container, good), Confidence: Likely, Evidence: []Evidence{RequestEvidence(good, "status", text(float64(good.Status))), RequestEvidence(bad, "answer", sawLiterally(bad))},
		Summary: "the model server answers on the pod's loopback and refuses at the pod's address"}}
}

var (
	// kubeletRefused is the kubelet's word for a port of the pod's own address that is shut (k8s.io/kubernetes/pkg/probe/tcp and /http).
	kubeletRefused = regexp.MustCompile(`probe failed: .*dial tcp \[?[0-9a-fA-F.:]+\]?:(\d+): connect: connection refused`)
	// servedLocally are access lines of requests that came over the loopback, as uvicorn, gunicorn, Flask and Python's http.server write them.
	servedLocally = Re(`\b127\.0\.0\.1\b.*" [1-4]\d\d\b`)
)

// refusesKubelet finds servers that answer a port-forward, which ends at the pod's loopback, while the kubelet, which dials the pod's address, is
// refused at the same port. It is certain when the server is known to have answered before the kubelet was refused for the last time: else it may
// have begun to listen in between, which the kubelet's next probe will show.
func refusesKubelet(v *View) []Match {
	pods, events, seen, logs := v.Pods(), v.Events(), v.Observations(), v.Lines(ContainerLogs)
	var out []Match
	for i := range seen {
		o := &seen[i]
		at := slices.IndexFunc(pods, func(p PodState) bool { return p.Name == o.Step.Object.Name })
		if o.Step.Hop != Container || o.Vantage != PortForward || o.Outcome != Answered || at < 0 || v.Flow().Mode == Knative {
			continue
		}
		p := pods[at]
		if p.Ready || p.Deleted() || proxied(p) {
			continue
		}
		for _, e := range events {
			m := kubeletRefused.FindStringSubmatch(e.Message)
			if m == nil || e.About.Name != p.Name || !strings.HasSuffix(o.Target, ":"+m[1]) || e.Last.Before(runsSince(p)) {
				continue
			}
			found := Match{Step: v.StepOf(Container, p.Object), Pod: p.Name, Confidence: Likely, Severity: Warning,
				Evidence: []Evidence{RequestEvidence(o, "status", text(float64(o.Status))), EventEvidence(e)},
				Summary:  "the model server answers on the pod's loopback and refuses at the pod's address, port " + m[1]}
			served := slices.IndexFunc(logs, func(l Line) bool {
				return l.Pod == p.Name && !l.Previous && l.Time.After(runsSince(p)) && l.Time.Before(e.Last) && servedLocally.Match(l.Text)
			})
			if served >= 0 {
				found.Evidence = append(found.Evidence, LineEvidence(logs[served]))
			}
			if served >= 0 || o.Ended().Before(e.Last) {
				found.Confidence, found.Severity = Certain, ""
			} else if e.Count < 3 {
				continue
			}
			out = append(out, found)
		}
	}
	return unlessAnswered(v, latest(merge(out), 3))
}

// runsSince is when the model's container of a pod was started last; zero when it is not known.
func runsSince(p PodState) time.Time {
	for _, c := range p.Containers {
		if c.IsModel() && c.Started {
			return c.Running
		}
	}
	return time.Time{}
}
