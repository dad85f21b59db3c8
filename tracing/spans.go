// Package tracing turns a finished run into one OpenTelemetry trace, sends it, reads back what others added to it, and draws it. It never dials
// the service that was probed.
//
// spans.go: one run as OTLP spans, a pure function of the run: complete exactly when things broke, and the same again from a capture.
package tracing

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.38.0"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"probe/hops"
)

const (
	serviceName = "probe"
	scopeName   = "probe/tracing"
)

// Options say how a run becomes a trace.
type Options struct {
	Version string // of the program
	// SubSpans makes each phase of a request a span of its own instead of an event.
	SubSpans bool
	// Redact sees every text on its way out; nil lets all pass.
	Redact func(string) string
}

// Spans gives the run as one trace: the root, a span a hop, under it one a request. It is nil for a run without a trace id, which sent nothing.
func Spans(run *hops.Run, o Options) []*tracepb.ResourceSpans {
	trace, ok := id(run.TraceID, 16)
	if !ok {
		return nil
	}
	b := builder{run: run, opt: o, trace: trace, used: map[string]bool{}}
	b.root = b.own(run.SpanID, "root")
	root := b.rootSpan()
	b.readSpan()
	at := run.Started
	for _, p := range places(run) {
		at = b.hopSpan(p, at)
	}
	b.close(root)
	return []*tracepb.ResourceSpans{{
		Resource:  &resourcepb.Resource{Attributes: o.resource()},
		SchemaUrl: semconv.SchemaURL,
		ScopeSpans: []*tracepb.ScopeSpans{{
			Scope:     &commonpb.InstrumentationScope{Name: scopeName, Version: o.Version},
			SchemaUrl: semconv.SchemaURL,
			Spans:     b.spans,
		}},
	}}
}

type builder struct {
	run         *hops.Run
	opt         Options
	trace, root []byte
	spans       []*tracepb.Span
	used        map[string]bool // span ids
}

// place is one hop with everything that speaks of it.
type place struct {
	step  hops.Step
	row   *hops.Row
	seen  []int // indices of observations, in the order in which they were sent
	found []*hops.Finding
}

// places lists the hops: the rows in their order, then what requests and findings name beside them.
func places(run *hops.Run) []*place {
	var out []*place
	at := map[string]*place{}
	of := func(s hops.Step) *place {
		p, ok := at[s.ID()]
		if !ok {
			p = &place{step: s}
			at[s.ID()] = p
			out = append(out, p)
		}
		return p
	}
	for i := range run.Verdict.Rows {
		of(run.Verdict.Rows[i].Step).row = &run.Verdict.Rows[i]
	}
	for i := range run.Observations {
		p := of(run.Observations[i].Step)
		p.seen = append(p.seen, i)
	}
	for i := range run.Verdict.Findings {
		p := of(run.Verdict.Findings[i].Step)
		p.found = append(p.found, &run.Verdict.Findings[i])
	}
	return out
}

