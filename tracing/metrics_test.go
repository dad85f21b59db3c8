package tracing

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.38.0"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"probe/hops"
)

// woken is a run whose requests woke the service: the pod needed nine seconds.
func woken() *hops.Run {
	r := serverless()
	r.Ended = start.Add(ms(9200))
	for _, id := range []string{"outside/ingress-gateway", "cluster-local/local-gateway"} {
		sent(r, id, hops.RealRequest, func(o *hops.Observation) { o.ColdStart, o.Took, o.Phases.Wait = true, ms(8900), ms(8897) })
	}
	r.Observations[1].Took = ms(9100)
	return judged(r, hops.OK, "iris answers", every(r, "the request at the ingress gateway passed it"), nil)
}

// unjudged is a run that found no way in.
func unjudged() *hops.Run {
	r := serverless()
	sent(r, "outside/ingress-gateway", hops.RealRequest, func(o *hops.Observation) {
		*o = hops.Observation{Step: o.Step, Asked: o.Asked, Outcome: hops.NoWay, Err: "no port-forward"}
	})
	judged(r, hops.Inconclusive, "no front door could be tried", every(r, "no request was sent"), nil)
	r.Verdict.Step = hops.Step{Hop: hops.Client}
	return r
}

// exposition writes what arrived at a collector as Prometheus would show it, with the unit in front. Time and exemplar are the same for all, which
// it checks.
func exposition(t *testing.T, all []*metricspb.ResourceMetrics, run *hops.Run) string {
	t.Helper()
	var out strings.Builder
	for _, r := range all {
		for _, a := range r.Resource.Attributes {
			fmt.Fprintf(&out, "# resource %s=%s\n", a.Key, a.Value.GetStringValue())
		}
		if r.SchemaUrl != semconv.SchemaURL {
			t.Errorf("schema %q", r.SchemaUrl)
		}
		for _, s := range r.ScopeMetrics {
			fmt.Fprintf(&out, "# scope %s %s\n", s.Scope.Name, s.Scope.Version)
			for _, m := range s.Metrics {
				for _, p := range m.GetGauge().GetDataPoints() {
					fmt.Fprintf(&out, "%-3s %s{%s} %g\n", m.Unit, m.Name, labelsOf(p), p.GetAsDouble())
					sure(t, m.Name, p, run)
				}
			}
		}
	}
	return out.String()
}

func labelsOf(p *metricspb.NumberDataPoint) string {
	var out []string
	for _, a := range p.Attributes {
		out = append(out, fmt.Sprintf("%s=%q", a.Key, a.Value.GetStringValue()))
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

func sure(t *testing.T, name string, p *metricspb.NumberDataPoint, run *hops.Run) {
	t.Helper()
	if p.TimeUnixNano != uint64(run.Ended.UnixNano()) {
		t.Errorf("%s: time %s, want the end of the run", name, time.Unix(0, int64(p.TimeUnixNano)).UTC())
	}
	if len(p.Exemplars) != 1 || hex.EncodeToString(p.Exemplars[0].TraceId) != run.TraceID || hex.EncodeToString(p.Exemplars[0].SpanId) != run.SpanID {
		t.Errorf("%s: exemplars %v, want one of the run's root span", name, p.Exemplars)
	}
}

// TestMetricsGolden: what arrives at a collector. The files are also read by the checks of names.
func TestMetricsGolden(t *testing.T) {
	bare(t)
	for name, run := range map[string]*hops.Run{"healthy": healthy(), "failed": killed(), "asleep": asleep(), "woken": woken(), "unjudged": unjudged()} {
		t.Run(name, func(t *testing.T) {
			c := &metricsCollector{}
			push(t, Config{Endpoint: "http://" + metricsOverGRPC(t, c), Protocol: GRPC}, run)
			golden(t, "metrics-"+name+".txt", []byte(exposition(t, c.got, run)))
		})
	}
}

func TestMetricsOfNothing(t *testing.T) {
	if m := Metrics(&hops.Run{Ref: hops.Ref{Namespace: "demo", Name: "iris"}}, Options{}); m != nil {
		t.Errorf("a run that sent nothing has metrics: %v", m)
	}
}

// TestMetricsAreRedacted: labels leave the process like all other text.
func TestMetricsAreRedacted(t *testing.T) {
	run := killed()
	run.Verdict.Findings[0].ID = "s3cr3t"
	m := Metrics(run, Options{Redact: func(s string) string { return strings.ReplaceAll(s, "s3cr3t", "***") }})
	if text := fmt.Sprint(m.ScopeMetrics); strings.Contains(text, "s3cr3t") {
		t.Errorf("not redacted: %s", text)
	}
}
