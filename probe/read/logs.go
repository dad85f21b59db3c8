// logs.go: logs of containers: whose, how much, and their lines.
package read

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"probe/hops"
)

const (
	logTail     = 200        // lines
	logBytes    = 256 * 1024 // of one log
	shortTail   = 40         // lines, when those of logTail are more than logBytes
	maxLogPods  = 6
	maxLogReads = 12
	// The kubelet answers so, with 200, when the container is already removed (k8s.io/kubernetes/pkg/kubelet/kuberuntime, GetContainerLogs).
	lostLog = "unable to retrieve container logs for "
)

// logRead is one log to read.
type logRead struct {
	namespace, pod, container string
	other                     string // container to name when the pod turns out to have several
	previous                  bool
	tail                      int // lines
	seconds                   int // age of the oldest line; 0 for no bound
	rank                      int // the order in which a service's own logs are read, lowest first
}

func (l logRead) String() string {
	s := "log of pod " + l.namespace + "/" + l.pod
	if l.container != "" {
		s += ", container " + l.container
	}
	if l.previous {
		s += ", its last run"
	}
	return s
}

// params are those of the pods/log subresource (k8s.io/api/core/v1, PodLogOptions).
func (l logRead) params(tail int) url.Values {
	p := url.Values{"timestamps": {"true"}, "tailLines": {strconv.Itoa(tail)}, "limitBytes": {strconv.Itoa(logBytes)}}
	if l.container != "" {
		p.Set("container", l.container)
	}
	if l.previous {
		p.Set("previous", "true")
	}
	if l.seconds > 0 {
		p.Set("sinceSeconds", strconv.Itoa(l.seconds))
	}
	return p
}

// log reads the end of one log; whole says that it is all there is.
func (c *Cluster) log(ctx context.Context, source hops.Source, l logRead) (lines []hops.Line, whole bool, err error) {
	at := []string{"api", "v1", "namespaces", l.namespace, "pods", l.pod, "log"}
	raw, err := c.stream(ctx, logBytes, l.params(l.tail), at...)
	if apierrors.IsBadRequest(err) && l.container == "" && l.other != "" { // "a container name must be specified"
		l.container = l.other
		raw, err = c.stream(ctx, logBytes, l.params(l.tail), at...)
	}
	if err == nil && len(raw) >= logBytes { // the API cuts behind the first bytes of the tail, but the last lines tell why it died
		raw, err = c.stream(ctx, logBytes, l.params(shortTail), at...)
		lines, _ = parseLog(source, l, raw)
		return lines, false, err
	}
	if err != nil {
		return nil, false, err
	}
	if bytes.HasPrefix(raw, []byte(lostLog)) {
		return nil, false, errors.New("the node no longer has it")
	}
	lines, n := parseLog(source, l, raw)
	return lines, n < l.tail && l.seconds == 0, nil
}

// parseLog splits a log that was read with time stamps: "2026-01-02T15:04:05.123456789Z text". Line numbers count within what was read.
func parseLog(source hops.Source, l logRead, raw []byte) (lines []hops.Line, n int) {
	for text := range bytes.Lines(raw) {
		n++
		line := hops.Line{Source: source, Namespace: l.namespace, Pod: l.pod, Container: l.container, Previous: l.previous, Number: n,
			Text: strings.ToValidUTF8(strings.TrimRight(string(text), "\r\n"), "\uFFFD")}
		stamp, rest, _ := strings.Cut(line.Text, " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			line.Time, line.Text = at, rest
		}
		lines = append(lines, line)
	}
	return lines, n
}

