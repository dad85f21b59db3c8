// Package scenarios causes failure modes on a real cluster, probes, and compares the verdict with the one that is expected. A scenario is data: a
// folder with scenario.yaml and manifests. Adding one is adding a folder.
//
// scenario.go: what a scenario is, and how it is read.
package scenarios

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"probe/hops"
)

//go:embed */scenario.yaml */*.yaml
var files embed.FS

// Scenario is one failure mode, or one healthy state, as data.
type Scenario struct {
	Name  string `json:"-"` // of its folder
	Title string `json:"title"`
	// Mode is the id of the failure mode that it causes; "" for a healthy state.
	Mode string `json:"mode,omitempty"`
	// Service is the name of the InferenceService that is probed.
	Service string `json:"service"`
	// Requires names what the cluster must have: "model-store".
	Requires []string `json:"requires,omitempty"`
	// Shared says that it breaks what other services of the cluster use too.
	Shared bool `json:"shared,omitempty"`
	// Base are the manifests of a service that must be OK before Inject; none when the service is broken from its start.
	Base []string `json:"base,omitempty"`
	// Inject breaks it, step by step; every step is undone in the end.
	Inject []Action `json:"inject,omitempty"`
	// Settle is how long until the breakage shows at the latest.
	Settle metav1.Duration `json:"settle"`
	// Probe are the choices of the probe: path, data, wake.
	Probe  Choices `json:"probe,omitzero"`
	Expect Expect  `json:"expect"`
}

// Action is one step of breaking something; exactly one field is set.
type Action struct {
	Apply  string  `json:"apply,omitempty"`  // a manifest of the folder
	Scale  *Scale  `json:"scale,omitempty"`  // a Deployment
	Delete *Object `json:"delete,omitempty"` // an object; it is put back in the end
	Patch  *Patch  `json:"patch,omitempty"`  // an object; it is put back in the end
	Wait   string  `json:"wait,omitempty"`   // a duration
}

// Object names one object of the cluster. An empty namespace is the scenario's own.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// Scale sets the replicas of a Deployment.
type Scale struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Replicas  int    `json:"replicas"`
}

// Patch merges a patch into an object (RFC 7386).
type Patch struct {
	Object `json:",inline"`
	Merge  map[string]any `json:"merge"`
}

// Choices are those of a probe.
type Choices struct {
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Data   string `json:"data,omitempty"`
	Wake   bool   `json:"wake,omitempty"`
}

// Expect is the verdict that is expected.
type Expect struct {
	State hops.State `json:"state"`
	Hop   hops.Hop   `json:"hop,omitempty"`
	// ID is that of the first finding, "" for none; Or lists others that are as right.
	ID string   `json:"id,omitempty"`
	Or []string `json:"or,omitempty"`
	// Never lists ids that must not appear.
	Never []string `json:"never,omitempty"`
	// Status is what the outside door answers, 0 when it does not matter.
	Status int `json:"status,omitempty"`
	// Asleep says that the verdict must call the service asleep.
	Asleep bool `json:"asleep,omitempty"`
}

// Healthy says whether the scenario guards against false alarms.
func (s *Scenario) Healthy() bool { return s.Mode == "" }

// All reads every scenario that is built in, by name.
func All() ([]Scenario, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var out []Scenario
	for _, e := range entries {
		if _, err := fs.Stat(files, e.Name()+"/scenario.yaml"); err != nil {
			continue
		}
		s, err := read(files, e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// read reads and checks one folder.
func read(from fs.FS, name string) (Scenario, error) {
	raw, err := fs.ReadFile(from, name+"/scenario.yaml")
	if err != nil {
		return Scenario{}, fmt.Errorf("scenario %s: %w", name, err)
	}
	s := Scenario{Name: name}
	if err := yaml.UnmarshalStrict(raw, &s); err != nil {
		return s, fmt.Errorf("scenario %s: %w", name, err)
	}
	if err := s.check(from); err != nil {
		return s, fmt.Errorf("scenario %s: %w", name, err)
	}
	return s, nil
}

// check finds what would otherwise fail in the middle of a run.
func (s *Scenario) check(from fs.FS) error {
	var bad []error
	say := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if s.Title == "" || s.Service == "" || s.Settle.Duration <= 0 {
		say("title, service and settle must be there")
	}
	if s.Settle.Duration > 15*time.Minute {
		say("settle: more than 15 minutes")
	}
	if !slices.Contains([]hops.State{hops.OK, hops.Failed, hops.Degraded, hops.Inconclusive}, s.Expect.State) {
		say("expect.state %q: OK, Failed, Degraded or Inconclusive", s.Expect.State)
	}
	if s.Expect.Hop != "" && !slices.Contains(hops.All(), s.Expect.Hop) {
		say("expect.hop %q is no hop", s.Expect.Hop)
	}
	known := map[string]bool{"": true}
	for _, r := range hops.Rules() {
		known[r.ID] = true
	}
	for _, id := range slices.Concat([]string{s.Mode, s.Expect.ID}, s.Expect.Or, s.Expect.Never) {
		if !known[id] {
			say("%q is the id of no rule", id)
		}
	}
	manifests := slices.Clone(s.Base)
	for i, a := range s.Inject {
		if n := a.fields(); n != 1 {
			say("inject[%d]: exactly one of apply, scale, delete, patch and wait, not %d", i, n)
		}
		if a.Apply != "" {
			manifests = append(manifests, a.Apply)
		}
		if _, err := time.ParseDuration(a.Wait); a.Wait != "" && err != nil {
			say("inject[%d]: %w", i, err)
		}
	}
	for _, m := range manifests {
		if strings.Contains(m, "/") {
			say("manifest %q: only files of the scenario's own folder", m)
		} else if _, err := fs.Stat(from, s.Name+"/"+m); err != nil {
			say("manifest %q is missing", m)
		}
	}
	return errors.Join(bad...)
}

// fields counts what an action sets.
func (a Action) fields() int {
	n := 0
	for _, set := range []bool{a.Apply != "", a.Scale != nil, a.Delete != nil, a.Patch != nil, a.Wait != ""} {
		if set {
			n++
		}
	}
	return n
}

// manifest reads a manifest of the scenario with its placeholders filled in: ${NAMESPACE} and ${IMAGE_name}.
func (s *Scenario) manifest(name string, values map[string]string) ([]byte, error) {
	raw, err := files.ReadFile(s.Name + "/" + name)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	text := string(raw)
	for k, v := range values {
		text = strings.ReplaceAll(text, "${"+k+"}", v)
	}
	if at := strings.Index(text, "${"); at >= 0 {
		return nil, fmt.Errorf("scenario %s, %s: nothing fills in %s", s.Name, name, hops.Clip(text[at:], 30))
	}
	return []byte(text), nil
}
