// api_test.go: an API server that speaks list, watch and leases over pipes in memory, so that a test's clock stands still while it works.
package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
)

type tree = map[string]any

// event is one change of an object.
type event struct {
	version int
	key     string
	kind    string // ADDED, MODIFIED, DELETED
	object  tree
}

// api is the fake. Its fields are changed under its lock.
type api struct {
	mu       sync.Mutex
	served   []string // resources that exist, as "/apis/GROUP/VERSION" + "/RESOURCE"
	objects  map[string]tree
	version  int
	events   []event
	oldest   int           // of the versions that a watch may go on from
	away     bool          // nobody listens
	conns    []net.Conn    // the server's ends
	news     chan struct{} // closed when something changes
	requests []string
	// answer handles a request itself when it returns true.
	answer func(w http.ResponseWriter, r *http.Request) bool

	accept chan net.Conn
	closed chan struct{}
}

const (
	kserve = "/apis/serving.kserve.io/v1beta1"
	leases = "/apis/coordination.k8s.io/v1"
)

// serve starts a fake API server inside the test's bubble. The returned function stops it.
func serve() (*api, func()) {
	a := &api{served: []string{kserve + "/inferenceservices", leases + "/leases"}, objects: map[string]tree{}, version: 100,
		news: make(chan struct{}), accept: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: a}
	go s.Serve(a) // its error is the listener's end
	return a, func() {
		s.Close()
		a.cut()
	}
}

// bubble runs a test with a fake API server, in a bubble of time.
func bubble(t *testing.T, f func(t *testing.T, a *api)) {
	synctest.Test(t, func(t *testing.T) {
		a, stop := serve()
		defer func() {
			stop()
			synctest.Wait()
		}()
		f(t, a)
	})
}

// config is that of a client of the fake, with connections of its own.
func (a *api) config() *rest.Config {
	return &rest.Config{Host: "http://api.example.com", Transport: &http.Transport{DialContext: a.dial}}
}

func (a *api) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a.mu.Lock()
	away := a.away
	a.mu.Unlock()
	if away {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	here, there := net.Pipe()
	select {
	case a.accept <- there:
		a.mu.Lock()
		a.conns = append(a.conns, there)
		a.mu.Unlock()
		return here, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// Accept implements net.Listener.
func (a *api) Accept() (net.Conn, error) {
	select {
	case c := <-a.accept:
		return c, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (a *api) Close() error { close(a.closed); return nil }

// Addr implements net.Listener.
func (a *api) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// cut breaks all connections.
func (a *api) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		c.Close()
	}
	a.conns = nil
}

// leave cuts all connections and takes no more, until it is told to come back.
func (a *api) leave(away bool) {
	a.mu.Lock()
	a.away = away
	a.mu.Unlock()
	if away {
		a.cut()
	}
}

// forget drops the history: a watch from before now gets 410.
func (a *api) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version += 1000
	a.oldest, a.events = a.version, nil
}

// put makes or changes an object below a path, as in kserve.
func (a *api) put(base, resource string, o tree) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(base+"/"+resource, o)
}

// store keeps a copy of the object with a new version. The caller holds the lock.
func (a *api) store(collection string, o tree) tree {
	meta := maps.Clone(o["metadata"].(tree))
	o = maps.Clone(o)
	o["metadata"] = meta
	key := fmt.Sprintf("%s|%s/%s", collection, meta["namespace"], meta["name"])
	kind := "ADDED"
	if a.objects[key] != nil {
		kind = "MODIFIED"
	}
	a.version++
	meta["resourceVersion"] = strconv.Itoa(a.version)
	a.objects[key] = o
	a.happened(event{a.version, key, kind, o})
	return o
}

func (a *api) happened(e event) {
	a.events = append(a.events, e)
	close(a.news)
	a.news = make(chan struct{})
}

// remove deletes an object.
func (a *api) remove(base, resource, namespace, name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := fmt.Sprintf("%s/%s|%s/%s", base, resource, namespace, name)
	o := a.objects[key]
	if o == nil {
		return false
	}
	delete(a.objects, key)
	a.version++
	a.happened(event{a.version, key, "DELETED", o})
	return true
}

// lease gives one as it is now.
func (a *api) lease(name string) tree {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.objects[leases+"/leases|probe/"+name])
}

// count counts the requests whose text starts so, as in "WATCH /apis/...".
func (a *api) count(prefix string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, r := range a.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb := r.Method
	if verb == "GET" && r.FormValue("watch") == "true" {
		verb = "WATCH"
	}
	a.mu.Lock()
	a.requests = append(a.requests, verb+" "+r.URL.Path)
	answer := a.answer
	a.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	collection, namespace, name := parsePath(r.URL.Path)
	switch {
	case !a.serves(collection):
		http.Error(w, "404 page not found", 404)
	case verb == "WATCH":
		a.watch(w, r, collection, namespace)
	case verb == "GET":
		a.list(w, r, collection, namespace)
	default:
		a.write(w, r, collection, namespace, name)
	}
}

func (a *api) serves(collection string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.served, collection)
}

