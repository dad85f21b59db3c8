// batch.go: sends the traces of many runs over one connection, some at a time, behind the back of whoever probes.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"probe/hops"
)

const (
	batchEvery  = time.Second
	batchSpans  = 512  // a batch goes out when it holds so many
	maxWaiting  = 1024 // runs; the oldest go first when a collector is away
	batchWithin = 5 * time.Second
)

// Batch sends runs in batches. Export never waits for the collector; what it cannot take is dropped and counted.
type Batch struct {
	exporter *Exporter
	failed   func(error)
	wake     chan struct{}
	done     chan struct{}
	stop     context.CancelFunc

	mu            sync.Mutex
	waiting       []*hops.Run
	sent, dropped int64
}

// NewBatch starts a batch exporter over an exporter that is enabled. failed takes each batch's error, one at a time; a caller that logs should do
// so seldom.
func NewBatch(e *Exporter, failed func(error)) *Batch {
	ctx, stop := context.WithCancel(context.Background())
	b := &Batch{exporter: e, failed: failed, wake: make(chan struct{}, 1), done: make(chan struct{}), stop: stop}
	go b.loop(ctx)
	return b
}

// Export implements probe.Sink. It gives no error: failed hears of what happens later. What was read of the cluster is not kept: spans do not say it,
// and a thousand runs of it would fill the memory when everything fails at once.
func (b *Batch) Export(_ context.Context, run *hops.Run) error {
	lean := *run
	lean.Snapshots = nil
	b.mu.Lock()
	if len(b.waiting) == maxWaiting {
		b.waiting = append(b.waiting[:0], b.waiting[1:]...)
		b.dropped++
	}
	b.waiting = append(b.waiting, &lean)
	full := len(b.waiting)*3 >= batchSpans // a run has three spans at least
	b.mu.Unlock()
	if full {
		select {
		case b.wake <- struct{}{}:
		default: // it is awake already
		}
	}
	return nil
}

// Counts says how many runs were sent and how many were dropped.
func (b *Batch) Counts() (sent, dropped int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent, b.dropped
}

// Close sends what waits, as long as ctx lasts, and ends the connection. No Export may follow.
func (b *Batch) Close(ctx context.Context) error {
	b.stop()
	select {
	case <-b.done:
	case <-ctx.Done():
		return fmt.Errorf("not all traces were sent to %s: %w", b.exporter.show, ctx.Err())
	}
	return nil
}

// loop sends until it is stopped, and then the rest.
func (b *Batch) loop(ctx context.Context) {
	defer close(b.done)
	tick := time.NewTicker(batchEvery)
	defer tick.Stop()
	var line reconnecting
	defer func() { line.close() }()
	for {
		select {
		case <-tick.C:
		case <-b.wake:
		case <-ctx.Done():
			for b.flush(&line) {
			}
			return
		}
		for b.flush(&line) && ctx.Err() == nil {
		}
	}
}

// flush sends one batch and says whether more waits. A batch that fails is lost: its runs are in the metrics all the same, and a queue that
// grows behind a collector that is away helps nobody.
func (b *Batch) flush(line *reconnecting) bool {
	runs, more := b.take()
	if len(runs) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchWithin)
	defer cancel()
	err := line.send(ctx, b.exporter, together(runs, b.exporter.opt))
	b.mu.Lock()
	if err == nil {
		b.sent += int64(len(runs))
	} else {
		b.dropped += int64(len(runs))
	}
	b.mu.Unlock()
	if err != nil {
		b.failed(b.exporter.wrong(err))
		return false // the next tick tries again
	}
	return more
}

// take takes the runs of one batch.
func (b *Batch) take() (runs []*hops.Run, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.waiting), batchSpans/3)
	runs = append(runs, b.waiting[:n]...)
	rest := copy(b.waiting, b.waiting[n:])
	clear(b.waiting[rest:])
	b.waiting = b.waiting[:rest]
	return runs, rest > 0
}

// together are the spans of many runs under one resource.
func together(runs []*hops.Run, o Options) []*tracepb.ResourceSpans {
	var out []*tracepb.ResourceSpans
	for _, r := range runs {
		spans := Spans(r, o)
		switch {
		case spans == nil:
		case out == nil:
			out = spans
		default:
			scope := out[0].ScopeSpans[0]
			scope.Spans = append(scope.Spans, spans[0].ScopeSpans[0].Spans...)
		}
	}
	return out
}

// reconnecting is a connection that is made when it is needed, and anew after an error.
type reconnecting struct{ c otlptrace.Client }

func (l *reconnecting) send(ctx context.Context, e *Exporter, spans []*tracepb.ResourceSpans) error {
	if spans == nil {
		return nil
	}
	if l.c == nil {
		c := e.connect()
		if err := c.Start(ctx); err != nil {
			return errors.Join(err, c.Stop(ctx))
		}
		l.c = c
	}
	err := l.c.UploadTraces(ctx, spans)
	if err != nil {
		l.close()
	}
	return err
}

func (l *reconnecting) close() {
	if l.c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), MaxWait)
	defer cancel()
	_ = l.c.Stop(ctx) // what it could still say was said by the upload
	l.c = nil
}
