package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// cluster is an API server that holds ConfigMaps and Secrets by their paths.
type cluster struct {
	mu    sync.Mutex
	at    map[string]any // object, or the status of a refusal
	reads map[string]int
	gate  chan struct{} // when there is one, each read says so in asked and waits for its turn
	asked chan struct{}
	clock time.Time
}

const (
	mapPath    = "/api/v1/namespaces/demo/configmaps/iris-sample"
	secretPath = "/api/v1/namespaces/demo/secrets/iris-token"
	canary     = "s3cr3t-c4n4ry"
)

var (
	input = Object{"iris-sample", "input.json"}
	token = Object{"iris-token", "token"}
)

func newCluster(t *testing.T) (*cluster, *Store) {
	t.Helper()
	c := &cluster{at: map[string]any{}, reads: map[string]int{}, asked: make(chan struct{}, 100), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	server := httptest.NewServer(c)
	client, err := corev1client.NewForConfig(&rest.Config{Host: server.URL, QPS: 1000, Burst: 1000})
	if err != nil {
		t.Fatal(err)
	}
	store := NewStore(client, c.now)
	t.Cleanup(func() { store.Close(); server.Close() })
	return c, store
}

// ServeHTTP implements http.Handler.
func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.reads[r.URL.Path]++
	o, ok := c.at[r.URL.Path]
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		c.asked <- struct{}{}
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
	}
	code := http.StatusNotFound
	if refusal, is := o.(int); is {
		code, ok = refusal, false
	}
	w.Header().Set("Content-Type", "application/json")
	if ok && r.Method == http.MethodGet {
		json.NewEncoder(w).Encode(o)
		return
	}
	reasons := map[int]metav1.StatusReason{404: metav1.StatusReasonNotFound, 403: metav1.StatusReasonForbidden, 401: metav1.StatusReasonUnauthorized}
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code),
		Reason: reasons[code], Message: "refused " + r.URL.Path})
}

func (c *cluster) set(path string, o any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[path] = o
}

func (c *cluster) setMap(data string) {
	c.set(mapPath, &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, Data: map[string]string{"input.json": data}})
}

func (c *cluster) setSecret(value string) {
	c.set(secretPath, &corev1.Secret{TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, Data: map[string][]byte{"token": []byte(value)}})
}

func (c *cluster) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock
}

func (c *cluster) later(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock = c.clock.Add(d)
}

func (c *cluster) count(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads[path]
}

