// wants.go: what to read, and whether to read more, after the first requests.
package hops

import (
	"slices"
	"time"
)

// Wants lists the sources that some rule needs and that were not read yet. Nothing is wanted while everything looks well. While the front doors
// answer, what is odd can only be in the service's own namespace.
func Wants(f Facts, rules []Rule) []Source {
	ix := newIndex(f, f.lastTime())
	failing := len(failedDoors(ix)) > 0 || !answeredSomewhere(&f)
	if !failing && looksWell(ix) {
		return nil
	}
	var out []Source
	for _, r := range rules {
		for _, s := range r.Needs {
			info, ok := ix.infos[s]
			if !ok || info.Scope == ScopeNone || slices.Contains(out, s) {
				continue
			}
			if _, failed := ix.gaps[s]; failed || ix.full[s] || !failing && info.Scope != ScopeNamespace {
				continue
			}
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// answeredSomewhere says whether any front door gave a good answer.
func answeredSomewhere(f *Facts) bool {
	_, good := doorsTried(f.Observations)
	return good
}

// looksWell says whether the objects show nothing odd: ready, newest revision ready, every container of every pod ready, no restart of late.
func looksWell(ix *index) bool {
	for _, s := range []Source{InferenceServices, KnativeServices} {
		for _, o := range ix.objects[s] {
			if !o.Ready() || o.Str("status", "latestCreatedRevisionName") != o.Str("status", "latestReadyRevisionName") {
				return false
			}
		}
	}
	for _, p := range ix.pods {
		if !p.Deleted() && !p.Ready {
			return false
		}
		for _, c := range p.Containers {
			if c.Last != nil && (c.Last.Finished.IsZero() || ix.now.Sub(c.Last.Finished).Hours() < 1) {
				return false
			}
		}
	}
	for i := range ix.facts.Observations {
		if o := &ix.facts.Observations[i]; o.Judged() && !o.OK() {
			return false
		}
	}
	return true
}

// lastTime is when the last snapshot was taken.
func (f Facts) lastTime() (t time.Time) {
	for _, s := range f.Snapshots {
		t = s.Time
	}
	return t
}
