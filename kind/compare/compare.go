// compare.go: blackbox_exporter and the agent side by side: the same targets, the same rate, the same seconds, one core each.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"probe/scenarios/inproc"
)

// Figures are what one process did in the time that was measured.
type Figures struct {
	Name       string  `json:"name"`
	Probes     float64 `json:"probes"`
	Failed     float64 `json:"failed"`
	Spans      int64   `json:"spans"`
	CPU        float64 `json:"cpuSeconds"`
	PerCPU     float64 `json:"probesPerCPUSecond"`
	RSS        int64   `json:"rssBytes"` // at the end
	RSSPeak    int64   `json:"rssPeakBytes"`
	RSSAtRest  int64   `json:"rssAtRestBytes"` // before the first probe, without any service
	Heap       int64   `json:"heapInUseBytes"`
	PerService int64   `json:"rssBytesPerService"`
	Grown      int64   `json:"rssGrownBytesPerService"` // of RSS over RSSAtRest
}

// Comparison is the whole result.
type Comparison struct {
	Services int       `json:"services"`
	Interval float64   `json:"intervalSeconds"`
	Seconds  float64   `json:"measuredSeconds"`
	Gzip     bool      `json:"gzip"`
	Figures  []Figures `json:"figures"`
	// Times is how many probes per CPU-second each further one has for one of the first.
	Times []float64 `json:"timesTheFirst"`
}

// contest is one run of it.
type contest struct {
	o        options
	targets  *inproc.Light
	exporter *blackbox
	agents   []*agent
	sinks    []*sink
	rest     []int64 // RSS at rest, of the exporter and of each agent
	close    []func()
}

func compare(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := o.build(ctx, dir, true); err != nil {
		return err
	}
	c := &contest{o: o}
	defer func() {
		for i := range c.close {
			c.close[len(c.close)-1-i]()
		}
	}()
	if err := c.open(ctx, dir); err != nil {
		return err
	}
	result, err := c.measure(ctx)
	if err != nil {
		return err
	}
	return errors.Join(result.table(out), writeJSON(o.json, out, result))
}

// open starts everything, and waits until the agents know the paths to all services: that they read the cluster once for.
func (c *contest) open(ctx context.Context, dir string) (err error) {
	if c.targets, err = inproc.StartLight(c.o.services, c.o.perNamespace); err != nil {
		return err
	}
	c.close = append(c.close, c.targets.Close)
	if c.exporter, err = startBlackbox(ctx, c.o, dir); err != nil {
		return err
	}
	c.close = append(c.close, c.exporter.stop)
	u, err := c.exporter.usage()
	if err != nil {
		return err
	}
	c.rest = append(c.rest, u.RSS)
	for _, variant := range []struct {
		name   string
		record int
	}{{"probe agent", 0}, {"probe agent, every run traced", 1}} {
		s, err := newSink()
		if err != nil {
			return err
		}
		c.close, c.sinks = append(c.close, s.close), append(c.sinks, s)
		idle, err := idleRSS(ctx, c.o, dir, s)
		if err != nil {
			return err
		}
		a, err := startAgent(ctx, c.o, dir, variant.name, c.targets, s, variant.record)
		if err != nil {
			return err
		}
		c.close, c.agents, c.rest = append(c.close, a.stop), append(c.agents, a), append(c.rest, idle)
	}
	for _, a := range c.agents {
		if _, left, err := a.warm(ctx, c.o); err != nil || left > 0 {
			return errors.Join(err, fmt.Errorf("%s: %d services were not found OK within %s: give more time with --warm", a.name, left, c.o.warm))
		}
	}
	return nil
}

