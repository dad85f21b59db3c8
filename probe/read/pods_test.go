package read

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"probe/hops"
	"probe/probe/dial"
)

func TestPods(t *testing.T) {
	gateway := hops.Target{Kind: "service", Namespace: "istio-system", Name: "istio-ingressgateway", Port: 80}
	isvcPod := "healthy-http-predictor-00001-deployment-7d9d85cf84-xkgfz"
	cases := []struct {
		name   string
		breaks func(*api)
		target hops.Target
		want   string // or the error
	}{
		{"ready first, none that terminates", func(*api) {}, gateway,
			"[{istio-system ingress-a 10.0.0.1 8080 true} {istio-system ingress-0 10.0.0.2 8080 false}]"},
		{"external name", func(*api) {}, hops.Target{Kind: "service", Namespace: "models", Name: "healthy-http", Port: 80},
			"[{istio-system ingress-a 10.0.0.1 8081 true}]"},
		{"no such port", func(*api) {}, hops.Target{Kind: "service", Namespace: "istio-system", Name: "istio-ingressgateway", Port: 443},
			"service istio-system/istio-ingressgateway has no port 443; it has 15021, 80"},
		{"headless, by the pods' port", func(a *api) { headless(a, "istio-ingressgateway") },
			hops.Target{Kind: "service", Namespace: "istio-system", Name: "istio-ingressgateway", Port: 8080}, "[{istio-system ingress-a 10.0.0.1 8080 true}"},
		{"no such service", func(*api) {}, hops.Target{Kind: "service", Namespace: "istio-system", Name: "nobody", Port: 80},
			"service istio-system/nobody does not exist"},
		{"services forbidden, endpoints tell", func(a *api) { a.refuse = []string{"services"} },
			hops.Target{Kind: "service", Namespace: "istio-system", Name: "knative-local-gateway", Port: 80}, "[{istio-system ingress-a 10.0.0.1 8081 true}]"},
		{"both forbidden, selector", func(a *api) { a.refuse = []string{"services", "endpointslices.discovery.k8s.io"} },
			hops.Target{Kind: "service", Namespace: "istio-system", Name: "knative-local-gateway", Port: 80, Selector: map[string]string{"istio": "ingressgateway"}},
			"[{istio-system ingress-a 10.0.0.1 8081 true}]"},
		{"both forbidden, declared port", func(a *api) { a.refuse = []string{"services", "endpointslices.discovery.k8s.io"} },
			hops.Target{Kind: "service", Namespace: "istio-system", Name: "x", Port: 15021, Selector: map[string]string{"istio": "ingressgateway"}},
			"[{istio-system ingress-a 10.0.0.1 15021 true}]"},
		{"both forbidden", func(a *api) { a.refuse = []string{"services", "endpointslices.discovery.k8s.io"} }, gateway,
			"service istio-system/istio-ingressgateway: forbidden: mia may not list endpointslices in istio-system: "},
		{"pod", func(*api) {}, hops.Target{Kind: "pod", Namespace: "models", Name: isvcPod, Port: 8012}, "[{models " + isvcPod + " 10.244.0."},
		{"no such pod", func(*api) {}, hops.Target{Kind: "pod", Namespace: "models", Name: "gone", Port: 8012}, `pod models/gone: pods "gone" not found`},
		{"address", func(*api) {}, hops.Target{Kind: "address", Name: "10.0.0.9", Port: 80}, "10.0.0.9:80 leads to no pods"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(append(service(t), gatewayPod())...)
			tc.breaks(a)
			pods, err := a.start(t, Options{}).Pods(t.Context(), tc.target)
			got := fmt.Sprint(pods)
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tc.want) || tc.want == "" {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// headless takes the address of a Service away.
func headless(a *api, name string) {
	for _, tree := range a.objects {
		if o := (&hops.Object{Tree: tree}); o.Str("kind") == "Service" && o.Str("metadata", "name") == name {
			tree["spec"].(map[string]any)["clusterIP"] = "None"
		}
	}
}

func gatewayPod() map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"namespace": "istio-system", "name": "ingress-a", "labels": map[string]any{"istio": "ingressgateway"}},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "istio-proxy", "ports": []any{map[string]any{"containerPort": 15021}}}}},
		"status":   map[string]any{"podIP": "10.0.0.1", "conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}}
}

func TestPodsAreFoundOnceARun(t *testing.T) {
	a := newAPI(service(t)...)
	c := a.start(t, Options{})
	ask := func(name string) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, _ = c.Pods(t.Context(), hops.Target{Kind: "service", Namespace: "istio-system", Name: name, Port: 80}) // only the reads count here
			})
		}
		wg.Wait()
	}
	ask("istio-ingressgateway")
	ask("nobody") // that it does not exist is remembered too
	if n := a.count(); n != 4 {
		t.Errorf("got %d reads, want 2 for each:\n%s", n, strings.Join(a.paths, "\n"))
	}
	if _, err := c.First(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	before := a.count()
	if ask("istio-ingressgateway"); a.count() != before+2 {
		t.Error("a new run did not look again")
	}
	before = a.count()
	pods, err := c.Pods(t.Context(), hops.Target{Kind: "pod", Namespace: "models", Name: "healthy-http-predictor-00001-deployment-7d9d85cf84-xkgfz", Port: 8012})
	if err != nil || len(pods) != 1 || pods[0].IP == "" || a.count() != before {
		t.Errorf("a pod that First had read was read again: %v, %v", pods, err)
	}
}

var _ dial.PodFinder = (*Cluster)(nil)
