// capture_test.go: what is saved is what is loaded, from whatever folder it comes.
package capture

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"probe/hops"
	"probe/probe/redact"
	"probe/probe/redact/redacttest"
)

var at = time.Date(2026, 3, 4, 12, 0, 0, 250_000_000, time.UTC)

// richRun has something in every field that a capture keeps.
func richRun() *hops.Run {
	object := func(s hops.Source, version, kind, ns, name string, partial bool) hops.Object {
		return hops.Object{Source: s, APIVersion: version, Kind: kind, Namespace: ns, Name: name, Partial: partial, Tree: map[string]any{"apiVersion": version, "kind": kind,
			"metadata": map[string]any{"name": name, "namespace": ns, "creationTimestamp": "2026-03-04T11:59:00Z"}, "status": map[string]any{"count": 3.0, "text": "a<b> & c"}}}
	}
	pod := hops.ObjectRef{Source: hops.Pods, Kind: "Pod", Namespace: "models", Name: "iris-predictor-00001-deployment-abc"}
	line := func(source hops.Source, ns, pod, container string, previous bool, n int, stamp time.Time, text string) hops.Line {
		return hops.Line{Source: source, Namespace: ns, Pod: pod, Container: container, Previous: previous, Number: n, Time: stamp, Text: text}
	}
	first := hops.Snapshot{Time: at,
		Objects: []hops.Object{
			object(hops.InferenceServices, "serving.kserve.io/v1beta1", "InferenceService", "models", "iris", false),
			object(hops.Pods, "v1", "Pod", "models", pod.Name, false), object(hops.Pods, "v1", "Pod", "models", "iris-row", true),
			object(hops.SystemPods, "v1", "Pod", "istio-system", "gw", false)},
		Events: []hops.Event{
			{Type: "Warning", Reason: "BackOff", Message: "Back-off restarting failed container", About: pod, Namespace: "models", Count: 4, First: at.Add(-time.Minute), Last: at, Component: "kubelet"},
			{Type: "Normal", Reason: "Created", Message: "x", About: hops.ObjectRef{Source: hops.KnativeServices, Kind: "Service", Namespace: "models", Name: "iris-predictor"},
				Namespace: "models", First: at, Last: at}},
		Lines: []hops.Line{
			line(hops.ContainerLogs, "models", pod.Name, "kserve-container", false, 1, at, "starting"),
			line(hops.ContainerLogs, "models", pod.Name, "kserve-container", false, 2, time.Time{}, "2026-03-04T12:00:00Z a stamp of its own"),
			line(hops.ContainerLogs, "models", pod.Name, "kserve-container", false, 9, at.Add(time.Nanosecond), "after a gap"),
			line(hops.ContainerLogs, "models", pod.Name, "kserve-container", true, 1, time.Time{}, "Traceback (most recent call last):"),
			line(hops.AccessLogs, "istio-system", "gw", "istio-proxy", false, 1, time.Time{}, "[2026-03-04T12:00:00.000Z] ..."),
			line(hops.ContainerLogs, "models", "gw", "istio-proxy", false, 1, time.Time{}, "a pod of the same name"),
			line(hops.ClientLog, "", "", "", false, 1, time.Time{}, "curl: (6) Could not resolve host"),
			line(hops.Analysis, "", "", "", false, 1, time.Time{}, "Warning [IST0101]")},
		Full: []hops.Source{hops.Pods, hops.InferenceServices}, Gaps: []hops.Gap{{Source: hops.Nodes, What: "nodes", Why: "forbidden for user x", Err: "403"}}}
	second := hops.Snapshot{Time: at.Add(time.Second), Objects: []hops.Object{object(hops.NetworkPolicies, "networking.k8s.io/v1", "NetworkPolicy", "models", "deny", false)},
		Full: []hops.Source{hops.NetworkPolicies}}
	step := hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}
	return &hops.Run{Ref: hops.Ref{Namespace: "models", Name: "iris"}, Started: at, Ended: at.Add(3 * time.Second), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		SpanID: "00f067aa0ba902b7", Flow: hops.Flow{Ref: hops.Ref{Namespace: "models", Name: "iris"}, Mode: hops.Knative, Protocol: "v1", Steps: []hops.Step{step}},
		Snapshots: []hops.Snapshot{first, second},
		Observations: []hops.Observation{{Step: step, Asked: hops.RealRequest, Vantage: hops.PortForward, Method: "GET", Start: at, Took: 1500 * time.Microsecond, Status: 503,
			Outcome: hops.Answered, Body: "no healthy upstream", Header: map[string]string{"server": "istio-envoy"}, Phases: hops.Phases{Wait: time.Millisecond}}},
		Spans: []hops.Span{{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "1", Service: "gw", Name: "x", Start: at, Took: time.Millisecond}},
		Reads: 25, ReadTook: 90 * time.Millisecond, Warnings: []string{"collector did not answer"}}
}

