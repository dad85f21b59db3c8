// services.go: which InferenceServices a paste speaks of, which one it is about, and the last touches that need to know it.
package paste

import (
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"probe/hops"
)

// weight says how plainly a service is named; the plainest wins.
type weight int

const (
	byChild        weight = iota + 1 // an object that bears the name that KServe gives to a part of it
	byRow                            // a row of a table of InferenceServices
	byRequest                        // the host or the path of a request
	namedByCommand                   // kubectl get isvc NAME
	whole                            // the object itself
)

// mention is one place where a service is named.
type mention struct {
	hops.Ref
	weight weight
}

// mention remembers that a service was named.
func (p *parser) mention(namespace, name string, w weight) {
	if name == "" || len(name) > 253 {
		return
	}
	if namespace == "-" || strings.ContainsAny(namespace, "$<{ ") {
		namespace = ""
	}
	for _, i := range p.named[name] {
		if m := p.mentions[i]; m.Namespace == namespace || m.Namespace == "" || namespace == "" {
			p.mentions[i].weight = max(m.weight, w)
			if m.Namespace == "" {
				p.mentions[i].Namespace = namespace
			}
			return
		}
	}
	if len(p.mentions) > 5000 || !objectName.MatchString(name) {
		return
	}
	p.named[name] = append(p.named[name], len(p.mentions))
	p.mentions = append(p.mentions, mention{hops.Ref{Namespace: namespace, Name: name}, w})
}

var (
	childName = regexp.MustCompile(`^(.+?)-(?:predictor|transformer|explainer)(?:-default|-canary)?(?:-|$)`)
	hostName  = regexp.MustCompile(`^([a-z0-9-]+)\.([a-z0-9-]+)\.[a-z0-9.-]+$`)
	modelPath = regexp.MustCompile(`^/v[12]/models/([A-Za-z0-9._-]+?)(?::\w+|/infer|/ready|/versions|$)`)
)

// mentionHost reads the service from the host and the path of a request.
func (p *parser) mentionHost(host, path string) {
	if m := hostName.FindStringSubmatch(bare(host)); m != nil && strings.Trim(m[1], "0123456789") != "" {
		name := m[1]
		if c := childName.FindStringSubmatch(name); c != nil {
			name = c[1]
		}
		short := strings.Count(bare(host), ".") < 3 // name.namespace.domain has a domain of two labels at least
		if short && !p.knows(name) && !strings.Contains(path, name) {
			return
		}
		if !slices.Contains([]string{"www", "api", "istio-ingressgateway", "knative-local-gateway", "cluster-local-gateway", "localhost"}, name) &&
			(strings.Contains(path, name) || strings.Contains(host, "svc.cluster.local") || strings.Contains(host, ".example.com") || p.knows(name)) {
			p.mention(m[2], name, byRequest)
			return
		}
	}
	if m := modelPath.FindStringSubmatch(path); m != nil {
		p.mention("", m[1], byChild)
	}
}

// mentionLine reads services from lines of the control plane and of gateways.
func (p *parser) mentionLine(l *hops.Line) {
	switch l.Source {
	case hops.AccessLogs:
		if p.parsed++; p.parsed > 300 {
			return // hosts come again and again
		}
		if e, ok := hops.ParseAccess(*l); ok {
			p.mentionHost(e.Authority, e.Path)
		}
	case hops.SystemLogs, hops.ContainerLogs:
		_, rest, ok := strings.Cut(l.Text, `"knative.dev/key":"`)
		if !ok {
			return
		}
		key, _, _ := strings.Cut(rest, `"`)
		ns, name, _ := strings.Cut(key, "/")
		p.mention(ns, ownerInName(name), byChild)
	}
}

// knows says whether a service of that name was named before.
func (p *parser) knows(name string) bool {
	return len(p.named[name]) > 0
}

