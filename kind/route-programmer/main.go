// Command route-programmer stands in for net-istio, which cannot be had as a Go module: it turns Knative Ingress objects of the Istio class
// into VirtualServices of net-istio's shape and marks them ready when Knative's own prober has seen the new route answer through the gateway
// pods. HTTP only. For test clusters; what differs from net-istio is in kind/README.md.
package main

// The wiring: clients, informers, and the loop over the queue.

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/status"
	"knative.dev/pkg/kmeta"
)

var (
	ingressResource        = schema.GroupVersionResource{Group: "networking.internal.knative.dev", Version: "v1alpha1", Resource: "ingresses"}
	virtualServiceResource = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "virtualservices"}
	gatewayResource        = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "gateways"}
)

const resync = 5 * time.Minute

type queue = workqueue.TypedRateLimitingInterface[string]

func main() {
	noTargets := flag.String("no-targets", "ready", "a gateway without pods to probe: ready (what net-istio does) or wait (the Ingress stays Uninitialized)")
	kubeconfig := flag.String("kubeconfig", "", "empty means in-cluster")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *noTargets == "wait"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig string, waitForPods bool) error {
	log, err := zap.NewProduction()
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.WarningHandler = rest.NoWarnings{}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	work := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](200*time.Millisecond, 10*time.Second))
	gateways := &atomic.Pointer[Gateways]{}
	targets := &lister{kube: kube, dyn: dyn, gateways: func() Gateways { return *gateways.Load() }}
	r := &reconciler{
		dyn: dyn, lister: targets, waitForPods: waitForPods, log: log.Sugar(), lastTargets: map[string]string{}, retryProbing: 2 * time.Second,
		prober: status.NewProber(log.Sugar(), targets, func(ing *v1alpha1.Ingress) { work.Add(ing.Namespace + "/" + ing.Name) }),
	}
	if err := r.watch(ctx, kube, gateways, work); err != nil {
		return err
	}
	r.prober.Start(ctx.Done())
	context.AfterFunc(ctx, work.ShutDown)
	r.log.Infow("Started", "gateways", *gateways.Load(), "wait for gateway pods", waitForPods)
	for r.next(ctx, work) {
	}
	return nil
}

// next handles one Ingress of the queue; false when the queue is shut down.
func (r *reconciler) next(ctx context.Context, work queue) bool {
	key, down := work.Get()
	if down {
		return false
	}
	defer work.Done(key)
	delay, err := r.reconcile(ctx, key)
	switch {
	case err != nil:
		work.AddRateLimited(key)
	case delay > 0:
		work.AddAfter(key, delay)
	default:
		work.Forget(key)
	}
	return true
}

// watch fills the queue: with Ingresses that change, with the owner of a VirtualService that someone edits or deletes, and with all of them
// when config-istio changes. It returns when everything was read once.
func (r *reconciler) watch(ctx context.Context, kube kubernetes.Interface, gateways *atomic.Pointer[Gateways], work queue) error {
	objects := dynamicinformer.NewDynamicSharedInformerFactory(r.dyn, resync)
	ingresses := objects.ForResource(ingressResource).Informer()
	r.ingresses = ingresses.GetStore()
	if _, err := ingresses.AddEventHandler(r.ingressEvents(work)); err != nil {
		return err
	}
	if _, err := objects.ForResource(virtualServiceResource).Informer().AddEventHandler(virtualServiceEvents(work)); err != nil {
		return err
	}
	namespace := os.Getenv("SYSTEM_NAMESPACE")
	if namespace == "" {
		namespace = "knative-serving"
	}
	maps := informers.NewSharedInformerFactoryWithOptions(kube, resync, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=config-istio" }))
	defaults, err := parseGateways(nil)
	if err != nil {
		return err
	}
	gateways.Store(&defaults)
	handler, err := maps.Core().V1().ConfigMaps().Informer().AddEventHandler(r.configEvents(gateways, work))
	if err != nil {
		return err
	}
	maps.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		return ctx.Err()
	}
	objects.Start(ctx.Done())
	objects.WaitForCacheSync(ctx.Done())
	return ctx.Err()
}

func (r *reconciler) ingressEvents(work queue) cache.ResourceEventHandler {
	add := func(o any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
			work.Add(key)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, o any) { add(o) }, DeleteFunc: func(o any) {
		if a, err := kmeta.DeletionHandlingAccessor(o); err == nil {
			r.forget(&v1alpha1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: a.GetNamespace(), Name: a.GetName()}})
		}
	}}
}

func virtualServiceEvents(work queue) cache.ResourceEventHandler {
	owner := func(o any) {
		if a, err := kmeta.DeletionHandlingAccessor(o); err == nil && a.GetLabels()[networking.IngressLabelKey] != "" {
			work.Add(a.GetNamespace() + "/" + a.GetLabels()[networking.IngressLabelKey])
		}
	}
	return cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, o any) { owner(o) }, DeleteFunc: owner}
}

// configEvents keeps the last configuration that could be read, as Knative's configuration stores do.
func (r *reconciler) configEvents(gateways *atomic.Pointer[Gateways], work queue) cache.ResourceEventHandler {
	read := func(o any) {
		parsed, err := parseGateways(o.(*corev1.ConfigMap).Data)
		if err != nil {
			r.log.Errorw("Failed to read config-istio; the last one stays in force", zap.Error(err))
			return
		}
		gateways.Store(&parsed)
		for _, key := range r.ingresses.ListKeys() {
			work.Add(key)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: read, UpdateFunc: func(_, o any) { read(o) }}
}
