// memo.go: several askers, one answer.
package read

import (
	"context"
	"sync"
)

// memo remembers the answer to each key. Those who ask while it is being found wait for it; a failure is not remembered
// unless lasting says that asking again would bring the same.
type memo[T any] struct {
	lasting func(error) bool
	mu      sync.Mutex
	calls   map[string]*call[T]
}

type call[T any] struct {
	done  chan struct{}
	value T
	err   error
}

func newMemo[T any](lasting func(error) bool) *memo[T] {
	return &memo[T]{lasting: lasting, calls: map[string]*call[T]{}}
}

// always is for answers that are asked for within one moment only.
func always(error) bool { return true }

// do gives the answer for key. find outlives the asker that came first, because others may wait for it; its reads have deadlines of their own.
func (m *memo[T]) do(ctx context.Context, key string, find func(context.Context) (T, error)) (T, error) {
	m.mu.Lock()
	k, under := m.calls[key]
	if !under {
		k = &call[T]{done: make(chan struct{})}
		m.calls[key] = k
		go func() {
			defer close(k.done)
			if k.value, k.err = find(context.WithoutCancel(ctx)); k.err != nil && !m.lasting(k.err) {
				m.mu.Lock()
				delete(m.calls, key)
				m.mu.Unlock()
			}
		}()
	}
	m.mu.Unlock()
	select {
	case <-k.done:
		return k.value, k.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
