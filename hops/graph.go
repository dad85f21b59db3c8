// graph.go: an InferenceGraph as a flow of flows: the steps of its nodes, and the InferenceServices that they name.
package hops

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// rootNode is where a graph begins (kserve/pkg/apis/serving/v1alpha1, GraphRootNodeName).
const rootNode = "root"

// Graph is one InferenceGraph.
type Graph struct {
	Ref   Ref         `json:"ref"`
	URL   string      `json:"url,omitempty"`
	Ready bool        `json:"ready"`
	Why   string      `json:"why,omitempty"` // why it says that it is not ready
	Steps []GraphStep `json:"steps"`         // as a request meets them, from the root node on
	// Unknown lists what is wrong with the graph itself, or was not told.
	Unknown []string `json:"unknown,omitempty"`
}

// GraphStep is one step of a node. It leads to an InferenceService of the graph's namespace, to another node, or to an address.
type GraphStep struct {
	Node      string `json:"node"`
	Router    string `json:"router"` // Sequence, Splitter, Ensemble or Switch
	Name      string `json:"name,omitempty"`
	Service   string `json:"service,omitempty"`
	Next      string `json:"next,omitempty"` // name of a node
	URL       string `json:"url,omitempty"`
	Weight    int    `json:"weight,omitempty"`
	Condition string `json:"condition,omitempty"`
	Soft      bool   `json:"soft,omitempty"` // the request goes on when the step fails
}

// String names the step in words: "root[1] scaler".
func (s GraphStep) String() string { return strings.TrimSpace(s.Node + " " + s.Name) }

// ReadGraph reads an InferenceGraph. Nodes that no request can reach are left out and listed as such.
func ReadGraph(o *Object) Graph {
	g := Graph{Ref: Ref{o.Namespace, o.Name}, URL: o.Str("status", "url"), Ready: o.Ready()}
	if c, ok := o.Condition("Ready"); ok && !c.True() {
		g.Why = strings.TrimSpace(c.Reason + " " + c.Message)
	} else if !ok {
		g.Why = "it has no status yet"
	}
	nodes, _ := o.Get("spec", "nodes").(map[string]any)
	seen := map[string]bool{}
	g.walk(nodes, rootNode, seen)
	for name := range nodes {
		if !seen[name] {
			g.Unknown = append(g.Unknown, fmt.Sprintf("node %s is reached by no step", name))
		}
	}
	slices.Sort(g.Unknown)
	return g
}

// walk adds the steps of a node and then those of the nodes that they lead to. Each node once: a graph that bites its own tail ends too.
func (g *Graph) walk(nodes map[string]any, name string, seen map[string]bool) {
	if seen[name] {
		return
	}
	seen[name] = true
	node, ok := nodes[name].(map[string]any)
	if !ok {
		g.Unknown = append(g.Unknown, fmt.Sprintf("node %s does not exist", name))
		return
	}
	var next []string
	for i, s := range maps(node["steps"]) {
		step := GraphStep{Node: name, Router: text(node["routerType"]), Name: cmp.Or(text(s["name"]), fmt.Sprintf("step %d", i+1)), Service: text(s["serviceName"]),
			Next: text(s["nodeName"]), URL: text(s["serviceUrl"]), Weight: number(s["weight"]), Condition: text(s["condition"]), Soft: text(s["dependency"]) == "Soft"}
		g.Steps = append(g.Steps, step)
		if step.Next != "" {
			next = append(next, step.Next)
		}
		if step.Service == "" && step.Next == "" && step.URL == "" {
			g.Unknown = append(g.Unknown, fmt.Sprintf("%s leads nowhere: it names no service, node or address", step))
		}
	}
	for _, n := range next {
		g.walk(nodes, n, seen)
	}
}

// Services lists the InferenceServices that the graph calls, in the order of its steps, each once.
func (g *Graph) Services() []Ref {
	var out []Ref
	for _, s := range g.Steps {
		ref := Ref{g.Ref.Namespace, s.Service}
		if s.Service != "" && !slices.Contains(out, ref) {
			out = append(out, ref)
		}
	}
	return out
}

// GraphFault is a step that cannot do its part.
type GraphFault struct {
	Step GraphStep `json:"step"`
	Why  string    `json:"why"`
	// Missing says that the service does not exist. One that is not ready may answer all the same, from an older revision.
	Missing bool `json:"missing,omitempty"`
}

// Check looks the graph's services up in the snapshot: which steps lead to a service that is missing or not ready. A missing service counts only
// where the list was read in full; else it is unknown.
func (g *Graph) Check(s *Snapshot) (faults []GraphFault, unknown []string) {
	full := slices.Contains(s.Full, InferenceServices)
	for _, step := range g.Steps {
		if step.Service == "" {
			continue
		}
		at := slices.IndexFunc(s.Objects, func(o Object) bool {
			return o.Source == InferenceServices && o.Namespace == g.Ref.Namespace && o.Name == step.Service
		})
		switch {
		case at < 0 && full:
			faults = append(faults, GraphFault{Step: step, Why: "inferenceservice " + step.Service + " does not exist", Missing: true})
		case at < 0:
			unknown = append(unknown, fmt.Sprintf("%s: inferenceservice %s was not read", step, step.Service))
		case !s.Objects[at].Ready():
			c, _ := s.Objects[at].Condition("Ready")
			why := cmp.Or(strings.TrimSpace(c.Reason+" "+c.Message), "it has no status yet")
			faults = append(faults, GraphFault{Step: step, Why: fmt.Sprintf("inferenceservice %s is not ready: %s", step.Service, why)})
		}
	}
	return faults, unknown
}
