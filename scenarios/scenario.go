// Package scenarios causes failure modes on a real cluster, probes, and compares the verdict with the one that is expected. A scenario is data: a
// folder with scenario.yaml and manifests. Adding one is adding a folder.
//
// scenario.go: what a scenario is.
package scenarios

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probe/hops"
)

// Scenario is one failure mode, or one healthy state, as data.
type Scenario struct {
	Name  string `json:"-"` // of its folder
	Title string `json:"title"`
	// Mode is the id of the failure mode that it causes; "" for a healthy state.
	Mode string `json:"mode,omitempty"`
	// Service is the name of the InferenceService that is probed.
	Service string `json:"service"`
	// Requires names what the cluster must have beside KServe, see Requirements.
	Requires []string `json:"requires,omitempty"`
	// Shared says that it breaks what other services of the cluster use too.
	Shared bool `json:"shared,omitempty"`
	// Smoke says that it belongs to the short set.
	Smoke bool `json:"smoke,omitempty"`
	// Labels are those of its namespace.
	Labels map[string]string `json:"labels,omitempty"`
	// Base are the manifests of a service that must be OK before Inject; none when the service is broken from its start.
	Base []string `json:"base,omitempty"`
	// Inject breaks it, step by step; every step is undone in the end.
	Inject []Action `json:"inject,omitempty"`
	// Starting is the verdict of a first look, before the evidence is complete. It may be left out.
	Starting *Expect `json:"starting,omitempty"`
	// Settle is how long until the breakage shows at the latest.
	Settle metav1.Duration `json:"settle"`
	// Probe are the choices of the probe.
	Probe  Choices `json:"probe,omitzero"`
	Expect Expect  `json:"expect"`
	// Later is a second look after more has happened, such as that the controllers gave up and took the evidence away.
	Later *Later `json:"later,omitempty"`
}

// Later is a look after the main one.
type Later struct {
	Do     []Action        `json:"do"`
	Settle metav1.Duration `json:"settle"`
	Expect Expect          `json:"expect"`
}

// Action is one step of breaking something; exactly one field is set.
type Action struct {
	Apply  string  `json:"apply,omitempty"`  // a manifest of the folder
	Scale  *Scale  `json:"scale,omitempty"`  // a Deployment
	Delete *Object `json:"delete,omitempty"` // an object
	Patch  *Patch  `json:"patch,omitempty"`  // an object
	Wait   string  `json:"wait,omitempty"`   // a duration
	Until  Until   `json:"until,omitempty"`  // something of the scenario's own namespace
}

// Until is what an action may wait for, for at most untilWithin.
type Until string

// The states to wait for.
const (
	NoPods Until = "no-pods" // the namespace has no pod any more, also none that is terminating
	APod   Until = "a-pod"   // the namespace has a pod
)

// untilWithin bounds an until: a progress deadline of 60 s plus the autoscaler's 30 s, twice, and the drain of a pod, for which KServe allows 5 min.
const untilWithin = 8 * time.Minute

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
	Method  string          `json:"method,omitempty"`
	Path    string          `json:"path,omitempty"`
	Data    string          `json:"data,omitempty"`
	Wake    bool            `json:"wake,omitempty"`
	Timeout metav1.Duration `json:"timeout,omitzero"`
}

// Expect is the verdict that is expected.
type Expect struct {
	State hops.State `json:"state"`
	// OrState lists others that are as right.
	OrState []hops.State `json:"orState,omitempty"`
	Hop     hops.Hop     `json:"hop,omitempty"`
	// ID is that of the first finding, "" for none above a note; Or lists others that are as right.
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

// looks are the verdicts that are expected, by the name of the look.
func (s *Scenario) looks() map[string]Expect {
	out := map[string]Expect{LookMain: s.Expect}
	if s.Starting != nil {
		out[LookStarting] = *s.Starting
	}
	if s.Later != nil {
		out[LookLater] = s.Later.Expect
	}
	return out
}

// within is the longest that a scenario may take, with its base and its cleaning up.
func (s *Scenario) within() time.Duration {
	most := readyWithin + cleanUpWithin + s.Settle.Duration
	actions := s.Inject
	if s.Later != nil {
		most += s.Later.Settle.Duration
		actions = append(actions[:len(actions):len(actions)], s.Later.Do...)
	}
	for _, a := range actions {
		if a.Until != "" {
			most += untilWithin
		}
		if d, err := time.ParseDuration(a.Wait); err == nil {
			most += d
		}
	}
	return most
}
