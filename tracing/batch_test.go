package tracing

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"probe/hops"
)

// many are runs with traces of their own.
func many(n int) []*hops.Run {
	var out []*hops.Run
	for i := range n {
		r := *killed()
		r.TraceID = strings.Repeat("0", 28) + string("0123456789abcdef"[i/256%16]) + string("0123456789abcdef"[i/16%16]) + string("0123456789abcdef"[i%16]) + "1"
		out = append(out, &r)
	}
	return out
}

func batching(t *testing.T, address string) (*Batch, func() []error) {
	t.Helper()
	bare(t)
	e, err := NewExporter(Config{Endpoint: "http://" + address, Protocol: HTTP}, Options{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var failed []error
	b := NewBatch(e, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		failed = append(failed, err)
	})
	return b, func() []error {
		mu.Lock()
		defer mu.Unlock()
		return failed
	}
}

// traces counts the traces that arrived, and in how many requests.
func (c *collector) traces() (traces, requests int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[string]bool{}
	for _, r := range c.got {
		for _, rs := range r.ResourceSpans {
			for _, s := range rs.ScopeSpans[0].Spans {
				seen[string(s.TraceId)] = true
			}
		}
	}
	return len(seen), len(c.got)
}

// Every run arrives, several in one request, and the end sends what still waits.
func TestBatch(t *testing.T) {
	c := &collector{}
	b, failed := batching(t, overHTTP(t, c))
	for _, r := range many(400) {
		if err := b.Export(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	traces, requests := c.traces()
	if sent, dropped := b.Counts(); traces != 400 || requests > 40 || sent != 400 || dropped != 0 || len(failed()) != 0 {
		t.Errorf("%d traces in %d requests, %d sent, %d dropped, %v", traces, requests, sent, dropped, failed())
	}
}

// A collector that refuses costs the runs of a batch and one word; the next batch is tried anew.
func TestBatchRefused(t *testing.T) {
	c := &collector{refuse: "no such tenant"}
	b, failed := batching(t, overHTTP(t, c))
	_ = b.Export(t.Context(), many(1)[0])
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	errs := failed()
	if _, dropped := b.Counts(); dropped != 1 || len(errs) != 1 || !strings.Contains(errs[0].Error(), "OTEL_EXPORTER_OTLP_HEADERS") {
		t.Errorf("%d dropped, %v", dropped, errs)
	}
}

// Nobody waits for a collector that is away, and no more than a bounded number of runs waits for it: the newest.
func TestBatchAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Batch{exporter: &Exporter{destination: destination{show: "http://collector"}}, wake: make(chan struct{}, 1), done: make(chan struct{}), stop: func() {}}
		began := time.Now()
		runs := many(maxWaiting + 10)
		for _, r := range runs {
			r.Snapshots = []hops.Snapshot{{}}
			_ = b.Export(t.Context(), r)
		}
		if first := b.waiting[0]; first.TraceID != runs[10].TraceID || first.Snapshots != nil || runs[10].Snapshots == nil {
			t.Errorf("first waits trace %s with %d snapshots; the caller has %d", first.TraceID, len(first.Snapshots), len(runs[10].Snapshots))
		}
		if _, dropped := b.Counts(); dropped != 10 || len(b.waiting) != maxWaiting || time.Since(began) > 0 {
			t.Errorf("%d dropped, %d wait", dropped, len(b.waiting))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := b.Close(ctx); err == nil || !strings.Contains(err.Error(), "not all traces were sent to http://collector") {
			t.Errorf("the end that came too early says %v", err)
		}
	})
}
