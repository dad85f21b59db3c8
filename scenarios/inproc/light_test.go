package inproc

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"probe/hops"
	"probe/probe"
	"probe/probe/dial"
	"probe/probe/read"
)

// sweep lists all services of a light fleet, and probes some with the real probe.
func sweep(t *testing.T, l *Light, some int) probe.Swept {
	t.Helper()
	cluster, err := read.New(l.API.Config(), read.Options{})
	if err != nil {
		t.Fatal(err)
	}
	services, err := cluster.List(t.Context(), "")
	if err != nil || len(services) != len(l.Refs()) {
		t.Fatalf("%d services listed, want %d: %v", len(services), len(l.Refs()), err)
	}
	sender := dial.NewSender(l)
	defer sender.Close()
	return probe.Sweep(t.Context(), probe.SweepDeps{Cluster: cluster, Connect: func(*hops.Flow) (probe.Sender, func()) { return sender, func() {} },
		Rules: hops.Rules(), Now: time.Now, ID: func(b []byte) { rand.Read(b) }}, services[:some], probe.SweepOptions{})
}

func TestLight(t *testing.T) {
	l, err := StartLight(200, 20)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	swept := sweep(t, l, 30)
	if len(swept.Runs) != 30 {
		t.Fatalf("%d runs, %d missed, %d gone", len(swept.Runs), len(swept.Missed), len(swept.Gone))
	}
	for _, run := range swept.Runs {
		if run.Verdict.State != hops.OK {
			t.Errorf("%s: %s, %s", run.Ref, run.Verdict.State, run.Verdict.Summary)
		}
		if n, _ := l.Requests(run.Ref); n == 0 {
			t.Errorf("%s got no request", run.Ref)
		}
	}
	if l.Strays() > 0 {
		t.Errorf("%d requests were for nobody", l.Strays())
	}
}

func TestLightGateway(t *testing.T) {
	l, err := StartLight(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one := l.Refs()[0]
	get := func(host, path string, knock bool) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Address()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Host = host; knock {
			r.Header.Set("K-Network-Probe", "probe")
			r.Header.Set("K-Network-Hash", "override")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", string(body), resp.Header.Get("K-Network-Hash"))
	}
	ok := `200 {"name":"` + one.Name + `","ready":true}`
	for _, test := range []struct {
		name, host, path string
		knock, broken    bool
		want             string
	}{
		{"from outside", l.Host(one), "/v1/models/" + one.Name, false, false, ok},
		{"from inside", one.Name + "." + one.Namespace + ".svc.cluster.local", "/v2/models/" + one.Name + "/ready", false, false, ok},
		{"the predictor, with a port", one.Name + "-predictor." + one.Namespace + ".svc.cluster.local:80", "/v1/models/" + one.Name, false, false, ok},
		{"another model", l.Host(one), "/v1/models/other", false, false, `404 {"error":"Model with name other does not exist."}`},
		{"nobody's host", "x.y.example.com", "/", false, false, "404 "},
		{"a knock", l.Host(one), "/healthz", true, false, "200 " + hash},
		{"broken", l.Host(one), "/v1/models/" + one.Name, false, true, "503 no healthy upstream"},
	} {
		l.Break(one, test.broken)
		if got := get(test.host, test.path, test.knock); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if requests, knocks := l.Requests(one); requests != 4 || knocks != 1 || l.Strays() != 1 {
		t.Errorf("%d requests, %d knocks, %d strays", requests, knocks, l.Strays())
	}
}

// Copies differ in what an agent tells services apart by, and no trace of the recorded service is left in them.
func TestCasts(t *testing.T) {
	l, err := StartLight(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	uids := map[string]bool{}
	for _, ref := range l.Refs() {
		o, ok := l.API.Object(hops.ObjectRef{Source: hops.InferenceServices, Namespace: ref.Namespace, Name: ref.Name})
		if !ok || o.Str("status", "url") != "http://"+l.Host(ref) {
			t.Errorf("%s: %v, url %q", ref, ok, o.Str("status", "url"))
		}
		uids[o.Str("metadata", "uid")] = true
	}
	if len(uids) != 3 {
		t.Errorf("uids %v", uids)
	}
	d := Demos()[0]
	for name, shelf := range l.API.store.shelves {
		for key, e := range shelf.at {
			o := hops.Object{Tree: e.tree()}
			if raw := string(e.json()); !json.Valid(e.json()) || word(d.Ref.Name).MatchString(raw) || key != o.Str("metadata", "namespace")+"/"+o.Str("metadata", "name") {
				t.Errorf("%s %s: %s", name, key, raw)
			}
			if owner := o.Label("serving.kserve.io/inferenceservice"); owner != e.labelSet()["serving.kserve.io/inferenceservice"] {
				t.Errorf("%s %s: label %q", name, key, owner)
			}
		}
	}
}