// looks compares what the store gives for the sample: its data, or the text of its error.
func looks(t *testing.T, s *Store, want string) {
	t.Helper()
	data, err := s.Sample(t.Context(), "demo", input)
	s.reads.Wait() // what is read ahead
	if got := string(data) + errorText(err); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestStoreKeeps(t *testing.T) {
	c, s := newCluster(t)
	c.setMap("one")
	looks(t, s, "one")
	c.setMap("two")
	c.later(keep - 1)
	looks(t, s, "one")
	if n := c.count(mapPath); n != 1 {
		t.Errorf("%d reads while the value is fresh, want 1", n)
	}
	c.later(1)
	looks(t, s, "one") // and is read again meanwhile
	looks(t, s, "two")
	if n := c.count(mapPath); n != 2 {
		t.Errorf("%d reads, want 2", n)
	}
}

func TestStoreRefresh(t *testing.T) {
	c, s := newCluster(t)
	set := Settings{Sample: input, Credentials: token}
	c.setSecret("Bearer old")
	h, err := s.Header(t.Context(), "demo", token)
	if err != nil || h.Get("Authorization") != "Bearer old" {
		t.Fatalf("%v, %v", h, err)
	}
	h.Set("Authorization", "changed by the caller")
	c.setSecret("Bearer new")
	c.later(tryAgain - 1)
	s.Refresh(t.Context(), "demo", set)
	if h, _ = s.Header(t.Context(), "demo", token); h.Get("Authorization") != "Bearer old" {
		t.Errorf("read again too soon: %v", h)
	}
	c.later(1)
	s.Refresh(t.Context(), "demo", set)
	if h, _ = s.Header(t.Context(), "demo", token); h.Get("Authorization") != "Bearer new" {
		t.Errorf("not read again: %v", h)
	}
	c.later(tryAgain)
	ended, end := context.WithCancel(t.Context())
	end()
	c.mu.Lock()
	c.gate = make(chan struct{})
	c.mu.Unlock()
	s.Refresh(ended, "demo", set) // does not wait for an API server that hangs longer than the caller does
}

// TestStoreAway: the last value known goes on being used, and the API server is not asked at each probe.
func TestStoreAway(t *testing.T) {
	for _, refusal := range []int{500, 503, 401} {
		c, s := newCluster(t)
		c.setMap("one")
		looks(t, s, "one")
		c.set(mapPath, refusal)
		c.later(keep)
		for range 5 {
			looks(t, s, "one")
		}
		if n := c.count(mapPath); n != 2 {
			t.Errorf("%d: %d reads, want 2", refusal, n)
		}
		c.later(tryKnown)
		c.setMap("two")
		looks(t, s, "one")
		looks(t, s, "two")
	}
}

func TestStoreErrors(t *testing.T) {
	many := map[string]string{}
	for i := range 12 {
		many[fmt.Sprintf("k%02d", i)] = ""
	}
	for _, c := range []struct {
		name string
		o    any
		want string
	}{
		{"none", nil, "ConfigMap demo/iris-sample does not exist: create it, or correct probe/sample"},
		{"forbidden", 403, "ConfigMap demo/iris-sample: the agent may not get configmaps in namespace demo; `probe agent --manifests` prints a Role that lets it"},
		{"unauthorized", 401, "ConfigMap demo/iris-sample: the API server does not accept the agent's token; it is tried again"},
		{"another key", &corev1.ConfigMap{Data: map[string]string{"b": "x"}, BinaryData: map[string][]byte{"a": {1}}},
			"ConfigMap demo/iris-sample has no key input.json; it has: a, b"},
		{"no key", &corev1.ConfigMap{}, "ConfigMap demo/iris-sample has no key input.json; it has: none"},
		{"many keys", &corev1.ConfigMap{Data: many},
			"ConfigMap demo/iris-sample has no key input.json; it has: k00, k01, k02, k03, k04, k05, k06, k07, k08, k09 and 2 more"},
		{"too big", &corev1.ConfigMap{Data: map[string]string{"input.json": strings.Repeat("x", maxSample+1)}},
			"ConfigMap demo/iris-sample, key input.json: 1048577 bytes; a sample may have 1048576"},
		{"binary", &corev1.ConfigMap{BinaryData: map[string][]byte{"input.json": []byte("x\x00y")}}, "x\x00y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster, s := newCluster(t)
			if c.o != nil {
				cluster.set(mapPath, c.o)
			}
			looks(t, s, c.want)
			looks(t, s, c.want)
			if n := cluster.count(mapPath); n != 1 {
				t.Errorf("%d reads, want 1", n)
			}
			cluster.setMap("mended")
			cluster.later(keep)
			if c.name != "binary" {
				looks(t, s, "mended")
			}
		})
	}
}

// TestStoreGone: a value is given up when the cluster says that it is gone, or may no longer be read.
func TestStoreGone(t *testing.T) {
	for code, want := range map[int]string{
		404: "Secret demo/iris-token does not exist: create it, or correct probe/credentials",
		403: "Secret demo/iris-token: the agent may not get secrets in namespace demo; `probe agent --manifests --secret iris-token` prints a Role that lets it",
	} {
		c, s := newCluster(t)
		c.setSecret(canary)
		if _, err := s.Header(t.Context(), "demo", token); err != nil {
			t.Fatal(err)
		}
		c.set(secretPath, code)
		c.later(keep)
		s.Refresh(t.Context(), "demo", Settings{Credentials: token})
		if h, err := s.Header(t.Context(), "demo", token); h != nil || errorText(err) != want {
			t.Errorf("%d: %v, %v\nwant %s", code, h, err, want)
		}
	}
}

