package scenarios

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// api is an API server in memory: discovery, get, list, create, update, merge patch, apply as a merge, delete. A namespace takes its objects along.
type api struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]map[string]any // by path
	stuck   bool                      // namespaces do not go away
	log     []string
}

// served are the resources that it knows, by group and version.
var served = map[string][]metav1.APIResource{
	"v1": {{Name: "namespaces", Kind: "Namespace"}, {Name: "pods", Kind: "Pod", Namespaced: true}, {Name: "configmaps", Kind: "ConfigMap", Namespaced: true},
		{Name: "secrets", Kind: "Secret", Namespaced: true}, {Name: "serviceaccounts", Kind: "ServiceAccount", Namespaced: true}},
	"apps/v1":                   {{Name: "deployments", Kind: "Deployment", Namespaced: true}},
	"serving.kserve.io/v1beta1": {{Name: "inferenceservices", Kind: "InferenceService", Namespaced: true}},
}

const controller = "/apis/apps/v1/namespaces/knative-serving/deployments/net-istio-controller"

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{objects: map[string]map[string]any{controller: {"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "net-istio-controller", "namespace": "knative-serving"}, "spec": map[string]any{"replicas": 1.0}}}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *api) config() *rest.Config { return &rest.Config{Host: a.URL} }

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if doc := discovered(r.URL.Path); doc != nil {
		answer(w, 200, doc)
		return
	}
	if r.Method != http.MethodGet {
		a.log = append(a.log, r.Method+" "+r.URL.Path)
	}
	body := map[string]any{}
	if raw, _ := io.ReadAll(r.Body); len(raw) > 0 {
		if err := yaml.Unmarshal(raw, &body); err != nil {
			fail(w, 400, "BadRequest", err.Error())
			return
		}
	}
	a.serve(w, r, body)
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, body map[string]any) {
	path := r.URL.Path
	old := a.objects[path]
	switch {
	case r.Method == http.MethodPost:
		path += "/" + body["metadata"].(map[string]any)["name"].(string)
		if a.objects[path] != nil {
			fail(w, 409, "AlreadyExists", path+" already exists")
			return
		}
		a.put(w, path, body)
	case r.Method == http.MethodPatch && (old != nil || strings.Contains(r.Header.Get("Content-Type"), "apply")):
		if old == nil {
			old = map[string]any{}
		}
		a.put(w, path, merge(old, body))
	case r.Method == http.MethodPut && old != nil:
		a.put(w, path, body)
	case r.Method == http.MethodDelete && old == nil && strings.HasSuffix(path, "/pods"):
		answer(w, 200, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Success"})
	case old == nil && r.Method == http.MethodGet && plural(path):
		a.list(w, path, r.URL.Query().Get("labelSelector"))
	case old == nil:
		fail(w, 404, "NotFound", path+" not found")
	case r.Method == http.MethodDelete:
		a.drop(path)
		answer(w, 200, old)
	default:
		answer(w, 200, old)
	}
}

func (a *api) put(w http.ResponseWriter, path string, o map[string]any) {
	a.objects[path] = o
	answer(w, 200, o)
}

func (a *api) drop(path string) {
	if a.stuck && strings.HasPrefix(path, "/api/v1/namespaces/") && strings.Count(path, "/") == 4 {
		a.objects[path]["status"] = map[string]any{"conditions": []any{map[string]any{"type": "NamespaceContentRemaining", "status": "True", "message": "a finalizer"}}}
		return
	}
	delete(a.objects, path)
	name := path[strings.LastIndex(path, "/")+1:]
	maps.DeleteFunc(a.objects, func(p string, _ map[string]any) bool {
		return strings.HasPrefix(path, "/api/v1/namespaces/"+name) && strings.Contains(p, "/namespaces/"+name+"/")
	})
}

func (a *api) list(w http.ResponseWriter, path, selector string) {
	items := []any{}
	label, value, _ := strings.Cut(selector, "=")
	for p, o := range a.objects {
		labels, _ := o["metadata"].(map[string]any)["labels"].(map[string]any)
		if rest, ok := strings.CutPrefix(p, path+"/"); ok && !strings.Contains(rest, "/") && (selector == "" || labels[label] == value) {
			items = append(items, o)
		}
	}
	answer(w, 200, map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{}, "items": items})
}

// plural says whether a path names a whole list.
func plural(path string) bool {
	for _, rs := range served {
		for _, r := range rs {
			if strings.HasSuffix(path, "/"+r.Name) {
				return true
			}
		}
	}
	return false
}

func discovered(path string) any {
	switch path {
	case "/version":
		return map[string]any{"gitVersion": "v1.36.0"}
	case "/api":
		return metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case "/apis":
		list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
		for gv := range served {
			if group, version, ok := strings.Cut(gv, "/"); ok {
				v := metav1.GroupVersionForDiscovery{GroupVersion: gv, Version: version}
				list.Groups = append(list.Groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
			}
		}
		return list
	}
	gv := strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/")
	if rs, ok := served[gv]; ok {
		return metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv, APIResources: rs}
	}
	return nil
}

// merge is a merge patch (RFC 7386).
func merge(into, patch map[string]any) map[string]any {
	out := maps.Clone(into)
	for k, v := range patch {
		m, isMap := v.(map[string]any)
		old, wasMap := out[k].(map[string]any)
		switch {
		case v == nil:
			delete(out, k)
		case isMap && wasMap:
			out[k] = merge(old, m)
		default:
			out[k] = v
		}
	}
	return out
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, code int, reason, message string) {
	answer(w, code, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})
}

// replicas reads the Deployment that a shared scenario scales.
func (a *api) replicas() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(a.objects[controller]["spec"].(map[string]any)["replicas"])
}

// drills lists the drills' namespaces that are there.
func (a *api) drills() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for p := range a.objects {
		if strings.HasPrefix(p, "/api/v1/namespaces/"+prefix) && strings.Count(p, "/") == 4 {
			out = append(out, p)
		}
	}
	return out
}