// same compares two runs, but for the verdict, which a capture does not keep, and the order of sources.
func same(t *testing.T, got, want hops.Run) {
	t.Helper()
	for _, r := range []*hops.Run{&got, &want} {
		r.Verdict = hops.Verdict{}
		r.Snapshots = slices.Clone(r.Snapshots)
		for i := range r.Snapshots {
			r.Snapshots[i].Objects = slices.Clone(r.Snapshots[i].Objects)
			slices.SortStableFunc(r.Snapshots[i].Objects, func(a, b hops.Object) int { return strings.Compare(string(a.Source)+a.Name, string(b.Source)+b.Name) })
		}
	}
	g, _ := json.MarshalIndent(got, "", " ")
	w, _ := json.MarshalIndent(want, "", " ")
	gl, wl := strings.Split(string(g), "\n"), strings.Split(string(w), "\n")
	for i := range min(len(gl), len(wl)) {
		if gl[i] != wl[i] {
			t.Fatalf("differs:\n got %s\nwant %s", strings.Join(gl[max(0, i-8):min(len(gl), i+3)], "\n"), strings.Join(wl[max(0, i-8):min(len(wl), i+3)], "\n"))
		}
	}
	if len(gl) != len(wl) {
		t.Fatalf("got %d lines of JSON, want %d", len(gl), len(wl))
	}
}

func mustSave(t *testing.T, run *hops.Run) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new", "capture")
	if err := Save(dir, run); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustLoad(t *testing.T, dir string) (hops.Run, []string) {
	t.Helper()
	run, notes, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return run, notes
}

func TestRoundTrip(t *testing.T) {
	dir := mustSave(t, richRun())
	got, notes := mustLoad(t, dir)
	if len(notes) > 0 {
		t.Errorf("notes about an own capture: %q", notes)
	}
	same(t, got, *richRun())
	again, _ := mustLoad(t, mustSave(t, &got))
	same(t, again, got)
}

func TestSavedIsRedacted(t *testing.T) {
	dir := mustSave(t, redacttest.Run())
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, secret := range []string{redacttest.Canary, redacttest.Encoded} {
			if bytes.Contains(raw, []byte(secret)) || strings.Contains(path, secret) {
				t.Errorf("%s holds the canary", path)
			}
		}
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(filepath.Join(dir, manifestFile))
	if !bytes.Contains(raw, []byte("- 'environment values: ")) {
		t.Errorf("capture.yaml does not say what was redacted:\n%s", raw)
	}
}

