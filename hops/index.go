// index.go: facts sorted once for all rules: what belongs to the service, pods in short form, events and lines of its time.
package hops

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// index is built once from Facts and then only read.
type index struct {
	facts   Facts
	now     time.Time
	infos   map[Source]SourceInfo
	objects map[Source][]*Object // what belongs to the service; of system and cluster scope, everything
	pods    []PodState
	events  []Event
	lines   map[Source][]Line
	access  []AccessEntry
	full    map[Source]bool
	gaps    map[Source]Gap
	some    map[Source]bool // something of it is there, whatever was read
	created time.Time       // of the InferenceService; zero when unknown
}

func newIndex(f Facts, now time.Time) *index {
	ix := &index{facts: f, now: now, infos: map[Source]SourceInfo{}, objects: map[Source][]*Object{}, lines: map[Source][]Line{},
		full: map[Source]bool{}, gaps: map[Source]Gap{}, some: map[Source]bool{}}
	for _, i := range known() {
		ix.infos[i.Source] = i
	}
	for i := range f.Snapshots {
		ix.add(&f.Snapshots[i])
	}
	for _, o := range ix.objects[InferenceServices] {
		ix.created = o.Created()
	}
	for _, o := range ix.objects[Pods] {
		ix.pods = append(ix.pods, parsePod(o))
	}
	ix.events = slices.DeleteFunc(ix.events, func(e Event) bool { return !ix.timely(e) })
	ix.lines[SystemLogs] = slices.DeleteFunc(ix.lines[SystemLogs], ix.before)
	for _, src := range []Source{ContainerLogs, SystemLogs} {
		ix.lines[src] = thin(ix.lines[src])
	}
	for _, l := range ix.lines[AccessLogs] {
		if e, ok := ParseAccess(l); ok {
			ix.access = append(ix.access, e)
		}
	}
	ix.access = append(ix.access, spanAccess(&ix.facts, failedDoors(ix), ix.access)...)
	ix.some[Requests] = len(f.Observations) > 0
	ix.some[Spans] = len(f.Spans) > 0
	return ix
}

// add takes one snapshot: a later version of an object replaces the earlier one, an object that is gone from a later full list stays as the
// last that was seen of it, for its evidence.
func (ix *index) add(s *Snapshot) {
	for i := range s.Objects {
		o := &s.Objects[i]
		src := ix.scoped(o.Source, o.Namespace)
		ix.some[src] = true
		if src == o.Source && ix.infos[src].Scope == ScopeNamespace && !ix.belongs(o) {
			continue
		}
		list := ix.objects[src]
		at := slices.IndexFunc(list, func(have *Object) bool { return have.Name == o.Name && have.Namespace == o.Namespace })
		switch {
		case at < 0:
			ix.objects[src] = append(list, o)
		case !o.Partial || list[at].Partial:
			list[at] = o
		}
	}
	for _, e := range s.Events {
		ix.some[Events] = true
		if ix.mine(e.About.Namespace, e.Namespace, e.About.Name) && !slices.Contains(ix.events, e) {
			ix.events = append(ix.events, e)
		}
	}
	for _, l := range s.Lines {
		ix.some[l.Source] = true
		if l.Source == SystemLogs && ix.foreign(l.Text) {
			continue
		}
		if l.Source != ContainerLogs || l.Pod == "" || ix.mine(l.Namespace, "", l.Pod) {
			ix.lines[l.Source] = append(ix.lines[l.Source], l)
		}
	}
	for _, src := range s.Full {
		ix.full[src] = true
		delete(ix.gaps, src)
	}
	for _, g := range s.Gaps {
		if !ix.full[g.Source] {
			ix.gaps[g.Source] = g
		}
	}
}

// keyed finds the object that a controller's line is about: Knative's "knative.dev/key", or "key" alone, controller-runtime's "namespace" and "name".
var keyed = regexp.MustCompile(`"(?:knative\.dev/)?key":\s*"([^"/]+)/([^"]+)"|"namespace":\s*"([^"]+)",\s*"name":\s*"([^"]+)"|"name":\s*"([^"]+)",\s*"namespace":\s*"([^"]+)"`)

