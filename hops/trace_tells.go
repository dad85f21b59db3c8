// trace_tells.go: what a trace tells of the requests at the front doors. Only what is in it counts: a span that is absent tells nothing.
package hops

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// flagWords are Envoy's response flags that say why a gateway answered itself
// (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage, RESPONSE_FLAGS).
func flagWords(flag string) string {
	return map[string]string{
		"NR": "it has no route for the host and path", "NC": "its route leads to a cluster that it does not know", "UH": "no healthy upstream",
		"UF": "the connection to the next hop failed", "UC": "the next hop closed the connection", "UR": "the next hop reset the request",
		"UT": "the next hop took longer than the route allows", "UO": "too many requests to the next hop", "URX": "all retries failed",
		"UPE": "the next hop does not speak its protocol", "UAEX": "the authorization service refused it", "RL": "rate limit",
		"SI": "idle for too long", "DPE": "the request breaks the protocol", "NFCF": "no filter configuration",
	}[flag]
}

// queueWait is queue-proxy's span of the time until the container has a free slot, sent where containerConcurrency limits it
// (knative.dev/serving/pkg/queue/handler.go).
const queueWait = "kn.queueproxy.wait"

// spanOfTheWait finds requests, while a front door fails, that got no answer because queue-proxy held them back nearly all the time.
func spanOfTheWait(v *View) []Match {
	spans, seen := v.Spans(), v.Observations()
	if len(spans) == 0 || len(failedDoors(v.ix)) == 0 {
		return nil
	}
	var out []Match
	t := NewTrace(&v.ix.facts)
	for i := range seen {
		o := &seen[i]
		if o.Asked != RealRequest || o.Outcome != Timeout {
			continue
		}
		for _, s := range t.under(o) {
			if s.Name == queueWait && s.Took >= o.Took/10*9 {
				out = append(out, Match{Step: v.behind(QueueProxy, o), Evidence: []Evidence{{Source: FromSpan, Ref: "span of " + s.Service,
					Field: rounded(s.Took) + " in", Value: s.Name, At: s.Start}}})
			}
		}
	}
	return latest(merge(out), 3)
}

// flagsOf are a gateway span's response flags: none while the answer came from behind, and none where the caller hung up (DC, DR), which tells nothing.
func flagsOf(s Span) []string {
	return slices.DeleteFunc(strings.Split(s.Tags["response_flags"], ","), func(f string) bool { return f == "" || oneOf(f, "-|DC|DR") })
}

// furthest is the hop where a request ended. Where no answer tells, it is the one furthest in at which the trace shows the request: those before it
// are known to have passed it on.
func (f *Facts) furthest(o *Observation) Hop {
	last := Suspect(o)
	if o.tellsPlace() || len(f.Spans) == 0 {
		return last
	}
	t := NewTrace(f)
	for _, s := range t.under(o) {
		h := t.Hop(s)
		if h == QueueProxy && s.Tags["span.kind"] == "client" { // it handed the request over
			h = Container
		}
		if h != "" && (Step{Hop: h}).place() < (Step{Hop: last}).place() {
			last = h
		}
	}
	return last
}

// ended says whether a gateway's span is one that took a request and ended it itself.
func (t *Trace) ended(s Span) bool {
	h := t.Hop(s)
	return (h == IngressGateway || h == LocalGateway) && s.Tags["span.kind"] != "client" && len(flagsOf(s)) > 0
}

// spanAccess gives the gateways' spans that ended a front door's failed request as the access log entries that they stand for. The log's own line
// of the same request tells more and comes first.
func spanAccess(f *Facts, failing map[Door]*Observation, logged []AccessEntry) []AccessEntry {
	if len(f.Spans) == 0 || len(failing) == 0 {
		return nil
	}
	var out []AccessEntry
	t := NewTrace(f)
	for _, door := range []Door{Outside, ClusterLocal} {
		if failing[door] == nil {
			continue
		}
		for _, s := range t.under(failing[door]) {
			e := accessOf(s)
			same := func(l AccessEntry) bool { return l.RequestID == e.RequestID && e.RequestID != "" }
			if t.ended(s) && !slices.ContainsFunc(logged, same) {
				out = append(out, e)
			}
		}
	}
	return out
}

// accessOf reads the tags that Envoy gives its spans (source/common/tracing/http_tracer_impl.cc).
func accessOf(s Span) AccessEntry {
	e := AccessEntry{Line: Line{Source: Spans, Container: s.Service, Text: s.Tags["response_flags"], Time: s.Start.Add(s.Took)},
		Method: s.Tags["http.method"], Proto: s.Tags["http.protocol"], Code: number(s.Tags["http.status_code"]), Flags: s.Tags["response_flags"],
		Cluster: s.Tags["upstream_cluster"], UserAgent: s.Tags["user_agent"], RequestID: s.Tags["guid:x-request-id"]}
	if u, err := url.Parse(s.Tags["http.url"]); err == nil {
		e.Authority, e.Path = u.Host, u.Path
	}
	return e
}

// traceNotes says which hop took the time of the slower front door's request, and how far those that failed came.
func traceNotes(f *Facts, failing map[Door]*Observation) []string {
	if len(f.Spans) == 0 {
		return nil
	}
	t := NewTrace(f)
	var out []string
	var slowest *Observation
	for _, door := range []Door{Outside, ClusterLocal} {
		o := doorAnswer(f.Observations, door)
		if o == nil || o.Asked != RealRequest || len(t.under(o)) == 0 {
			continue
		}
		if slowest == nil || o.Took > slowest.Took {
			slowest = o
		}
		if failing[door] != nil {
			out = append(out, t.wayNote(o, door))
		}
	}
	if slowest != nil {
		out = append(out, t.timeNote(slowest))
	}
	return out
}

// mostShares is how many places a note names; leastShare is the part of the whole from which a place is worth naming.
const (
	mostShares = 3
	leastShare = 0.05
)

// timeNote reads "of 2.1s at the ingress gateway: 2s in container, 80ms in activator".
func (t *Trace) timeNote(o *Observation) string {
	var parts []string
	for i, s := range t.shares(o) {
		if i == 0 || i < mostShares && float64(s.took) >= leastShare*float64(o.Took) {
			parts = append(parts, rounded(s.took)+" "+s.where)
		}
	}
	return fmt.Sprintf("of %s at the %s: %s", rounded(o.Took), doorName(o.Step.Door), strings.Join(parts, ", "))
}

// rounded keeps two digits or three of a length.
func rounded(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// wayNote reads "the trace shows the failed request at ingress-gateway, local-gateway; local-gateway ended it: UH, no healthy upstream".
func (t *Trace) wayNote(o *Observation, door Door) string {
	var way []string
	var end Span
	for _, s := range t.under(o) {
		if where := t.seenAt(s); !slices.Contains(way, where) {
			way = append(way, where)
		}
		if t.ended(s) { // the last is the one furthest in
			end = s
		}
	}
	out := fmt.Sprintf("the trace shows the failed request of the %s at %s", doorName(door), strings.Join(way, ", "))
	if flags := flagsOf(end); len(flags) > 0 {
		out += fmt.Sprintf("; %s ended it: %s, %s", t.seenAt(end), strings.Join(flags, " and "), cmp.Or(flagWords(flags[0]), "a response flag of Envoy"))
	}
	return out
}

func (t *Trace) seenAt(s Span) string {
	h := t.Hop(s)
	if h == "" && t.inContainer(s) {
		return t.container(s)
	}
	return cmp.Or(string(h), s.Service)
}