func TestSaveWhere(t *testing.T) {
	put := func(t *testing.T, path, text string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return filepath.Dir(path)
	}
	t.Run("empty", func(t *testing.T) {
		dir := t.TempDir()
		if err := Save(dir, richRun()); err != nil {
			t.Fatal(err)
		}
		mustLoad(t, dir)
	})
	t.Run("over an earlier capture", func(t *testing.T) {
		dir := mustSave(t, richRun())
		run := richRun()
		run.Snapshots, run.Spans = run.Snapshots[:1], nil
		if err := Save(dir, run); err != nil {
			t.Fatal(err)
		}
		got, notes := mustLoad(t, dir)
		same(t, got, *run)
		if len(notes) > 0 {
			t.Error(notes)
		}
	})
	for name, files := range map[string]map[string]string{
		"holds a thesis":               {"thesis.tex": "x"},
		"capture with foreign files":   {"capture.yaml": "schemaVersion: " + SchemaVersion + "\n", "thesis.tex": "x"},
		"objects without capture.yaml": {"objects/x.json": "{}"},
		"capture of another version":   {"capture.yaml": "schemaVersion: probe/capture/v9\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, text := range files {
				put(t, filepath.Join(dir, f), text)
			}
			err := Save(dir, richRun())
			if err == nil || !strings.Contains(err.Error(), "--save") {
				t.Fatalf("want a refusal that says what to do, got %v", err)
			}
			for f, text := range files {
				if raw, err := os.ReadFile(filepath.Join(dir, f)); err != nil || string(raw) != text {
					t.Errorf("%s was touched: %q %v", f, raw, err)
				}
			}
			entries, _ := os.ReadDir(dir)
			if len(entries) != len(files) {
				t.Errorf("%d entries are left, want %d", len(entries), len(files))
			}
		})
	}
	t.Run("is a file", func(t *testing.T) {
		dir := put(t, filepath.Join(t.TempDir(), "f"), "x")
		if err := Save(filepath.Join(dir, "f"), richRun()); err == nil {
			t.Fatal("want an error")
		}
	})
	t.Run("leaves nothing beside", func(t *testing.T) {
		dir := mustSave(t, richRun())
		entries, _ := os.ReadDir(filepath.Dir(dir))
		if len(entries) != 1 {
			t.Errorf("%d entries beside the capture, want 1: %v", len(entries), entries)
		}
	})
}

func TestLoadRecords(t *testing.T) {
	for _, c := range []struct {
		name    string
		service string
		objects int
		events  int
		time    string
		log     hops.Line // the first line
		notes   []string
	}{
		{"healthy", "models/healthy", 3, 6, "2026-11-22T14:28:36Z", hops.Line{Source: hops.ContainerLogs, Namespace: "models", Number: 1,
			Pod: "healthy-predictor-00001-deployment-777f9c87d4-nmmc8", Container: "kserve-container",
			Text: "2026-11-22 14:23:49.398 1 kserve INFO [model_server.py:register_model():439] Registering model: healthy"}, []string{"objects: 2 of kind Endpoints, which no rule reads"}},
		{"no-credentials", "models/no-credentials", 3, 6, "", hops.Line{Source: hops.ContainerLogs, Namespace: "models", Number: 1,
			Pod: "no-credentials-predictor-00001-deployment-5dd788bc65-55rb7", Container: "storage-initializer", Previous: true,
			Text: "unable to retrieve container logs for containerd://896ee1ade907efedbbdd1dbed6b2355848c074f5a56b220fdd731788ded1901c"}, nil},
		{"bad-scheme", "models/bad-scheme", 1, 1, "2026-11-22T15:18:04Z", hops.Line{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, notes := mustLoad(t, filepath.Join("testdata", "records", c.name))
			if run.Ref.String() != c.service || len(run.Snapshots) != 1 {
				t.Fatalf("got %s with %d snapshots", run.Ref, len(run.Snapshots))
			}
			s := run.Snapshots[0]
			if len(s.Objects) != c.objects || len(s.Events) != c.events || len(s.Full) != 0 {
				t.Errorf("got %d objects, %d events, full %v", len(s.Objects), len(s.Events), s.Full)
			}
			if got := s.Time.Format(time.RFC3339); c.time != "" && got != c.time || s.Time.IsZero() || run.Ended != s.Time {
				t.Errorf("time %s, ended %s, want %s", got, run.Ended, c.time)
			}
			if c.log.Text != "" && (len(s.Lines) == 0 || s.Lines[0] != c.log) {
				t.Errorf("first line %+v\nwant %+v", s.Lines[:min(1, len(s.Lines))], c.log)
			}
			if !slices.Equal(notes, c.notes) {
				t.Errorf("notes %q", notes)
			}
			again, _ := mustLoad(t, mustSave(t, &run))
			clean, _ := redact.Run(&run)
			same(t, again, *clean)
		})
	}
}

