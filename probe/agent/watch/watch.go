// Package watch knows which InferenceServices there are, and which of them this replica of the agent is to probe.
//
// watch.go: an informer that keeps of each service what the agent needs, and tells what changed.
package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"unique"

	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"probe/hops"
	"probe/probe/agent/state"
)

// maxNamespaces bounds the watches of one agent: each is a request that stays open.
const maxNamespaces = 100

// Options are a Watcher's choices.
type Options struct {
	Namespaces []string // none is all
	Selector   string   // of labels, as of kubectl -l; "" is all
	Version    string   // of this program, for the user agent
	// Upsert takes a service that is new or has changed. pathChanged is true for a new one, and where requests may go another way, or may fare
	// otherwise: the generation, a condition, a URL, a revision or its share of the traffic. Else our annotations changed.
	// A service that was deleted and made anew is deleted first. Other changes are not told.
	Upsert func(svc state.Service, pathChanged bool)
	// Delete takes a service that is no more. Both are called one at a time, and must not wait.
	Delete func(hops.Ref)
	// Log takes a line when the API server is not heard, at most one a minute, and one when it is heard again. Nil is quiet.
	Log func(string)
}

// Watcher knows the services. It keeps what it knows while the API server is away.
type Watcher struct {
	opts    Options
	client  *rest.RESTClient
	sources []*source
	faults  *faults
	changes sync.Mutex // held while a change is made and told: one at a time, in their order

	mu       sync.Mutex
	services map[hops.Ref]*kept // at most maxServices a list
}

// kept is what is held of one service.
type kept struct {
	service state.Service
	digest  uint64
}

// New makes a watcher. Nothing is sent before Run.
func New(cfg *rest.Config, o Options) (*Watcher, error) {
	if _, err := labels.Parse(o.Selector); err != nil {
		return nil, fmt.Errorf("selector %q: %w; write it as for kubectl -l", o.Selector, err)
	}
	o.Namespaces = slices.Compact(slices.Sorted(slices.Values(o.Namespaces)))
	if len(o.Namespaces) > maxNamespaces {
		return nil, fmt.Errorf("%d namespaces: at most %d can be watched one by one; watch all, with a selector", len(o.Namespaces), maxNamespaces)
	}
	client, err := newClient(cfg, o.Version)
	if err != nil {
		return nil, err
	}
	w := &Watcher{opts: o, client: client, faults: newFaults(o.Log), services: map[hops.Ref]*kept{}}
	for _, ns := range o.Namespaces {
		if wrong := validation.ValidateNamespaceName(ns, false); len(wrong) > 0 {
			return nil, fmt.Errorf("namespace %q: %s", ns, wrong[0])
		}
		w.sources = append(w.sources, &source{w: w, namespace: ns, what: resource + " in " + ns})
	}
	if len(w.sources) == 0 {
		w.sources = []*source{{w: w, what: resource + " in all namespaces"}}
	}
	return w, nil
}

// Run watches until ctx ends. It never gives up.
func (w *Watcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range w.sources {
		wg.Go(func() { s.run(quiet(ctx)) })
	}
	wg.Wait()
}

// Synced says whether all services were listed once. It stays true.
func (w *Watcher) Synced() bool {
	return !slices.ContainsFunc(w.sources, func(s *source) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.synced
	})
}

// Trouble says why the services are not up to date; nil when they are.
func (w *Watcher) Trouble() error {
	var out []error
	for _, line := range w.faults.now() {
		out = append(out, errors.New(line))
	}
	return errors.Join(out...)
}

// Service is one of them as it is now: its resource version is newer than the one that Upsert was last told.
func (w *Watcher) Service(ref hops.Ref) (state.Service, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k, ok := w.services[ref]
	if !ok {
		return state.Service{}, false
	}
	return k.service, true
}

func refOf(o *object) hops.Ref { return hops.Ref{Namespace: o.Namespace, Name: o.Name} }

// upsert keeps a service and tells what changed. The caller holds changes, and so for delete.
func (w *Watcher) upsert(gv schema.GroupVersion, o *object) {
	ref := hops.Ref{Namespace: unique.Make(o.Namespace).Value(), Name: o.Name}
	fresh := &kept{digest: o.digest, service: state.Service{Ref: ref, UID: o.UID, APIVersion: unique.Make(gv.String()).Value(),
		ResourceVersion: o.ResourceVersion, Annotations: o.Annotations, Created: o.CreationTimestamp.Time}}
	w.mu.Lock()
	old := w.services[ref]
	w.services[ref] = fresh
	w.mu.Unlock()
	if old != nil && old.service.UID != fresh.service.UID {
		w.opts.Delete(ref)
		old = nil
	}
	path := old == nil || old.digest != fresh.digest || old.service.APIVersion != fresh.service.APIVersion
	if path || !maps.Equal(old.service.Annotations, fresh.service.Annotations) {
		w.opts.Upsert(fresh.service, path)
	}
}

func (w *Watcher) delete(ref hops.Ref) {
	w.mu.Lock()
	_, was := w.services[ref]
	delete(w.services, ref)
	w.mu.Unlock()
	if was {
		w.opts.Delete(ref)
	}
}

// replace takes a whole list of a namespace, or of all.
func (w *Watcher) replace(namespace string, gv schema.GroupVersion, list []any) {
	w.changes.Lock()
	defer w.changes.Unlock()
	listed := make(map[hops.Ref]bool, len(list))
	for _, x := range list {
		listed[refOf(x.(*object))] = true
	}
	w.mu.Lock()
	var gone []hops.Ref
	for ref := range w.services {
		if (namespace == "" || ref.Namespace == namespace) && !listed[ref] {
			gone = append(gone, ref)
		}
	}
	w.mu.Unlock()
	for _, ref := range gone {
		w.delete(ref)
	}
	for _, x := range list {
		w.upsert(gv, x.(*object))
	}
}
