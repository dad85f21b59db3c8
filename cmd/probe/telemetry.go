// telemetry.go: traces out, by OTLP and as a waterfall.
package main

import (
	"cmp"
	"context"

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
}

func (e *exportFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&e.endpoint, "otlp-endpoint", "", "collector to send the trace to: HOST:PORT or URL (default: OTEL_EXPORTER_OTLP_ENDPOINT)")
	f.StringVar(&e.protocol, "otlp-protocol", "", "grpc or http/protobuf (default: grpc for port 4317, else http/protobuf)")
	f.BoolVar(&e.insecure, "otlp-insecure", false, "send in plain text when the endpoint names no scheme")
	f.BoolVar(&e.phases, "otlp-phase-spans", false, "send the phases of each request as spans of their own instead of events")
}

// open checks the configuration; nil when nothing is to be sent.
func (e *exportFlags) open() (probe.Sink, error) {
	x, err := tracing.NewExporter(tracing.Config{Endpoint: e.endpoint, Protocol: e.protocol, Insecure: e.insecure},
		tracing.Options{Version: version, Redact: redact.String, SubSpans: e.phases})
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	if !x.Enabled() {
		return nil, nil
	}
	return x, nil
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
