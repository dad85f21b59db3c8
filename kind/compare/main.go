// Command compare measures `probe agent`: beside blackbox_exporter on the same targets in one run, or alone under load. It is built apart, in a
// module of its own, so that blackbox_exporter never enters the product's dependencies.
//
// main.go: the two commands and their flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// options are what both commands may be told.
type options struct {
	services, perNamespace int
	interval, duration     time.Duration
	warm                   time.Duration
	record                 int
	probe, blackbox        string
	json                   string
	gzip                   bool
	quiet                  io.Writer // progress
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o := options{quiet: progress}
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(progress)
	command := compare
	services, interval, duration, warm := 500, time.Second, 20*time.Second, time.Minute
	if len(args) > 0 && args[0] == "load" {
		command, args = load, args[1:]
		services, interval, duration, warm = 10000, time.Minute, 2*time.Minute, 10*time.Minute
	}
	f.IntVar(&o.services, "services", services, "how many services are probed")
	f.IntVar(&o.perNamespace, "per-namespace", 20, "how many of them are in each namespace")
	f.DurationVar(&o.interval, "interval", interval, "how often each is probed")
	f.DurationVar(&o.duration, "duration", duration, "how long is measured")
	f.DurationVar(&o.warm, "warm", warm, "how long the agent may take to probe each service for the first time; not measured")
	f.IntVar(&o.record, "record", 0, "load: one healthy run in so many sends its spans; 0 is the agent's default")
	f.StringVar(&o.probe, "probe", "", "the probe binary (default: built from this repository)")
	f.StringVar(&o.blackbox, "blackbox", "", "the blackbox_exporter binary (default: built from its module)")
	f.StringVar(&o.json, "json", "", "file to write the figures to as JSON; - is standard output")
	f.BoolVar(&o.gzip, "gzip", false, "ask both for compressed metrics, as Prometheus does; that costs blackbox_exporter more, since it answers once a probe")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || o.services < 1 || o.perNamespace < 1 || o.interval < time.Second || o.duration < time.Second || o.record < 0 {
		return errors.New("give flags only: services and per-namespace from 1, interval from 1s, duration from 1s; -h lists them")
	}
	return command(ctx, o, out)
}
