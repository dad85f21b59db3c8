// predict.go: which hops should have sent spans for what was sent, given the answers. What does not come is a remark about tracing, never about the
// service.
package tracing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"probe/hops"
)

// Predicted lists the hops that should have sent spans for a request: those that can, as far as its answer shows that it came. Knative leaves knocks
// out of its traces, the model servers have no spans, and a transformer does not hand the trace on to the predictor.
func Predicted(run *hops.Run, observation int) []hops.Hop {
	o := &run.Observations[observation]
	last := reached(o)
	if last == "" || o.SpanID == "" || o.From != "" {
		return nil
	}
	component := o.Step.Component
	if component == "" {
		component = run.Flow.EntryPoint
	}
	var out []hops.Hop
	for _, s := range run.Flow.Steps {
		own := s.ID() == o.Step.ID()
		if slices.Contains(out, s.Hop) || !s.Within(o.Step) || s.Component != "" && s.Component != component || !own && deeper(s.Hop, last) {
			continue
		}
		switch s.Hop {
		case hops.IngressGateway, hops.LocalGateway:
			if o.Outcome != hops.Answered || o.FromEnvoy() || o.Upstream() { // other gateways have other spans, if any
				out = append(out, s.Hop)
			}
		case hops.Activator:
			if o.Asked == hops.RealRequest && (own || last == hops.Activator || proxied(run, s, o)) {
				out = append(out, s.Hop)
			}
		case hops.QueueProxy:
			if o.Asked == hops.RealRequest {
				out = append(out, s.Hop)
			}
		}
	}
	return out
}

// reached is the hop furthest in that a request is known to have come to; "" when not even the one that it was sent to is.
func reached(o *hops.Observation) hops.Hop {
	switch {
	case o.Outcome == hops.Timeout && o.Phases.Write > 0: // it was taken, and a span ends when the caller hangs up
		return o.Step.Hop
	case o.Outcome != hops.Answered:
		return ""
	case o.OK():
		return hops.Container
	}
	switch hops.WroteIt(o) {
	case hops.ByModel, hops.ByQueueProxy:
		return hops.Container
	case hops.ByActivator:
		return hops.Activator
	case hops.BeforeGateway, hops.ByNobody:
		return ""
	case hops.Behind:
		if o.Upstream() && o.Step.Door != "" { // the first gateway passed it on, and some answer came back
			return hops.LocalGateway
		}
	}
	return o.Step.Hop
}

// deeper says whether a hop lies further in on the path than another.
func deeper(h, than hops.Hop) bool {
	order := hops.All()
	return slices.Index(order, h) > slices.Index(order, than)
}

// proxied says whether the activator stands before every weighted revision that the request may have gone to: burst capacity asks for it, or the
// request woke the revision.
func proxied(run *hops.Run, s hops.Step, o *hops.Observation) bool {
	c, _ := run.Flow.Component(s.Component)
	found := false
	for _, r := range c.Revisions {
		if r.Weight == 0 || o.Step.Revision != "" && r.Name != o.Step.Revision {
			continue
		}
		if !r.ViaProxy && !r.Asleep {
			return false
		}
		found = true
	}
	return found
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

// Remarks says in the user's words where the trace is not whole, a line a hop. That one has sent nothing for some of the requests alone is usual where
// it samples.
func (j Joins) Remarks(run *hops.Run, waited time.Duration) []string {
	var out []string
	for _, h := range hops.All() {
		predicted := 0
		var missing []string
		for _, r := range j.Requests {
			if !slices.Contains(Predicted(run, r.Observation), h) {
				continue
			}
			predicted++
			if !slices.Contains(r.Hops, h) {
				missing = append(missing, run.Observations[r.Observation].Step.ID())
			}
		}
		switch {
		case len(missing) == 0:
		case len(missing) == predicted:
			out = append(out, fmt.Sprintf("no span of %s came within %s: sampling is off, it exports elsewhere, or it is late and a longer --jaeger-wait brings it", h, waited))
		default:
			out = append(out, fmt.Sprintf("no span of %s came within %s for %d of %d requests (%s): it samples, or is late", h, waited, len(missing), predicted, strings.Join(missing, ", ")))
		}
	}
	return append(out, j.strays()...)
}

// mostStrays is how many services with strays are named.
const mostStrays = 5

// strays says whose spans are in the trace and hang under nothing of ours, a line a service and missing parent.
func (j Joins) strays() []string {
	var out []string
	for _, s := range j.Stray {
		line := fmt.Sprintf("spans of %s hang under no request of ours", s.Span.Service)
		if s.Missing != "" {
			line += fmt.Sprintf(": their parent %s was not sent", s.Missing)
		}
		if !slices.Contains(out, line) && len(out) < mostStrays {
			out = append(out, line)
		}
	}
	return out
}
