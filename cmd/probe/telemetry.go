// telemetry.go: traces out, by OTLP and as a waterfall, and back in from Jaeger.
package main

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"probe/hops"
	"probe/probe"
	"probe/probe/redact"
	"probe/tracing"
)

// exportFlags say where traces go. Without any, and without the standard OTEL_EXPORTER_OTLP_* variables, nothing is sent.
type exportFlags struct {
	endpoint string
	protocol string
	insecure bool
	phases   bool
	metrics  bool
}

func (e *exportFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&e.endpoint, "otlp-endpoint", "", "collector to send the trace to: HOST:PORT or URL (default: OTEL_EXPORTER_OTLP_ENDPOINT)")
	f.StringVar(&e.protocol, "otlp-protocol", "", "grpc or http/protobuf (default: grpc for port 4317, else http/protobuf)")
	f.BoolVar(&e.insecure, "otlp-insecure", false, "send in plain text when the endpoint names no scheme")
	f.BoolVar(&e.phases, "otlp-phase-spans", false, "send the phases of each request as spans of their own instead of events")
}

// push is for runs that end before anybody could scrape them.
func (e *exportFlags) push(f *pflag.FlagSet) {
	f.BoolVar(&e.metrics, "otlp-metrics", false, "send the run's metrics there too, under the names that probe agent has at /metrics")
}

func (e *exportFlags) config() tracing.Config {
	return tracing.Config{Endpoint: e.endpoint, Protocol: e.protocol, Insecure: e.insecure}
}

func (e *exportFlags) options() tracing.Options {
	return tracing.Options{Version: version, Redact: redact.String, SubSpans: e.phases}
}

// open checks the configuration; nil when nothing is to be sent.
func (e *exportFlags) open() (probe.Sink, error) {
	x, err := tracing.NewExporter(e.config(), e.options())
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	if !e.metrics {
		if !x.Enabled() {
			return nil, nil
		}
		return x, nil
	}
	m, err := tracing.NewMetricsExporter(e.config(), e.options())
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	if !m.Enabled() {
		return nil, usage("--otlp-metrics: there is no collector to send to; give --otlp-endpoint or set OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	return sinks{x, m}, nil
}

// sinks takes each run to several places, side by side.
type sinks []probe.Sink

// Export implements probe.Sink.
func (s sinks) Export(ctx context.Context, run *hops.Run) error {
	errs := make([]error, len(s))
	var wg sync.WaitGroup
	for i, sink := range s {
		wg.Go(func() { errs[i] = sink.Export(ctx, run) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// readBackFlags say where traces are read back from. Without --jaeger nothing is, and nothing is waited for.
type readBackFlags struct {
	address string
	wait    time.Duration
}

// longestWait is more than any batch of spans is held back for.
const longestWait = 5 * time.Minute

func (r *readBackFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&r.address, "jaeger", "", "URL of Jaeger's query service: wait for what gateways, activator and queue-proxy add to the trace, and use it as evidence")
	f.DurationVar(&r.wait, "jaeger-wait", tracing.DefaultWait, "how long to wait for these spans at most; an answer that is whole ends the wait")
}

// open checks the flags; nil when nothing is to be read back.
func (r *readBackFlags) open() (probe.SpanReader, error) {
	if r.wait <= 0 || r.wait > longestWait {
		return nil, usage("--jaeger-wait %s: a time above 0, and at most %s", r.wait, longestWait)
	}
	if r.address == "" {
		return nil, nil
	}
	j, err := tracing.NewJaeger(r.address, nil)
	if err != nil {
		return nil, usage("--jaeger: %w", err)
	}
	return tracing.ReadBack{Jaeger: j, Wait: r.wait}, nil
}

// export sends a run. It has its own time limit, so that an interrupted run is sent too.
func export(s probe.Sink, run *hops.Run) error {
	ctx, cancel := context.WithTimeout(context.Background(), tracing.MaxWait)
	defer cancel()
	return s.Export(ctx, run)
}

// waterfall prints the trace.
func waterfall(s streams, run *hops.Run) error {
	return tracing.Waterfall(s.out, run, tracing.WaterfallOptions{
		Options: tracing.Options{Version: version, Redact: redact.String}, Width: cmp.Or(width(s.out), 120), Color: s.colour(s.out)})
}
