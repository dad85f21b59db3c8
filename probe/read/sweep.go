// sweep.go: many services at once: their names, and what First reads of one in as many lists for all of them.
package read

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"probe/hops"
)

// maxSweepPages bounds a list of a sweep to 20000 objects.
const maxSweepPages = 40

// fewSpaces is up to how many namespaces are read one by one. More are read with the lists of the whole cluster, if we may: those bring objects
// of other namespaces along, but their number does not grow.
const fewSpaces = 4

// spaceReads bounds the lists of single namespaces that are under way: more would wait for client-go's rate limit longer than a read may take.
const spaceReads = 64

// List gives every InferenceService of a namespace, or of all with "": metadata and status only, so each object is partial. A list that was cut
// comes with an error besides what was read.
func (c *Cluster) List(ctx context.Context, namespace string) ([]hops.Object, error) {
	return c.Select(ctx, namespace, "")
}

// Select is List for the services that a label selector matches; "" matches all.
func (c *Cluster) Select(ctx context.Context, namespace, selector string) ([]hops.Object, error) {
	info, _ := hops.Info(hops.InferenceServices)
	q := query{labels: selector, pages: maxSweepPages}
	list, err := c.list(ctx, info, namespace, q)
	var missing *notInstalledError
	if errors.As(err, &missing) {
		info.Group = oldGroup
		if old, oldErr := c.list(ctx, info, namespace, q); !errors.As(oldErr, &missing) {
			list, err = old, oldErr
		}
	}
	for i := range list {
		delete(list[i].Tree, "spec")
		list[i].Partial = true
	}
	var cut *cutError
	if err != nil && !errors.As(err, &cut) {
		return nil, c.cannot(where(info, namespace), err)
	}
	return list, err
}

// Exists says, where a namespace has no services, whether that is because it does not exist itself: a *NoNamespaceError. Who may not see the
// namespace learns nothing.
func (c *Cluster) Exists(ctx context.Context, namespace string) error {
	info, _ := hops.Info(hops.Namespaces)
	if _, err := c.one(ctx, info, "", namespace); apierrors.IsNotFound(err) && !unknownResource(err) {
		return &NoNamespaceError{Ref: hops.Ref{Namespace: namespace}}
	}
	return nil
}

// All reads for services that List gave what First reads for one, and gives a function that picks one service's snapshot out of it. That is false
// for a service that is gone since. In a snapshot, routes that claim no host of the service are left out, since their number would grow with that
// of the services. It starts a new run, as First does.
func (c *Cluster) All(ctx context.Context, services []hops.Object) func(hops.Ref) (hops.Snapshot, bool) {
	c.forget()
	w := wide{Cluster: c, at: c.opts.Now(), spaces: map[string]*space{}, turns: make(chan struct{}, spaceReads), group: "serving.kserve.io", label: ownerLabel}
	for i := range services {
		if o := &services[i]; w.spaces[o.Namespace] == nil {
			w.spaces[o.Namespace] = &space{basket: newBasket(w.at), owned: map[string][]hops.Object{}}
		}
		if strings.HasPrefix(services[i].APIVersion, oldGroup+"/") {
			w.group, w.label = oldGroup, oldOwnerLabel
		}
	}
	var jobs []job
	for _, s := range FirstSources() {
		jobs = append(jobs, w.source(s))
	}
	side(ctx, nil, jobs)
	for _, s := range w.spaces {
		c.remember(s.basket)
		s.sort(w.label)
	}
	return w.of
}

// wide is the reading of many services under way.
type wide struct {
	*Cluster
	at           time.Time
	group, label string // of InferenceServices, KServe's or KFServing's
	spaces       map[string]*space
	turns        chan struct{}
}

// space is what was read of one namespace.
type space struct {
	*basket
	owned  map[string][]hops.Object // by the name of the service
	routes []hops.Object
}

// source reads one source of all the namespaces: from the whole cluster or, where that is forbidden or too much, from each.
func (w *wide) source(source hops.Source) job {
	info, _ := hops.Info(source)
	q := query{pages: maxSweepPages}
	switch {
	case source == hops.InferenceServices:
		info.Group = w.group
	case source != hops.Services && slices.Contains(ownedSources(), source): // the Service with the name of the InferenceService has no label
		q.labels = w.label
	}
	return func(ctx context.Context, _ *basket) {
		if len(w.spaces) > fewSpaces {
			list, err := w.list(ctx, info, "", q)
			var cut *cutError
			if !apierrors.IsForbidden(err) && !errors.As(err, &cut) {
				w.spread(info, list, err)
				return
			}
		}
		var jobs []job
		for name, s := range w.spaces {
			jobs = append(jobs, func(ctx context.Context, _ *basket) {
				w.turns <- struct{}{}
				defer func() { <-w.turns }()
				list, err := w.list(ctx, info, name, q)
				s.objects(info, where(info, name), list, err)
			})
		}
		side(ctx, nil, jobs)
	}
}

