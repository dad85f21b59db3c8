// graph.go: `probe --graph NAME`: the services that an InferenceGraph calls, a line each, and what the graph itself lacks. The router that runs the
// graph is not probed: only its own word on whether it is ready is passed on.
package main

import (
	"context"
	"fmt"
	"slices"

	"probe/hops"
	"probe/probe/read"
)

// inGraph keeps the services that the graph calls. lame counts the steps that no request can pass: their service does not exist, and the graph waits for its answer.
func (o *oneShot) inGraph(ctx context.Context, cluster *read.Cluster, namespace string, services []hops.Object) (kept []hops.Object, notes []string, lame int, err error) {
	g, err := o.readGraph(ctx, cluster, namespace)
	if err != nil {
		return nil, nil, 0, err
	}
	if !g.Ready {
		notes = append(notes, fmt.Sprintf("InferenceGraph %s is not ready: %s", g.Ref, g.Why))
	}
	for _, u := range g.Unknown {
		notes = append(notes, fmt.Sprintf("InferenceGraph %s: %s", g.Ref, u))
	}
	faults, _ := g.Check(&hops.Snapshot{Objects: services, Full: []hops.Source{hops.InferenceServices}})
	for _, f := range faults {
		notes = append(notes, fmt.Sprintf("InferenceGraph %s, step %s: %s", g.Ref, f.Step, f.Why))
		if f.Missing && !f.Step.Soft {
			lame++
		}
	}
	called := g.Services()
	for i := range services {
		if slices.Contains(called, hops.Ref{Namespace: services[i].Namespace, Name: services[i].Name}) {
			kept = append(kept, services[i])
		}
	}
	return kept, notes, lame, nil
}

func (o *oneShot) readGraph(ctx context.Context, cluster *read.Cluster, namespace string) (hops.Graph, error) {
	s := cluster.Want(ctx, hops.Facts{Ref: hops.Ref{Namespace: namespace}, Live: true}, []hops.Source{hops.InferenceGraphs})
	for i := range s.Objects {
		if at := &s.Objects[i]; at.Source == hops.InferenceGraphs && at.Name == o.graph {
			return hops.ReadGraph(at), nil
		}
	}
	for _, gap := range s.Gaps {
		return hops.Graph{}, fmt.Errorf("inferencegraph %s/%s: %s; ask for the right to list inferencegraphs.serving.kserve.io (`probe rbac` prints it)", namespace, o.graph, gap.Why)
	}
	return hops.Graph{}, usage("inferencegraph %s/%s does not exist; `kubectl get inferencegraphs -n %s` lists them", namespace, o.graph, namespace)
}