// idleRSS is the memory of an agent that has nothing to probe.
func idleRSS(ctx context.Context, o options, dir string, s *sink) (int64, error) {
	nothing, err := inproc.StartLight(0, 1)
	if err != nil {
		return 0, err
	}
	defer nothing.Close()
	a, err := startAgent(ctx, o, dir, "idle agent", nothing, s, 0)
	if err != nil {
		return 0, err
	}
	defer a.stop()
	if _, err := a.page(ctx); err != nil { // what the first answer needs is not the services'
		return 0, err
	}
	u, err := a.usage()
	return u.RSS, err
}

// measure lets all run for the time, between two readings of each.
func (c *contest) measure(ctx context.Context) (*Comparison, error) {
	fmt.Fprintf(c.o.quiet, "measuring for %s\n", c.o.duration)
	running, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	all.Go(func() { c.exporter.drive(running, c.targets, c.o.interval) })
	for _, a := range c.agents {
		all.Go(func() { a.scrape(running, c.o.interval) })
	}
	if !pause(ctx, min(2*time.Second, c.o.duration/4)) { // connections are open and pools are full then
		return nil, ctx.Err()
	}
	begin := time.Now()
	before, err := c.readings(ctx)
	if err != nil {
		return nil, err
	}
	if !pause(ctx, c.o.duration) {
		return nil, ctx.Err()
	}
	after, err := c.readings(ctx)
	if err != nil {
		return nil, err
	}
	r := &Comparison{Services: c.o.services, Interval: c.o.interval.Seconds(), Seconds: time.Since(begin).Seconds(), Gzip: c.o.gzip}
	for i := range after {
		r.Figures = append(r.Figures, between(&before[i], &after[i], c.rest[i], int64(c.o.services)))
		r.Times = append(r.Times, r.Figures[i].PerCPU/r.Figures[0].PerCPU)
	}
	return r, nil
}

// reading is what is known of one process at one time.
type reading struct {
	name           string
	usage          usage
	probes, failed float64
	spans          int64
	heap           int64
	page           string
}

// readings takes one of each. CPU is read first: the reading of the page is no part of the probing.
func (c *contest) readings(ctx context.Context) ([]reading, error) {
	r := reading{name: c.exporter.name, probes: float64(c.exporter.done.Load()), failed: float64(c.exporter.failed.Load())}
	var err error
	if r.usage, err = c.exporter.usage(); err != nil {
		return nil, err
	}
	if r.page, err = newScraper(false).get(ctx, c.exporter.url("/metrics")); err != nil {
		return nil, errors.Join(err, c.exporter.alive())
	}
	r.heap = int64(sum(r.page, "go_memstats_heap_inuse_bytes", ""))
	out := []reading{r}
	for i, a := range c.agents {
		r, err := a.reading(ctx)
		if err != nil {
			return nil, err
		}
		r.spans = c.sinks[i].spans.Load()
		out = append(out, r)
	}
	return out, nil
}

// reading of an agent: its probes are counted by itself.
func (a *agent) reading(ctx context.Context) (r reading, err error) {
	r.name = a.name
	if r.usage, err = a.usage(); err != nil {
		return r, err
	}
	if r.page, err = a.page(ctx); err != nil {
		return r, errors.Join(err, a.alive())
	}
	all, good := sum(r.page, "probe_runs_total", ""), sum(r.page, "probe_runs_total", `state="OK"`)
	r.probes, r.failed, r.heap = good, all-good, int64(sum(r.page, "go_memstats_heap_inuse_bytes", ""))
	return r, nil
}

// between is what happened from one reading to the next.
func between(before, after *reading, rest, services int64) Figures {
	f := Figures{Name: after.name, Probes: after.probes - before.probes, Failed: after.failed - before.failed, Spans: after.spans - before.spans,
		CPU: (after.usage.CPU - before.usage.CPU).Seconds(), RSS: after.usage.RSS, RSSPeak: after.usage.Peak, RSSAtRest: rest, Heap: after.heap}
	f.PerCPU, f.PerService, f.Grown = f.Probes/f.CPU, f.RSS/services, (f.RSS-rest)/services
	return f
}
