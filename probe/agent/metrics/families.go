// families.go: the series of a service, one row a name. README and dashboard speak of these names: they never change.
package metrics

import (
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"probe/hops"
)

var inf = math.Inf(1)

// family is one name with its series of one service.
type family struct {
	name, help string
	kind       dto.MetricType
	series     func(*record, *series)
}

var families = [...]family{
	{"probe_success", "1 while requests get answers (OK, Degraded), 0 while they do not (Failed), by enough of the last probes. " +
		"Absent while that is not known (Inconclusive, or too few probes).", dto.MetricType_GAUGE, success},
	{"probe_state", "1 for the state that enough of the last probes agree on.", dto.MetricType_GAUGE, func(r *record, s *series) {
		for _, state := range states {
			s.gauge(truth(r.state == state), "state", string(state))
		}
	}},
	{"probe_reason", "1 for where and why a service is not OK: the hop, and the id of the rule as `probe rules ID` explains it.",
		dto.MetricType_GAUGE, func(r *record, s *series) {
			if r.state != "" && r.state != hops.OK {
				s.gauge(1, "hop", string(r.hop), "reason", r.reason)
			}
		}},
	{"probe_asleep", "1 while the service is at zero and was only knocked at: the container is not checked, and there is no latency.",
		dto.MetricType_GAUGE, func(r *record, s *series) { s.gauge(truth(r.asleep)) }},
	{"probe_duration_seconds", "How long the last probe took as a whole, unless the service is asleep or was woken by it.",
		dto.MetricType_GAUGE, func(r *record, s *series) {
			if r.timed {
				s.gauge(r.took.Seconds())
			}
		}},
	{"probe_http_duration_seconds", "Phases of the last request at a front door, unless it was a cold start.", dto.MetricType_GAUGE, phases},
	{"probe_http_status_code", "Status of the answer to the last request at a front door; 0 when none came.",
		dto.MetricType_GAUGE, func(r *record, s *series) {
			for i := range r.doors {
				if r.doors[i].asked {
					s.gauge(float64(r.doors[i].status), "door", string(doors[i]))
				}
			}
		}},
	{"probe_request_seconds", "Good answers at a front door of a service that was awake.", dto.MetricType_HISTOGRAM, func(r *record, s *series) {
		for i := range r.doors {
			if h := r.doors[i].latency; h != nil {
				s.add(&dto.Metric{Histogram: h.write(&warmBounds)}, "door", string(doors[i]))
			}
		}
	}},
	{"probe_cold_start_seconds", "Good answers to requests that woke the service from zero. They are in no other series of times.",
		dto.MetricType_HISTOGRAM, func(r *record, s *series) {
			if r.cold != nil {
				s.add(&dto.Metric{Histogram: r.cold.write(&coldBounds)})
			}
		}},
	{"probe_runs_total", "Probes by the state that each one ended in.", dto.MetricType_COUNTER, func(r *record, s *series) {
		for i := range r.runs {
			c := &dto.Counter{Value: proto.Float64(float64(r.runs[i].n)), Exemplar: r.runs[i].exemplar.write()}
			s.add(&dto.Metric{Counter: c}, "state", string(states[i]))
		}
	}},
	{"probe_interval_seconds", "How often the service is to be probed.", dto.MetricType_GAUGE,
		func(r *record, s *series) { s.gauge(r.interval.Seconds()) }},
	{"probe_last_run_timestamp_seconds", "When the last probe ended.", dto.MetricType_GAUGE, func(r *record, s *series) { s.gauge(unix(r.last)) }},
	{"probe_last_success_timestamp_seconds", "When the last probe that was OK ended.", dto.MetricType_GAUGE, func(r *record, s *series) {
		if !r.good.IsZero() {
			s.gauge(unix(r.good))
		}
	}},
	{"probe_settings_problems", "How many of the service's annotations cannot be used; its Events say which.", dto.MetricType_GAUGE,
		func(r *record, s *series) { s.gauge(float64(r.problems)) }},
}

func success(r *record, s *series) {
	switch r.state {
	case hops.OK, hops.Degraded:
		s.gauge(1)
	case hops.Failed:
		s.gauge(0)
	}
}

// phases are named as blackbox_exporter names them (prober/http.go): processing is from the connection to the first byte of the answer.
func phases(r *record, s *series) {
	for i := range r.doors {
		d := &r.doors[i]
		if !d.timed {
			continue
		}
		p := d.phases
		for _, one := range [...]struct {
			name string
			took time.Duration
		}{{"resolve", p.DNS}, {"connect", p.Connect}, {"tls", p.TLS}, {"processing", p.Write + p.Wait}, {"transfer", p.Body}} {
			s.gauge(one.took.Seconds(), "door", string(doors[i]), "phase", one.name)
		}
	}
}

// series collects what is to be written of one family.
type series struct {
	service []*dto.LabelPair // of the service at hand
	out     []*dto.Metric
}

func (s *series) of(ref hops.Ref) {
	s.service = []*dto.LabelPair{{Name: proto.String("namespace"), Value: proto.String(ref.Namespace)},
		{Name: proto.String("service"), Value: proto.String(ref.Name)}}
}

// add takes a series with further labels: name, value, name, value.
func (s *series) add(m *dto.Metric, labels ...string) {
	m.Label = s.service
	if len(labels) > 0 {
		m.Label = append(make([]*dto.LabelPair, 0, len(s.service)+len(labels)/2), s.service...)
		for i := 0; i < len(labels); i += 2 {
			m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
		}
	}
	s.out = append(s.out, m)
}

func (s *series) gauge(v float64, labels ...string) {
	s.add(&dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(v)}}, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
