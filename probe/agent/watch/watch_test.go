// watch_test.go: the informer against a server: what is told, and how it comes through faults.
package watch

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"probe/hops"
	"probe/probe/agent/state"
)

// isvc is an InferenceService with the annotations given as pairs.
func isvc(namespace, name string, annotations ...string) tree {
	set := tree{"kubectl.kubernetes.io/last-applied-configuration": "{}"}
	for i := 0; i < len(annotations); i += 2 {
		set[annotations[i]] = annotations[i+1]
	}
	return tree{"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
		"metadata": tree{"namespace": namespace, "name": name, "uid": "uid-" + name, "generation": 1, "annotations": set,
			"creationTimestamp": "2026-01-02T03:04:05Z", "labels": tree{"team": namespace},
			"managedFields": []any{tree{"manager": "kubectl", "fieldsV1": tree{"f:spec": tree{}}}}},
		"spec": tree{"predictor": tree{"model": tree{"modelFormat": tree{"name": "sklearn"}}}},
		"status": tree{"url": "http://" + name + ".example.com", "address": tree{"url": "http://" + name + ".local"},
			"conditions": []any{tree{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}},
			"components": tree{"predictor": tree{"latestReadyRevision": name + "-00001",
				"traffic": []any{tree{"revisionName": name + "-00001", "percent": 100, "latestRevision": true}}}}}}
}

// with gives the tree with one field set. Path elements are keys, or positions in lists.
func with(o tree, value any, path ...any) tree {
	var set func(any, []any) any
	set = func(at any, path []any) any {
		if len(path) == 0 {
			return value
		}
		if i, ok := path[0].(int); ok {
			list := slices.Clone(at.([]any))
			list[i] = set(list[i], path[1:])
			return list
		}
		out := tree{}
		for k, v := range at.(tree) {
			out[k] = v
		}
		out[path[0].(string)] = set(out[path[0].(string)], path[1:])
		return out
	}
	return set(o, path).(tree)
}

// told notes what a watcher told.
type told struct {
	mu    sync.Mutex
	lines []string
	log   []string
	last  state.Service
}

func (n *told) note(list *[]string, line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*list = append(*list, line)
}

// take gives what was told since the last time, sorted.
func (n *told) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.lines
	n.lines = nil
	slices.Sort(out)
	return out
}

// logged gives what was logged.
func (n *told) logged() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.log)
}

// newest gives the service that was told last.
func (n *told) newest() state.Service {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// start runs a watcher on the fake until the test ends.
func start(t *testing.T, cfg *rest.Config, o Options) (*Watcher, *told) {
	t.Helper()
	n := &told{}
	o.Upsert = func(svc state.Service, path bool) {
		n.mu.Lock()
		n.last = svc
		n.mu.Unlock()
		what := map[bool]string{true: "path", false: "settings"}[path]
		n.note(&n.lines, what+" "+svc.Ref.String())
	}
	o.Delete = func(ref hops.Ref) { n.note(&n.lines, "deleted "+ref.String()) }
	o.Log = func(line string) { n.note(&n.log, line) }
	w, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		w.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	synctest.Wait()
	return w, n
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestTold: what of an object's changes is told, and as what.
func TestTold(t *testing.T) {
	base := isvc("demo", "a", "probe/interval", "10s", "probe/failures", "2/3")
	for _, c := range []struct {
		name   string
		change tree
		want   []string
	}{
		{"nothing", base, nil},
		{"a condition's time", with(base, "2026-07-08T00:00:00Z", "status", "conditions", 0, "lastTransitionTime"), nil},
		{"a condition's message", with(base, "still fine", "status", "conditions", 0, "message"), nil},
		{"a label", with(base, "x", "metadata", "labels", "team"), nil},
		{"another's annotation", with(base, "x", "metadata", "annotations", "example.com/probe/x"), nil},
		{"managed fields", with(base, []any{}, "metadata", "managedFields"), nil},
		{"the spec", with(base, 2, "metadata", "generation"), []string{"path demo/a"}},
		{"a condition", with(base, "False", "status", "conditions", 0, "status"), []string{"path demo/a"}},
		{"the URL", with(base, "http://b", "status", "url"), []string{"path demo/a"}},
		{"the address", with(base, "http://b", "status", "address", "url"), []string{"path demo/a"}},
		{"a revision", with(base, "a-00002", "status", "components", "predictor", "latestReadyRevision"), []string{"path demo/a"}},
		{"traffic", with(base, 90, "status", "components", "predictor", "traffic", 0, "percent"), []string{"path demo/a"}},
		{"another component", with(base, tree{}, "status", "components", "transformer"), []string{"path demo/a"}},
		{"no status", with(base, nil, "status"), []string{"path demo/a"}},
		{"a status of another form", with(base, "odd", "status", "conditions"), []string{"path demo/a"}},
		{"a setting", with(base, "20s", "metadata", "annotations", "probe/interval"), []string{"settings demo/a"}},
		{"no settings", with(base, tree{}, "metadata", "annotations"), []string{"settings demo/a"}},
		{"both", with(with(base, 2, "metadata", "generation"), "y", "metadata", "annotations", "probe/path"), []string{"path demo/a"}},
		{"made anew", with(base, "uid-2", "metadata", "uid"), []string{"deleted demo/a", "path demo/a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *api) {
				a.put(kserve, resource, base)
				w, n := start(t, a.config(), Options{})
				equal(t, "at first", n.take(), []string{"path demo/a"})
				a.put(kserve, resource, c.change)
				synctest.Wait()
				equal(t, "by watch", n.take(), c.want)
				a.put(kserve, resource, base)
				synctest.Wait()
				n.take()
				a.leave(true)
				a.put(kserve, resource, c.change)
				a.forget() // the watch cannot go on: only a list tells
				a.leave(false)
				after(time.Minute)
				equal(t, "by list", n.take(), c.want)
				if svc, _ := w.Service(hops.Ref{Namespace: "demo", Name: "a"}); svc.ResourceVersion != "104" {
					t.Errorf("resource version %s is not that of the last change", svc.ResourceVersion)
				}
			})
		})
	}
}

