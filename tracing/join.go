// join.go: which spans of other programs hang under our requests. A span that is absent is a remark about tracing, never about the service.
package tracing

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"probe/hops"
)

// Join is one request of ours and what hangs under it.
type Join struct {
	Observation int         // index in the run
	Spans       []hops.Span // of other programs, in the order of their start
	Hops        []hops.Hop  // who sent them, as far as known, outermost first
}

// Services lists the service names under the request, each once, in the order of their first span.
func (j Join) Services() []string {
	var out []string
	for _, s := range j.Spans {
		if !slices.Contains(out, s.Service) {
			out = append(out, s.Service)
		}
	}
	return out
}

// Stray is a span of the same trace whose parents do not lead to a request of ours.
type Stray struct {
	Span    hops.Span
	Missing string // the id where its chain of parents ends: a span that nobody sent, or "" for a root
}

// Joins is a trace as it was read back, sorted by our requests.
type Joins struct {
	Requests []Join // all of the run's requests, in its order
	Stray    []Stray
}

// JoinSpans follows each span's parents up to the request of ours that caused it. Our own spans, which a store has too, are left out.
func JoinSpans(run *hops.Run, spans []hops.Span) Joins {
	ours := map[string]bool{}
	requests := map[string]int{}
	for _, s := range flat(Spans(run, Options{SubSpans: true})) {
		ours[s.SpanID] = true
	}
	var out Joins
	for i := range run.Observations {
		if id := strings.ToLower(run.Observations[i].SpanID); id != "" {
			requests[id] = i
		}
		out.Requests = append(out.Requests, Join{Observation: i})
	}
	byID := map[string]hops.Span{}
	for _, s := range spans {
		byID[s.SpanID] = s
	}
	spans = slices.Clone(spans)
	slices.SortStableFunc(spans, func(a, b hops.Span) int { return a.Start.Compare(b.Start) })
	for _, s := range spans {
		if ours[s.SpanID] {
			continue
		}
		root := top(s, byID, ours)
		i, found := requests[root]
		if !found {
			out.Stray = append(out.Stray, Stray{Span: s, Missing: root})
			continue
		}
		j := &out.Requests[i]
		j.Spans = append(j.Spans, s)
		if h := roleIn(run, s, byID); h != "" && !slices.Contains(j.Hops, h) {
			j.Hops = append(j.Hops, h)
		}
	}
	for i := range out.Requests {
		slices.SortFunc(out.Requests[i].Hops, func(a, b hops.Hop) int { return slices.Index(hops.All(), a) - slices.Index(hops.All(), b) })
	}
	return out
}

// top follows the parents of a span up to the first id that is ours, or that nobody sent. A ring of parents ends after as many steps as there are spans.
func top(s hops.Span, byID map[string]hops.Span, ours map[string]bool) string {
	for range byID {
		up, known := byID[s.ParentID]
		if ours[s.ParentID] || !known {
			return s.ParentID
		}
		s = up
	}
	return s.SpanID
}

// Role tells which hop sent a span. Envoy marks its spans with its own tags; Knative's have fixed names (knative.dev/serving/pkg/activator/handler
// and pkg/queue). "" for the spans that their libraries add in between.
func Role(run *hops.Run, s hops.Span) hops.Hop {
	_, flags := s.Tags["response_flags"]
	_, cluster := s.Tags["upstream_cluster"]
	switch {
	case flags || cluster || s.Tags["component"] == "proxy":
		return gatewayRole(run, s.Service)
	case s.Service == "activator" || s.Name == "throttler_try" || s.Name == "activator_proxy":
		return hops.Activator
	case s.Name == "queue" || strings.HasPrefix(s.Name, "kn.queueproxy."):
		return hops.QueueProxy
	}
	return ""
}

// gatewayRole tells the gateways apart by the names that the run knows them by, as Envoy calls itself NAME.NAMESPACE.
func gatewayRole(run *hops.Run, service string) hops.Hop {
	name, _, _ := strings.Cut(service, ".")
	for _, d := range run.Flow.Doors {
		if name != "" && name == d.Gateway.Name {
			if d.Door == hops.ClusterLocal {
				return hops.LocalGateway
			}
			return hops.IngressGateway
		}
	}
	if strings.Contains(service, "local") {
		return hops.LocalGateway
	}
	return hops.IngressGateway
}

