// sweep.go: `probe -A`, and `probe -n NAMESPACE` without a service: all services side by side, a line each.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"probe/hops"
	"probe/probe"
	"probe/probe/dial"
	"probe/probe/read"
	"probe/probe/report"
	"probe/tracing"
)

// maxSwept bounds a sweep: what is known of a service is kept until the end.
const maxSwept = 2000

// sweeping says whether the flags ask for a sweep.
func (o *oneShot) sweeping() bool {
	return o.graph != "" || o.all || o.isvc == "" && o.overrides.Context.Namespace != "" || o.isvc != "" && o.selector != ""
}

// sweep probes all services that the flags choose.
func (o *oneShot) sweep(ctx context.Context, s streams) error {
	opts, err := o.sweepOptions(s)
	if err != nil {
		return err
	}
	exporter, err := o.export.open()
	if err != nil {
		return err
	}
	cluster, config, namespace, err := o.cluster(s)
	if err != nil {
		return err
	}
	if o.all {
		namespace = ""
	}
	started := time.Now()
	services, notes, err := o.choose(ctx, cluster, namespace)
	lame := 0
	if err == nil && o.graph != "" {
		services, notes, lame, err = o.inGraph(ctx, cluster, namespace, services)
	}
	if err != nil {
		return o.cannot(ctx, err)
	}
	progress := newProgress(s, o.output == "text")
	lines := &gateways{o: o, config: config, cluster: cluster, s: s}
	defer lines.close()
	swept := probe.Sweep(ctx, probe.SweepDeps{Cluster: cluster, Connect: lines.connect, Rules: hops.Rules(), Now: time.Now, ID: func(b []byte) { rand.Read(b) },
		Progress: func(done, of int) { progress.say(fmt.Sprintf("probed %d of %d services", done, of)) }}, services, opts)
	progress.clear()
	code := report.Worst(swept.Runs, o.strict)
	if len(swept.Missed) > 0 && (code == report.CodeOK || code == report.CodeDegraded) {
		code = exitCannot
	}
	if lame > 0 {
		code = report.CodeFailed
	}
	if ctx.Err() != nil {
		code = exitInterrupted
	}
	notes = append(notes, sweepNotes(&swept)...)
	if exporter != nil {
		if err := exportAll(exporter, swept.Runs); err != nil {
			notes = append(notes, "Warning: "+err.Error())
		}
	}
	if o.verbose {
		n, took := cluster.Reads()
		notes = append(notes, fmt.Sprintf("Read: %d requests to the API server in %s", n, took.Round(time.Millisecond)))
	}
	if len(services) > 0 {
		notes = append(notes, tally(&swept, time.Since(started)))
	}
	if err := o.printSweep(s, &swept, notes); err != nil {
		return &exit{code, err}
	}
	if code != 0 {
		return &exit{code: code}
	}
	return nil
}

// sweepOptions checks the flags. What is meant for one service is refused.
func (o *oneShot) sweepOptions(s streams) (probe.SweepOptions, error) {
	var none probe.SweepOptions
	if o.isvc != "" {
		return none, usage("--isvc names one service, -A and -l choose many: give one or the other")
	}
	if o.graph != "" && (o.all || o.isvc != "" || o.selector != "") {
		return none, usage("--graph names one InferenceGraph of one namespace: leave --isvc, -A and -l away")
	}
	if o.all && o.overrides.Context.Namespace != "" {
		return none, usage("-A is all namespaces, -n is one: give one or the other")
	}
	for flag, set := range map[string]bool{"--wake": o.wake, "--path": o.path != "", "--protocol": o.protocol != "", "--method": o.method != "", "--data": o.data != "", "--save": o.save != "",
		"--trace": o.trace} {
		if set {
			return none, usage("%s is for one service: give --isvc NAME", flag)
		}
	}
	if _, err := labels.Parse(o.selector); err != nil {
		return none, usage("--selector %q: %w", o.selector, err)
	}
	opts, err := o.choices(s)
	return probe.SweepOptions{Options: opts, Whole: o.deadline}, err
}

// choose lists the services, and says what is to be said about the list.
func (o *oneShot) choose(ctx context.Context, cluster *read.Cluster, namespace string) (services []hops.Object, notes []string, err error) {
	services, err = cluster.Select(ctx, namespace, o.selector)
	if forbidden, ok := errors.AsType[*read.ForbiddenError](err); ok && namespace == "" {
		return nil, nil, fmt.Errorf("%w; or give -n NAMESPACE for the services of one", forbidden)
	}
	if err != nil && len(services) == 0 {
		return nil, nil, err
	}
	if len(services) > maxSwept || err != nil {
		return nil, nil, usage("%d services or more: a sweep takes at most %d; choose some with -n or -l", len(services), maxSwept)
	}
	if len(services) > 0 {
		return services, nil, nil
	}
	none := "No InferenceServices found"
	if o.selector != "" {
		none += " with labels " + o.selector
	}
	if namespace == "" {
		return nil, []string{none + "."}, nil
	}
	return nil, []string{none + " in " + namespace + " namespace."}, cluster.Exists(ctx, namespace)
}

