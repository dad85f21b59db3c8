package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestVirtualServices holds the shape of what is written for the Ingresses in testdata against golden files.
func TestVirtualServices(t *testing.T) {
	gateways := defaultGateways(t)
	inputs, err := filepath.Glob("testdata/*.ingress.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, input := range inputs {
		t.Run(filepath.Base(input), func(t *testing.T) {
			vss, err := virtualServices(readIngress(t, input), gateways)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, vs := range vss {
				text, err := yaml.Marshal(vs.Object)
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString("---\n")
				got.Write(text)
			}
			golden := strings.Replace(input, ".ingress.", ".golden.", 1)
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, got.Bytes()) {
				t.Errorf("differs from %s; got:\n%s", golden, got.String())
			}
		})
	}
}

func TestVirtualServicesWithoutGateways(t *testing.T) {
	vss, err := virtualServices(readIngress(t, "testdata/public.ingress.yaml"), Gateways{})
	if err != nil {
		t.Fatal(err)
	}
	if len(vss) != 1 || vss[0].GetName() != "hello-mesh" {
		t.Errorf("got %d VirtualServices, want hello-mesh alone", len(vss))
	}
}

func TestVirtualServicesLeaveTheIngressAlone(t *testing.T) {
	ing := readIngress(t, "testdata/public.ingress.yaml")
	if _, err := virtualServices(ing, defaultGateways(t)); err != nil {
		t.Fatal(err)
	}
	if got := len(ing.Spec.Rules[0].HTTP.Paths); got != 1 {
		t.Errorf("the Ingress now has %d paths, want 1: the probe's path was added to the caller's object", got)
	}
}

func TestAuthorityPrefixes(t *testing.T) {
	for name, c := range map[string]struct{ hosts, want []string }{
		"the shortest of the local names stands for all": {[]string{"a.ns", "a.ns.svc", "a.ns.svc.cluster.local"}, []string{"a.ns"}},
		"outside hosts stay whole":                       {[]string{"a.ns.example.com"}, []string{"a.ns.example.com"}},
		"different services stay apart":                  {[]string{"b.ns.svc.cluster.local", "a.ns.svc.cluster.local"}, []string{"a.ns", "b.ns"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(authorityPrefixes(sets.New(c.hosts...)), " "); got != strings.Join(c.want, " ") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func readIngress(t *testing.T, path string) *v1alpha1.Ingress {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ing := &v1alpha1.Ingress{}
	if err := yaml.UnmarshalStrict(text, ing); err != nil {
		t.Fatal(err)
	}
	return ing
}

func defaultGateways(t *testing.T) Gateways {
	t.Helper()
	gateways, err := parseGateways(nil)
	if err != nil {
		t.Fatal(err)
	}
	return gateways
}