func TestLoadStrange(t *testing.T) {
	isvc := func(ns, name string) string {
		return fmt.Sprintf(`{"apiVersion":"serving.kserve.io/v1beta1","kind":"InferenceService","metadata":{"name":%q,"namespace":%q}}`, name, ns)
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		check func(t *testing.T, run hops.Run, notes []string, err error)
	}{
		{"two services", map[string]string{"objects/a.json": isvc("m", "b") + isvc("m", "a")}, func(t *testing.T, run hops.Run, _ []string, err error) {
			var ambiguous *AmbiguousError
			if !errors.As(err, &ambiguous) || len(ambiguous.Services) != 2 || ambiguous.Services[0].Name != "a" || len(run.Snapshots) != 1 || len(run.Snapshots[0].Objects) != 2 {
				t.Errorf("got %+v, %v", run, err)
			}
		}},
		{"no service", map[string]string{"objects/a.yaml": "kind: Pod\napiVersion: v1\nmetadata: {name: p, namespace: m}\n---\nkind: Pod\napiVersion: v1\nmetadata: {name: q, namespace: m}\n"},
			func(t *testing.T, run hops.Run, _ []string, err error) {
				if err != nil || run.Ref != (hops.Ref{Namespace: "m"}) || len(run.Snapshots[0].Objects) != 2 {
					t.Errorf("got %+v, %v", run, err)
				}
			}},
		{"typed list and cut file", map[string]string{"objects/a.json": `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"p","namespace":"m"}}]}`, "objects/b.json": isvc("m", "x") + `{"kind":`},
			func(t *testing.T, run hops.Run, notes []string, err error) {
				if err != nil || run.Ref.Name != "x" || run.Snapshots[0].Objects[0].Source != hops.Pods || len(notes) != 1 || !strings.HasPrefix(notes[0], "objects/b.json: only 1 objects") {
					t.Errorf("got %+v, %q, %v", run, notes, err)
				}
			}},
		{"junk", map[string]string{"objects/a.json": isvc("m", "x"), "objects/photo.jpg": "x", "timeline.txt": "x", "logs/p/readme.md": "x", "snapshots/x/y": "z", "observations.json": "{"},
			func(t *testing.T, _ hops.Run, notes []string, err error) {
				if all := strings.Join(notes, "\n"); err != nil || len(notes) != 5 || !strings.Contains(all, "photo.jpg") || !strings.Contains(all, "timeline.txt: not part") {
					t.Errorf("got %q, %v", notes, err)
				}
			}},
		{"captures within", map[string]string{"early/objects/a.json": isvc("m", "x"), "late/objects/a.json": isvc("m", "x"), "timeline.txt": ""},
			func(t *testing.T, _ hops.Run, _ []string, err error) {
				var not *NotCaptureError
				if !errors.As(err, &not) || !slices.Equal(not.Within, []string{"early", "late"}) {
					t.Errorf("got %v", err)
				}
			}},
		{"newer version", map[string]string{"capture.yaml": "schemaVersion: probe/capture/v2\n"}, func(t *testing.T, _ hops.Run, _ []string, err error) {
			if err == nil || !strings.Contains(err.Error(), `schema version "probe/capture/v2"`) {
				t.Errorf("got %v", err)
			}
		}},
		{"kubectl logs", map[string]string{"logs/p/c.log": "2026-03-04T12:00:00.250000000Z one\n2026-03-04T12:00:01Z two\n", "logs/q/c.previous.log": "2026-03-04T12:00:00Z once\nno\nno\n"},
			func(t *testing.T, run hops.Run, _ []string, err error) {
				l := run.Snapshots[0].Lines
				if err != nil || len(l) != 5 || !l[0].Time.Equal(at) || l[1].Text != "two" || !l[2].Previous || !l[2].Time.IsZero() || l[2].Text != "2026-03-04T12:00:00Z once" {
					t.Errorf("got %+v, %v", l, err)
				}
			}},
		{"logs of the system", map[string]string{"logs/istio-ingressgateway-5d-x/istio-proxy.log": "a\n", "logs/activator-7f-x/activator.log": "b\n"},
			func(t *testing.T, run hops.Run, _ []string, err error) {
				l := run.Snapshots[0].Lines
				if err != nil || len(l) != 2 || l[0].Source != hops.SystemLogs || l[1].Source != hops.AccessLogs {
					t.Errorf("got %+v, %v", l, err)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeAll(t, dir, c.files)
			run, notes, err := Load(dir)
			c.check(t, run, notes, err)
		})
	}
}

func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	raw := map[string][]byte{}
	for f, text := range files {
		raw[f] = []byte(text)
	}
	if err := write(dir, raw); err != nil {
		t.Fatal(err)
	}
}

