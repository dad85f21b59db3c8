// kube.go: what a scenario does to a cluster, each step with its undoing.
package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

// manager is the field manager of everything that scenarios write, and the label by which they find it again.
const (
	manager    = "probe-drill"
	drillLabel = "probe.drill"
)

// kube writes to a cluster.
type kube struct {
	dyn    dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func newKube(cfg *rest.Config) (*kube, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = 50, 100
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return &kube{dyn: dyn, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))}, nil
}

// undo takes back one step.
type undo func(context.Context) error

// resource finds the client for an object.
func (k *kube) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	m, err := k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, fmt.Errorf("the cluster does not know %s: %w", gvk, err)
	}
	if m.Scope.Name() == "namespace" {
		return k.dyn.Resource(m.Resource).Namespace(namespace), nil
	}
	return k.dyn.Resource(m.Resource), nil
}

// apply writes every document of a manifest; the undoing deletes those that were not there before and puts back the others.
func (k *kube) apply(ctx context.Context, manifest []byte, namespace string) (undo, error) {
	var undos []undo
	all := func(ctx context.Context) error {
		var errs []error
		for i := len(undos) - 1; i >= 0; i-- {
			errs = append(errs, undos[i](ctx))
		}
		return errors.Join(errs...)
	}
	for _, doc := range strings.Split(string(manifest), "\n---\n") {
		var o unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			return all, fmt.Errorf("manifest: %w", err)
		}
		if len(o.Object) == 0 {
			continue
		}
		if o.GetNamespace() == "" {
			o.SetNamespace(namespace)
		}
		u, err := k.applyOne(ctx, &o)
		if u != nil {
			undos = append(undos, u)
		}
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// retries is how often a write is tried whose webhook does not answer yet, a second apart: KServe's refuses for seconds after its rollout.
const retries = 20

func (k *kube) applyOne(ctx context.Context, o *unstructured.Unstructured) (undo, error) {
	r, err := k.resource(o.GroupVersionKind(), o.GetNamespace())
	if err != nil {
		return nil, err
	}
	if o.GetKind() == "Namespace" {
		o.SetNamespace("")
	}
	before, err := r.Get(ctx, o.GetName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
	}
	existed := err == nil
	for i := 0; ; i++ {
		_, err = r.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
		if err == nil || i == retries || !strings.Contains(err.Error(), "failed calling webhook") || !pause(ctx, time.Second) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
	}
	if existed {
		return func(ctx context.Context) error { return k.restore(ctx, r, before) }, nil
	}
	return func(ctx context.Context) error {
		return ignoreMissing(r.Delete(ctx, o.GetName(), metav1.DeleteOptions{}))
	}, nil
}

// restore puts an object back as it was: its spec, data and labels; what the cluster itself writes stays as it is.
func (k *kube) restore(ctx context.Context, r dynamic.ResourceInterface, before *unstructured.Unstructured) error {
	want := before.DeepCopy()
	unstructured.RemoveNestedField(want.Object, "status")
	for _, f := range []string{"resourceVersion", "uid", "generation", "creationTimestamp", "managedFields", "deletionTimestamp"} {
		unstructured.RemoveNestedField(want.Object, "metadata", f)
	}
	now, err := r.Get(ctx, before.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = r.Create(ctx, want, metav1.CreateOptions{FieldManager: manager})
		return err
	}
	if err != nil {
		return err
	}
	want.SetResourceVersion(now.GetResourceVersion())
	_, err = r.Update(ctx, want, metav1.UpdateOptions{FieldManager: manager})
	return err
}

// change gets an object, changes it by f, and gives the undoing.
func (k *kube) change(ctx context.Context, at Object, namespace string, f func(context.Context, dynamic.ResourceInterface) error) (undo, error) {
	if at.Namespace != "" {
		namespace = at.Namespace
	}
	gv, err := schema.ParseGroupVersion(at.APIVersion)
	if err != nil {
		return nil, err
	}
	r, err := k.resource(gv.WithKind(at.Kind), namespace)
	if err != nil {
		return nil, err
	}
	before, err := r.Get(ctx, at.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s %s/%s: %w", at.Kind, namespace, at.Name, err)
	}
	if err := f(ctx, r); err != nil {
		return nil, fmt.Errorf("%s %s/%s: %w", at.Kind, namespace, at.Name, err)
	}
	return func(ctx context.Context) error { return k.restore(ctx, r, before) }, nil
}

// do does one action of a scenario.
func (k *kube) do(ctx context.Context, s *Scenario, a Action, namespace string, values map[string]string) (undo, error) {
	switch {
	case a.Apply != "":
		raw, err := s.manifest(a.Apply, values)
		if err != nil {
			return nil, err
		}
		return k.apply(ctx, raw, namespace)
	case a.Scale != nil:
		at := Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: a.Scale.Namespace, Name: a.Scale.Name}
		return k.merge(ctx, at, namespace, map[string]any{"spec": map[string]any{"replicas": a.Scale.Replicas}})
	case a.Delete != nil:
		return k.change(ctx, *a.Delete, namespace, func(ctx context.Context, r dynamic.ResourceInterface) error {
			return r.Delete(ctx, a.Delete.Name, metav1.DeleteOptions{})
		})
	case a.Patch != nil:
		return k.merge(ctx, a.Patch.Object, namespace, a.Patch.Merge)
	}
	d, err := time.ParseDuration(a.Wait)
	if err == nil && !pause(ctx, d) {
		err = context.Cause(ctx)
	}
	return nil, err
}

func (k *kube) merge(ctx context.Context, at Object, namespace string, patch map[string]any) (undo, error) {
	raw, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	return k.change(ctx, at, namespace, func(ctx context.Context, r dynamic.ResourceInterface) error {
		_, err := r.Patch(ctx, at.Name, types.MergePatchType, raw, metav1.PatchOptions{FieldManager: manager})
		return err
	})
}

func ignoreMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// pause waits; false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
