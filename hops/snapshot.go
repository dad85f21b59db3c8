// snapshot.go: what was read at one time, and what could not be read.
package hops

import "time"

// Snapshot is what was read at one time: objects, events and log lines.
type Snapshot struct {
	Time    time.Time `json:"time"`
	Objects []Object  `json:"objects,omitempty"`
	Events  []Event   `json:"events,omitempty"`
	Lines   []Line    `json:"lines,omitempty"`
	// Full names the sources that were read as whole lists, for the namespace of the service or the system namespaces; only these prove absence.
	Full []Source `json:"full,omitempty"`
	// Gaps are the sources that could not be read, and why. A source that is neither in Full nor in Gaps was not asked for.
	Gaps []Gap `json:"gaps,omitempty"`
}

// Gap is one thing that could not be read.
type Gap struct {
	Source Source `json:"source"`
	What   string `json:"what"`          // in the user's words: "pods in istio-system"
	Why    string `json:"why"`           // in the user's words: "forbidden for user x"
	Err    string `json:"err,omitempty"` // the wrapped error's text
}

// Event is one Kubernetes event. Times are those of the cluster.
type Event struct {
	Type      string    `json:"type"` // Normal or Warning
	Reason    string    `json:"reason"`
	Message   string    `json:"message"`
	About     ObjectRef `json:"about"`
	Namespace string    `json:"namespace,omitempty"` // of the event itself
	Count     int       `json:"count,omitempty"`
	First     time.Time `json:"first,omitzero"`
	Last      time.Time `json:"last,omitzero"`
	Component string    `json:"component,omitempty"` // reporting component
}

// Line is one line of a log.
type Line struct {
	Source    Source    `json:"source"`              // ContainerLogs, AccessLogs, SystemLogs, Analysis or ClientLog
	Namespace string    `json:"namespace,omitempty"` // of the pod
	Pod       string    `json:"pod,omitempty"`
	Container string    `json:"container,omitempty"` // name as in the pod; "" when a paste does not tell
	Previous  bool      `json:"previous,omitempty"`  // of the container's last run
	Time      time.Time `json:"time,omitzero"`
	Text      string    `json:"text"`
	// Number counts from 1 in the log or paste that the line came from.
	Number int `json:"number,omitempty"`
}

// ParseEvent reads an Event object of core/v1 or events.k8s.io/v1.
func ParseEvent(o *Object) Event {
	e := Event{Type: o.Str("type"), Reason: o.Str("reason"), Message: o.Str("message"), Namespace: o.Namespace, Count: o.Int("count"),
		First: when(o.Get("firstTimestamp")), Last: when(o.Get("lastTimestamp")), Component: o.Str("source", "component")}
	about := "involvedObject"
	if !o.Has(about) {
		about = "regarding"
	}
	e.About = ObjectRef{Kind: o.Str(about, "kind"), Namespace: o.Str(about, "namespace"), Name: o.Str(about, "name"),
		Source: SourceOf(o.Str(about, "apiVersion"), o.Str(about, "kind"))}
	if e.Message == "" {
		e.Message = o.Str("note")
	}
	if e.Component == "" {
		e.Component = o.Str("reportingComponent")
	}
	if e.Component == "" {
		e.Component = o.Str("reportingController")
	}
	if n := o.Int("series", "count"); n > e.Count {
		e.Count = n
	}
	at := when(o.Get("eventTime"))
	if e.First.IsZero() {
		e.First = at
	}
	if last := when(o.Get("series", "lastObservedTime")); !last.IsZero() {
		e.Last = last
	}
	if e.Last.IsZero() {
		e.Last = e.First
	}
	if e.Last.IsZero() {
		e.Last = o.Created()
	}
	if e.First.IsZero() {
		e.First = e.Last
	}
	return e
}

// SourceOf finds the namespaced source of an object by its apiVersion and kind. With an empty apiVersion the kind alone decides, in favour of
// the core kind. KFServing's group counts as KServe's. "" when nothing here reads such objects.
func SourceOf(apiVersion, kind string) Source {
	group := ""
	if i := lastSlash(apiVersion); i >= 0 {
		group = apiVersion[:i]
	}
	switch group {
	case "serving.kubeflow.org":
		group = "serving.kserve.io"
	case "extensions":
		group = "networking.k8s.io"
	case "events.k8s.io":
		group = ""
	}
	if kind == "ValidatingWebhookConfiguration" {
		kind = "MutatingWebhookConfiguration"
	}
	var byKind Source
	for _, i := range known() {
		if i.Kind != kind || kind == "" {
			continue
		}
		if i.Group == group && (apiVersion != "" || group != "") {
			return i.Source
		}
		if apiVersion == "" && (byKind == "" || i.Group == "") {
			if byKind == "" || i.Scope == ScopeNamespace {
				byKind = i.Source
			}
		}
	}
	return byKind
}

func lastSlash(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '/' {
			return i
		}
	}
	return -1
}

// Join makes one snapshot of several in time order: the latest version of each object, all events and lines, and what was read in full by then.
func Join(list []Snapshot) Snapshot {
	var out Snapshot
	at := map[ObjectRef]int{}
	for _, s := range list {
		out.Time = s.Time
		for _, o := range s.Objects {
			i, seen := at[o.Ref()]
			switch {
			case !seen:
				at[o.Ref()] = len(out.Objects)
				out.Objects = append(out.Objects, o)
			case !o.Partial || out.Objects[i].Partial:
				out.Objects[i] = o
			}
		}
		out.Events = append(out.Events, s.Events...)
		out.Lines = append(out.Lines, s.Lines...)
		out.Full = append(out.Full, s.Full...)
		out.Gaps = append(out.Gaps, s.Gaps...)
	}
	return out
}