// printSweep writes the table or the JSON; what is about the sweep itself goes to the error stream, where it is in no program's way.
func (o *oneShot) printSweep(s streams, swept *probe.Swept, notes []string) error {
	if o.output == "json" {
		return report.SweepJSON(s.out, swept.Runs, notes)
	}
	if len(swept.Runs) > 0 {
		if err := report.Sweep(s.out, swept.Runs, report.Options{Verbose: o.verbose, Color: s.colour(s.out), Width: width(s.out)}); err != nil {
			return err
		}
	}
	o.endSweep(s, swept, notes)
	to := s.err
	if o.ending != "" {
		to = s.out // in a pod's log two streams may change places, and the last line is looked at
	}
	for _, n := range notes {
		fmt.Fprintln(to, n)
	}
	return nil
}

// sweepNotes says which services the lines do not tell all about.
func sweepNotes(swept *probe.Swept) []string {
	var out []string
	for _, of := range []struct {
		list []hops.Ref
		says string
	}{{swept.Missed, "Not probed to an end"}, {swept.Gone, "Deleted meanwhile"},
		{swept.Unread, "Not looked into further, `probe --isvc NAME -n NAMESPACE` tells the cause"}} {
		if len(of.list) > 0 {
			out = append(out, of.says+": "+few(of.list))
		}
	}
	return out
}

// few lists some services and counts the rest.
func few(list []hops.Ref) string {
	const shown = 5
	var out []string
	for _, r := range list[:min(shown, len(list))] {
		out = append(out, r.String())
	}
	text := strings.Join(out, ", ")
	if rest := len(list) - shown; rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}

// tally counts the states: "3 services in 1.2s: 1 Failed, 2 OK (1 asleep)".
func tally(swept *probe.Swept, took time.Duration) string {
	count := map[hops.State]int{}
	asleep := 0
	for _, r := range swept.Runs {
		count[r.Verdict.State]++
		if r.Verdict.State == hops.OK && r.Verdict.Asleep {
			asleep++
		}
	}
	var parts []string
	for _, s := range []hops.State{hops.Failed, hops.Degraded, hops.Inconclusive, hops.OK} {
		if count[s] == 0 {
			continue
		}
		part := fmt.Sprintf("%d %s", count[s], s)
		if s == hops.OK && asleep > 0 {
			part += fmt.Sprintf(" (%d asleep)", asleep)
		}
		parts = append(parts, part)
	}
	noun := "services"
	if len(swept.Runs) == 1 {
		noun = "service"
	}
	text := fmt.Sprintf("%d %s in %s", len(swept.Runs), noun, took.Round(10*time.Millisecond))
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text
}

// exportAll sends all runs, a few at a time, within the time that one run has: a collector that does not answer must not hold up a sweep.
func exportAll(sink probe.Sink, runs []*hops.Run) error {
	ctx, cancel := context.WithTimeout(context.Background(), tracing.MaxWait)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed, first := 0, error(nil)
	turns := make(chan struct{}, 8)
	for _, r := range runs {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			err := sink.Export(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
				if first == nil {
					first = err
				}
			}
		})
	}
	wg.Wait()
	if first != nil {
		return fmt.Errorf("%d of %d traces were not sent: %w", failed, len(runs), first)
	}
	return nil
}

// gateways makes the senders of a sweep. Tunnels to the gateways serve all services, those to a service's own pods end with it.
type gateways struct {
	o       *oneShot
	config  *rest.Config
	cluster *read.Cluster
	s       streams

	mu      sync.Mutex
	common  dial.Dialer
	closers []func()
}

func (g *gateways) close() {
	for _, c := range g.closers {
		c()
	}
}

// connect implements probe.SweepDeps.Connect.
func (g *gateways) connect(f *hops.Flow) (probe.Sender, func()) {
	var closers []func()
	end := func() {
		for _, c := range closers {
			c()
		}
	}
	forward := func() (dial.Dialer, error) {
		common, err := g.shared()
		if err != nil {
			return nil, err
		}
		own, err := portForward(g.config, g.cluster, &closers)
		return parted{own: own, common: common, namespace: f.Ref.Namespace}, err
	}
	sender, err := g.o.dialer(f, forward, g.cluster, g.s, &closers)
	if err != nil {
		return blocked{err}, end
	}
	return sender, end
}

// shared is the port-forward to what all services share.
func (g *gateways) shared() (dial.Dialer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.common == nil {
		common, err := portForward(g.config, g.cluster, &g.closers)
		if err != nil {
			return nil, err
		}
		g.common = common
	}
	return g.common, nil
}

// parted goes one way to the service's own namespace, another to everything else.
type parted struct {
	own, common dial.Dialer
	namespace   string
}

// Dial implements dial.Dialer.
func (p parted) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	if t.Namespace == p.namespace {
		return p.own.Dial(ctx, t)
	}
	return p.common.Dial(ctx, t)
}
