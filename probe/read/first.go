// first.go: the reads of a healthy run, all of them at once.
package read

import (
	"cmp"
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"probe/hops"
)

// KServe puts its label on the pods, Deployments, Services and Knative Services that it makes; Knative hands it down to all that it makes of a
// Knative Service, Kubernetes from a Service to its EndpointSlices (kserve/pkg/constants/constants.go, InferenceServicePodLabelKey; the older one is
// KFServing's).
const (
	ownerLabel    = "serving.kserve.io/inferenceservice"
	oldOwnerLabel = "serving.kubeflow.org/inferenceservice"
	oldGroup      = "serving.kubeflow.org"
)

// ownedSources are those whose objects carry the label of the service.
func ownedSources() []hops.Source {
	return []hops.Source{hops.KnativeServices, hops.Configurations, hops.Routes, hops.Revisions, hops.PodAutoscalers, hops.ServerlessServices,
		hops.KnativeIngresses, hops.Deployments, hops.Pods, hops.Services, hops.EndpointSlices}
}

// routeSources do not: another object of the namespace with our host is a conflict, so they are read whole.
func routeSources() []hops.Source {
	return []hops.Source{hops.VirtualServices, hops.HTTPRoutes, hops.Ingresses}
}

// FirstSources are the sources that First reads.
func FirstSources() []hops.Source {
	return slices.Concat([]hops.Source{hops.InferenceServices}, ownedSources(), routeSources())
}

// First reads what a healthy run needs. With an error of this package's types there is nothing to probe; the snapshot then holds what was read all
// the same.
func (c *Cluster) First(ctx context.Context, ref hops.Ref) (hops.Snapshot, error) {
	c.forget()
	at := c.opts.Now()
	all, owned := newBasket(at), newBasket(at)
	rest, stop := context.WithCancel(ctx)
	defer stop()
	var group string
	var failed error
	self := func(_ context.Context, b *basket) {
		if group, failed = c.service(ctx, b, ref); failed != nil && !isForbidden(failed) {
			stop() // nobody will look at the rest
		}
	}
	jobs := []job{self, func(ctx context.Context, _ *basket) { side(ctx, owned, c.owned(ref, ownerLabel)) }, c.whole(hops.Services, ref.Namespace, named(ref.Name))}
	for _, s := range routeSources() {
		jobs = append(jobs, c.whole(s, ref.Namespace, query{}))
	}
	side(rest, all, jobs)
	if group == oldGroup { // its children bear the older label
		owned = newBasket(at)
		side(ctx, owned, c.owned(ref, oldOwnerLabel))
	}
	all.add(owned)
	side(rest, all, c.apiGateways(ref, all))
	c.remember(all)
	return all.snapshot(), c.explain(ctx, ref, failed)
}

// apiGateways reads the Gateways that the HTTPRoute of a service in Standard mode names: only they tell which Service stands for the gateway. Other
// services need no such read.
func (c *Cluster) apiGateways(ref hops.Ref, b *basket) []job {
	var jobs []job
	for i := range b.snap.Objects {
		o := &b.snap.Objects[i]
		if o.Source != hops.HTTPRoutes || o.Name != ref.Name {
			continue
		}
		for _, parent := range o.List("spec", "parentRefs") {
			ns := (&hops.Object{Tree: parent}).Str("namespace")
			jobs = append(jobs, c.whole(hops.APIGateways, cmp.Or(ns, ref.Namespace), query{}))
		}
	}
	return jobs[:min(len(jobs), 3)] // a route with more parents is nobody's
}

// owned are the lists of what belongs to the service by label.
func (c *Cluster) owned(ref hops.Ref, label string) []job {
	var jobs []job
	for _, s := range ownedSources() {
		jobs = append(jobs, c.whole(s, ref.Namespace, query{labels: label + "=" + ref.Name}))
	}
	return jobs
}

// whole is one list of one namespace; "" is all namespaces.
func (c *Cluster) whole(source hops.Source, namespace string, q query) job {
	info, _ := hops.Info(source)
	return func(ctx context.Context, b *basket) {
		list, err := c.list(ctx, info, namespace, q)
		b.objects(info, where(info, namespace), list, err)
	}
}

// where names a list: "pods in demo".
func where(info hops.SourceInfo, namespace string) string {
	if namespace == "" {
		return words(info)
	}
	return words(info) + " in " + namespace
}

// service reads the InferenceService itself, in KServe's group or in KFServing's, and says in which it is.
func (c *Cluster) service(ctx context.Context, b *basket, ref hops.Ref) (group string, err error) {
	info, _ := hops.Info(hops.InferenceServices)
	var missing *notInstalledError
	o, err := c.one(ctx, info, ref.Namespace, ref.Name)
	if errors.As(err, &missing) {
		old := info
		old.Group = oldGroup
		var oldErr error
		if o, oldErr = c.one(ctx, old, ref.Namespace, ref.Name); !errors.As(oldErr, &missing) {
			info, err = old, oldErr
		}
	}
	if err != nil {
		b.done(info, "inferenceservice "+ref.String(), err)
		return info.Group, err
	}
	b.objects(info, "", []hops.Object{o}, nil)
	return info.Group, nil
}

func isForbidden(err error) bool { return apierrors.IsForbidden(err) }

// explain turns the error of the InferenceService's own read into one with a way out.
func (c *Cluster) explain(ctx context.Context, ref hops.Ref, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return err
	case apierrors.IsNotFound(err) && !unknownResource(err):
		return c.missing(ctx, ref)
	}
	return c.cannot("inferenceservice "+ref.String(), err)
}

// missing finds out what the user may have meant: three reads, none of which has to succeed.
func (c *Cluster) missing(ctx context.Context, ref hops.Ref) error {
	services, _ := hops.Info(hops.InferenceServices)
	namespaces, _ := hops.Info(hops.Namespaces)
	var here, elsewhere []hops.Object
	var space error
	side(ctx, newBasket(c.opts.Now()), []job{
		func(ctx context.Context, _ *basket) { _, space = c.one(ctx, namespaces, "", ref.Namespace) },
		func(ctx context.Context, _ *basket) { here, _ = c.list(ctx, services, ref.Namespace, query{}) },
		func(ctx context.Context, _ *basket) { elsewhere, _ = c.list(ctx, services, "", named(ref.Name)) },
	})
	var near []string
	for _, o := range elsewhere {
		near = append(near, o.Namespace+"/"+o.Name)
	}
	if apierrors.IsNotFound(space) {
		return &NoNamespaceError{Ref: ref, Near: near[:min(len(near), 5)]}
	}
	near = append(nearest(ref.Name, here), near...)
	return &NotFoundError{Ref: ref, Near: near[:min(len(near), 5)], NamespaceUnknown: space != nil && len(here) == 0}
}