// id reads an id of n bytes from hex; one of zeros only is none.
func id(s string, n int) ([]byte, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != n {
		return nil, false
	}
	return b, slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

// own gives the id that was drawn when it is valid and new, else one derived from the trace and the key, the same on every export.
func (b *builder) own(drawn, key string) []byte {
	if raw, ok := id(drawn, 8); ok && !b.used[string(raw)] {
		b.used[string(raw)] = true
		return raw
	}
	sum := sha256.Sum256(append(slices.Clone(b.trace), key...))
	b.used[string(sum[:8])] = true
	return sum[:8]
}

func (b *builder) add(s *tracepb.Span, start, end time.Time) *tracepb.Span {
	if end.Before(start) {
		end = start
	}
	s.TraceId = b.trace
	s.Name = b.opt.clean(s.Name)
	s.StartTimeUnixNano, s.EndTimeUnixNano = nanos(start), nanos(end)
	b.spans = append(b.spans, s)
	return s
}

// nanos is OTLP's time: nanoseconds since 1970, 0 for unknown.
func nanos(t time.Time) uint64 {
	if t.Unix() <= 0 {
		return 0
	}
	return uint64(t.UnixNano())
}

func (b *builder) attributes() attributes { return attributes{opt: b.opt} }

func (b *builder) rootSpan() *tracepb.Span {
	v, a := &b.run.Verdict, b.attributes()
	a.service(b.run.Ref)
	a.str(semconv.K8SNamespaceNameKey, b.run.Ref.Namespace)
	a.str(keyMode, string(b.run.Flow.Mode))
	a.str(keyState, string(v.State))
	a.str(keyHop, string(v.Step.Hop))
	a.str(keyComponent, v.Step.Component)
	a.str(keyRevision, v.Step.Revision)
	rule := ""
	if len(v.Findings) > 0 {
		rule = v.Findings[0].ID
	}
	a.str(keyRule, rule)
	a.str(keySummary, v.Summary)
	a.set(keyAsleep, v.Asleep)
	s := &tracepb.Span{SpanId: b.root, Name: "probe " + b.run.Ref.String(), Kind: tracepb.Span_SPAN_KIND_INTERNAL}
	if v.State == hops.Failed {
		a.str(semconv.ErrorTypeKey, cmp.Or(rule, "_OTHER"))
		s.Status = b.failure(v.Summary)
	}
	s.Attributes = a.list
	b.add(s, b.run.Started, b.run.Ended)
	for _, n := range v.NotChecked {
		e := b.attributes()
		e.str(keyWhat, n.What)
		e.str(keyNotCheckedWhy, n.Why)
		b.event(s, b.run.Ended, "probe.not_checked", e)
	}
	for _, w := range b.run.Warnings {
		e := b.attributes()
		e.str(keyWhat, w)
		b.event(s, b.run.Ended, "probe.warning", e)
	}
	return s
}

// close makes the root cover its children; their last end may lie behind a run's end in a capture that was cut short.
func (b *builder) close(root *tracepb.Span) {
	for _, s := range b.spans {
		root.EndTimeUnixNano = max(root.EndTimeUnixNano, s.EndTimeUnixNano)
		if s.StartTimeUnixNano > 0 && (root.StartTimeUnixNano == 0 || s.StartTimeUnixNano < root.StartTimeUnixNano) {
			root.StartTimeUnixNano = s.StartTimeUnixNano
		}
	}
}

// readSpan is the time spent on reads of the API server, which is no part of any hop.
func (b *builder) readSpan() {
	if b.run.Reads == 0 {
		return
	}
	a := b.attributes()
	a.service(b.run.Ref)
	a.str(semconv.K8SNamespaceNameKey, b.run.Ref.Namespace)
	a.num(keyReads, int64(b.run.Reads))
	b.add(&tracepb.Span{SpanId: b.own("", "read"), ParentSpanId: b.root, Name: "read cluster", Kind: tracepb.Span_SPAN_KIND_INTERNAL,
		Attributes: a.list}, b.run.Started, b.run.Started.Add(b.run.ReadTook))
}

// hopSpan adds one hop and its requests. A hop that no request was sent to gets a span without length where the one before it began, so that
// viewers, which sort by start, keep the order of the path. It gives that time for the next.
func (b *builder) hopSpan(p *place, at time.Time) time.Time {
	start, end := b.extent(p, at)
	a := b.attributes()
	a.place(b.run.Ref, p.step)
	how, state, why := hops.Inferred, hops.RowState(""), ""
	if len(p.seen) > 0 {
		how = hops.Dialled
	}
	kind, text := b.failed(p)
	switch {
	case p.row != nil:
		how, state, why = p.row.How, p.row.State, p.row.Why
	case kind != "":
		state = hops.RowFailed
	case slices.ContainsFunc(p.found, func(f *hops.Finding) bool { return f.Severity == hops.Warning }):
		state = hops.RowDegraded
	}
	a.str(keyHow, string(how))
	a.str(keyHopState, string(state))
	a.str(keyWhy, why)
	a.object(b.run.Ref, p.step)
	s := &tracepb.Span{SpanId: b.own("", "hop/"+p.step.ID()), ParentSpanId: b.root, Name: hopName(p.step), Kind: tracepb.Span_SPAN_KIND_INTERNAL}
	if kind != "" {
		a.str(semconv.ErrorTypeKey, kind)
		s.Status = b.failure(text)
	}
	s.Attributes = a.list
	b.add(s, start, end)
	for _, f := range p.found {
		b.finding(s, end, f)
	}
	for _, i := range p.seen {
		b.requestSpan(s.SpanId, i, start)
	}
	return start
}

func hopName(s hops.Step) string {
	name := string(s.Hop)
	for _, part := range []string{string(s.Door), s.Component} {
		if part != "" {
			name += " " + part
		}
	}
	return name
}

// extent covers all requests of a hop.
func (b *builder) extent(p *place, at time.Time) (start, end time.Time) {
	for _, i := range p.seen {
		o := &b.run.Observations[i]
		if o.Start.IsZero() {
			continue
		}
		if start.IsZero() || o.Start.Before(start) {
			start = o.Start
		}
		if e := o.Ended(); e.After(end) {
			end = e
		}
	}
	if start.IsZero() {
		return at, at
	}
	return start, end
}

// failed gives error.type and text of a hop that failed, "" for one that did not: its finding, else its own request's, else that of a request from
// further out that ended here. A finding that is only possible accuses nobody.
func (b *builder) failed(p *place) (kind, text string) {
	for _, f := range p.found {
		if f.Severity == hops.Error && f.Confidence != hops.Possible {
			return f.ID, f.Summary
		}
	}
	if p.row == nil || p.row.State != hops.RowFailed {
		return "", ""
	}
	if i := p.row.Observation; i >= 0 && i < len(b.run.Observations) {
		kind = errorType(&b.run.Observations[i])
	}
	return cmp.Or(kind, "request-failed"), p.row.Why
}

func (b *builder) failure(text string) *tracepb.Status {
	return &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: b.opt.clean(text)}
}