// TestKept: what is kept of an object.
func TestKept(t *testing.T) {
	bubble(t, func(t *testing.T, a *api) {
		a.put(kserve, resource, isvc("demo", "a", "probe/interval", "10s", "example.com/x", "y"))
		w, n := start(t, a.config(), Options{})
		got := n.newest()
		if got.Ref.String() != "demo/a" || got.UID != "uid-a" || got.APIVersion != "serving.kserve.io/v1beta1" || got.ResourceVersion != "101" ||
			!got.Created.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || len(got.Annotations) != 1 || got.Annotations["interval"] != "10s" {
			t.Errorf("%+v", got)
		}
		if list := w.Services(); len(list) != 1 || list[0].UID != "uid-a" || w.Len() != 1 {
			t.Errorf("services %+v", list)
		}
		a.remove(kserve, resource, "demo", "a")
		synctest.Wait()
		if _, ok := w.Service(got.Ref); ok || w.Len() != 0 {
			t.Error("a deleted service is still known")
		}
		equal(t, "told", n.take(), []string{"deleted demo/a", "path demo/a"})
	})
}

// TestScope: all namespaces, some, a selector.
func TestScope(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want []string
	}{
		{"all", Options{}, []string{"path a/one", "path b/two", "path c/three"}},
		{"one", Options{Namespaces: []string{"b"}}, []string{"path b/two"}},
		{"several", Options{Namespaces: []string{"c", "a", "c"}}, []string{"path a/one", "path c/three"}},
		{"by label", Options{Selector: "team=c"}, []string{"path c/three"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *api) {
				for _, o := range []tree{isvc("a", "one"), isvc("b", "two"), isvc("c", "three")} {
					a.put(kserve, resource, o)
				}
				w, n := start(t, a.config(), c.o)
				equal(t, "told", n.take(), c.want)
				a.forget() // a list of one namespace must not delete those of others
				a.leave(true)
				a.leave(false)
				after(time.Minute)
				equal(t, "after a new list", n.take(), nil)
				if !w.Synced() || w.Trouble() != nil {
					t.Errorf("synced %t, trouble %v", w.Synced(), w.Trouble())
				}
			})
		})
	}
}