// containerLogs are the logs of the service's pods, those that are most likely to tell first.
func (w *want) containerLogs(info hops.SourceInfo) []task {
	pods, read := w.ownPods()
	if !read {
		return []task{{info, "logs in " + w.facts.Ref.Namespace, 0, func(_ context.Context, b *basket) {
			b.done(info, "logs in "+w.facts.Ref.Namespace, errors.New("the service's pods are not known"))
		}}}
	}
	var reads []logRead
	for _, p := range pods[:min(len(pods), maxLogPods)] {
		reads = append(reads, logsOf(p, w.modelIn(p))...)
	}
	// Across pods: the model's own words first, the proxy's last.
	slices.SortStableFunc(reads, func(a, b logRead) int { return a.rank - b.rank })
	var out []task
	for i, l := range reads {
		out = append(out, task{info, l.String(), 1, func(ctx context.Context, b *basket) {
			if i >= maxLogReads {
				b.done(info, l.String(), &tooManyError{maxLogReads})
				return
			}
			lines, whole, err := w.log(ctx, info.Source, l)
			if err != nil {
				b.done(info, l.String(), err)
				return
			}
			b.lines(lines, whole, info.Source)
		}})
	}
	if len(out) == 0 { // no container has run: there is no log, and that is known
		out = append(out, task{info, "", 0, func(_ context.Context, b *basket) { b.done(info, "", nil) }})
	}
	return out
}

// ownPods lists the service's pods as last seen: unready ones first, then the newest; those on their way out last.
func (w *want) ownPods() (pods []*hops.Object, read bool) {
	latest := map[string]*hops.Object{}
	for i := range w.facts.Snapshots {
		s := &w.facts.Snapshots[i]
		read = read || slices.Contains(s.Full, hops.Pods)
		for j := range s.Objects {
			o := &s.Objects[j]
			if o.Source == hops.Pods && o.Namespace == w.facts.Ref.Namespace && w.owns(o) {
				latest[o.Name] = o
			}
		}
	}
	for _, o := range latest {
		pods = append(pods, o)
	}
	slices.SortFunc(pods, func(a, b *hops.Object) int {
		return cmp.Or(compareBool(a.Deleted(), b.Deleted()), compareBool(a.Ready(), b.Ready()), b.Created().Compare(a.Created()), strings.Compare(a.Name, b.Name))
	})
	return pods, read || len(pods) > 0
}

func (w *want) owns(o *hops.Object) bool {
	owner := cmp.Or(o.Label(ownerLabel), o.Label(oldOwnerLabel))
	return owner == w.facts.Ref.Name || owner == "" && hops.NamedFor(w.facts.Ref.Name, o.Name)
}

// modelIn names the model's container in a pod where the flow knows it by a name of its own: that of the pod's component, or of any when the pod does
// not say whose it is. "" for the usual names.
func (w *want) modelIn(pod *hops.Object) string {
	component := hops.ComponentOf(pod)
	for _, c := range w.facts.Flow.Components {
		if c.Container != "" && (c.Name == component || component == "") {
			return c.Container
		}
	}
	return ""
}

// noInterest is the rank of containers whose logs no rule asks for.
const noInterest = 9

// rankOf orders containers by what their logs are worth. model is the model's where its name is none of the usual ones.
func rankOf(container, model string) int {
	switch {
	case container == "":
		return noInterest
	case container == model:
		return 0
	case container == "storage-initializer":
		return 1
	case container == "queue-proxy":
		return 2
	case hops.ContainerState{Name: container}.IsModel():
		return 0
	}
	return noInterest
}

// logsOf lists the logs that a pod has: none of a container that never ran; of one that waits to be started again, the log of its last run is the
// only one there is.
func logsOf(pod *hops.Object, model string) []logRead {
	var out []logRead
	for _, s := range slices.Concat(pod.List("status", "initContainerStatuses"), pod.List("status", "containerStatuses")) {
		o := hops.Object{Tree: s}
		l := logRead{namespace: pod.Namespace, pod: pod.Name, container: o.Str("name"), tail: logTail, rank: rankOf(o.Str("name"), model)}
		if l.rank == noInterest {
			continue
		}
		if o.Has("state", "running") || o.Has("state", "terminated") {
			out = append(out, l)
		}
		if o.Int("restartCount") > 0 || o.Has("lastState", "terminated") {
			l.previous = true
			out = append(out, l)
		}
	}
	return out
}