// result gives what was read in its final form.
func (p *parser) result() Result {
	for i := range p.objects { // an object that is so old, and began then: the paste is not older than that
		if o := &p.objects[i]; o.age > 0 {
			for _, began := range []time.Time{o.Created(), rfc(o.Str("status", "startTime"))} {
				if !began.IsZero() {
					p.at(began.Add(o.age))
				}
			}
		}
	}
	if p.latest.IsZero() {
		p.latest = p.now
	}
	p.mentionObjects()
	r := Result{Time: p.latest, Observations: p.seen}
	r.Services, r.Subject = p.services()
	p.nameless(r.Subject)
	r.Snapshot = hops.Snapshot{Time: p.latest, Lines: p.lines}
	for i := range p.objects {
		r.Snapshot.Objects = append(r.Snapshot.Objects, p.finish(&p.objects[i]))
	}
	for _, e := range p.events {
		r.Snapshot.Events = append(r.Snapshot.Events, p.dated(e))
	}
	r.Snapshot.Full = p.full(r.Subject)
	for _, kind := range slices.Sorted(maps.Keys(p.dropped)) {
		if hops.SourceOf("", kind) != "" || kind == "Event" || kind == "request" {
			p.note("paste", 0, plural(p.dropped[kind], kind+" object")+" too many: left out; name the service with --isvc to keep its own")
		} else {
			p.note("paste", 0, plural(p.dropped[kind], "object")+" of kind "+kind+": nothing here depends on them")
		}
	}
	r.Unread = p.notes
	return r
}

