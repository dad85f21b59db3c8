package main

import (
	"strings"
	"testing"

	"probe/hops"
	"probe/scenarios/inproc"
)

// graphOf adds an InferenceGraph over the named services to what the API server has.
func graphOf(m inproc.Member, namespace string, services ...string) inproc.Member {
	var steps []any
	for _, s := range services {
		steps = append(steps, map[string]any{"name": "to-" + s, "serviceName": s})
	}
	s := &m.Run.Snapshots[0]
	s.Objects = append(s.Objects, hops.Object{Source: hops.InferenceGraphs, Kind: "InferenceGraph", Namespace: namespace, Name: "pipeline", Tree: map[string]any{
		"apiVersion": "serving.kserve.io/v1alpha1", "kind": "InferenceGraph", "metadata": map[string]any{"name": "pipeline", "namespace": namespace},
		"spec":   map[string]any{"nodes": map[string]any{"root": map[string]any{"routerType": "Sequence", "steps": steps}}},
		"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}}})
	return m
}

func TestGraphCommand(t *testing.T) {
	tests := []struct {
		name          string
		steps         []string
		args          []string
		code          int
		table, stderr []string
		not           string // in the table
	}{
		{"all well", []string{"one", "two"}, []string{"--graph", "pipeline", "-n", "a"}, 0, []string{"one", "two"}, nil, "three"},
		{"a step leads nowhere", []string{"one", "gone"}, []string{"--graph", "pipeline", "-n", "a"}, 1, []string{"one"},
			[]string{"step root to-gone: inferenceservice gone does not exist"}, "two"},
		{"no such graph", []string{"one"}, []string{"--graph", "other", "-n", "a"}, 2, nil, []string{"inferencegraph a/other does not exist"}, "one"},
		{"of one namespace only", []string{"one"}, []string{"--graph", "pipeline", "-A"}, 2, nil, []string{"leave --isvc, -A and -l away"}, "one"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := fleet(t, graphOf(member(t, 0, "a", "one"), "a", test.steps...), member(t, 0, "a", "two"), member(t, 0, "a", "three"))
			code, stdout, stderr := probing(t.Context(), t, f, f, test.args...)
			if code != test.code || strings.Contains(stdout, test.not) {
				t.Errorf("code %d, want %d\n%s%s", code, test.code, stdout, stderr)
			}
			for _, w := range test.table {
				if !strings.Contains(stdout, w) {
					t.Errorf("no %q in\n%s", w, stdout)
				}
			}
			for _, w := range test.stderr {
				if !strings.Contains(stderr, w) {
					t.Errorf("no %q in\n%s", w, stderr)
				}
			}
		})
	}
}
