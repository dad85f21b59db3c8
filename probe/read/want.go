// want.go: the second snapshot: just the sources that suspected rules still lack.
package read

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"probe/hops"
)

// tooManyError says that a source was left out to keep the number of reads bounded.
type tooManyError struct{ bound int }

func (e *tooManyError) Error() string {
	return fmt.Sprintf("left out: one run makes at most %d further reads", e.bound)
}

// want is one second snapshot in the making.
type want struct {
	*Cluster
	facts hops.Facts
	lists *memo[[]hops.Object] // pods of system namespaces: wanted themselves, and to find whose logs to read
	hosts []string             // of the service, without ports
}

// task is one part of a second snapshot and the most reads that it makes.
type task struct {
	info hops.SourceInfo
	what string
	cost int
	job
}

// Want reads the sources, side by side. What it cannot read is a gap. The sources that matter most come first in wants: those beyond the bound of
// reads are left out, as gaps.
func (c *Cluster) Want(ctx context.Context, facts hops.Facts, wants []hops.Source) hops.Snapshot {
	w := want{Cluster: c, facts: facts, lists: newMemo[[]hops.Object](always), hosts: hostsOf(&facts.Flow)}
	b := newBasket(c.opts.Now())
	left := c.opts.MaxReads
	var jobs []job
	for i, s := range wants {
		if slices.Contains(wants[:i], s) {
			continue
		}
		for _, t := range w.tasks(s) {
			if left -= t.cost; left < 0 {
				b.done(t.info, t.what, &tooManyError{c.opts.MaxReads})
				continue
			}
			jobs = append(jobs, t.job)
		}
	}
	side(ctx, b, jobs)
	c.remember(b)
	return b.snapshot()
}

// tasks are the parts of one source; none for a source that no cluster has.
func (w *want) tasks(s hops.Source) []task {
	info, known := hops.Info(s)
	if !known || info.Scope == hops.ScopeNone {
		return nil
	}
	switch s {
	case hops.ContainerLogs:
		return w.containerLogs(info)
	case hops.AccessLogs:
		return w.accessLogs(info)
	case hops.SystemLogs:
		return w.systemLogs(info)
	case hops.SystemConfigMaps:
		return w.byName(info, w.configMaps())
	case hops.CustomResources:
		var names []objectName
		for _, n := range customResources() {
			names = append(names, objectName{name: n})
		}
		return w.byName(info, names)
	case hops.Namespaces:
		return w.byName(info, []objectName{{name: w.facts.Ref.Namespace}})
	case hops.Webhooks:
		return w.webhooks(info)
	case hops.Events:
		return []task{w.list(info, w.facts.Ref.Namespace, query{}, w.ours)}
	case hops.AllVirtualServices:
		return []task{w.list(info, "", query{}, w.rival)}
	case hops.InferenceServices:
		return []task{{info, "", 1, func(ctx context.Context, b *basket) {
			_, _ = w.service(ctx, b, w.facts.Ref) // what goes wrong is a gap already
		}}}
	}
	return w.listing(info)
}

// listing are the lists of a source that is read whole.
func (w *want) listing(info hops.SourceInfo) []task {
	var out []task
	switch {
	case info.Scope == hops.ScopeCluster:
		out = append(out, w.list(info, "", query{}, nil))
	case info.Source == hops.SystemPods:
		for _, ns := range w.namespaces(info.Source) {
			what := where(info, ns)
			out = append(out, task{info, what, 1, func(ctx context.Context, b *basket) {
				list, err := w.systemPods(ctx, ns)
				b.objects(info, what, list, err)
			}})
		}
	case info.Scope == hops.ScopeSystem:
		for _, ns := range w.namespaces(info.Source) {
			out = append(out, w.list(info, ns, query{}, nil))
		}
	default:
		q := query{}
		if slices.Contains(ownedSources(), info.Source) || info.Source == hops.ReplicaSets {
			q.labels = w.ownerLabel() + "=" + w.facts.Ref.Name
		}
		out = append(out, w.list(info, w.facts.Ref.Namespace, q, nil))
		if info.Source == hops.Services { // the one that bears the service's own name has no label
			out = append(out, w.list(info, w.facts.Ref.Namespace, named(w.facts.Ref.Name), nil))
		}
	}
	return out
}

