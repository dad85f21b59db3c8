package read

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"probe/hops"
)

// copies gives the recorded service under other names, with the shared gateways once.
func copies(t *testing.T, refs ...hops.Ref) []map[string]any {
	t.Helper()
	var out []map[string]any
	for i, to := range refs {
		for _, tree := range service(t) {
			o := hops.Object{Tree: tree}
			system := o.Str("metadata", "namespace") == "istio-system"
			if system && i > 0 {
				continue
			}
			raw, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			if !system {
				text := strings.NewReplacer(ref.Name, to.Name, `"models"`, `"`+to.Namespace+`"`, ".models.", "."+to.Namespace+".").Replace(string(raw))
				raw = []byte(text)
			}
			var copied map[string]any
			if err := json.Unmarshal(raw, &copied); err != nil {
				t.Fatal(err)
			}
			out = append(out, copied)
		}
	}
	return out
}

// crowd names n services in as many namespaces as given.
func crowd(n int, namespaces ...string) []hops.Ref {
	var out []hops.Ref
	for i := range n {
		out = append(out, hops.Ref{Namespace: namespaces[i%len(namespaces)], Name: fmt.Sprintf("iris-%d", i)})
	}
	return out
}

// A sweep must judge by the same objects as a probe of the one service: else the two would differ in their verdicts.
func TestAllGivesWhatFirstGives(t *testing.T) {
	for name, namespaces := range map[string][]string{"by namespace": {"a", "b"}, "by cluster": {"a", "b", "c", "d", "e", "f"}} {
		t.Run(name, func(t *testing.T) {
			refs := crowd(12, namespaces...)
			a := newAPI(append(copies(t, refs...), map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": "elsewhere", "name": "stranger"}})...)
			c := a.start(t, Options{Now: fixed})
			list, err := c.List(t.Context(), "")
			if err != nil || len(list) != len(refs) {
				t.Fatalf("got %d services, %v", len(list), err)
			}
			before, _ := c.Reads()
			of := c.All(t.Context(), list)
			after, _ := c.Reads()
			if most := 15 * min(len(namespaces), fewSpaces); after-before > most {
				t.Errorf("%d reads for %d namespaces, want at most %d", after-before, len(namespaces), most)
			}
			for _, r := range refs {
				got, there := of(r)
				want, err := c.First(t.Context(), r)
				if err != nil || !there {
					t.Fatalf("%s: there %v, %v", r, there, err)
				}
				if strip(&want, r.Name); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got  %s\nwant %s", r, contents(got), contents(want))
				}
			}
		})
	}
}

// strip takes the routes of other services out, which a sweep leaves out.
func strip(s *hops.Snapshot, name string) {
	s.Objects = slices.DeleteFunc(s.Objects, func(o hops.Object) bool { return o.Source == hops.VirtualServices && !hops.NamedFor(name, o.Name) })
}

func contents(s hops.Snapshot) string {
	var out []string
	for i := range s.Objects {
		out = append(out, s.Objects[i].Namespace+" "+s.Objects[i].Ref().String())
	}
	return fmt.Sprint(out, s.Full, s.Gaps)
}

func TestAllKeepsRivalsOnly(t *testing.T) {
	vs := func(name string, hosts ...any) map[string]any {
		return map[string]any{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": map[string]any{"namespace": ref.Namespace, "name": name},
			"spec": map[string]any{"hosts": hosts}}
	}
	var host string
	for _, tree := range service(t) {
		if o := (hops.Object{Tree: tree}); o.Str("kind") == "InferenceService" {
			host = strings.TrimPrefix(o.Str("status", "url"), "http://")
		}
	}
	_, domain, _ := strings.Cut(host, ".")
	a := newAPI(append(service(t), vs("same-host", "x.example.org", host), vs("wildcard", "*."+domain), vs("everything", "*"), vs("part", ref.Name+"-predictor.elsewhere"),
		vs("other", "other."+domain), vs("other-wildcard", "*.example.org"))...)
	c := a.start(t, Options{})
	list, err := c.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := c.All(t.Context(), list)(ref)
	var names []string
	for _, o := range got.Objects {
		if o.Source == hops.VirtualServices && !hops.NamedFor(ref.Name, o.Name) {
			names = append(names, o.Name)
		}
	}
	if want := []string{"everything", "part", "same-host", "wildcard"}; !slices.Equal(names, want) {
		t.Errorf("kept %v, want %v (host %s)", names, want, host)
	}
}

// Who may read namespaces but not the whole cluster gets the same by more reads; what is forbidden there too is a gap of each namespace.
func TestAllByNamespaceWhereTheClusterIsForbidden(t *testing.T) {
	refs := crowd(6, "a", "b", "c", "d", "e", "f")
	a := newAPI(copies(t, refs...)...)
	a.refuse = []string{"pods"}
	c := a.start(t, Options{})
	list, err := c.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	before, _ := c.Reads()
	of := c.All(t.Context(), list)
	after, _ := c.Reads()
	if want := 15 + len(refs); after-before != want {
		t.Errorf("%d reads, want %d", after-before, want)
	}
	for _, r := range refs {
		s, _ := of(r)
		if slices.Contains(s.Full, hops.Pods) || !slices.Contains(s.Full, hops.Revisions) || len(s.Gaps) != 1 || s.Gaps[0].What != "pods in "+r.Namespace {
			t.Errorf("%s: full %v, gaps %+v", r, s.Full, s.Gaps)
		}
	}
}

func TestAllOfKFServing(t *testing.T) {
	objects := service(t)
	for _, tree := range objects {
		raw, _ := json.Marshal(tree)
		clear(tree)
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(raw), "serving.kserve.io", oldGroup)), &tree); err != nil {
			t.Fatal(err)
		}
	}
	a := newAPI(objects...)
	delete(a.served, "serving.kserve.io")
	a.served[oldGroup] = []string{"v1beta1"}
	c := a.start(t, Options{})
	list, err := c.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s, there := c.All(t.Context(), list)(ref)
	if !there || !slices.ContainsFunc(s.Objects, func(o hops.Object) bool { return o.Source == hops.Pods }) || !slices.Contains(s.Full, hops.InferenceServices) {
		t.Errorf("there %v: %s", there, contents(s))
	}
}

