// failures_test.go: which failures are kept, and how they are fetched.
package tell

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"probe/hops"
	"probe/probe/agent/state"
	"probe/probe/capture"
	"probe/probe/redact/redacttest"
)

// result reads a word of a sequence: O, o (OK, but the status is not yet), I, F:reason, D:reason, f:reason (failed, and the cluster not read).
func result(name, word string, i int) (*state.Result, state.Status) {
	letter, reason, _ := strings.Cut(word, ":")
	ref := hops.Ref{Namespace: "models", Name: name}
	at := began.Add(time.Duration(i)*time.Minute + 250*time.Millisecond)
	r := &state.Result{Ref: ref, Reason: reason, Ended: at, Further: letter != "f", Summary: fmt.Sprintf("%s %d", reason, i),
		Run: &hops.Run{Ref: ref, Started: at.Add(-time.Second), Ended: at, TraceID: fmt.Sprintf("%032d", i)}}
	r.State = map[string]hops.State{"O": hops.OK, "o": hops.OK, "I": hops.Inconclusive, "F": hops.Failed, "f": hops.Failed, "D": hops.Degraded}[letter]
	status := state.Status{Ref: ref, State: r.State}
	if letter == "o" {
		status.State = hops.Failed
	}
	return r, status
}

func TestFailuresKept(t *testing.T) {
	for _, c := range []struct{ name, results, kept string }{
		{"nothing", "O O I", ""},
		{"one", "O F:a O", "1"},
		{"the first and the latest", "F:a F:a F:a F:a", "0 3"},
		{"degraded too", "D:a D:a D:a", "0 2"},
		{"and the last of another reason", "F:a F:b F:b F:b", "0 3"},
		{"of another reason, not the first", "F:a F:a F:b F:a F:a F:b F:b F:a", "0 6 7"},
		{"three reasons", "F:a F:b F:c", "0 1 2"},
		{"four reasons", "F:a F:b F:c F:d", "0 2 3"},
		{"a new outage", "F:a F:a F:b O F:b F:b", "1 4 5"},
		{"a new outage for the same reason", "F:a F:a O F:a", "3"},
		{"a good answer among bad ones ends nothing", "F:a F:a o F:a", "0 3"},
		{"what could not be checked pushes nothing out", "F:a I I I F:a", "0 4"},
		{"a glance does not push out a look", "F:a f:a f:a", "0"},
		{"a glance at something else", "F:a f:b f:b", "0 2"},
		{"a glance at a new outage", "F:a O f:a", "2"},
		{"glances only", "f:a f:a", "0 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := NewFailures(0)
			for i, word := range strings.Fields(c.results) {
				if err := f.Add(result("iris", word, i)); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			size := 0
			for _, k := range f.List() {
				got = append([]string{strings.TrimLeft(k.ID[:31], "0") + k.ID[31:]}, got...)
				size += k.Bytes
			}
			if strings.Join(got, " ") != c.kept {
				t.Errorf("kept %q, want %q", got, c.kept)
			}
			if int64(size) != f.bytes || f.byAge.Len() != len(got) {
				t.Errorf("%d bytes are said to be %d", size, f.bytes)
			}
		})
	}
}

// The oldest of all services goes first, and what is gone leaves nothing behind.
func TestFailuresAreBounded(t *testing.T) {
	one := NewFailures(0)
	if err := one.Add(result("s000", "F:a", 0)); err != nil {
		t.Fatal(err)
	}
	f := NewFailures(one.bytes * 21 / 2)
	for i := range 100 {
		if err := f.Add(result(fmt.Sprintf("s%03d", i), "F:a", 0)); err != nil {
			t.Fatal(err)
		}
		if err := f.Add(result(fmt.Sprintf("s%03d", i), "O", 1)); err != nil {
			t.Fatal(err)
		}
		f.Forget(hops.Ref{Namespace: "models", Name: fmt.Sprintf("s%03d", i)})
	}
	list := f.List()
	if f.bytes > f.most || len(list) < 8 || len(list) > 12 || list[0].Name != "s099" || list[len(list)-1].Name < "s088" || len(f.services) != len(list) {
		t.Errorf("%d of %d bytes, %d failures, %d services", f.bytes, f.most, len(list), len(f.services))
	}
	small := NewFailures(one.bytes * 2)
	r, s := result("iris", "F:a", 0)
	if err := small.Add(r, s); err == nil || !strings.Contains(err.Error(), "the failure of models/iris is not kept") || small.bytes != 0 {
		t.Errorf("got %v", err)
	}
}

func TestFailuresForget(t *testing.T) {
	f := NewFailures(0)
	ref := hops.Ref{Namespace: "models", Name: "iris"}
	f.Forget(ref)
	_ = f.Add(result("iris", "O", 0)) // a good answer cannot fail to be noted
	f.Forget(ref)
	if len(f.services) != 0 {
		t.Error("the service is not forgotten")
	}
	if err := f.Add(result("iris", "F:a", 1)); err != nil {
		t.Fatal(err)
	}
	f.Forget(ref)
	if len(f.List()) != 1 {
		t.Error("the evidence went with the service")
	}
}

