// client.go: the connection to the API server that the informer and the shards use.
package watch

import (
	"cmp"
	"context"
	"fmt"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// groups are where InferenceServices are looked for, the likeliest first: KServe's group, and KFServing's from before it was renamed.
var groups = [...]schema.GroupVersion{{Group: "serving.kserve.io", Version: "v1beta1"}, {Group: "serving.kubeflow.org", Version: "v1beta1"},
	{Group: "serving.kubeflow.org", Version: "v1alpha2"}}

// newClient opens a client that knows InferenceServices and Leases only. It neither limits its rate nor repeats by itself: its users do both. A token
// file is read anew by client-go each minute and after each 401 (k8s.io/client-go/transport/token_source.go).
func newClient(cfg *rest.Config, version string) (*rest.RESTClient, error) {
	scheme := runtime.NewScheme()
	for _, gv := range groups {
		scheme.AddKnownTypeWithName(gv.WithKind("InferenceService"), &object{})
		scheme.AddKnownTypeWithName(gv.WithKind("InferenceServiceList"), &objectList{})
	}
	if err := coordinationv1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"}) // Status, and the events of a watch
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "probe-agent/" + cmp.Or(version, "dev")
	cfg.QPS, cfg.RateLimiter, cfg.Timeout = -1, nil, 0 // a timeout of the client would cut watches
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	cfg.APIPath, cfg.GroupVersion = "/", &schema.GroupVersion{}
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: its configuration cannot be used: %w; check the service account or the kubeconfig", cfg.Host, err)
	}
	return client, nil
}

// quiet keeps client-go from writing a log of its own.
func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, logr.Discard()) }