// TestGroups: KServe's group, else KFServing's, else neither until it is installed.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		name, served, want string
		refused            bool // the role names KServe's group only
	}{
		{"KServe", kserve, "serving.kserve.io/v1beta1", false},
		{"KFServing 0.6", "/apis/serving.kubeflow.org/v1beta1", "serving.kubeflow.org/v1beta1", false},
		{"KFServing", "/apis/serving.kubeflow.org/v1alpha2", "serving.kubeflow.org/v1alpha2", false},
		{"not installed yet", "", "serving.kserve.io/v1beta1", false},
		{"not installed yet, and no right on the old group", "", "serving.kserve.io/v1beta1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *api) {
				a.served = []string{c.served + "/" + resource}
				if c.refused {
					a.answer = func(w http.ResponseWriter, r *http.Request) bool {
						no := strings.Contains(r.URL.Path, "kubeflow")
						if no {
							refuse(w, 403, "Forbidden", "no")
						}
						return no
					}
				}
				base := c.served
				if base == "" {
					base = kserve
				}
				a.put(base, resource, with(isvc("demo", "a"), strings.TrimPrefix(base, "/apis/"), "apiVersion"))
				w, n := start(t, a.config(), Options{})
				if c.served == "" {
					after(10 * time.Minute)
					if w.Synced() {
						t.Error("synced without any list")
					}
					if err := w.Trouble(); err == nil || !strings.Contains(err.Error(), "does not know inferenceservices.serving.kserve.io") {
						t.Errorf("trouble %v", err)
					}
					if got := a.count("GET"); got < 60 || got > 150 { // three a round, a round each 15 to 30 s
						t.Errorf("%d lists in ten minutes", got)
					}
					a.mu.Lock()
					a.served = []string{kserve + "/" + resource}
					a.mu.Unlock()
					after(30 * time.Second)
				}
				equal(t, "told", n.take(), []string{"path demo/a"})
				if got := n.newest().APIVersion; got != c.want {
					t.Errorf("apiVersion %s, want %s", got, c.want)
				}
				a.put(base, resource, with(with(isvc("demo", "a"), strings.TrimPrefix(base, "/apis/"), "apiVersion"), 2, "metadata", "generation"))
				synctest.Wait()
				equal(t, "told of a change", n.take(), []string{"path demo/a"})
			})
		})
	}
}

// TestPages: a long list comes in pages, and one whose pages grew too old is read anew.
func TestPages(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("expired=%t", old), func(t *testing.T) {
			bubble(t, func(t *testing.T, a *api) {
				const services = 3*pageSize + 7
				for i := range services {
					a.put(kserve, resource, isvc("demo", fmt.Sprintf("m%d", i)))
				}
				done := !old
				a.answer = func(_ http.ResponseWriter, r *http.Request) bool {
					if r.FormValue("continue") != "" && !done {
						done = true
						a.forget()
					}
					if r.FormValue("watch") == "" && r.FormValue("limit") != "250" {
						t.Errorf("a list without bound: %s", r.URL)
					}
					return false
				}
				w, _ := start(t, a.config(), Options{})
				if w.Len() != services {
					t.Errorf("%d of %d services", w.Len(), services)
				}
				want := 4
				if old {
					want = 6 // the first page, the refused second one, and all of them
				}
				if n := a.count("GET"); n != want {
					t.Errorf("%d requests, want %d", n, want)
				}
			})
		})
	}
}

// TestGone: what a new list lacks was deleted, what it has more was made.
func TestGone(t *testing.T) {
	for _, how := range []string{"the watch gets 410 as its answer", "the watch gets 410 as an event"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *api) {
				a.put(kserve, resource, isvc("demo", "stays"))
				a.put(kserve, resource, isvc("demo", "goes"))
				w, n := start(t, a.config(), Options{})
				n.take()
				a.leave(true)
				a.remove(kserve, resource, "demo", "goes")
				a.put(kserve, resource, isvc("demo", "comes"))
				a.forget()
				if strings.HasSuffix(how, "answer") {
					once := false
					a.answer = func(w http.ResponseWriter, r *http.Request) bool {
						if once || r.FormValue("watch") == "" {
							return false
						}
						once = true
						refuse(w, 410, "Expired", "too old resource version")
						return true
					}
				}
				a.leave(false)
				after(time.Minute)
				equal(t, "told", n.take(), []string{"deleted demo/goes", "path demo/comes"})
				if w.Trouble() != nil {
					t.Error(w.Trouble())
				}
			})
		})
	}
}