// TestStoreOnce: many that ask at one time cause one read; one that goes away fails no other.
func TestStoreOnce(t *testing.T) {
	c, s := newCluster(t)
	c.setMap("one")
	gate := make(chan struct{})
	c.gate = gate
	ctx, end := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := s.Sample(ctx, "demo", input)
		first <- err
	}()
	<-c.asked
	end()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("one that was cut short: %v", err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if data, err := s.Sample(t.Context(), "demo", input); err != nil || string(data) != "one" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	close(gate)
	all.Wait()
	if n := c.count(mapPath); n != 1 {
		t.Errorf("%d reads, want 1", n)
	}
}

// TestStoreClose: no read outlives the store.
func TestStoreClose(t *testing.T) {
	c, s := newCluster(t)
	c.gate = make(chan struct{})
	failed := make(chan error)
	go func() {
		_, err := s.Sample(t.Context(), "demo", input)
		failed <- err
	}()
	<-c.asked
	s.Close()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "the API server gives no answer") {
		t.Errorf("%v", err)
	}
}

// TestStoreBounded: what many services name does not fill the memory.
func TestStoreBounded(t *testing.T) {
	c, s := newCluster(t)
	s.entries = newLRU[key, *entry](3, entryBytes*10)
	for i := range 5 {
		c.set(fmt.Sprintf("/api/v1/namespaces/demo/configmaps/m%d", i), &corev1.ConfigMap{Data: map[string]string{"k": strings.Repeat("x", entryBytes*i*2)}})
		if data, err := s.Sample(t.Context(), "demo", Object{fmt.Sprintf("m%d", i), "k"}); err != nil || len(data) != entryBytes*i*2 {
			t.Fatalf("%d: %d bytes, %v", i, len(data), err)
		}
		if n := s.entries.order.Len(); n > 3 || n != len(s.entries.at) || s.entries.bytes > entryBytes*10 {
			t.Errorf("%d: %d entries, %d bytes", i, n, s.entries.bytes)
		}
	}
	if _, ok := s.entries.get(key{configMap, "demo", Object{"m4", "k"}}); !ok || s.entries.order.Len() != 1 {
		t.Errorf("there is room for the last one and no other; %d are there", s.entries.order.Len())
	}
}

func TestCredentials(t *testing.T) {
	for _, c := range []struct{ value, name, want, err string }{
		{value: "Bearer abc", name: "Authorization", want: "Bearer abc"},
		{value: "abc.def-ghi\n", name: "Authorization", want: "Bearer abc.def-ghi"},
		{value: "Basic dXNlcjpwYXNz", name: "Authorization", want: "Basic dXNlcjpwYXNz"},
		{value: `Digest username="x", uri="http://h/"`, name: "Authorization", want: `Digest username="x", uri="http://h/"`},
		{value: "x-api-key: abc:def", name: "X-Api-Key", want: "abc:def"},
		{value: "Authorization:Bearer abc", name: "Authorization", want: "Bearer abc"},
		{value: "Cookie: a=b; c=d", name: "Cookie", want: "a=b; c=d"},
		{value: " \n", err: "it is empty; it must hold the value of the Authorization header, or one line `Name: value`"},
		{value: "a: " + canary + "\nb: " + canary, err: "it must hold one line, without control characters"},
		{value: canary + ":", err: "there is no value behind the header's name"},
		{value: "host: " + canary, err: "the header Host belongs to the connection or to probe itself and carries no credentials; give another"},
		{value: canary + strings.Repeat("x", maxCredentials), err: "16397 bytes; credentials may have 16384"},
	} {
		cluster, s := newCluster(t)
		cluster.setSecret(c.value)
		h, err := s.Header(t.Context(), "demo", token)
		if c.err == "" {
			if err != nil || len(h) != 1 || h.Get(c.name) != c.want {
				t.Errorf("%q: %v, %v", c.value, h, err)
			}
			continue
		}
		if want := "Secret demo/iris-token, key token: " + c.err; h != nil || errorText(err) != want {
			t.Errorf("%q: %v\nwant %s", c.value, err, want)
		}
		if strings.Contains(errorText(err), canary) {
			t.Errorf("shown: %v", err)
		}
	}
}