func TestLoadStaysInside(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	writeAll(t, outside, map[string]string{"secret.json": `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"stolen"}}`, "secret.log": "stolen"})
	writeAll(t, dir, map[string]string{"objects/a.json": `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"own"}}`, "logs/p/c.log": "own"})
	for link, to := range map[string]string{"objects/b.json": filepath.Join(outside, "secret.json"), "objects/c.json": "../../" + filepath.Base(outside) + "/secret.json",
		"logs/p/d.log": filepath.Join(outside, "secret.log"), "logs/q": outside, "logs/loop": ".", "events": outside, "objects/d.json": "a.json"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "objects", "pipe.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	run, notes := mustLoad(t, dir)
	if raw, _ := json.Marshal(run); strings.Contains(string(raw), "stolen") || !strings.Contains(string(raw), `"own"`) {
		t.Errorf("got %s", raw)
	}
	if len(run.Snapshots[0].Objects) != 2 { // a link to a file inside is fine
		t.Errorf("%d objects", len(run.Snapshots[0].Objects))
	}
	for _, want := range []string{"objects/b.json", "objects/c.json", "logs/p/d.log", "logs/q", "events", "objects/pipe.json: not a file"} {
		if !strings.Contains(strings.Join(notes, "\n"), want) {
			t.Errorf("no note about %s: %q", want, notes)
		}
	}
}

func TestLoadIsBounded(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("objects/junk-%05d.txt", i)] = ""
	}
	var log strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&log, "line %d\n", i+1)
		if i == 1000 {
			log.WriteString("ERROR: the one that matters\n")
		}
	}
	files["logs/p/c.log"] = log.String() + strings.Repeat("x", 1<<20)
	writeAll(t, dir, files)
	run, notes := mustLoad(t, dir)
	lines := run.Snapshots[0].Lines
	if len(lines) != 2201 || lines[200].Text != "ERROR: the one that matters" || lines[200].Number != 1002 || lines[2200].Number != 300_002 || len(lines[2200].Text) != maxLine {
		t.Errorf("got %d lines, %+v", len(lines), lines[200])
	}
	if len(notes) != maxNotes+1 || !strings.Contains(notes[0], "more than 2000 entries") || !strings.HasSuffix(notes[maxNotes], " more") {
		t.Errorf("%d notes: %q", len(notes), notes[:min(3, len(notes))])
	}
}

