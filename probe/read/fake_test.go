// fake_test.go: an API server on loopback that serves objects by path, with selectors, pages, refusals and faults.
package read

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"probe/hops"
)

// asked is one request in the terms of authorization.
type asked struct {
	group, resource, verb, namespace, name string
}

// api is the fake. Its fields are set before the first request.
type api struct {
	objects []map[string]any
	// served lists the versions of each group; a group that is not in it is not installed. The core group is "".
	served map[string][]string
	// refuse answers 403 for "resource.group" or "resource".
	refuse []string
	// special answers a path itself when it returns true.
	special func(http.ResponseWriter, *http.Request) bool
	// barrier holds every answer back until as many requests are in flight.
	barrier int
	logs    map[string]string // by "pod/container", "pod/container/previous"

	mu     sync.Mutex
	seen   []asked
	paths  []string
	flying int
	open   chan struct{}
}

func newAPI(objects ...map[string]any) *api {
	v1 := []string{"v1"}
	alpha := []string{"v1alpha1"}
	return &api{objects: objects, open: make(chan struct{}), served: map[string][]string{"": v1, "apps": v1, "discovery.k8s.io": v1,
		"networking.k8s.io": v1, "serving.kserve.io": {"v1beta1", "v1alpha1"}, "serving.knative.dev": v1, "autoscaling.internal.knative.dev": alpha,
		"networking.internal.knative.dev": alpha, "networking.istio.io": {"v1", "v1beta1", "v1alpha3"}, "security.istio.io": {"v1", "v1beta1"},
		"gateway.networking.k8s.io": v1, "admissionregistration.k8s.io": v1, "apiextensions.k8s.io": v1}}
}

// start serves the fake and gives a Cluster that reads it.
func (a *api) start(t *testing.T, opts Options) *Cluster {
	t.Helper()
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	c, err := New(&rest.Config{Host: s.URL}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, version, ok := parsePath(r)
	a.arrive(q, r)
	if a.special != nil && a.special(w, r) {
		return
	}
	switch {
	case ok && q.resource == "" && len(a.served[q.group]) > 0:
		answer(w, 200, groupAnswer(q.group, a.served[q.group]))
	case !ok || q.resource == "" || !slices.Contains(a.served[q.group], version):
		http.Error(w, "404 page not found", 404)
	case slices.Contains(a.refuse, strings.TrimSuffix(q.resource+"."+q.group, ".")):
		answer(w, 403, refused(q))
	case q.resource == "pods/log":
		a.log(w, r, q)
	case q.verb == "get":
		a.get(w, q)
	default:
		a.list(w, r, q, version)
	}
}

// arrive notes the request and, with a barrier, waits for the others.
func (a *api) arrive(q asked, r *http.Request) {
	a.mu.Lock()
	a.seen, a.paths = append(a.seen, q), append(a.paths, r.URL.RequestURI())
	if a.flying++; a.barrier > 0 && a.flying == a.barrier {
		close(a.open)
	}
	a.mu.Unlock()
	if a.barrier > 0 {
		select {
		case <-a.open:
		case <-r.Context().Done():
		}
	}
}

func (a *api) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

// parsePath reads /api/v1/... and /apis/GROUP/VERSION/...
func parsePath(r *http.Request) (q asked, version string, ok bool) {
	p := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case p[0] == "api" && len(p) > 2:
		p = p[1:]
	case p[0] == "apis" && len(p) == 2:
		return asked{group: p[1], verb: "get"}, "", true
	case p[0] == "apis" && len(p) > 3:
		q.group, p = p[1], p[2:]
	default:
		return q, "", false
	}
	version, p = p[0], p[1:]
	if p[0] == "namespaces" && len(p) > 2 {
		q.namespace, p = p[1], p[2:]
	}
	q.resource, q.verb = p[0], "list"
	if len(p) > 1 {
		q.name, q.verb = p[1], "get"
	}
	if len(p) > 2 {
		q.resource += "/" + p[2]
	}
	return q, version, true
}

func (a *api) matching(q asked) []map[string]any {
	var out []map[string]any
	for _, tree := range a.objects {
		o := hops.Object{Tree: tree}
		group, _, found := strings.Cut(o.Str("apiVersion"), "/")
		if !found {
			group = ""
		}
		plural := strings.ToLower(o.Str("kind")) + "s"
		plural = strings.NewReplacer("ingresss", "ingresses", "policys", "policies").Replace(plural)
		if group == q.group && plural == q.resource && (q.namespace == "" || q.namespace == o.Str("metadata", "namespace")) {
			out = append(out, tree)
		}
	}
	return out
}

func (a *api) get(w http.ResponseWriter, q asked) {
	for _, tree := range a.matching(q) {
		if (&hops.Object{Tree: tree}).Str("metadata", "name") == q.name {
			answer(w, 200, tree)
			return
		}
	}
	answer(w, 404, status(404, "NotFound", fmt.Sprintf("%s %q not found", q.resource, q.name), map[string]any{"name": q.name, "kind": q.resource}))
}

