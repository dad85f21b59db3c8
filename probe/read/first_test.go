package read

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"probe/hops"
)

// healthyReads is what First makes against a cluster with everything installed in the newest versions.
const healthyReads = 16

func TestFirstReadsAllAtOnce(t *testing.T) {
	a := newAPI(service(t)...)
	a.barrier = healthyReads // no answer before all are under way
	c := a.start(t, Options{})
	s, err := c.First(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if n, took := c.Reads(); n != healthyReads || took <= 0 {
		t.Errorf("got %d reads in %v, want %d:\n%s", n, took, healthyReads, strings.Join(a.paths, "\n"))
	}
	if len(s.Gaps) > 0 {
		t.Errorf("gaps: %+v", s.Gaps)
	}
	want := FirstSources()
	slices.Sort(want)
	got := slices.Clone(s.Full)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("full: got %v, want %v", got, want)
	}
}

func TestHealthyRunStaysInBudget(t *testing.T) {
	a := newAPI(service(t)...)
	c := a.start(t, Options{})
	s, err := c.First(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	flow := hops.Resolve(&s, ref)
	for range 3 { // doors are dialled again and again, their pods are found once
		for _, d := range flow.Doors {
			if pods, err := c.Pods(t.Context(), d.Gateway); err != nil || len(pods) == 0 {
				t.Errorf("%s: %v, %v", d.Gateway, pods, err)
			}
		}
	}
	if n, _ := c.Reads(); n > 25 {
		t.Errorf("got %d reads, want at most 25", n)
	}
}

func TestFirstGivesTheWholeServiceAndNothingElse(t *testing.T) {
	objects := service(t)
	stranger := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": "models", "name": "stranger",
		"labels": map[string]any{ownerLabel: "other"}}}
	objects[0]["metadata"].(map[string]any)["managedFields"] = []any{"x"}
	objects[0]["metadata"].(map[string]any)["annotations"] = map[string]any{"kubectl.kubernetes.io/last-applied-configuration": "secret", "keep": "me"}
	s, err := newAPI(append(objects, stranger)...).start(t, Options{Now: fixed}).First(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	count := map[hops.Source]int{}
	for i := range s.Objects {
		o := &s.Objects[i]
		count[o.Source]++
		if o.Name == "stranger" {
			t.Error("a pod of another service was read")
		}
		if o.Has("metadata", "managedFields") || o.Annotation("kubectl.kubernetes.io/last-applied-configuration") != "" {
			t.Errorf("%s was not trimmed", o.Ref())
		}
	}
	want := map[hops.Source]int{hops.InferenceServices: 1, hops.KnativeServices: 1, hops.Configurations: 1, hops.Routes: 1, hops.Revisions: 1,
		hops.PodAutoscalers: 1, hops.ServerlessServices: 1, hops.KnativeIngresses: 1, hops.VirtualServices: 3, hops.Deployments: 1, hops.Pods: 1,
		hops.Services: 4, hops.EndpointSlices: 1}
	if fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", count, want)
	}
	if o := s.Objects[0]; o.Source != hops.InferenceServices || o.Annotation("keep") != "me" || !s.Time.Equal(fixed()) {
		t.Errorf("first object %s at %v", o.Ref(), s.Time)
	}
}

