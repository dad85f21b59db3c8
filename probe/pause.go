// pause.go: waiting that a cancelled run does not wait for.
package probe

import (
	"context"
	"time"
)

// Pause waits for d; false when the context ended first.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
