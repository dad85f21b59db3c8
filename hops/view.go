// view.go: what a rule sees. Each rule gets its own view, which records what it reads.
package hops

import "time"

// View is the facts as one rule sees them. It records which sources were read.
type View struct {
	ix   *index
	read map[Source]bool
}

func (v *View) note(s Source) { v.read[s] = true }

// Now is the time of the verdict; for a capture, the time it was taken.
func (v *View) Now() time.Time { return v.ix.now }

// Age is how long ago t was; 0 when t is unknown.
func (v *View) Age(t time.Time) time.Duration {
	if t.IsZero() || v.ix.now.IsZero() {
		return 0
	}
	return v.ix.now.Sub(t)
}

// ServiceAge is how long the InferenceService exists; 0 when unknown.
func (v *View) ServiceAge() time.Duration { return v.Age(v.ix.created) }

// Ref names the service; its name is "" for a paste that does not tell.
func (v *View) Ref() Ref { return v.ix.facts.Ref }

// Flow is the resolved path.
func (v *View) Flow() *Flow { return &v.ix.facts.Flow }

// Objects lists the objects of a source: of the service, or all of the system namespaces or the cluster. Do not change them.
func (v *View) Objects(s Source) []*Object {
	v.note(s)
	return v.ix.objects[s]
}

// Service is the InferenceService; nil when it was not read.
func (v *View) Service() *Object {
	for _, o := range v.Objects(InferenceServices) {
		return o
	}
	return nil
}

// Find gives one object by name; nil when it was not read.
func (v *View) Find(s Source, name string) *Object {
	for _, o := range v.Objects(s) {
		if o.Name == name {
			return o
		}
	}
	return nil
}

// Pods lists the service's pods in short form.
func (v *View) Pods() []PodState {
	v.note(Pods)
	return v.ix.pods
}

// Events lists the events about the service's objects that are not older than the service.
func (v *View) Events() []Event {
	v.note(Events)
	return v.ix.events
}

// Lines lists the lines of one kind of log.
func (v *View) Lines(s Source) []Line {
	v.note(s)
	return v.ix.lines[s]
}

// Access lists the gateways' access log entries that concern this service's hosts; all of them when no host is known. Gateways' spans that ended a
// failed request of ours stand behind them.
func (v *View) Access() []AccessEntry {
	v.note(AccessLogs)
	return v.ix.access
}

// Observations lists what requests saw, failed and good, in the order in which they were sent.
func (v *View) Observations() []Observation {
	v.note(Requests)
	return v.ix.facts.Observations
}

// Spans lists the spans read back from a trace store.
func (v *View) Spans() []Span {
	v.note(Spans)
	return v.ix.facts.Spans
}

// Full says whether the list was read whole, so that what is not in it does not exist.
func (v *View) Full(s Source) bool {
	v.note(s)
	return v.ix.full[s]
}

// StepOf places an object at a hop of the path: its component and revision come from labels and names.
func (v *View) StepOf(h Hop, o *Object) Step {
	s := Step{Hop: h, Component: ComponentOf(o), Object: o.Ref()}
	if o.Source != KnativeServices && o.Source != Routes && o.Source != Configurations && o.Source != KnativeIngresses {
		s.Revision = RevisionOf(o)
	}
	return v.weigh(s)
}

// StepOfName places something that is known by name only, such as the object of an event.
func (v *View) StepOfName(h Hop, r ObjectRef) Step {
	return v.weigh(Step{Hop: h, Component: ComponentInName(r.Name), Revision: RevisionInName(r.Name), Object: r})
}

func (v *View) weigh(s Step) Step {
	for _, c := range v.ix.facts.Flow.Components {
		for _, r := range c.Revisions {
			if s.Revision != "" && r.Name == s.Revision {
				s.Component, s.Weight = c.Name, r.Weight
			}
		}
	}
	return s
}