// list is the task of one list; keep drops what is no business of this service before it is kept, nil keeps all.
func (w *want) list(info hops.SourceInfo, namespace string, q query, keep func(*hops.Object) bool) task {
	what := where(info, namespace)
	return task{info, what, 1, func(ctx context.Context, b *basket) {
		list, err := w.Cluster.list(ctx, info, namespace, q)
		if keep != nil {
			list = slices.DeleteFunc(list, func(o hops.Object) bool { return !keep(&o) })
		}
		b.objects(info, what, list, err)
	}}
}

// ownerLabel is the label of this service's objects: KFServing's when the service is one of KFServing's.
func (w *want) ownerLabel() string {
	for _, s := range w.facts.Snapshots {
		for i := range s.Objects {
			if o := &s.Objects[i]; o.Source == hops.InferenceServices && strings.HasPrefix(o.APIVersion, oldGroup+"/") {
				return oldOwnerLabel
			}
		}
	}
	return ownerLabel
}

// objectName names one object to read.
type objectName struct{ namespace, name string }

// byName reads objects by their names. That one of them does not exist is an answer, not a gap.
func (w *want) byName(info hops.SourceInfo, names []objectName) []task {
	var out []task
	for _, n := range names {
		what := strings.TrimSuffix(info.Short+" "+n.name+" in "+n.namespace, " in ")
		out = append(out, task{info, what, 1, func(ctx context.Context, b *basket) {
			o, err := w.one(ctx, info, n.namespace, n.name)
			switch {
			case err == nil:
				b.objects(info, what, []hops.Object{o}, nil)
			case apierrors.IsNotFound(err) && !unknownResource(err):
				b.done(info, what, nil)
			default:
				b.done(info, what, err)
			}
		}})
	}
	return out
}

// webhooks are two resources that count as one source.
func (w *want) webhooks(info hops.SourceInfo) []task {
	validating := info
	validating.Resource, validating.Kind = "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"
	return []task{w.list(info, "", query{}, nil), w.list(validating, "", query{}, nil)}
}

// ours keeps the events about the service's objects, and about claims, which any service of the namespace may mount.
func (w *want) ours(event *hops.Object) bool {
	about := hops.ParseEvent(event).About
	return about.Name == "" || hops.NamedFor(w.facts.Ref.Name, about.Name) || about.Kind == "PersistentVolumeClaim"
}

// rival keeps the VirtualServices that claim a host of the service. Without any host known, all are kept.
func (w *want) rival(vs *hops.Object) bool {
	if len(w.hosts) == 0 {
		return true
	}
	list, _ := vs.Get("spec", "hosts").([]any)
	for _, h := range list {
		claimed, _ := h.(string)
		if slices.ContainsFunc(w.hosts, func(ours string) bool { return covers(claimed, ours) }) {
			return true
		}
	}
	return false
}

// covers says whether a host of a route, with or without a leading wildcard, matches ours.
func covers(claimed, ours string) bool {
	if suffix, wild := strings.CutPrefix(claimed, "*"); wild {
		return strings.HasSuffix(ours, suffix)
	}
	return claimed == ours
}

// hostsOf lists the hosts by which the service is known.
func hostsOf(f *hops.Flow) []string {
	var out []string
	add := func(h string) {
		if h != "" && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	for _, d := range f.Doors {
		add(d.Host)
	}
	for _, c := range f.Components {
		add(c.Host)
		add(c.LocalHost)
	}
	return out
}

// bare gives a host without its port.
func bare(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return authority
}

// customResources names the definitions without which a part of the path cannot exist.
func customResources() []string {
	return []string{"inferenceservices.serving.kserve.io", "servingruntimes.serving.kserve.io", "services.serving.knative.dev",
		"virtualservices.networking.istio.io", "httproutes.gateway.networking.k8s.io"}
}
