package main

// What is done for one Ingress: VirtualServices written, gateways probed, status set (net-istio's pkg/reconciler/ingress/ingress.go).

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrs "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/status"
	"knative.dev/pkg/logging"
)

const istioClass = "istio.ingress.networking.knative.dev"

var errNotOwned = errors.New("not owned by the Ingress")

type reconciler struct {
	dyn          dynamic.Interface
	lister       *lister
	prober       *status.Prober
	ingresses    cache.Store
	waitForPods  bool // a gateway without pods keeps an Ingress from being ready; net-istio takes nothing to probe for ready
	log          *zap.SugaredLogger
	mu           sync.Mutex
	lastTargets  map[string]string // Ingress -> the gateway pods last probed for it
	retryProbing time.Duration
}

// reconcile brings one Ingress up to date. The delay, when there is one, asks for another look.
func (r *reconciler) reconcile(ctx context.Context, key string) (time.Duration, error) {
	obj, ok, err := r.ingresses.GetByKey(key)
	if err != nil || !ok {
		return 0, err
	}
	ing := &v1alpha1.Ingress{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.(*unstructured.Unstructured).Object, ing); err != nil {
		return 0, err
	}
	if ing.Annotations[networking.IngressClassAnnotationKey] != istioClass || ing.DeletionTimestamp != nil {
		return 0, nil
	}
	before := ing.DeepCopy()
	ing.SetDefaults(ctx)
	ing.Status.InitializeConditions()
	delay, err := r.program(ctx, ing)
	if err != nil {
		r.log.Errorw("Failed to reconcile Ingress: ", "key", key, zap.Error(err))
		ing.Status.MarkIngressNotReady("ReconcileIngressFailed", "Ingress reconciliation failed")
	}
	ing.Status.ObservedGeneration = ing.Generation
	if equality.Semantic.DeepEqual(before.Status, ing.Status) {
		return delay, err
	}
	if updateErr := r.updateStatus(ctx, ing); updateErr != nil {
		return 0, updateErr
	}
	r.log.Infow("Updated status", "key", key, "generation", ing.Generation, "ready", ing.IsReady())
	return delay, err
}

func (r *reconciler) updateStatus(ctx context.Context, ing *v1alpha1.Ingress) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(ing)
	if err != nil {
		return err
	}
	content["apiVersion"], content["kind"] = ingressResource.GroupVersion().String(), "Ingress"
	_, err = r.dyn.Resource(ingressResource).Namespace(ing.Namespace).UpdateStatus(ctx, &unstructured.Unstructured{Object: content}, metav1.UpdateOptions{})
	return err
}

// program writes the routes and marks the conditions.
func (r *reconciler) program(ctx context.Context, ing *v1alpha1.Ingress) (time.Duration, error) {
	gateways := r.lister.gateways()
	wanted, err := virtualServices(ing, gateways)
	if err != nil {
		return 0, err
	}
	for _, vs := range wanted {
		switch err := r.apply(ctx, vs); {
		case errors.Is(err, errNotOwned):
			ing.Status.MarkResourceNotOwned("VirtualService", vs.GetName())
			return 0, fmt.Errorf("VirtualService %q: %w", vs.GetName(), err)
		case err != nil:
			ing.Status.MarkLoadBalancerFailed("ReconcileVirtualServiceFailed", err.Error())
			return 0, err
		}
	}
	ing.Status.MarkNetworkConfigured()
	if !ing.IsReady() { // once ready for this generation it is never probed again, as in net-istio
		ready, err := r.probed(ctx, ing)
		if err != nil {
			return 0, fmt.Errorf("failed to probe Ingress %s/%s: %w", ing.Namespace, ing.Name, err)
		}
		if !ready {
			ing.Status.MarkLoadBalancerNotReady()
			return r.retryProbing, nil
		}
	}
	ing.Status.MarkLoadBalancerReady(loadBalancer(gateways.External), loadBalancer(gateways.Local))
	return 0, nil
}

// apply creates or corrects one VirtualService.
func (r *reconciler) apply(ctx context.Context, vs *unstructured.Unstructured) error {
	client := r.dyn.Resource(virtualServiceResource).Namespace(vs.GetNamespace())
	there, err := client.Get(ctx, vs.GetName(), metav1.GetOptions{})
	if apierrs.IsNotFound(err) {
		_, err = client.Create(ctx, vs, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	owner := vs.GetOwnerReferences()[0].UID
	if !slices.ContainsFunc(there.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return o.UID == owner }) {
		return errNotOwned
	}
	if sameJSON(there.Object["spec"], vs.Object["spec"]) {
		return nil
	}
	there.Object["spec"] = vs.Object["spec"]
	_, err = client.Update(ctx, there, metav1.UpdateOptions{})
	return err
}

// probed asks Knative's prober, which probes in the background and calls back. Probing starts anew when the gateway pods are others than
// before; net-istio cancels it then, which counts as success.
func (r *reconciler) probed(ctx context.Context, ing *v1alpha1.Ingress) (bool, error) {
	targets, missing, err := r.lister.targets(ctx, ing)
	if err != nil {
		return false, err
	}
	key, now := ing.Namespace+"/"+ing.Name, fmt.Sprint(targets, missing)
	r.mu.Lock()
	changed := r.lastTargets[key] != now
	r.lastTargets[key] = now
	r.mu.Unlock()
	if changed {
		r.prober.CancelIngressProbing(ing)
		r.log.Infow("Gateways to probe", "key", key, "targets", len(targets), "without pods", missing)
	}
	if len(missing) > 0 && r.waitForPods {
		return false, nil
	}
	return r.prober.IsReady(logging.WithLogger(ctx, r.log), ing)
}

// forget ends the probing of an Ingress that was deleted.
func (r *reconciler) forget(ing *v1alpha1.Ingress) {
	r.prober.CancelIngressProbing(ing)
	r.mu.Lock()
	delete(r.lastTargets, ing.Namespace+"/"+ing.Name)
	r.mu.Unlock()
}

// loadBalancer is what net-istio writes into the status: the host of the first gateway.
func loadBalancer(gateways []Gateway) []v1alpha1.LoadBalancerIngressStatus {
	if len(gateways) == 0 {
		return []v1alpha1.LoadBalancerIngressStatus{{MeshOnly: true}}
	}
	return []v1alpha1.LoadBalancerIngressStatus{{DomainInternal: gateways[0].Service}}
}

func sameJSON(a, b any) bool {
	one, errOne := json.Marshal(a) // maps are written in key order
	two, errTwo := json.Marshal(b)
	return errOne == nil && errTwo == nil && string(one) == string(two)
}
