// api.go: an API server that answers from a recording: its life, its routes, reads of one object and of logs.
package inproc

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"probe/hops"
)

// API is an API server on loopback. It serves the objects, events and logs of a snapshot: get, list with pages, watch. Who watches can write what a
// watcher writes: events and leases; and have tokens and rights reviewed. Everything else changes through Set and Delete.
type API struct {
	server  *http.Server
	address string
	lines   []hops.Line
	store   *store

	mu      sync.Mutex
	counts  map[string]int // requests by "verb resource"
	refusal int            // status that every request gets; 0 serves
	cut     chan struct{}  // closed to end all watches
	tokens  map[string]caller
	renamed int // for objects that ask for a name
}

// caller is who a token stands for.
type caller struct {
	user string
	may  bool
}

// NewAPI starts it. Close stops it.
func NewAPI(s *hops.Snapshot) (*API, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the in-process API server: %w", err)
	}
	a := &API{lines: s.Lines, address: l.Addr().String(), store: newStore(), counts: map[string]int{}, cut: make(chan struct{}),
		tokens: map[string]caller{}}
	if err := a.fill(s); err != nil {
		l.Close()
		return nil, err
	}
	a.server = &http.Server{Handler: http.HandlerFunc(a.serve), ReadHeaderTimeout: 10 * time.Second}
	go a.server.Serve(l) // ends with Close
	return a, nil
}

// fill puts what the snapshot holds on the shelves. An object that it holds under two sources is one object.
func (a *API) fill(s *hops.Snapshot) error {
	for i := range s.Objects {
		o := &s.Objects[i]
		info, _ := hops.Info(o.Source)
		if err := a.load(info, o.Namespace+"/"+o.Name, o.Tree); err != nil {
			return err
		}
	}
	info, _ := hops.Info(hops.Events)
	for i := range s.Events {
		name := fmt.Sprintf("event-%d", i)
		if err := a.load(info, s.Events[i].Namespace+"/"+name, eventTree(&s.Events[i], name)); err != nil {
			return err
		}
	}
	return nil
}

// load puts one object there, leaving the caller's tree as it is.
func (a *API) load(info hops.SourceInfo, key string, tree map[string]any) error {
	tree = maps.Clone(tree)
	meta, _ := tree["metadata"].(map[string]any)
	if tree["metadata"] = maps.Clone(meta); meta == nil {
		tree["metadata"] = map[string]any{}
	}
	a.store.version++
	e, err := newEntry(key, tree, a.store.version)
	if err != nil {
		return err
	}
	a.store.load(resource(info), e)
	return nil
}

func eventTree(e *hops.Event, name string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "Event", "type": e.Type, "reason": e.Reason, "message": e.Message, "count": e.Count,
		"metadata":       map[string]any{"name": name, "namespace": e.Namespace},
		"firstTimestamp": e.First, "lastTimestamp": e.Last, "source": map[string]any{"component": e.Component},
		"involvedObject": map[string]any{"kind": e.About.Kind, "namespace": e.About.Namespace, "name": e.About.Name}}
}

// Close stops the server.
func (a *API) Close() { a.server.Close() }

// Config is how a client reaches it.
func (a *API) Config() *rest.Config { return &rest.Config{Host: "http://" + a.address} }

// Kubeconfig is the same as a file's content.
func (a *API) Kubeconfig() []byte {
	return fmt.Appendf(nil, "{apiVersion: v1, kind: Config, current-context: inproc, clusters: [{name: inproc, cluster: {server: %q}}],\n"+
		"users: [{name: inproc}], contexts: [{name: inproc, context: {cluster: inproc, user: inproc}}]}\n", a.Config().Host)
}

// call is one request: what it is about.
type call struct {
	info            hops.SourceInfo
	namespace, name string
	sub             string // "log", "status"
}

// more are resources that no rule reads, but an agent uses.
func more() []hops.SourceInfo {
	v1 := []string{"v1"}
	return []hops.SourceInfo{
		{Group: "coordination.k8s.io", Versions: v1, Resource: "leases", Kind: "Lease"},
		{Group: "", Versions: v1, Resource: "secrets", Kind: "Secret"},
		{Group: "authentication.k8s.io", Versions: v1, Resource: "tokenreviews", Kind: "TokenReview"},
		{Group: "authorization.k8s.io", Versions: v1, Resource: "subjectaccessreviews", Kind: "SubjectAccessReview"},
	}
}

// find gives the row of a resource.
func find(group, version, resource string) (hops.SourceInfo, bool) {
	if group == "events.k8s.io" { // the same events in another form; what is written in it is kept as it is
		group = ""
	}
	for _, i := range slices.Concat(hops.Known(), more()) {
		if i.Group == group && i.Resource == resource && slices.Contains(i.Versions, version) {
			return i, true
		}
	}
	return hops.SourceInfo{}, false
}

// resource names the shelf.
func resource(i hops.SourceInfo) string { return i.Group + "/" + i.Resource }

func apiVersion(i hops.SourceInfo) string {
	if i.Group == "" {
		return i.Versions[0]
	}
	return i.Group + "/" + i.Versions[0]
}

// route reads /api/v1/... and /apis/GROUP/VERSION/...
func route(path string) (c call, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	group, version := "", ""
	switch {
	case len(parts) > 2 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		return c, false
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		c.namespace, parts = parts[1], parts[2:]
	}
	if c.info, ok = find(group, version, parts[0]); len(parts) > 1 {
		c.name = parts[1]
	}
	if len(parts) > 2 {
		c.sub = parts[2]
	}
	return c, ok
}

// serve answers one request.
func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	c, ok := route(r.URL.Path)
	watch := r.URL.Query().Get("watch")
	watching := r.Method == http.MethodGet && c.name == "" && (watch == "true" || watch == "1")
	if code := a.admit(r, c, watching); code != 0 {
		refuse(w, code, strings.ReplaceAll(http.StatusText(code), " ", ""), "refused by the in-process API server")
		return
	}
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
	case r.Method != http.MethodGet:
		a.write(w, r, c)
	case watching:
		a.watch(w, r, c.info, c.namespace)
	case c.sub == "log":
		a.log(w, r, c.name)
	case c.name != "":
		a.get(w, c)
	default:
		a.list(w, r, c.info, c.namespace)
	}
}

// admit counts a request and says with which status it is refused; 0 serves it.
func (a *API) admit(r *http.Request, c call, watching bool) int {
	verb := map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}[r.Method]
	switch {
	case verb != "":
	case watching:
		verb = "watch"
	case c.name != "":
		verb = "get"
	default:
		verb = "list"
	}
	what := c.info.Resource
	if c.sub != "" {
		what += "/" + c.sub
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[verb+" "+what]++
	return a.refusal
}

func (a *API) get(w http.ResponseWriter, c call) {
	if e := a.store.get(resource(c.info), c.namespace+"/"+c.name); e != nil {
		answer(w, http.StatusOK, e.json())
		return
	}
	notFound(w, c)
}

func notFound(w http.ResponseWriter, c call) {
	answer(w, http.StatusNotFound, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": http.StatusNotFound,
		"message": fmt.Sprintf("%s %q not found", c.info.Resource, c.name),
		"details": map[string]any{"name": c.name, "group": c.info.Group, "kind": c.info.Resource}})
}

// log serves the recorded lines of a container.
func (a *API) log(w http.ResponseWriter, r *http.Request, pod string) {
	q := r.URL.Query()
	found := false
	for _, l := range a.lines {
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