// spread gives each namespace its part of a list of the whole cluster.
func (w *wide) spread(info hops.SourceInfo, list []hops.Object, err error) {
	parts := map[string][]hops.Object{}
	for _, o := range list {
		if w.spaces[o.Namespace] != nil {
			parts[o.Namespace] = append(parts[o.Namespace], o)
		}
	}
	for name, s := range w.spaces {
		s.objects(info, where(info, name), parts[name], err)
	}
}

// sort puts each object to its service.
func (s *space) sort(label string) {
	for _, o := range s.snap.Objects {
		switch {
		case slices.Contains(routeSources(), o.Source):
			s.routes = append(s.routes, o)
		case o.Source == hops.InferenceServices:
			s.owned[o.Name] = append(s.owned[o.Name], o)
		default:
			if owner := o.Label(label); owner != "" {
				s.owned[owner] = append(s.owned[owner], o)
			}
			if o.Source == hops.Services && o.Label(label) != o.Name {
				s.owned[o.Name] = append(s.owned[o.Name], o)
			}
		}
	}
}

// of gives the snapshot of one service.
func (w *wide) of(ref hops.Ref) (hops.Snapshot, bool) {
	s := w.spaces[ref.Namespace]
	if s == nil {
		return hops.Snapshot{}, false
	}
	mine := &basket{snap: hops.Snapshot{Time: w.at, Objects: slices.Clone(s.owned[ref.Name]), Gaps: slices.Clone(s.snap.Gaps)}, whole: s.whole, partial: s.partial}
	self := slices.IndexFunc(mine.snap.Objects, func(o hops.Object) bool { return o.Source == hops.InferenceServices })
	if self < 0 && !s.partial[hops.InferenceServices] {
		return hops.Snapshot{}, false
	}
	var hosts []string
	if self >= 0 {
		hosts = statusHosts(&mine.snap.Objects[self])
	}
	for _, o := range s.routes {
		if concerns(&o, ref, hosts) {
			mine.snap.Objects = append(mine.snap.Objects, o)
		}
	}
	return mine.snapshot(), true
}

// statusHosts lists the hosts by which an InferenceService says that it can be reached.
func statusHosts(isvc *hops.Object) []string {
	urls := []string{isvc.Str("status", "url"), isvc.Str("status", "address", "url")}
	components, _ := isvc.Get("status", "components").(map[string]any)
	for name := range components {
		urls = append(urls, isvc.Str("status", "components", name, "url"), isvc.Str("status", "components", name, "address", "url"))
	}
	var out []string
	for _, u := range urls {
		_, rest, _ := strings.Cut(u, "://")
		if authority, _, _ := strings.Cut(rest, "/"); authority != "" {
			out = append(out, bare(authority))
		}
	}
	return out
}

// concerns says whether a route is the service's by its name, or by a host: one of the service's, one that begins as the hosts of its components
// do, or any host at all.
func concerns(route *hops.Object, ref hops.Ref, hosts []string) bool {
	claimed := claimedHosts(route)
	if hops.NamedFor(ref.Name, route.Name) || len(claimed) == 0 {
		return true
	}
	return slices.ContainsFunc(claimed, func(claimed string) bool {
		first, _, _ := strings.Cut(claimed, ".")
		return claimed == "*" || hops.NamedFor(ref.Name, first) || strings.HasPrefix(first, ref.Name+"-"+ref.Namespace) ||
			len(hosts) == 0 && strings.HasPrefix(claimed, "*") ||
			slices.ContainsFunc(hosts, func(ours string) bool { return covers(claimed, ours) })
	})
}

// claimedHosts lists the hosts of a VirtualService, an HTTPRoute or an Ingress.
func claimedHosts(route *hops.Object) []string {
	var out []string
	for _, field := range []string{"hosts", "hostnames"} {
		list, _ := route.Get("spec", field).([]any)
		for _, h := range list {
			if host, ok := h.(string); ok {
				out = append(out, host)
			}
		}
	}
	for _, rule := range route.List("spec", "rules") {
		if host, ok := rule["host"].(string); ok {
			out = append(out, host)
		}
	}
	return out
}