func (b *builder) event(s *tracepb.Span, at time.Time, name string, a attributes) {
	s.Events = append(s.Events, &tracepb.Span_Event{TimeUnixNano: nanos(at), Name: name, Attributes: a.list})
}

// finding adds a finding and its evidence as events. They lie at the span's end: viewers cannot show what happened before their span began.
func (b *builder) finding(s *tracepb.Span, at time.Time, f *hops.Finding) {
	a := b.attributes()
	a.str(keyRule, f.ID)
	a.str(keySeverity, string(f.Severity))
	a.str(keyConfidence, string(f.Confidence))
	a.str(keySummary, f.Summary)
	a.str(keyFix, f.Fix)
	b.event(s, at, "probe.finding", a)
	for _, e := range f.Evidence {
		a := b.attributes()
		a.str(keyRule, f.ID)
		a.str(keyEvidence, e.Source)
		a.str(keyEvidenceRef, e.Ref)
		a.str(keyEvidenceField, e.Field)
		a.str(keyEvidenceValue, e.Value)
		if !e.At.IsZero() {
			a.str(keyEvidenceAt, e.At.UTC().Format(time.RFC3339))
		}
		b.event(s, at, "probe.evidence", a)
	}
}

// requestSpan adds one request as a client span, whose id went out in its traceparent.
func (b *builder) requestSpan(parent []byte, i int, fallback time.Time) {
	o := &b.run.Observations[i]
	a := b.attributes()
	a.place(b.run.Ref, o.Step)
	a.target(b.run.Ref, o.Target)
	a.str(keyAsked, string(o.Asked))
	a.str(keyVantage, string(o.Vantage))
	a.positive(keyAttempt, o.Attempt)
	a.set(keyColdStart, o.ColdStart)
	a.add(keyJudged, &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: o.Judged()}})
	a.request(o)
	for _, name := range slices.Sorted(maps.Keys(o.Header)) {
		a.header(name, o.Header[name])
	}
	s := &tracepb.Span{SpanId: b.own(o.SpanID, fmt.Sprint("request/", i)), ParentSpanId: parent, Name: requestName(o),
		Kind: tracepb.Span_SPAN_KIND_CLIENT, Attributes: a.list}
	if errorType(o) != "" {
		s.Status = b.failure(o.Describe())
	}
	start := o.Start
	if start.IsZero() {
		start = fallback
	}
	b.add(s, start, start.Add(o.Took))
	b.phases(s, o.Phases, start)
}

// requestName is method and path: the paths are few, and chosen by us or by our user.
func requestName(o *hops.Observation) string {
	path, _, _ := strings.Cut(o.Path, "?")
	return strings.TrimSpace(cmp.Or(o.Method, "HTTP") + " " + path)
}

type phase struct {
	name      string
	from, len time.Duration
}

// phasesOf lays the phases end to end; those that did not happen are left out.
func phasesOf(p hops.Phases) []phase {
	var out []phase
	var at time.Duration
	for _, x := range []phase{{"dns", 0, p.DNS}, {"connect", 0, p.Connect}, {"tls", 0, p.TLS}, {"write", 0, p.Write}, {"wait", 0, p.Wait}, {"body", 0, p.Body}} {
		if x.len > 0 {
			x.from = at
			out = append(out, x)
			at += x.len
		}
	}
	return out
}

func (b *builder) phases(s *tracepb.Span, p hops.Phases, start time.Time) {
	for _, x := range phasesOf(p) {
		a := b.attributes()
		a.num(keyOffset, x.from.Microseconds())
		a.num(keyDuration, x.len.Microseconds())
		from := start.Add(x.from)
		if !b.opt.SubSpans {
			b.event(s, from, x.name, a)
			continue
		}
		b.add(&tracepb.Span{SpanId: b.own("", hex.EncodeToString(s.SpanId)+"/"+x.name), ParentSpanId: s.SpanId, Name: x.name,
			Kind: tracepb.Span_SPAN_KIND_INTERNAL, Attributes: a.list}, from, from.Add(x.len))
	}
}