// TestAway: the API server is away for long: what is known stays, one line a minute at most, attempts 30 s apart at most, what changed is told then.
func TestAway(t *testing.T) {
	bubble(t, func(t *testing.T, a *api) {
		a.put(kserve, resource, isvc("demo", "a"))
		w, n := start(t, a.config(), Options{})
		n.take()
		lists := a.count("GET")
		a.leave(true)
		a.put(kserve, resource, isvc("demo", "b"))
		began := time.Now()
		after(2 * time.Hour)
		if w.Len() != 1 || !w.Synced() {
			t.Errorf("%d services, synced %t", w.Len(), w.Synced())
		}
		if err := w.Trouble(); err == nil || !strings.Contains(err.Error(), "does not answer: dial tcp: connection refused") {
			t.Errorf("trouble %v", err)
		}
		if since := w.Heard().Sub(began); since > 0 {
			t.Errorf("heard %s after it left", since)
		}
		if got := len(n.logged()); got < 60 || got > 120 {
			t.Errorf("%d lines in two hours", got)
		}
		a.leave(false)
		after(30 * time.Second)
		equal(t, "told", n.take(), []string{"path demo/b"})
		log := n.logged()
		if last := log[len(log)-1]; !strings.Contains(last, "inferenceservices in all namespaces: all is well again after 2h0m") {
			t.Errorf("last line %q", last)
		}
		if w.Trouble() != nil || w.Heard().Before(began.Add(2*time.Hour)) {
			t.Errorf("trouble %v, heard %s", w.Trouble(), w.Heard())
		}
		if more := a.count("GET") - lists; more > 1 {
			t.Errorf("%d lists after the API server came back", more)
		}
	})
}

// TestCut: a connection that breaks loses nothing, and a quiet one is heard once a minute.
func TestCut(t *testing.T) {
	bubble(t, func(t *testing.T, a *api) {
		a.put(kserve, resource, isvc("demo", "m0"))
		w, n := start(t, a.config(), Options{})
		for i := range 20 {
			a.cut()
			a.put(kserve, resource, isvc("demo", fmt.Sprintf("m%d", i)))
			after(time.Minute)
		}
		after(time.Hour)
		if w.Len() != 20 || len(n.take()) != 20 {
			t.Errorf("%d services", w.Len())
		}
		if quiet := time.Since(w.Heard()); quiet > time.Minute {
			t.Errorf("not heard for %s", quiet)
		}
		a.remove(kserve, resource, "demo", "m3")
		synctest.Wait()
		equal(t, "told", n.take(), []string{"deleted demo/m3"})
	})
}

// TestRefused: refusals are said once a minute with what to do, and the end of them is noticed.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name         string
		only         string // list or watch; "" is both
		code         int
		reason, want string
	}{
		{"forbidden", "", 403, "Forbidden", "a right on inferenceservices.serving.kserve.io is missing: cannot do it; apply the role"},
		{"watch forbidden", "watch", 403, "Forbidden", "a right on inferenceservices.serving.kserve.io is missing"},
		{"unauthorized", "", 401, "Unauthorized", "does not accept the agent's credentials"},
		{"overloaded", "", 429, "TooManyRequests", "cannot serve it: cannot do it"},
		{"broken", "list", 500, "InternalError", "cannot serve it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *api) {
				a.put(kserve, resource, isvc("demo", "a"))
				a.answer = func(w http.ResponseWriter, r *http.Request) bool {
					if c.only == "" || (c.only == "watch") == (r.FormValue("watch") != "") {
						refuse(w, c.code, c.reason, "cannot do it")
						return true
					}
					return false
				}
				w, n := start(t, a.config(), Options{})
				after(10 * time.Minute)
				if err := w.Trouble(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("trouble %v, want %q", err, c.want)
				}
				if log := n.logged(); len(log) < 5 || len(log) > 11 {
					t.Errorf("%d lines in ten minutes: %q", len(log), log)
				}
				if got := a.count(""); got > 60 {
					t.Errorf("%d requests in ten minutes", got)
				}
				a.mu.Lock()
				a.answer = nil
				a.mu.Unlock()
				after(30 * time.Second)
				equal(t, "told", n.take(), []string{"path demo/a"})
				if w.Trouble() != nil {
					t.Error(w.Trouble())
				}
			})
		})
	}
}