// TestSize: a recording of two snapshots with long logs stays under 400 KB, and under 60 KB compressed.
func TestSize(t *testing.T) {
	run, _ := mustLoad(t, filepath.Join("testdata", "records", "healthy"))
	s := run.Snapshots[0]
	for i := range 4 {
		for _, o := range s.Objects { // pods and revisions, as long as real ones
			o.Name = fmt.Sprintf("%s-%d", o.Name, i)
			run.Snapshots[0].Objects = append(run.Snapshots[0].Objects, o)
		}
	}
	for _, container := range []string{"kserve-container", "queue-proxy", "istio-proxy", "storage-initializer"} {
		for i := range 5000 {
			run.Snapshots[0].Lines = append(run.Snapshots[0].Lines, hops.Line{Source: hops.ContainerLogs, Namespace: "models", Pod: "p", Container: container, Number: i + 1,
				Time: at.Add(time.Duration(i) * 7919 * time.Microsecond), Text: fmt.Sprintf("2026-11-22 14:23:49.%03d 1 kserve INFO [server.py:%d] request %x took %d ms", i%1000, i%97, i*7919, i%31)})
		}
	}
	run.Snapshots = append(run.Snapshots, run.Snapshots[0])
	dir := mustSave(t, &run)
	var total int
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	out := tar.NewWriter(zip)
	if err := out.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	out.Close()
	zip.Close()
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, _ error) error {
		info, err := e.Info()
		total += int(info.Size())
		return err
	})
	if total > 400<<10 || packed.Len() > 60<<10 {
		t.Errorf("%d KB, %d KB compressed", total>>10, packed.Len()>>10)
	}
	got, _ := mustLoad(t, dir)
	last := got.Snapshots[0].Lines[len(got.Snapshots[0].Lines)-1]
	if last.Number != 5000 {
		t.Errorf("the last line of a shortened log has number %d, want 5000", last.Number)
	}
}

func TestSlim(t *testing.T) {
	crd := hops.Object{Kind: "CustomResourceDefinition", Name: "x", Tree: map[string]any{"spec": map[string]any{"group": "g", "versions": []any{
		map[string]any{"name": "v1", "served": true, "schema": map[string]any{"big": "yes"}}}}}}
	before, _ := json.Marshal(crd.Tree)
	raw, _ := json.Marshal(slim(&crd))
	if want := `{"spec":{"group":"g","versions":[{"name":"v1","served":true}]}}`; string(raw) != want {
		t.Errorf("got %s", raw)
	}
	if after, _ := json.Marshal(crd.Tree); string(after) != string(before) {
		t.Error("the object itself was changed")
	}
	cm := hops.Object{Kind: "ConfigMap", Name: "x", Tree: map[string]any{"data": map[string]any{"_example": "long", "ingress": "{}"}}}
	if raw, _ := json.Marshal(slim(&cm)); string(raw) != `{"data":{"ingress":"{}"}}` {
		t.Errorf("got %s", raw)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("schemaVersion: " + SchemaVersion + "\nservice: {namespace: a, name: b}\nsnapshots: [{time: 2026-03-04T12:00:00Z, full: [pods], logs: [{file: ../../x, source: logs}]}]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("schemaVersion: 1"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseManifest(raw)
		if err == nil && m.SchemaVersion != SchemaVersion {
			t.Errorf("accepted schema version %q", m.SchemaVersion)
		}
		dir := t.TempDir()
		writeAll(t, dir, map[string]string{manifestFile: string(raw), "logs/p/c.log": "x\n"})
		run, _, loadErr := Load(dir)
		if (loadErr == nil) != (err == nil) {
			t.Errorf("parse says %v, load says %v", err, loadErr)
		}
		if err == nil && len(run.Snapshots) != 1 {
			t.Errorf("%d snapshots", len(run.Snapshots))
		}
	})
}

func FuzzObjects(f *testing.F) {
	f.Add([]byte(`{"kind":"List","items":[{"kind":"Pod","apiVersion":"v1"}]}`), "objects.json")
	f.Add([]byte("kind: Pod\n---\n- kind: PodList\n  items: [{}]\n"), "pods.yaml")
	f.Fuzz(func(_ *testing.T, raw []byte, name string) {
		trees, _ := parseObjects(raw)
		for _, tree := range trees {
			o, err := objectOf(tree, name)
			if err == nil {
				hops.ParseEvent(&o)
				named(&o)
			}
		}
	})
}
