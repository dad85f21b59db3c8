// blackbox.go: blackbox_exporter as its binary, and what Prometheus would do to it.
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"probe/scenarios/inproc"
)

// config is one module: HTTP over IPv4, any 2xx. As README.md says, it is the cheapest that asks what the agent asks.
const config = `modules: {http: {prober: http, timeout: 10s, http: {preferred_ip_protocol: ip4, ip_protocol_fallback: false, follow_redirects: false}}}`

// blackbox is a running exporter.
type blackbox struct {
	*child
	address string
	scraper *scraper

	done, failed atomic.Int64
}

// startBlackbox starts the exporter without logs of its probes.
func startBlackbox(ctx context.Context, o options, dir string) (*blackbox, error) {
	file := filepath.Join(dir, "blackbox.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	c, err := start("blackbox_exporter", o.blackbox, nil, "--config.file="+file, "--web.listen-address="+address, "--log.level=error", "--log.prober=error")
	if err != nil {
		return nil, err
	}
	b := &blackbox{child: c, address: address, scraper: newScraper(o.gzip)}
	if err := b.await(ctx, b.url("/metrics")); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

func (b *blackbox) url(path string) string { return "http://" + b.address + path }

// drive asks for a probe of each service on each interval, spread over it, until ctx ends. At most 64 are under way.
func (b *blackbox) drive(ctx context.Context, l *inproc.Light, interval time.Duration) {
	refs := l.Refs()
	turns := make(chan struct{}, 64)
	var all sync.WaitGroup
	defer all.Wait()
	begin := time.Now()
	for i := 0; ; i++ {
		wait := time.NewTimer(time.Until(begin.Add(time.Duration(i) * interval / time.Duration(len(refs)))))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			ref := refs[i%len(refs)]
			q := url.Values{"module": {"http"}, "target": {"http://" + l.Address() + "/v1/models/" + ref.Name}, "hostname": {l.Host(ref)}}
			page, err := b.scraper.get(ctx, b.url("/probe?"+q.Encode()))
			switch {
			case ctx.Err() != nil: // over: neither done nor failed
			case err != nil, page != "" && !strings.Contains(page, "\nprobe_success 1\n"):
				b.failed.Add(1)
			default:
				b.done.Add(1)
			}
		})
	}
}

// await waits until a page can be had.
func (c *child) await(ctx context.Context, url string) error {
	s := newScraper(false)
	for range 300 {
		if _, err := s.get(ctx, url); err == nil {
			return nil
		}
		if err := c.alive(); err != nil {
			return err
		}
		if !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s does not answer at %s: %s", c.name, url, c.said)
}

// pause waits; false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