func TestFirstGaps(t *testing.T) {
	cases := []struct {
		name   string
		breaks func(*api)
		gaps   []string // source: what: why
		reads  int
	}{
		{"forbidden", func(a *api) { a.refuse = []string{"pods", "routes.serving.knative.dev"} }, []string{
			"routes: routes.serving.knative.dev in models: forbidden: mia may not list routes.serving.knative.dev in models",
			"pods: pods in models: forbidden: mia may not list pods in models"}, 16},
		{"no Knative", func(a *api) {
			for _, g := range []string{"serving.knative.dev", "autoscaling.internal.knative.dev", "networking.internal.knative.dev"} {
				delete(a.served, g)
			}
		}, []string{
			"ksvc: Knative Serving: not installed: the cluster does not know services.serving.knative.dev",
			"configurations: Knative Serving: not installed: the cluster does not know configurations.serving.knative.dev",
			"routes: Knative Serving: not installed: the cluster does not know routes.serving.knative.dev",
			"revisions: Knative Serving: not installed: the cluster does not know revisions.serving.knative.dev",
			"podautoscalers: Knative Serving: not installed: the cluster does not know podautoscalers.autoscaling.internal.knative.dev",
			"serverlessservices: Knative Serving: not installed: the cluster does not know serverlessservices.networking.internal.knative.dev",
			"kingress: Knative Serving: not installed: the cluster does not know ingresses.networking.internal.knative.dev"}, 17},
		{"Gateway API not installed", func(a *api) { delete(a.served, "gateway.networking.k8s.io") }, []string{
			"httproutes: Gateway API: not installed: the cluster does not know httproutes.gateway.networking.k8s.io"}, 17},
		{"older Istio", func(a *api) { a.served["networking.istio.io"] = []string{"v1beta1", "v1alpha3"} }, nil, 18},
		{"not JSON", special("/deployments", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"items": [`))
		}), []string{"deployments: deployments in models: the answer could not be read: unexpected EOF"}, 16},
		{"slow", special("/revisions", func(http.ResponseWriter) { time.Sleep(600 * time.Millisecond) }), []string{
			"revisions: revisions.serving.knative.dev in models: no answer in time"}, 16},
		{"overloaded for long", special("/revisions", func(w http.ResponseWriter) { tooMany(w, "30") }), []string{
			"revisions: revisions.serving.knative.dev in models: no answer in time"}, 16},
		{"broken server", special("/revisions", func(w http.ResponseWriter) { answer(w, 500, status(500, "InternalError", "etcd is gone", nil)) }), []string{
			"revisions: revisions.serving.knative.dev in models: etcd is gone"}, 16},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(service(t)...)
			tc.breaks(a)
			c := a.start(t, Options{ReadTimeout: 400 * time.Millisecond})
			s, err := c.First(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range s.Gaps {
				got = append(got, fmt.Sprintf("%s: %s: %s", g.Source, g.What, g.Why))
				if slices.Contains(s.Full, g.Source) {
					t.Errorf("%s has a gap and is called full", g.Source)
				}
				if g.Err == "" {
					t.Errorf("%s: the error itself is lost", g.Source)
				}
			}
			if !slices.Equal(got, tc.gaps) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tc.gaps, "\n     "))
			}
			if n, _ := c.Reads(); n != tc.reads {
				t.Errorf("got %d reads, want %d", n, tc.reads)
			}
		})
	}
}

// special lets the fake answer every path with the suffix in its own way.
func special(suffix string, how func(http.ResponseWriter)) func(*api) {
	return func(a *api) {
		a.special = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, suffix) {
				return false
			}
			how(w)
			return true
		}
	}
}

func tooMany(w http.ResponseWriter, seconds string) {
	w.Header().Set("Retry-After", seconds)
	answer(w, 429, status(429, "TooManyRequests", "too many requests", nil))
}

func TestOverloadedOnceIsTriedAgain(t *testing.T) {
	a := newAPI(service(t)...)
	first := true
	a.special = func(w http.ResponseWriter, r *http.Request) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !strings.HasSuffix(r.URL.Path, "/revisions") || !first {
			return false
		}
		first = false
		tooMany(w, "1")
		return true
	}
	c := a.start(t, Options{})
	s, err := c.First(t.Context(), ref)
	if err != nil || !slices.Contains(s.Full, hops.Revisions) {
		t.Errorf("revisions were not read: %v, %+v", err, s.Gaps)
	}
	if n, _ := c.Reads(); n != healthyReads+1 {
		t.Errorf("got %d reads, want the repeat counted too", n)
	}
}

func TestNothingToProbe(t *testing.T) {
	near := func(name, namespace string) map[string]any {
		return map[string]any{"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": map[string]any{"namespace": namespace, "name": name}}
	}
	space := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "models"}}
	cases := []struct {
		name   string
		breaks func(*api)
		ref    hops.Ref
		as     any
		text   string
	}{
		{"slip", func(*api) {}, hops.Ref{Namespace: "models", Name: "heathy-http"}, new(*NotFoundError),
			"inferenceservice heathy-http does not exist in namespace models: did you mean healthy-http?"},
		{"elsewhere", func(a *api) { a.objects = append(a.objects, near("iris", "prod"), near("far-away", "models")) },
			hops.Ref{Namespace: "models", Name: "iris"}, new(*NotFoundError), "inferenceservice iris does not exist in namespace models: did you mean prod/iris?"},
		{"nowhere", func(*api) {}, hops.Ref{Namespace: "models", Name: "zebra"}, new(*NotFoundError),
			"inferenceservice zebra does not exist in namespace models: `kubectl get inferenceservices -A` lists them"},
		{"namespace unknown", func(a *api) { a.refuse = []string{"namespaces"} }, hops.Ref{Namespace: "mode1s", Name: "x"}, new(*NotFoundError),
			"inferenceservice x does not exist in namespace mode1s, if that namespace exists at all: `kubectl get inferenceservices -A` lists them"},
		{"no namespace", func(*api) {}, hops.Ref{Namespace: "prod", Name: "healthy-http"}, new(*NoNamespaceError),
			"namespace prod does not exist: did you mean models/healthy-http?"},
		{"no KServe", func(a *api) { delete(a.served, "serving.kserve.io") }, ref, new(*NoKServeError),
			"KServe is not installed: the cluster at HOST does not know inferenceservices.serving.kserve.io; install KServe or choose another --context"},
		{"forbidden", func(a *api) { a.refuse = []string{"inferenceservices.serving.kserve.io"} }, ref, new(*ForbiddenError),
			"inferenceservice models/healthy-http: forbidden: mia may not get inferenceservices.serving.kserve.io in models; ask whoever runs the cluster for that right"},
		{"unauthorized", func(a *api) {
			a.special = func(w http.ResponseWriter, _ *http.Request) bool {
				answer(w, 401, status(401, "Unauthorized", "Unauthorized", nil))
				return true
			}
		}, ref, new(*NoClusterError), `the cluster at HOST (context "lab") does not accept these credentials: log in again, or choose another --context`},
		{"silent", func(a *api) {
			a.special = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
		}, ref, new(*NoClusterError), `no cluster answers at HOST (context "lab"): no answer in time; check the kubeconfig, --context, and that the cluster runs`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(append(service(t), space)...)
			tc.breaks(a)
			c := a.start(t, Options{Context: "lab", ReadTimeout: 500 * time.Millisecond})
			_, err := c.First(t.Context(), tc.ref)
			if err == nil || !errors.As(err, tc.as) {
				t.Fatalf("got %T %v, want %T", err, err, tc.as)
			}
			if got := strings.ReplaceAll(err.Error(), c.host, "HOST"); got != tc.text {
				t.Errorf("got  %s\nwant %s", got, tc.text)
			}
		})
	}
}

func TestNoClusterAtAll(t *testing.T) {
	for host, text := range map[string]string{"http://127.0.0.1:1": "connection refused", "https://no-such-host.invalid": "no such host"} {
		c, err := New(&rest.Config{Host: host}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.First(t.Context(), ref)
		var none *NoClusterError
		if !errors.As(err, &none) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %T %v, want a NoClusterError with %q", host, err, err, text)
		}
	}
}

func TestInterruptedIsNotNoCluster(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newAPI().start(t, Options{}).First(ctx, ref)
	var none *NoClusterError
	if !errors.Is(err, context.Canceled) || errors.As(err, &none) {
		t.Errorf("got %T %v, want the cancellation itself", err, err)
	}
}

func TestNamesStayInTheirSegment(t *testing.T) {
	a := newAPI(service(t)...)
	c := a.start(t, Options{})
	if _, err := c.First(t.Context(), hops.Ref{Namespace: "models", Name: "../../../../api/v1/secrets"}); err == nil {
		t.Error("a name with slashes was taken")
	}
	for _, p := range a.paths {
		if strings.Contains(p, "secrets") && !strings.Contains(p, "labelSelector=") && !strings.Contains(p, "fieldSelector=") {
			t.Errorf("asked for %s", p)
		}
	}
}

func TestKFServing(t *testing.T) {
	objects := service(t)
	for _, tree := range objects { // what KServe was before: another group, another label
		if tree["kind"] == "InferenceService" {
			tree["apiVersion"] = "serving.kubeflow.org/v1beta1"
		}
		if l, ok := tree["metadata"].(map[string]any)["labels"].(map[string]any); ok && l[ownerLabel] != nil {
			l[oldOwnerLabel] = l[ownerLabel]
			delete(l, ownerLabel)
		}
	}
	a := newAPI(objects...)
	delete(a.served, "serving.kserve.io")
	a.served["serving.kubeflow.org"] = []string{"v1beta1"}
	s, err := a.start(t, Options{}).First(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	have := func(source hops.Source) bool {
		return slices.ContainsFunc(s.Objects, func(o hops.Object) bool { return o.Source == source })
	}
	if !have(hops.InferenceServices) || !have(hops.Pods) || !slices.Contains(s.Full, hops.Pods) {
		t.Errorf("got %d objects, full %v, gaps %+v", len(s.Objects), s.Full, s.Gaps)
	}
}

func many(n int) []map[string]any {
	var out []map[string]any
	for i := range n {
		out = append(out, map[string]any{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
			"metadata": map[string]any{"namespace": "models", "name": fmt.Sprintf("vs-%05d", i)}})
	}
	return out
}

func TestPages(t *testing.T) {
	for _, tc := range []struct {
		name    string
		n       int
		expires bool
		want    int
		gap     string
	}{
		{"two pages", 700, false, 700, ""},
		{"token expires once", 700, true, 700, ""},
		{"more than we read", 5200, false, 5000, "only the first 5000 were read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(many(tc.n)...)
			a.special = func(w http.ResponseWriter, r *http.Request) bool {
				a.mu.Lock()
				defer a.mu.Unlock()
				if !tc.expires || r.URL.Query().Get("continue") == "" {
					return false
				}
				tc.expires = false
				answer(w, 410, status(410, "Expired", "the provided continue parameter is too old", nil))
				return true
			}
			s := a.start(t, Options{}).Want(t.Context(), hops.Facts{Ref: ref}, []hops.Source{hops.VirtualServices})
			gap := ""
			for _, g := range s.Gaps {
				gap += g.Why
			}
			if len(s.Objects) != tc.want || gap != tc.gap {
				t.Errorf("got %d objects and gap %q, want %d and %q", len(s.Objects), gap, tc.want, tc.gap)
			}
			if slices.Contains(s.Full, hops.VirtualServices) != (tc.gap == "") {
				t.Errorf("full: %v", s.Full)
			}
		})
	}
}

func TestList(t *testing.T) {
	a := newAPI(service(t)...)
	list, err := a.start(t, Options{}).List(t.Context(), "")
	if err != nil || len(list) != 1 || list[0].Name != ref.Name || !list[0].Partial || list[0].Has("spec") || !list[0].Has("status") {
		t.Errorf("got %+v, %v", list, err)
	}
	a.refuse = []string{"inferenceservices.serving.kserve.io"}
	_, err = a.start(t, Options{}).List(t.Context(), "")
	if got, want := fmt.Sprint(err), "inferenceservices.serving.kserve.io: forbidden: mia may not list inferenceservices.serving.kserve.io at the cluster scope; ask whoever runs the cluster for that right"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNearest(t *testing.T) {
	list := []hops.Object{{Name: "sklearn-iris"}, {Name: "iros"}, {Name: "mnist-large"}}
	if got := nearest("iris", list); !slices.Equal(got, []string{"iros", "sklearn-iris"}) {
		t.Errorf("got %v", got)
	}
}

// The HTTPRoute of a service in Standard mode names its Gateway: that one is read too, by whoever may.
func TestFirstReadsTheGatewayOfTheRoute(t *testing.T) {
	meta := func(ns, name string) map[string]any { return map[string]any{"namespace": ns, "name": name} }
	route := map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta(ref.Namespace, ref.Name),
		"spec": map[string]any{"parentRefs": []any{map[string]any{"name": "edge", "namespace": "kserve"}}}}
	gateway := map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": meta("kserve", "edge")}
	a := newAPI(append(service(t), route, gateway)...)
	s, err := a.start(t, Options{}).First(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.Objects, func(o hops.Object) bool { return o.Source == hops.APIGateways && o.Name == "edge" }) {
		t.Errorf("the Gateway was not read; asked for\n%s", strings.Join(a.paths, "\n"))
	}
	a.refuse = []string{"gateways.gateway.networking.k8s.io"}
	s, err = a.start(t, Options{}).First(t.Context(), ref)
	if err != nil || !slices.ContainsFunc(s.Gaps, func(g hops.Gap) bool { return g.Source == hops.APIGateways }) {
		t.Errorf("forbidden: %v, gaps %+v", err, s.Gaps)
	}
}