// foreign says whether a line of a controller's log is about another service. A line that names no object speaks for all.
func (ix *index) foreign(line string) bool {
	ref := ix.facts.Ref
	if ref.Name == "" || !strings.Contains(line, `"`) {
		return false
	}
	m := keyed.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	namespace, name := m[1]+m[3]+m[6], m[2]+m[4]+m[5]
	return namespace != ref.Namespace || !NamedFor(ref.Name, name)
}

// before says whether a line that names an object speaks of one that was gone before the service was made: of an earlier service of the same name.
func (ix *index) before(l Line) bool {
	return !l.Time.IsZero() && l.Time.Before(ix.created) && keyed.MatchString(l.Text)
}

// systemOf maps a source of the service's namespace to its twin in the system namespaces.
func systemOf(s Source) Source {
	switch s {
	case Pods:
		return SystemPods
	case Services:
		return SystemServices
	case Deployments:
		return SystemDeployments
	case EndpointSlices:
		return SystemEndpoints
	case AuthPolicies:
		return SystemAuthPolicies
	case PeerAuths:
		return SystemPeerAuths
	case EnvoyFilters:
		return SystemEnvoyFilters
	case NetworkPolicies:
		return SystemPolicies
	case Events:
		return SystemEvents
	case VirtualServices:
		return AllVirtualServices
	}
	return s
}

// scoped tells which source an object counts for: objects of another namespace are those of the system.
func (ix *index) scoped(s Source, namespace string) Source {
	if own := ix.facts.Ref.Namespace; own != "" && namespace != "" && namespace != own {
		return systemOf(s)
	}
	return s
}

// belongs says whether an object of the service's namespace is part of the service, or concerns every service there.
func (ix *index) belongs(o *Object) bool {
	name := ix.facts.Ref.Name
	switch o.Source {
	case ServingRuntimes, AuthPolicies, PeerAuths, EnvoyFilters, NetworkPolicies, ResourceQuotas, ServiceAccounts, Claims, DestinationRules,
		InferenceGraphs:
		return true
	case VirtualServices, HTTPRoutes, Ingresses: // another object with our host is a conflict
		return true
	}
	if name == "" {
		return true
	}
	for _, label := range []string{labelService, labelOldSvc} {
		if owner := o.Label(label); owner != "" {
			return owner == name
		}
	}
	return NamedFor(name, o.Name)
}

// mine says whether something about an object of that name and namespace concerns the service.
func (ix *index) mine(namespace, or, object string) bool {
	if namespace == "" {
		namespace = or
	}
	if own := ix.facts.Ref.Namespace; own != "" && namespace != "" && namespace != own {
		return true // the system's; rules pick by name
	}
	return ix.facts.Ref.Name == "" || object == "" || NamedFor(ix.facts.Ref.Name, object)
}

// NamedFor says whether an object's name is one that KServe and Knative give to parts of the InferenceService.
func NamedFor(service, object string) bool {
	rest, ok := strings.CutPrefix(object, service)
	return ok && (rest == "" || strings.HasPrefix(rest, "-predictor") || strings.HasPrefix(rest, "-transformer") || strings.HasPrefix(rest, "-explainer"))
}

// timely drops events of an earlier object that bore the same name: events outlive their objects by an hour.
func (ix *index) timely(e Event) bool {
	return ix.created.IsZero() || e.Last.IsZero() || !e.Last.Before(ix.created.Add(-2*time.Second))
}

// coverage of a source, from nothing to everything.
type coverage int

const (
	notRead coverage = iota
	someRead
	fullyRead
)

func (ix *index) coverage(s Source) coverage {
	switch {
	case ix.full[s]:
		return fullyRead
	case ix.some[s]:
		return someRead
	}
	return notRead
}
