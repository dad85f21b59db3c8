// trace.go: spans of other programs, sorted by the request of ours that caused them, by hop and by the time that each held the request.
package hops

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Trace is spans by parent.
type Trace struct {
	flow     *Flow
	byID     map[string]Span
	children map[string][]Span // by id of the parent, in the order of their start
}

// NewTrace sorts the facts' spans. Those of our own requests, which a store has too, are left out: the observations tell more.
func NewTrace(f *Facts) *Trace {
	t := &Trace{flow: &f.Flow, byID: map[string]Span{}, children: map[string][]Span{}}
	ours := map[string]bool{}
	for i := range f.Observations {
		ours[strings.ToLower(f.Observations[i].SpanID)] = true
	}
	for _, s := range f.Spans {
		if _, twice := t.byID[s.SpanID]; twice || ours[s.SpanID] {
			continue
		}
		t.byID[s.SpanID] = s
		t.children[s.ParentID] = append(t.children[s.ParentID], s)
	}
	for _, list := range t.children {
		slices.SortStableFunc(list, func(a, b Span) int { return a.Start.Compare(b.Start) })
	}
	return t
}

// SpanHop tells which hop sent a span. Envoy marks its spans with its own tags, and those of a pod's sidecar bear the workload's name; Knative's have
// fixed names (knative.dev/serving/pkg/activator/handler and pkg/queue). "" for the spans that their libraries add in between, and for others.
func SpanHop(f *Flow, s Span) Hop {
	_, flags := s.Tags["response_flags"]
	_, cluster := s.Tags["upstream_cluster"]
	switch {
	case flags || cluster || s.Tags["component"] == "proxy":
		return gatewayOf(f, s)
	case s.Service == "activator" || s.Name == "throttler_try" || s.Name == "activator_proxy":
		return Activator
	case s.Name == "queue" || strings.HasPrefix(s.Name, "kn.queueproxy."):
		return QueueProxy
	}
	return ""
}

// gatewayOf tells the gateways apart by the names that the flow knows them by, as Envoy calls itself NAME.NAMESPACE.
func gatewayOf(f *Flow, s Span) Hop {
	name, _, _ := strings.Cut(s.Service, ".")
	for _, d := range f.Doors {
		if name != "" && name == d.Gateway.Name {
			if d.Door == ClusterLocal {
				return LocalGateway
			}
			return IngressGateway
		}
	}
	switch {
	case strings.HasPrefix(s.Tags["node_id"], "sidecar~") || ComponentInName(name) != "":
		return ""
	case strings.Contains(s.Service, "local"):
		return LocalGateway
	}
	return IngressGateway
}

// Hop is the hop of a span, or that of the nearest parent of the same service when its own name says nothing.
func (t *Trace) Hop(s Span) Hop {
	for range len(t.byID) + 1 { // parents may form a ring
		if h := SpanHop(t.flow, s); h != "" {
			return h
		}
		up, ok := t.byID[s.ParentID]
		if !ok || up.Service != s.Service {
			return ""
		}
		s = up
	}
	return ""
}

// under lists the spans that a request caused, each behind its parent.
func (t *Trace) under(o *Observation) []Span {
	if o.SpanID == "" {
		return nil
	}
	out := slices.Clone(t.children[strings.ToLower(o.SpanID)])
	for i := 0; i < len(out); i++ { // no span has two parents, so none comes twice
		out = append(out, t.children[out[i].SpanID]...)
	}
	return out
}

// share is how long one place held a request.
type share struct {
	where string
	took  time.Duration
}

// shares says where a request's time went, the longest first. It counts lengths only, as the clocks of nodes differ: what a span's children leave
// of it is its own.
func (t *Trace) shares(o *Observation) []share {
	spans := t.under(o)
	if len(spans) == 0 {
		return nil
	}
	var out []share
	add := func(where string, took time.Duration) {
		i := slices.IndexFunc(out, func(s share) bool { return s.where == where })
		if i < 0 {
			i, out = len(out), append(out, share{where: where})
		}
		out[i].took = min(out[i].took+max(took, 0), o.Took)
	}
	first := t.children[strings.ToLower(o.SpanID)]
	way := "on the way to " + cmp.Or(string(t.Hop(first[0])), first[0].Service)
	if o.Vantage != "" {
		way += " (" + string(o.Vantage) + ")"
	}
	add(way, o.Took-total(first))
	for _, s := range spans {
		add(t.holder(s), s.Took-total(t.children[s.SpanID]))
	}
	slices.SortStableFunc(out, func(a, b share) int { return cmp.Compare(b.took, a.took) })
	return out
}

func total(spans []Span) time.Duration {
	var out time.Duration
	for _, s := range spans {
		out += s.Took
	}
	return out
}

// holder says who had the request during a span's own time. Most model servers send no spans: what queue-proxy waited for its client's answer is
// theirs, and so is what the last hop before them waited in Standard mode. Behind another hop it may be the next one or the network.
func (t *Trace) holder(s Span) string {
	client := s.Tags["span.kind"] == "client"
	last := len(t.children[s.SpanID]) == 0
	switch h := t.Hop(s); {
	case h == QueueProxy && client:
		return "in " + t.container(s)
	case h == "" && t.inContainer(s):
		return "in " + t.container(s)
	case h == "":
		return "in " + s.Service
	case client && last && t.flow.Mode == Standard:
		return "in " + string(Container)
	case client && last:
		return "behind " + string(h)
	default:
		return "in " + string(h)
	}
}

// inContainer says whether a span of no known hop is the model server's own: the nearest hop further out is queue-proxy.
func (t *Trace) inContainer(s Span) bool {
	h, _ := t.outer(s)
	return h == QueueProxy || t.flow.Mode == Standard && h == IngressGateway
}

// outer is the nearest known hop above a span, with its span.
func (t *Trace) outer(s Span) (Hop, Span) {
	for range t.byID {
		up, ok := t.byID[s.ParentID]
		if !ok {
			break
		}
		if h := t.Hop(up); h != "" {
			return h, up
		}
		s = up
	}
	return "", Span{}
}

// container names the container behind a span: with its component where there are several.
func (t *Trace) container(s Span) string {
	component := ComponentInName(s.Service)
	if t.Hop(s) == "" {
		_, up := t.outer(s)
		component = ComponentInName(up.Service)
	}
	if component == "" || len(t.flow.Components) < 2 {
		return string(Container)
	}
	return string(Container) + " of the " + component
}