func TestAllTellsWhatIsGone(t *testing.T) {
	a := newAPI(service(t)...)
	c := a.start(t, Options{})
	list, err := c.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	of := c.All(t.Context(), list)
	for _, gone := range []hops.Ref{{Namespace: ref.Namespace, Name: "gone"}, {Namespace: "gone", Name: ref.Name}} {
		if s, there := of(gone); there {
			t.Errorf("%s is there: %s", gone, contents(s))
		}
	}
}

func TestSelect(t *testing.T) {
	objects := copies(t, crowd(2, "a")...)
	for _, tree := range objects {
		if o := (hops.Object{Tree: tree}); o.Str("kind") == "InferenceService" && o.Str("metadata", "name") == "iris-1" {
			tree["metadata"].(map[string]any)["labels"] = map[string]any{"team": "fraud"}
		}
	}
	list, err := newAPI(objects...).start(t, Options{}).Select(t.Context(), "a", "team=fraud")
	if err != nil || len(list) != 1 || list[0].Name != "iris-1" {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestExists(t *testing.T) {
	a := newAPI(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "models"}})
	c := a.start(t, Options{})
	if err := c.Exists(t.Context(), "models"); err != nil {
		t.Error(err)
	}
	var none *NoNamespaceError
	if err := c.Exists(t.Context(), "modles"); !errors.As(err, &none) {
		t.Errorf("got %v", err)
	}
	a.refuse = []string{"namespaces"}
	if err := c.Exists(t.Context(), "modles"); err != nil {
		t.Errorf("who may not look cannot tell: %v", err)
	}
}