func (a *api) list(w http.ResponseWriter, r *http.Request, q asked, version string) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		answer(w, 400, status(400, "BadRequest", err.Error(), nil))
		return
	}
	wanted, byName := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name=")
	items := []map[string]any{}
	for _, tree := range a.matching(q) {
		o := hops.Object{Tree: tree}
		if selector.Matches(labels.Set(o.Map("metadata", "labels"))) && (!byName || o.Str("metadata", "name") == wanted) {
			items = append(items, tree)
		}
	}
	meta := map[string]any{}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	items = items[min(from, len(items)):]
	if limit > 0 && len(items) > limit {
		items, meta["continue"] = items[:limit], strconv.Itoa(from+limit)
	}
	answer(w, 200, map[string]any{"apiVersion": strings.TrimPrefix(q.group+"/"+version, "/"), "kind": "List", "metadata": meta, "items": items})
}

func (a *api) log(w http.ResponseWriter, r *http.Request, q asked) {
	key := q.name + "/" + r.URL.Query().Get("container")
	if r.URL.Query().Get("previous") == "true" {
		key += "/previous"
	}
	text, ok := a.logs[key]
	if !ok {
		answer(w, 400, status(400, "BadRequest", "a container name must be specified for pod "+q.name, nil))
		return
	}
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if n, _ := strconv.Atoi(r.URL.Query().Get("tailLines")); n > 0 && len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	text = strings.Join(lines, "")
	if n, _ := strconv.Atoi(r.URL.Query().Get("limitBytes")); n > 0 && len(text) > n {
		text = text[:n]
	}
	_, _ = w.Write([]byte(text)) // a client that went away is no fault of the fake
}

func refused(q asked) map[string]any {
	where := fmt.Sprintf("in the namespace %q", q.namespace)
	if q.namespace == "" {
		where = "at the cluster scope"
	}
	return status(403, "Forbidden", fmt.Sprintf("%s is forbidden: User %q cannot %s resource %q in API group %q %s", q.resource, "mia", q.verb, q.resource,
		q.group, where), map[string]any{"kind": q.resource, "group": q.group})
}

func groupAnswer(group string, versions []string) map[string]any {
	var list []any
	for _, v := range versions {
		list = append(list, map[string]any{"groupVersion": group + "/" + v, "version": v})
	}
	return map[string]any{"apiVersion": "v1", "kind": "APIGroup", "name": group, "versions": list}
}

func status(code int, reason, message string, details map[string]any) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, "details": details}
}

func answer(w http.ResponseWriter, code int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // as above
}

// service is the recorded service models/healthy-http with all its children, and the gateways in front of it.
func service(t *testing.T) []map[string]any {
	t.Helper()
	raw, err := os.ReadFile("testdata/service.json")
	if err != nil {
		t.Fatal(err)
	}
	var l struct{ Items []map[string]any }
	if err := json.Unmarshal(raw, &l); err != nil {
		t.Fatal(err)
	}
	for _, more := range strings.Split(gateways, "\n") {
		if strings.TrimSpace(more) == "" {
			continue
		}
		var tree map[string]any
		if err := json.Unmarshal([]byte(more), &tree); err != nil {
			t.Fatalf("%s: %v", more, err)
		}
		l.Items = append(l.Items, tree)
	}
	return l.Items
}

// gateways are one object a line: the Services of both gateways and of the activator, and where they lead.
const gateways = `
{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"namespace":"models","name":"healthy-http-predictor-00001-private-x","labels":{"serving.kserve.io/inferenceservice":"healthy-http","kubernetes.io/service-name":"healthy-http-predictor-00001-private"}}}
{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"istio-system","name":"istio-ingressgateway"},"spec":{"ports":[{"name":"status-port","port":15021,"targetPort":15021},{"name":"http2","port":80,"targetPort":8080}]}}
{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"namespace":"istio-system","name":"istio-ingressgateway-a","labels":{"kubernetes.io/service-name":"istio-ingressgateway"}},"ports":[{"name":"status-port","port":15021},{"name":"http2","port":8080}],"endpoints":[{"addresses":["10.0.0.2"],"conditions":{"ready":false},"targetRef":{"kind":"Pod","name":"ingress-0"}},{"addresses":["10.0.0.1"],"conditions":{"ready":true},"targetRef":{"kind":"Pod","name":"ingress-a"}},{"addresses":["10.0.0.3"],"conditions":{"ready":false,"terminating":true},"targetRef":{"kind":"Pod","name":"ingress-old"}}]}
{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"istio-system","name":"knative-local-gateway"},"spec":{"ports":[{"name":"http2","port":80,"targetPort":8081}]}}
{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"namespace":"istio-system","name":"knative-local-gateway-a","labels":{"kubernetes.io/service-name":"knative-local-gateway"}},"ports":[{"name":"http2","port":8081}],"endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true},"targetRef":{"kind":"Pod","name":"ingress-a"}}]}
`

var ref = hops.Ref{Namespace: "models", Name: "healthy-http"}

// fixed is the time of every test.
func fixed() time.Time { return time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC) }
