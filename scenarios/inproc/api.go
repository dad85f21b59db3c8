// api.go: an API server that answers from a recording.
package inproc

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"probe/hops"
)

// API is an API server on loopback that serves the objects, events and logs of a snapshot, read only.
type API struct {
	server  *http.Server
	address string
	snap    *hops.Snapshot
	objects map[string][]*hops.Object // by group and resource
}

// NewAPI starts it. Close stops it.
func NewAPI(s *hops.Snapshot) (*API, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the in-process API server: %w", err)
	}
	a := &API{snap: s, address: l.Addr().String(), objects: map[string][]*hops.Object{}}
	kinds := map[hops.Source]string{}
	for _, i := range hops.Known() {
		kinds[i.Source] = i.Group + "/" + i.Resource
	}
	for i := range s.Objects {
		o := &s.Objects[i]
		a.objects[kinds[o.Source]] = append(a.objects[kinds[o.Source]], o)
	}
	a.server = &http.Server{Handler: http.HandlerFunc(a.serve), ReadHeaderTimeout: 10 * time.Second}
	go a.server.Serve(l) // ends with Close
	return a, nil
}

// Close stops the server.
func (a *API) Close() { a.server.Close() }

// Config is how a client reaches it.
func (a *API) Config() *rest.Config { return &rest.Config{Host: "http://" + a.address} }

// serve answers GET on /api/v1/... and /apis/GROUP/VERSION/...
func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group, version := "", ""
	switch {
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "the recording is read only")
		return
	case len(parts) > 2 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		refuse(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
		return
	}
	namespace := ""
	if len(parts) > 2 && parts[0] == "namespaces" {
		namespace, parts = parts[1], parts[2:]
	}
	info, ok := find(group, version, parts[0])
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
	case len(parts) == 3 && parts[2] == "log":
		a.log(w, r, parts[1])
	case len(parts) == 2:
		a.get(w, info, namespace, parts[1])
	default:
		a.list(w, r, info, namespace)
	}
}

// find gives the row of a resource.
func find(group, version, resource string) (hops.SourceInfo, bool) {
	for _, i := range hops.Known() {
		if i.Group == group && i.Resource == resource && slices.Contains(i.Versions, version) {
			return i, true
		}
	}
	return hops.SourceInfo{}, false
}

// matching lists the recorded objects of a resource.
func (a *API) matching(info hops.SourceInfo, namespace string) []map[string]any {
	out := []map[string]any{}
	for _, o := range a.objects[info.Group+"/"+info.Resource] {
		if namespace == "" || o.Namespace == namespace {
			out = append(out, o.Tree)
		}
	}
	if info.Source == hops.Events {
		out = append(out, a.events(namespace)...)
	}
	return out
}

func (a *API) events(namespace string) []map[string]any {
	var out []map[string]any
	for i, e := range a.snap.Events {
		if namespace != "" && e.Namespace != "" && e.Namespace != namespace {
			continue
		}
		out = append(out, map[string]any{"apiVersion": "v1", "kind": "Event", "type": e.Type, "reason": e.Reason, "message": e.Message, "count": e.Count,
			"metadata":       map[string]any{"name": fmt.Sprintf("event-%d", i), "namespace": namespace},
			"firstTimestamp": e.First, "lastTimestamp": e.Last, "source": map[string]any{"component": e.Component},
			"involvedObject": map[string]any{"kind": e.About.Kind, "namespace": e.About.Namespace, "name": e.About.Name}})
	}
	return out
}

func (a *API) list(w http.ResponseWriter, r *http.Request, info hops.SourceInfo, namespace string) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	items := slices.DeleteFunc(a.matching(info, namespace), func(tree map[string]any) bool {
		o := hops.Object{Tree: tree}
		return !selector.Matches(labels.Set(o.Map("metadata", "labels")))
	})
	answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": info.Kind + "List", "metadata": map[string]any{}, "items": items})
}

func (a *API) get(w http.ResponseWriter, info hops.SourceInfo, namespace, name string) {
	for _, tree := range a.matching(info, namespace) {
		o := hops.Object{Tree: tree}
		if o.Str("metadata", "name") == name {
			answer(w, http.StatusOK, tree)
			return
		}
	}
	answer(w, http.StatusNotFound, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": http.StatusNotFound,
		"message": fmt.Sprintf("%s %q not found", info.Resource, name), "details": map[string]any{"name": name, "group": info.Group, "kind": info.Resource}})
}

// log serves the recorded lines of a container.
func (a *API) log(w http.ResponseWriter, r *http.Request, pod string) {
	q := r.URL.Query()
	found := false
	for _, l := range a.snap.Lines {
		if l.Pod != pod || l.Container != q.Get("container") || l.Previous != (q.Get("previous") == "true") {
			continue
		}
		found = true
		if q.Get("timestamps") == "true" && !l.Time.IsZero() {
			fmt.Fprint(w, l.Time.UTC().Format(time.RFC3339Nano), " ")
		}
		fmt.Fprintln(w, l.Text)
	}
	if !found {
		refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("pods %q not found", pod))
	}
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	answer(w, code, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}
