// load.go: the agent alone, on one core, with very many services.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"time"

	"probe/scenarios/inproc"
)

// Load is the result of a load run.
type Load struct {
	Services    int     `json:"services"`
	Interval    float64 `json:"intervalSeconds"`
	Seconds     float64 `json:"measuredSeconds"`
	WarmSeconds float64 `json:"warmSeconds"` // from the start until every service was found OK
	WarmCPU     float64 `json:"warmCPUSeconds"`
	Left        int     `json:"notWarm"` // services that were not by then
	Due         float64 `json:"probesDue"`
	Missed      float64 `json:"probesMissed"`
	// Late is the upper bound of the histogram bucket that a quantile of the scheduling delay lies in, in seconds; 0 when it is above all bounds.
	LateP50 float64 `json:"delayP50Seconds"`
	LateP99 float64 `json:"delayP99Seconds"`
	Core    float64 `json:"shareOfOneCore"`
	// Requests to the API server: until every service was found OK, and while it was measured.
	RequestsWarm map[string]int `json:"apiRequestsWarm"`
	Requests     map[string]int `json:"apiRequests"`
	Figures
}

func load(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := o.build(ctx, dir, false); err != nil {
		return err
	}
	s, err := newSink()
	if err != nil {
		return err
	}
	defer s.close()
	rest, err := idleRSS(ctx, o, dir, s)
	if err != nil {
		return err
	}
	l, err := inproc.StartLight(o.services, o.perNamespace)
	if err != nil {
		return err
	}
	defer l.Close()
	a, err := startAgent(ctx, o, dir, "probe agent", l, s, o.record)
	if err != nil {
		return err
	}
	defer a.stop()
	result := &Load{Services: o.services, Interval: o.interval.Seconds()}
	took, left, err := a.warm(ctx, o)
	if err != nil {
		return err
	}
	u, err := a.usage()
	if err != nil {
		return err
	}
	result.WarmSeconds, result.WarmCPU, result.Left, result.RequestsWarm = took.Seconds(), u.CPU.Seconds(), max(0, left), l.API.Requests()
	if err := result.measure(ctx, o, a, s, l, rest); err != nil {
		return err
	}
	return errors.Join(result.table(out), writeJSON(o.json, out, result))
}

// measure reads before and after.
func (r *Load) measure(ctx context.Context, o options, a *agent, s *sink, l *inproc.Light, rest int64) error {
	fmt.Fprintf(o.quiet, "measuring for %s\n", o.duration)
	scraping, end := context.WithCancel(ctx)
	defer end()
	go a.scrape(scraping, max(o.interval/4, time.Second)) // Prometheus scrapes every 15 s
	before, err := a.reading(ctx)
	if err != nil {
		return err
	}
	before.spans = s.spans.Load()
	begin, asked := time.Now(), l.API.Requests()
	if !pause(ctx, o.duration) {
		return ctx.Err()
	}
	r.Seconds = time.Since(begin).Seconds()
	after, err := a.reading(ctx)
	if err != nil {
		return err
	}
	after.spans = s.spans.Load()
	r.Figures = between(&before, &after, rest, int64(o.services))
	r.Requests = maps.Clone(l.API.Requests())
	for what, n := range asked {
		if r.Requests[what] -= n; r.Requests[what] == 0 {
			delete(r.Requests, what)
		}
	}
	r.Due = math.Floor(float64(o.services) * r.Seconds / o.interval.Seconds())
	r.Missed = max(0, r.Due-r.Probes-r.Failed)
	r.Core = r.CPU / r.Seconds
	const delay = "probe_schedule_delay_seconds"
	r.LateP50, r.LateP99 = finite(quantile(before.page, after.page, delay, 0.5)), finite(quantile(before.page, after.page, delay, 0.99))
	return nil
}

// finite makes 0 of what JSON has no word for.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