// parsePath reads /apis/GROUP/VERSION[/namespaces/NAMESPACE]/RESOURCE[/NAME].
func parsePath(path string) (collection, namespace, name string) {
	p := strings.Split(strings.Trim(path, "/"), "/")
	if len(p) < 4 {
		return path, "", ""
	}
	base, p := "/"+strings.Join(p[:3], "/"), p[3:]
	if p[0] == "namespaces" && len(p) > 2 {
		namespace, p = p[1], p[2:]
	}
	if len(p) > 1 {
		name = p[1]
	}
	return base + "/" + p[0], namespace, name
}

// selected says whether an object is in a collection, a namespace and a selection by one label.
func selected(key string, o tree, collection, namespace, selector string) bool {
	label, value, _ := strings.Cut(selector, "=")
	meta := o["metadata"].(tree)
	labels, _ := meta["labels"].(tree)
	return strings.HasPrefix(key, collection+"|") && (namespace == "" || meta["namespace"] == namespace) && (label == "" || labels[label] == value)
}

// list answers a page; its continue token is "VERSION:KEY".
func (a *api) list(w http.ResponseWriter, r *http.Request, collection, namespace string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	at, from, _ := strings.Cut(r.FormValue("continue"), ":")
	if n, _ := strconv.Atoi(at); at != "" && n < a.oldest {
		refuse(w, 410, "Expired", "the provided continue parameter is too old")
		return
	}
	items, meta := []tree{}, tree{"resourceVersion": strconv.Itoa(a.version)}
	for _, key := range slices.Sorted(maps.Keys(a.objects)) {
		if key <= from || !selected(key, a.objects[key], collection, namespace, r.FormValue("labelSelector")) {
			continue
		}
		if limit > 0 && len(items) == limit {
			meta["continue"] = fmt.Sprintf("%d:%s", a.version, from)
			break
		}
		items, from = append(items, a.objects[key]), key
	}
	version := strings.TrimPrefix(collection[:strings.LastIndex(collection, "/")], "/apis/")
	kind := map[bool]string{true: "LeaseList", false: "InferenceServiceList"}[strings.HasSuffix(collection, "leases")]
	reply(w, 200, tree{"apiVersion": version, "kind": kind, "metadata": meta, "items": items})
}

// watch sends what happens, and a bookmark a minute.
func (a *api) watch(w http.ResponseWriter, r *http.Request, collection, namespace string) {
	version, _ := strconv.Atoi(r.FormValue("resourceVersion"))
	seconds, _ := strconv.Atoi(r.FormValue("timeoutSeconds"))
	end := time.After(time.Duration(seconds) * time.Second)
	bookmark := time.NewTicker(time.Minute)
	defer bookmark.Stop()
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	lines := json.NewEncoder(w)
	for {
		a.mu.Lock()
		events, news, now, old := slices.Clone(a.events), a.news, a.version, version < a.oldest
		a.mu.Unlock()
		if old {
			lines.Encode(tree{"type": "ERROR", "object": failure(410, "Expired", "too old resource version")})
			return
		}
		for _, e := range events {
			if e.version > version && selected(e.key, e.object, collection, namespace, r.FormValue("labelSelector")) {
				lines.Encode(tree{"type": e.kind, "object": e.object})
			}
		}
		version = now
		w.(http.Flusher).Flush()
		select {
		case <-news:
		case <-bookmark.C:
			api := strings.TrimPrefix(collection[:strings.LastIndex(collection, "/")], "/apis/")
			lines.Encode(tree{"type": "BOOKMARK", "object": tree{"apiVersion": api, "kind": "InferenceService",
				"metadata": tree{"resourceVersion": strconv.Itoa(version), "creationTimestamp": nil}, "spec": tree{}}})
		case <-end:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// write makes, changes and deletes.
func (a *api) write(w http.ResponseWriter, r *http.Request, collection, namespace, name string) {
	var body tree
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil && r.Method != "DELETE" {
		refuse(w, 400, "BadRequest", err.Error())
		return
	}
	key := fmt.Sprintf("%s|%s/%s", collection, namespace, name)
	var wants tree
	if meta, ok := body["metadata"].(tree); ok {
		wants = meta
		key = fmt.Sprintf("%s|%s/%s", collection, namespace, meta["name"])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.objects[key]
	switch {
	case r.Method == "POST" && old != nil:
		refuse(w, 409, "AlreadyExists", name+" already exists")
		return
	case r.Method == "POST":
		reply(w, 201, a.store(collection, body))
		return
	case old == nil:
		refuse(w, 404, "NotFound", name+" not found")
		return
	}
	if v := wants["resourceVersion"]; v != nil && v != old["metadata"].(tree)["resourceVersion"] {
		refuse(w, 409, "Conflict", "the object has been modified")
		return
	}
	if r.Method == "PUT" {
		reply(w, 200, a.store(collection, body))
		return
	}
	delete(a.objects, key)
	a.version++
	a.happened(event{a.version, key, "DELETED", old})
	reply(w, 200, failure(200, "", ""))
}

func failure(code int, reason, message string) tree {
	of := "Failure"
	if code < 300 {
		of = "Success"
	}
	out := tree{"apiVersion": "v1", "kind": "Status", "metadata": tree{}, "status": of, "message": message, "reason": reason, "code": code}
	if code == 404 {
		out["details"] = tree{"name": message}
	}
	return out
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	reply(w, code, failure(code, reason, message))
}

func reply(w http.ResponseWriter, code int, body tree) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}
