// opening.go: looks at services whose path is not known: those of a namespace that wait for one are read together, since after a start, or a change
// of the platform, all of them wait at once.
package agent

import (
	"context"
	"sync"

	"probe/hops"
)

// abreast is how many services of a namespace are looked at side by side.
const abreast = 4

// opening is the line of services whose path is to be found.
type opening struct {
	mu      sync.Mutex
	waiting map[string]map[hops.Ref]bool // by namespace
	order   []string                     // the namespaces, as they came
	wake    chan struct{}
}

// add lines a service up, unless it stands there already.
func (o *opening) add(ref hops.Ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	line := o.waiting[ref.Namespace]
	if line[ref] {
		return
	}
	if line == nil {
		line = map[hops.Ref]bool{}
		o.waiting[ref.Namespace] = line
		o.order = append(o.order, ref.Namespace)
	}
	line[ref] = true
	select {
	case o.wake <- struct{}{}:
	default: // somebody is on the way already
	}
}

// next gives all that wait of the namespace that has waited longest; none when nobody waits.
func (o *opening) next() map[hops.Ref]bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == 0 {
		return nil
	}
	namespace := o.order[0]
	o.order = o.order[1:]
	refs := o.waiting[namespace]
	delete(o.waiting, namespace)
	return refs
}

// given is what was read for a look beforehand.
type given struct {
	Looker
	pick func(hops.Ref) (hops.Snapshot, bool)
}

// First implements probe.Reader.
func (g *given) First(ctx context.Context, ref hops.Ref) (hops.Snapshot, error) {
	if snap, there := g.pick(ref); there {
		return snap, nil
	}
	return g.Looker.First(ctx, ref) // it says why it is not there
}

// open looks at those that wait until ctx ends. It returns when no look is under way any more.
func (a *Agent) open(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	for {
		refs := a.opening.next()
		if refs == nil {
			select {
			case <-a.opening.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case looker := <-a.prober.lookers:
			under.Go(func() {
				defer func() { a.prober.lookers <- looker }()
				a.openAll(ctx, looker, refs)
			})
		case <-ctx.Done():
			return
		}
	}
}

// openAll reads what the services of a namespace need together, and then probes each.
func (a *Agent) openAll(ctx context.Context, looker Looker, refs map[hops.Ref]bool) {
	known := map[hops.Ref]*target{}
	var services []hops.Object
	for ref := range refs {
		if t := a.target(ref); t != nil {
			known[ref] = t
			services = append(services, t.object())
		}
	}
	if len(known) == 0 {
		return
	}
	first := &given{Looker: looker, pick: looker.All(ctx, services)}
	var wg sync.WaitGroup
	places := make(chan struct{}, abreast)
	for ref, t := range known {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			a.probeNow(ctx, ref, t, a.c.Now(), first)
		})
	}
	wg.Wait()
}

// object is a service as a list of them would give it.
func (t *target) object() hops.Object {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.service
	return hops.Object{Source: hops.InferenceServices, APIVersion: s.APIVersion, Kind: "InferenceService", Namespace: s.Ref.Namespace, Name: s.Ref.Name, Partial: true}
}