// get asks for a path.
func get(t *testing.T, h http.Handler, path string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestFailuresList(t *testing.T) {
	f := NewFailures(0)
	for i, word := range []string{"O", "F:oom-killed", "F:image-pull"} {
		r, s := result("iris", word, i)
		r.Summary = strings.TrimSpace(r.Summary + " password=" + redacttest.Canary)
		if err := f.Add(r, s); err != nil {
			t.Fatal(err)
		}
	}
	resp := get(t, f, "/failures")
	text := body(t, resp)
	var got struct {
		Failures []Failure `json:"failures"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatal(err, resp.Header)
	}
	if strings.Contains(text, redacttest.Canary) || len(got.Failures) != 2 {
		t.Fatal(text)
	}
	k := got.Failures[0]
	if k.Namespace != "models" || k.Name != "iris" || !k.Time.Equal(began.Add(2*time.Minute+250*time.Millisecond)) || k.State != hops.Failed || k.Reason != "image-pull" ||
		!strings.HasPrefix(k.Summary, "image-pull 2") || k.Bytes == 0 || k.LastOK == nil || k.LastOK.ID != fmt.Sprintf("%032d", 0) {
		t.Errorf("%+v", k)
	}
	for _, k := range got.Failures { // each can be fetched as it says
		if resp := get(t, f, k.Href); resp.StatusCode != http.StatusOK || resp.ContentLength != int64(k.Bytes) {
			t.Errorf("%s: %s, %d bytes", k.Href, resp.Status, resp.ContentLength)
		}
	}
	if text := body(t, get(t, NewFailures(0), "/failures")); !strings.Contains(text, `"failures": []`) {
		t.Errorf("nothing is %s", text)
	}
}

func TestFailuresFetch(t *testing.T) {
	f := NewFailures(0)
	for i, word := range []string{"F:a", "F:b", "F:c"} {
		if err := f.Add(result("iris", word, i)); err != nil {
			t.Fatal(err)
		}
	}
	exact := url.QueryEscape(began.Add(time.Minute + 250*time.Millisecond).Format(time.RFC3339Nano))
	for path, want := range map[string]string{
		"/failures/models/iris":                                         "2",
		"/failures/models/iris?at=" + exact:                             "1",
		"/failures/models/iris?at=2026-03-04T12:01:00Z":                 "1", // the second that it says
		"/failures/models/iris?at=2026-03-04T13:01:00%2B01:00":          "1",
		"/failures/models/iris?at=2026-03-04T13:01:00+01:00":            "1", // as it is typed
		"/failures/models/iris?at=2026-03-04T12:00:59Z":                 "0",
		"/failures/models/iris?id=00000000000000000000000000000001":     "1",
		"/failures/models/iris?at=2026-03-04T11:59:59Z":                 "404",
		"/failures/models/iris?id=00000000000000000000000000000009":     "404",
		"/failures/models/cat":                                          "404",
		"/failures/models":                                              "404",
		"/failures/models/iris/x":                                       "404",
		"/failures/models/iris?at=yesterday":                            "400",
		"/failures/models/iris?at=2026-03-04T12:01:00Z&id=" + "0000002": "404",
	} {
		resp := get(t, f, path)
		if resp.StatusCode != http.StatusOK {
			if fmt.Sprint(resp.StatusCode) != want || body(t, resp) == "" {
				t.Errorf("%s: %s, want %s", path, resp.Status, want)
			}
			continue
		}
		if resp.Header.Get("Content-Type") != "application/gzip" || !strings.Contains(resp.Header.Get("Content-Disposition"), `"models-iris-2026`) {
			t.Errorf("%s: %v", path, resp.Header)
		}
		in, _, err := capture.Unpack(resp.Body, t.TempDir())
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		run, _, err := capture.Load(in)
		if err != nil || run.Ref.Name != "iris" || strings.TrimLeft(run.TraceID[:31], "0")+run.TraceID[31:] != want {
			t.Errorf("%s: %s %s, %v; want %s", path, run.Ref, run.TraceID, err, want)
		}
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "/failures/models/iris", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("DELETE: %d", w.Code)
	}
}

// A capture is judged anew by whoever reads it; what the agent expected of the answer goes along, and no secret does.
func TestFailuresCapture(t *testing.T) {
	f := NewFailures(0)
	run := redacttest.Run()
	run.Warnings = slices.Grow(run.Warnings, 2)
	r := &state.Result{Ref: run.Ref, State: hops.Failed, Reason: state.UnexpectedResponse, Summary: "status 500, want 200", Ended: began, Further: true, Run: run}
	if err := f.Add(r, state.Status{}); err != nil {
		t.Fatal(err)
	}
	if n := len(run.Warnings); run.Warnings[:n+1][n] != "" {
		t.Error("the run of the result was written to")
	}
	found, _ := f.find(run.Ref, time.Time{}, "")
	in, _, err := capture.Unpack(bytes.NewReader(found.raw), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := capture.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(got)
	if err != nil || strings.Contains(string(raw), redacttest.Canary) || !strings.Contains(string(raw), "the agent called it Failed: unexpected-response: status 500, want 200") {
		t.Errorf("%v: %.300s", err, raw)
	}
}

func TestFailuresSideBySide(t *testing.T) {
	f := NewFailures(40_000)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 30 {
				if err := f.Add(result(fmt.Sprintf("s%d", i%5), []string{"O", "F:a", "F:b", "I"}[(i+g)%4], i)); err != nil {
					t.Error(err)
				}
				f.List()
				f.find(hops.Ref{Namespace: "models", Name: "s1"}, time.Time{}, "")
				f.Forget(hops.Ref{Namespace: "models", Name: "s2"})
			}
		})
	}
	wg.Wait()
}
