// metrics.go: one run as OpenTelemetry metrics, a pure function of the run, for probes that no Prometheus can scrape because they end.
package tracing

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.38.0"

	"probe/hops"
)

// noCause is the reason of a run that failed without a finding, in the agent's word.
const noCause = "no-cause-found"

// Metrics gives the run as gauges with the names and labels that the agent shows at /metrics, all of the time when the run ended. There are only
// gauges: what lives for one probe has nothing to add up, and a sum over the last probe alone is one that Prometheus refuses (delta temporality).
// So probe_request_seconds and probe_cold_start_seconds are the last request's, not histograms. It is nil for a run without a trace id, which sent
// nothing.
func Metrics(run *hops.Run, o Options) *metricdata.ResourceMetrics {
	trace, ok := id(run.TraceID, 16)
	if !ok {
		return nil
	}
	span, _ := id(run.SpanID, 8)
	g := gauges{run: run, opt: o, trace: trace, span: span}
	g.states()
	g.times()
	g.doors()
	attrs := []attribute.KeyValue{semconv.ServiceName(serviceName), semconv.ServiceVersion(o.Version)}
	return &metricdata.ResourceMetrics{Resource: resource.NewWithAttributes(semconv.SchemaURL, attrs...),
		ScopeMetrics: []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: scopeName, Version: o.Version}, Metrics: g.list}}}
}

// gauges collects the metrics of one run.
type gauges struct {
	run         *hops.Run
	opt         Options
	trace, span []byte
	list        []metricdata.Metrics
}

// add adds a value to a name; further labels are name, value, name, value. What has no unit is given none: to "1" Prometheus would add _ratio.
func (g *gauges) add(name, unit string, value float64, labels ...string) {
	attrs := []attribute.KeyValue{attribute.String("namespace", g.run.Ref.Namespace), attribute.String("service", g.run.Ref.Name)}
	for i := 0; i < len(labels); i += 2 {
		attrs = append(attrs, attribute.String(labels[i], g.opt.clean(labels[i+1])))
	}
	point := metricdata.DataPoint[float64]{Attributes: attribute.NewSet(attrs...), Time: g.run.Ended, Value: value,
		Exemplars: []metricdata.Exemplar[float64]{{Time: g.run.Ended, Value: value, TraceID: g.trace, SpanID: g.span}}}
	if n := len(g.list); n > 0 && g.list[n-1].Name == name {
		same := g.list[n-1].Data.(metricdata.Gauge[float64])
		same.DataPoints = append(same.DataPoints, point)
		g.list[n-1].Data = same
		return
	}
	data := metricdata.Gauge[float64]{DataPoints: []metricdata.DataPoint[float64]{point}}
	g.list = append(g.list, metricdata.Metrics{Name: name, Unit: unit, Data: data})
}

// states says how the service is, and why if it is not well.
func (g *gauges) states() {
	v := &g.run.Verdict
	switch v.State {
	case hops.OK, hops.Degraded:
		g.add("probe_success", "", 1)
	case hops.Failed:
		g.add("probe_success", "", 0)
	}
	for _, s := range []hops.State{hops.OK, hops.Degraded, hops.Failed, hops.Inconclusive} {
		g.add("probe_state", "", truth(s == v.State), "state", string(s))
	}
	if v.State != hops.OK {
		hop, reason := v.Step.Hop, noCause
		for i := range v.Findings {
			if f := &v.Findings[i]; f.Severity != hops.Note {
				hop, reason = f.Step.Hop, f.ID
				break
			}
		}
		g.add("probe_reason", "", 1, "hop", string(hop), "reason", reason)
	}
	g.add("probe_asleep", "", truth(v.Asleep))
}

// times are about the run as a whole.
func (g *gauges) times() {
	if !g.run.Verdict.Asleep && !g.cold() {
		g.add("probe_duration_seconds", "s", g.run.Ended.Sub(g.run.Started).Seconds())
	}
	g.add("probe_last_run_timestamp_seconds", "s", unix(g.run.Ended))
	if g.run.Verdict.State == hops.OK {
		g.add("probe_last_success_timestamp_seconds", "s", unix(g.run.Ended))
	}
}

// cold says whether a request woke the service: then no time is that of a warm one.
func (g *gauges) cold() bool {
	for i := range g.run.Observations {
		if g.run.Observations[i].ColdStart {
			return true
		}
	}
	return false
}

// doors are about the last real request at each front door.
func (g *gauges) doors() {
	last := map[hops.Door]*hops.Observation{}
	for i := range g.run.Observations {
		o := &g.run.Observations[i]
		if o.Step.Door != "" && o.Asked == hops.RealRequest && o.Outcome != hops.NoWay && o.Outcome != hops.Cancelled {
			last[o.Step.Door] = o
		}
	}
	cold := g.cold()
	each := func(f func(string, *hops.Observation)) {
		for _, d := range []hops.Door{hops.Outside, hops.ClusterLocal} {
			if o := last[d]; o != nil {
				f(string(d), o)
			}
		}
	}
	each(func(door string, o *hops.Observation) {
		g.add("probe_http_status_code", "", float64(o.Status), "door", door)
	})
	if cold {
		if o := slowest(last); o != nil { // both doors wait for the same pod
			g.add("probe_cold_start_seconds", "s", o.Took.Seconds())
		}
		return
	}
	each(func(door string, o *hops.Observation) {
		p := o.Phases
		for _, one := range []struct {
			name string
			took time.Duration
		}{{"resolve", p.DNS}, {"connect", p.Connect}, {"tls", p.TLS}, {"processing", p.Write + p.Wait}, {"transfer", p.Body}} {
			g.add("probe_http_duration_seconds", "s", one.took.Seconds(), "door", door, "phase", one.name)
		}
	})
	each(func(door string, o *hops.Observation) {
		if o.OK() {
			g.add("probe_request_seconds", "s", o.Took.Seconds(), "door", door)
		}
	})
}

// slowest is the good answer that took longest; nil when there is none.
func slowest(of map[hops.Door]*hops.Observation) (most *hops.Observation) {
	for _, o := range of {
		if o.OK() && (most == nil || o.Took > most.Took) {
			most = o
		}
	}
	return most
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
