// Package metrics shows at /metrics what the agent's probes said: names and labels in the habit of blackbox_exporter, with exemplars that carry the
// trace id. It also holds the alert rules and the dashboard that read them.
//
// The series of the services are kept in one compact record each and written from it, a family and a few services at a time: client_golang's vectors
// and its registry would hold every series of ten thousand services at once, in objects many times the size of what is known.
//
// metrics.go: what the agent tells, and what is about the agent as a whole.
package metrics

import (
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"probe/hops"
	"probe/probe/agent/state"
)

// Options are what the metrics need to know beforehand.
type Options struct {
	Version string
	// Rules are those whose ids may be values of the label reason. Any other reason that is not one of the agent's own becomes "other".
	Rules []hops.Rule
	// Reuse says that requests travel over connections that are kept.
	Reuse bool
	// Services counts the services that the agent probes; nil counts those that have series.
	Services func() int
	// Trouble counts what keeps the agent from knowing which services there are, or which of them are its own; nil where nothing can.
	Trouble func() int
	// What became of the agent's own work since its start; nil where there is none of it.
	Events  func() (written, dropped int64)
	Traces  func() (sent, dropped int64)
	Skipped func() uint64
}

// Metrics holds the series. Its methods may be called from several goroutines.
type Metrics struct {
	reasons map[string]string // each known one by itself, so that records share one string

	mu       sync.Mutex
	services map[hops.Ref]*record
	sorted   []*record // for a steady order; nil when services came or went

	agent   *prometheus.Registry
	delay   prometheus.Histogram
	further prometheus.Counter
	busy    chan struct{}
}

// delayBounds reach from what a busy scheduler costs to what is an outage of the agent. Seconds.
var delayBounds = [...]float64{0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 300}

// New makes the metrics of one agent.
func New(o Options) *Metrics {
	m := &Metrics{reasons: reasonsOf(o.Rules), services: map[hops.Ref]*record{}, agent: prometheus.NewRegistry(),
		busy: make(chan struct{}, scrapesAtOnce)}
	m.delay = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "probe_schedule_delay_seconds",
		Help: "How late probes began, of all services of this agent.", Buckets: delayBounds[:]})
	m.further = prometheus.NewCounter(prometheus.CounterOpts{Name: "probe_further_looks_total",
		Help: "Probes that read the cluster, because requests failed or the path was not known."})
	services := o.Services
	if services == nil {
		services = m.len
	}
	reuse := "false"
	if o.Reuse {
		reuse = "true"
	}
	m.agent.MustRegister(m.delay, m.further,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "probe_services", Help: "Services that this agent probes."},
			func() float64 { return float64(services()) }),
		info("probe_build_info", "The program: always 1.", prometheus.Labels{"version": o.Version, "goversion": runtime.Version()}),
		info("probe_connection_info", "Whether requests travel over connections that are kept: always 1.", prometheus.Labels{"reuse": reuse}),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.own(&o)
	return m
}

// own shows what an agent that cannot keep up, or is not heard, would lose in silence.
func (m *Metrics) own(o *Options) {
	const events, traces = "Events about changes of a service, by what became of them.", "Traces of probes for the collector, by what became of them."
	if o.Trouble != nil {
		m.agent.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "probe_agent_troubles",
			Help: "Parts of the agent that do not know what they should: which services there are, which other agents share them. Its log says why."},
			func() float64 { return float64(o.Trouble()) }))
	}
	if o.Events != nil {
		m.count("probe_agent_events_total", events, "written", func() float64 { written, _ := o.Events(); return float64(written) })
		m.count("probe_agent_events_total", events, "dropped", func() float64 { _, dropped := o.Events(); return float64(dropped) })
	}
	if o.Traces != nil {
		m.count("probe_agent_traces_total", traces, "sent", func() float64 { sent, _ := o.Traces(); return float64(sent) })
		m.count("probe_agent_traces_total", traces, "dropped", func() float64 { _, dropped := o.Traces(); return float64(dropped) })
	}
	if o.Skipped != nil {
		m.count("probe_agent_skipped_runs_total", "Probes that were due and left out, because the last one of the service still ran or the process stood still.",
			"", func() float64 { return float64(o.Skipped()) })
	}
}

// count is a counter that somebody else keeps.
func (m *Metrics) count(name, help, outcome string, value func() float64) {
	opts := prometheus.CounterOpts{Name: name, Help: help}
	if outcome != "" {
		opts.ConstLabels = prometheus.Labels{"outcome": outcome}
	}
	m.agent.MustRegister(prometheus.NewCounterFunc(opts, value))
}

// info is a gauge that is always 1 and tells by its labels.
func info(name, help string, labels prometheus.Labels) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	g.Set(1)
	return g
}

// Observe takes the result of a probe, and what the service's status is since. A service that was removed comes back by it.
func (m *Metrics) Observe(r *state.Result, s state.Status) {
	if !r.Due.IsZero() {
		m.delay.Observe(max(0, r.Delay().Seconds()))
	}
	if r.Further {
		m.further.Inc()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rec := m.services[r.Ref]
	if rec == nil {
		rec = &record{ref: r.Ref}
		m.services[r.Ref] = rec
		m.sorted = nil
	}
	rec.observe(r)
	rec.state, rec.hop, rec.reason = s.State, knownHop(s.Hop), m.known(s.Reason)
}

// Remove ends the series of a service that was deleted, or that another agent probes from now on.
func (m *Metrics) Remove(ref hops.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.services[ref]; there {
		delete(m.services, ref)
		m.sorted = nil
	}
}

func (m *Metrics) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.services)
}