// rfc reads an RFC 3339 time; zero when it is none.
func rfc(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// mentionObjects finds the services that objects and events name.
func (p *parser) mentionObjects() {
	for i := range p.objects {
		o := &p.objects[i]
		if o.Source == hops.InferenceServices {
			w := whole
			if o.row {
				w = byRow
			}
			p.mention(o.Namespace, o.Name, w)
			continue
		}
		owner := o.Label("serving.kserve.io/inferenceservice")
		if owner == "" {
			owner = o.Label("serving.kubeflow.org/inferenceservice")
		}
		if owner == "" {
			owner = ownerInName(o.Name)
		}
		p.mention(o.Namespace, owner, byChild)
	}
	for _, e := range p.events {
		if e.About.Source == hops.InferenceServices {
			p.mention(e.About.Namespace, e.About.Name, byRow)
		} else {
			p.mention(e.About.Namespace, ownerInName(e.About.Name), byChild)
		}
	}
	for _, l := range p.lines {
		p.mention(l.Namespace, ownerInName(l.Pod), byChild)
	}
}

// ownerInName is the service in the name of one of its parts; "" when it is no part's name.
func ownerInName(name string) string {
	for _, c := range []string{"-predictor", "-transformer", "-explainer"} {
		i := strings.Index(name, c)
		if i <= 0 {
			continue
		}
		if m := childName.FindStringSubmatch(name); m != nil {
			return m[1]
		}
	}
	return ""
}

// services sorts what was named, the plainest first. The subject is the only one of the plainest; the wanted one when that was named.
func (p *parser) services() (all []hops.Ref, subject hops.Ref) {
	found := p.ownModels(slices.Clone(p.mentions))
	sort.SliceStable(found, func(i, j int) bool { return found[i].weight > found[j].weight })
	top := 0
	for _, m := range found {
		all = append(all, m.Ref)
		if m.weight == found[0].weight || found[0].weight >= namedByCommand && m.weight >= namedByCommand {
			top++
		}
		if m.Name == p.want.Name && (p.want.Namespace == "" || m.Namespace == "" || m.Namespace == p.want.Namespace) && subject.Name == "" {
			subject = hops.Ref{Namespace: m.Namespace, Name: m.Name}
			if subject.Namespace == "" {
				subject.Namespace = p.want.Namespace
			}
		}
	}
	if p.want.Name == "" && top == 1 {
		subject = all[0]
	}
	return all, subject
}

// ownModels drops names that only stand in the path of a request, when a service is named otherwise: a model may bear another name.
func (p *parser) ownModels(in []mention) []mention {
	strong := false
	for _, m := range in {
		strong = strong || m.weight > byChild
	}
	return slices.DeleteFunc(in, func(m mention) bool {
		return strong && m.weight == byChild && m.Namespace == "" && !p.hasChild(m.Name)
	})
}

func (p *parser) hasChild(name string) bool {
	for i := range p.objects {
		if hops.NamedFor(name, p.objects[i].Name) && p.objects[i].Name != name {
			return true
		}
	}
	for _, l := range p.lines {
		if hops.NamedFor(name, l.Pod) {
			return true
		}
	}
	return false
}

// nameless gives objects whose name the paste does not tell to the service that it is about.
func (p *parser) nameless(subject hops.Ref) {
	if subject.Name == "" {
		return
	}
	for i := range p.objects {
		o := &p.objects[i]
		if o.Name != "" || clusterWide(o.Source) {
			continue
		}
		meta, _ := o.Tree["metadata"].(map[string]any)
		if o.Source == hops.InferenceServices {
			o.Name, meta["name"] = subject.Name, subject.Name
			continue
		}
		if labels, _ := meta["labels"].(map[string]any); labels == nil {
			meta["labels"] = map[string]any{"serving.kserve.io/inferenceservice": subject.Name}
		}
	}
}

// finish gives an object its last form: a row that a better source covers goes, an age becomes a time.
func (p *parser) finish(f *found) hops.Object {
	meta, _ := f.Tree["metadata"].(map[string]any)
	if f.Namespace != "" {
		meta["namespace"] = f.Namespace
	}
	if status, ok := f.Tree["status"].(map[string]any); ok && (status["containerStatuses"] != nil || status["initContainerStatuses"] != nil) {
		delete(f.Tree, "row")
	}
	if meta["creationTimestamp"] == nil && f.age > 0 && !p.latest.IsZero() {
		// Ages are rounded down: the object is not younger than its events only when the rounding is added.
		meta["creationTimestamp"] = p.latest.Add(-f.age - unitOf(f.age)).UTC().Format("2006-01-02T15:04:05Z")
	}
	return f.Object
}

// dated turns the ages of an event into times. An age that would put it before its own object existed is left unknown: the paste is younger
// than the latest time that it holds.
func (p *parser) dated(e timedEvent) hops.Event {
	if !e.Last.IsZero() || e.last == 0 || p.latest.IsZero() {
		return e.Event
	}
	last := p.latest.Add(-e.last).UTC()
	for i := range p.objects {
		if o := &p.objects[i]; o.Source == hops.InferenceServices && o.Created().After(last.Add(-e.first+e.last)) {
			return e.Event
		}
	}
	e.Last, e.First = last, p.latest.Add(-e.first).UTC()
	return e.Event
}

// listed says whether the paste has an object of the service of that source: a list that had it is of the service's namespace.
func (p *parser) listed(src hops.Source, name string) bool {
	for i := range p.objects {
		if o := &p.objects[i]; o.Source == src && hops.NamedFor(name, o.Name) {
			return true
		}
	}
	return false
}

// full names the lists that were printed whole, when they are of the service's own namespace.
func (p *parser) full(subject hops.Ref) []hops.Source {
	var out []hops.Source
	for _, l := range p.lists {
		src := hops.SourceOf(l.kind.api, l.kind.kind)
		own := l.namespace == subject.Namespace || l.namespace == "" && (subject.Namespace == "" || p.listed(src, subject.Name)) || l.all
		if l.selector != "" && !strings.HasSuffix(l.selector, "="+subject.Name) {
			own = false
		}
		if src == "" || !own || subject.Name == "" || clusterWide(src) || slices.Contains(out, src) {
			continue
		}
		out = append(out, src)
	}
	slices.Sort(out)
	return out
}
