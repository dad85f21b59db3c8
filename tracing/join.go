// join.go: which spans of other programs hang under our requests. A span that is absent is a remark about tracing, never about the service.
package tracing

import (
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
	facts := run.Facts()
	facts.Spans = spans
	trace := hops.NewTrace(&facts)
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
		if h := trace.Hop(s); h != "" && !slices.Contains(j.Hops, h) {
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
