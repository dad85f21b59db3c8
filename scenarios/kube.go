// kube.go: what is read from and written to a cluster.
package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"probe/probe"
)

// manager is the field manager of everything that scenarios write.
const manager = "probe-drill"

// kube is one cluster.
type kube struct {
	dyn    dynamic.Interface
	disco  discovery.DiscoveryInterface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

// oneCall bounds each request to the API server.
const oneCall = 20 * time.Second

func newKube(cfg *rest.Config) (*kube, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst, cfg.Timeout = 50, 100, oneCall
	cfg.WarningHandler = rest.NoWarnings{}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return &kube{dyn: dyn, disco: d, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))}, nil
}

// answers says whether the API server answers at all.
func (k *kube) answers() error {
	if _, err := k.disco.ServerVersion(); err != nil {
		return fmt.Errorf("the cluster does not answer: %w", err)
	}
	return nil
}

// resource finds the client for a kind of object.
func (k *kube) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	m, err := k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, fmt.Errorf("the cluster does not know %s: %w", gvk.Kind, err)
	}
	if m.Scope.Name() == "namespace" {
		return k.dyn.Resource(m.Resource).Namespace(namespace), nil
	}
	return k.dyn.Resource(m.Resource), nil
}

// get reads an object. With a not-found error it still gives the client.
func (k *kube) get(ctx context.Context, at Object, namespace string) (*unstructured.Unstructured, dynamic.ResourceInterface, error) {
	if at.Namespace != "" {
		namespace = at.Namespace
	}
	gv, err := schema.ParseGroupVersion(at.APIVersion)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", &at, err)
	}
	r, err := k.resource(gv.WithKind(at.Kind), namespace)
	if err != nil {
		return nil, nil, err
	}
	o, err := r.Get(ctx, at.Name, metav1.GetOptions{})
	if err != nil {
		return nil, r, fmt.Errorf("%s: %w", &at, err)
	}
	return o, r, nil
}

// documents reads the objects of a manifest.
func documents(raw []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for d := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(string(raw)), 4096); ; {
		var o unstructured.Unstructured
		err := d.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("manifest: %w", err)
		case len(o.Object) > 0:
			out = append(out, &o)
		}
	}
}

// retries is how often a write is tried whose webhook does not answer yet, a second apart: KServe's refuses for seconds after its rollout.
const retries = 20

// apply writes one object, server-side.
func (k *kube) apply(ctx context.Context, r dynamic.ResourceInterface, o *unstructured.Unstructured) error {
	for i := 0; ; i++ {
		_, err := r.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
		if err == nil {
			return nil
		}
		if i == retries || !strings.Contains(err.Error(), "failed calling webhook") || !probe.Pause(ctx, time.Second) {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
}

// bare takes from an object what the cluster writes itself.
func bare(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	unstructured.RemoveNestedField(o.Object, "status")
	for _, f := range []string{"resourceVersion", "uid", "generation", "creationTimestamp", "managedFields", "deletionTimestamp"} {
		unstructured.RemoveNestedField(o.Object, "metadata", f)
	}
	return o
}

// restore puts an object back as it was; what the cluster itself writes stays as it is.
func (k *kube) restore(ctx context.Context, r dynamic.ResourceInterface, before *unstructured.Unstructured) error {
	want := bare(before)
	for i := 0; ; i++ {
		now, err := r.Get(ctx, before.GetName(), metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			_, err = r.Create(ctx, want, metav1.CreateOptions{FieldManager: manager})
			return err
		case err != nil:
			return err
		}
		want.SetResourceVersion(now.GetResourceVersion())
		_, err = r.Update(ctx, want, metav1.UpdateOptions{FieldManager: manager})
		if !apierrors.IsConflict(err) || i == retries || !probe.Pause(ctx, time.Second) {
			return err
		}
	}
}

func ignoreMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
