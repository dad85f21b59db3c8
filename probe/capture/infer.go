// infer.go: what a folder without capture.yaml leaves to be told from its objects: the service, the time, the pods of logs.
package capture

import (
	"slices"
	"strings"
	"time"

	"probe/hops"
)

// refOf finds the service: the only InferenceService among the objects, else only the namespace that all of them share.
func refOf(dir string, snapshots []hops.Snapshot) (hops.Ref, error) {
	var services []hops.Ref
	namespaces := map[string]int{}
	for _, s := range snapshots {
		for i := range s.Objects {
			o := &s.Objects[i]
			if o.Namespace != "" {
				namespaces[o.Namespace]++
			}
			if ref := (hops.Ref{Namespace: o.Namespace, Name: o.Name}); o.Source == hops.InferenceServices && !slices.Contains(services, ref) {
				services = append(services, ref)
			}
		}
	}
	switch {
	case len(services) == 1:
		return services[0], nil
	case len(services) > 1:
		slices.SortFunc(services, func(a, b hops.Ref) int { return strings.Compare(a.String(), b.String()) })
		return hops.Ref{}, &AmbiguousError{Dir: dir, Services: services}
	case len(namespaces) == 1:
		return hops.Ref{Namespace: sortedKeys(namespaces)[0]}, nil
	}
	return hops.Ref{}, nil
}

// newest is the latest time that a snapshot's objects, events and lines speak of as past.
func newest(s *hops.Snapshot) time.Time {
	var last time.Time
	see := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	for i := range s.Objects {
		walkTimes(s.Objects[i].Tree, see)
	}
	for _, e := range s.Events {
		see(e.First)
		see(e.Last)
	}
	for _, l := range s.Lines {
		see(l.Time)
	}
	return last.UTC()
}

// walkTimes finds the fields that hold a past time; deadlines and expiry dates lie in the future.
func walkTimes(v any, see func(time.Time)) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			text, ok := x.(string)
			if !ok {
				walkTimes(x, see)
				continue
			}
			switch k {
			case "creationTimestamp", "lastTransitionTime", "lastUpdateTime", "lastHeartbeatTime", "startTime", "startedAt", "finishedAt", "time":
				if t, err := time.Parse(time.RFC3339, text); err == nil {
					see(t)
				}
			}
		}
	case []any:
		for _, x := range v {
			walkTimes(x, see)
		}
	}
}

// podsOf lists the pods with their containers.
func podsOf(objects []hops.Object) map[string]podNames {
	out := map[string]podNames{}
	for i := range objects {
		o := &objects[i]
		if o.Kind != "Pod" {
			continue
		}
		p := podNames{namespace: o.Namespace}
		for _, field := range []string{"initContainers", "containers"} {
			for _, c := range o.List("spec", field) {
				if name, ok := c["name"].(string); ok {
					p.containers = append(p.containers, name)
				}
			}
		}
		out[o.Name] = p
	}
	return out
}