// TestToken: a token that expired is read anew from its file, without a new start.
func TestToken(t *testing.T) {
	bubble(t, func(t *testing.T, a *api) {
		file := filepath.Join(t.TempDir(), "token")
		write := func(token string) {
			if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("first-secret")
		valid := "Bearer first-secret"
		a.answer = func(w http.ResponseWriter, r *http.Request) bool {
			a.mu.Lock()
			ok := r.Header.Get("Authorization") == valid
			a.mu.Unlock()
			if !ok {
				refuse(w, 401, "Unauthorized", "Unauthorized")
			}
			return !ok
		}
		a.put(kserve, resource, isvc("demo", "a"))
		cfg := a.config()
		cfg.BearerTokenFile = file
		w, n := start(t, cfg, Options{})
		equal(t, "with the first token", n.take(), []string{"path demo/a"})
		a.mu.Lock()
		valid = "Bearer second-secret"
		a.mu.Unlock()
		a.put(kserve, resource, isvc("demo", "b"))
		a.cut()
		after(5 * time.Minute)
		if err := w.Trouble(); err == nil {
			t.Error("an expired token is no trouble")
		}
		write("second-secret")
		after(2 * time.Minute) // client-go drops a refused token at the second refusal: two attempts, each after up to 30 s
		equal(t, "with the second token", n.take(), []string{"path demo/b"})
		if all := strings.Join(n.logged(), "\n"); strings.Contains(all, "secret") {
			t.Errorf("a token was logged: %s", all)
		}
	})
}

// TestSlow: answers that do not come are waited for no longer than their time.
func TestSlow(t *testing.T) {
	for _, what := range []string{"list", "watch"} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *api) {
				a.put(kserve, resource, isvc("demo", "a"))
				a.answer = func(_ http.ResponseWriter, r *http.Request) bool {
					if (what == "watch") != (r.FormValue("watch") != "") {
						return false
					}
					<-r.Context().Done()
					return true
				}
				w, n := start(t, a.config(), Options{})
				after(watchTimeout + time.Second)
				if err := w.Trouble(); err == nil || !strings.Contains(err.Error(), "does not answer in time") {
					t.Errorf("trouble %v", err)
				}
				a.mu.Lock()
				a.answer = nil
				a.mu.Unlock()
				after(2 * time.Minute)
				a.put(kserve, resource, isvc("demo", "b"))
				synctest.Wait()
				equal(t, "told", n.take(), []string{"path demo/a", "path demo/b"})
			})
		})
	}
}

// TestDead: a watch whose connection died without a word ends by itself.
func TestDead(t *testing.T) {
	bubble(t, func(t *testing.T, a *api) {
		a.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.FormValue("watch") == "" {
				return false
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}
		_, n := start(t, a.config(), Options{})
		a.mu.Lock()
		a.answer = nil
		a.mu.Unlock()
		after(11 * time.Minute) // client-go asks for a watch of 5 to 10 minutes
		a.put(kserve, resource, isvc("demo", "b"))
		synctest.Wait()
		equal(t, "told", n.take(), []string{"path demo/b"})
	})
}

// TestNew: what cannot be used is said at once.
func TestNew(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  rest.Config
		o    Options
		want string
	}{
		{"selector", rest.Config{}, Options{Selector: "a in"}, `selector "a in": `},
		{"namespace", rest.Config{}, Options{Namespaces: []string{"a/b"}}, `namespace "a/b": `},
		{"too many", rest.Config{}, Options{Namespaces: strings.Fields(manyNames(101))}, "at most 100"},
		{"cluster", rest.Config{Host: "http://[bad"}, Options{}, "cluster http://[bad: its configuration cannot be used"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(&c.cfg, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "ns%d ", i)
	}
	return b.String()
}

// BenchmarkMemory says what a service costs the watcher, annotations included.
func BenchmarkMemory(b *testing.B) {
	const services = 10_000
	for b.Loop() {
		a, stop := serve()
		for i := range services {
			a.put(kserve, resource, isvc(fmt.Sprintf("team-%d", i%100), fmt.Sprintf("model-%d", i), "probe/interval", "30s", "probe/failures", "2/3"))
		}
		n := make(chan struct{}, services)
		w, err := New(a.config(), Options{Upsert: func(state.Service, bool) { n <- struct{}{} }})
		if err != nil {
			b.Fatal(err)
		}
		before := heapInUse()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		for range services {
			<-n
		}
		b.ReportMetric(float64(int64(heapInUse()-before))/services, "B/service")
		cancel()
		<-ended
		stop()
		runtime.KeepAlive(w)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Heard is when the API server was last heard, of the namespace for which that is longest ago. Zero is never. While nothing changes it sends a word
// about once a minute.
func (w *Watcher) Heard() time.Time {
	var out time.Time
	for i, s := range w.sources {
		s.mu.Lock()
		if i == 0 || s.heard.Before(out) {
			out = s.heard
		}
		s.mu.Unlock()
	}
	return out
}

// Services are those that are known now, in no order.
func (w *Watcher) Services() []state.Service {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]state.Service, 0, len(w.services))
	for _, k := range w.services {
		out = append(out, k.service)
	}
	return out
}

// Len is how many services are known.
func (w *Watcher) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.services)
}
