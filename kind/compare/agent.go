// agent.go: `probe agent` as its binary against a cluster in this process.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"probe/scenarios/inproc"
)

// agent is a running agent.
type agent struct {
	*child
	address string
	scraper *scraper
}

// startAgent starts one. record is of how many healthy runs one sends its spans; 0 is the agent's default.
func startAgent(ctx context.Context, o options, dir, name string, l *inproc.Light, s *sink, record int) (*agent, error) {
	file := filepath.Join(dir, name+".kubeconfig")
	if err := os.WriteFile(file, l.API.Kubeconfig(), 0o600); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	args := []string{"agent", "--all-namespaces", "--kubeconfig=" + file, "--address=" + l.Address(), "--gateway=outside", "--listen=" + address,
		"--interval=" + o.interval.String(), "--timeout=" + min(o.interval, 10*time.Second).String()}
	if record > 0 {
		args = append(args, "--record="+strconv.Itoa(record))
	}
	c, err := start(name, o.probe, s.env(), args...)
	if err != nil {
		return nil, err
	}
	a := &agent{child: c, address: address, scraper: newScraper(o.gzip)}
	if err := a.await(ctx, a.url("/readyz")); err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

func (a *agent) url(path string) string { return "http://" + a.address + path }

// page reads the metrics for what they say. It is not part of what is measured by itself: once a window.
func (a *agent) page(ctx context.Context) (string, error) {
	return newScraper(false).get(ctx, a.url("/metrics"))
}

// scrape reads the metrics on each interval, as Prometheus does, until ctx ends.
func (a *agent) scrape(ctx context.Context, every time.Duration) {
	for pause(ctx, every) {
		if _, err := a.scraper.get(ctx, a.url("/metrics")); err != nil && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", a.name, err)
		}
	}
}

// warm waits until each service was found OK once, and says how long that took and how many were not.
func (a *agent) warm(ctx context.Context, o options) (took time.Duration, left int, err error) {
	begin := time.Now()
	every := time.Second + time.Duration(o.services)*time.Millisecond // a page of ten thousand services is work too
	for {
		page, err := a.page(ctx)
		if err != nil {
			return took, left, errors.Join(err, a.alive())
		}
		left = o.services - positive(page, "probe_runs_total", `state="OK"`)
		if took = time.Since(begin); left <= 0 || took >= o.warm {
			return took, left, nil
		}
		fmt.Fprintf(o.quiet, "%s: after %s %d of %d services have not been found OK yet\n", a.name, took.Round(time.Second), left, o.services)
		if !pause(ctx, every) {
			return took, left, ctx.Err()
		}
	}
}

// freeAddress is a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("no free port on 127.0.0.1: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