// roleIn is the role of a span, or that of the nearest parent of the same service when its own name says nothing.
func roleIn(run *hops.Run, s hops.Span, byID map[string]hops.Span) hops.Hop {
	for range byID {
		if h := Role(run, s); h != "" {
			return h
		}
		up, ok := byID[s.ParentID]
		if !ok || up.Service != s.Service {
			return ""
		}
		s = up
	}
	return ""
}

// Predicted lists the hops that should have sent spans for a request: those that can, on the path that it is known to have passed. Knative leaves
// knocks out of its traces, the model servers have no spans, and a transformer does not hand the trace on to the predictor.
func Predicted(run *hops.Run, observation int) []hops.Hop {
	o := &run.Observations[observation]
	if o.Outcome != hops.Answered || o.From != "" {
		return nil
	}
	component := o.Step.Component
	if component == "" {
		component = run.Flow.EntryPoint
	}
	var out []hops.Hop
	for _, s := range run.Flow.Steps {
		switch {
		case slices.Contains(out, s.Hop) || !s.Within(o.Step) || s.Component != "" && s.Component != component:
			continue
		case !o.OK() && s.ID() != o.Step.ID(): // where it ended is for the rules to say
			continue
		case s.Hop == hops.IngressGateway || s.Hop == hops.LocalGateway:
			out = append(out, s.Hop)
		case s.Hop == hops.Activator && o.Asked == hops.RealRequest && alwaysProxied(run, s):
			out = append(out, s.Hop)
		case s.Hop == hops.QueueProxy && o.Asked == hops.RealRequest:
			out = append(out, s.Hop)
		}
	}
	return out
}

// alwaysProxied says whether the activator stands before every weighted revision of the step's component.
func alwaysProxied(run *hops.Run, s hops.Step) bool {
	c, _ := run.Flow.Component(s.Component)
	proxied := false
	for _, r := range c.Revisions {
		if r.Weight == 0 {
			continue
		}
		if !r.ViaProxy {
			return false
		}
		proxied = true
	}
	return proxied
}

// Complete is a condition for Jaeger.Wait: every predicted hop has sent a span that leads to its request.
func Complete(run *hops.Run) func([]hops.Span) bool {
	return func(spans []hops.Span) bool {
		for _, j := range JoinSpans(run, spans).Requests {
			if len(j.missing(run)) > 0 {
				return false
			}
		}
		return true
	}
}

func (j Join) missing(run *hops.Run) []hops.Hop {
	return slices.DeleteFunc(Predicted(run, j.Observation), func(h hops.Hop) bool { return slices.Contains(j.Hops, h) })
}

// Remarks says in the user's words where the trace is not whole.
func (j Joins) Remarks(run *hops.Run) []string {
	var out []string
	for _, r := range j.Requests {
		if missing := r.missing(run); len(missing) > 0 {
			o := &run.Observations[r.Observation]
			out = append(out, fmt.Sprintf("no span of %s for the %s at %s: its tracing is off, samples, or sends elsewhere", list(missing), o.Asked, o.Step.ID()))
		}
	}
	for _, s := range j.Stray {
		out = append(out, fmt.Sprintf("span %q of %s hangs under no request of ours: its parent %s was not sent", s.Span.Name, s.Span.Service, cmp.Or(s.Missing, "(none)")))
	}
	return out
}

func list(hs []hops.Hop) string {
	var out []string
	for _, h := range hs {
		out = append(out, string(h))
	}
	return strings.Join(out, ", ")
}

// flat gives our own spans in the form of those read back.
func flat(trace []*tracepb.ResourceSpans) []hops.Span {
	var out []hops.Span
	for _, r := range trace {
		for _, scope := range r.ScopeSpans {
			for _, s := range scope.Spans {
				out = append(out, span(s))
			}
		}
	}
	return out
}

func span(s *tracepb.Span) hops.Span {
	out := hops.Span{TraceID: hex.EncodeToString(s.TraceId), SpanID: hex.EncodeToString(s.SpanId), ParentID: hex.EncodeToString(s.ParentSpanId),
		Service: serviceName, Name: s.Name, Start: time.Unix(0, int64(s.StartTimeUnixNano)).UTC(),
		Took:   time.Duration(s.EndTimeUnixNano - s.StartTimeUnixNano),
		Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Tags: map[string]string{}}
	for _, a := range s.Attributes {
		out.Tags[a.Key] = tag(a.Value)
	}
	return out
}

func tag(v *commonpb.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *commonpb.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	case *commonpb.AnyValue_ArrayValue:
		var parts []string
		for _, x := range v.ArrayValue.Values {
			parts = append(parts, tag(x))
		}
		return strings.Join(parts, ",")
	}
	return ""
}
