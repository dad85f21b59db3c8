// tracker.go: n of m: what a service's results amount to once enough of them say the same.
package state

import (
	"slices"
	"sync"

	"probe/hops"
)

// MaxOf is the largest m of "n of m": a tracker remembers no more results.
const MaxOf = 20

// Tracker follows one service. Its zero value knows nothing yet. It may be used from several goroutines.
type Tracker struct {
	mu     sync.Mutex
	status Status
	last   []said // the latest results, oldest first, m of them at most
	been   bool   // the service gave good answers since it was created or changed
}

// said is what is remembered of a result.
type said struct {
	state  hops.State
	reason string
}

// Status is what the results amount to so far.
func (t *Tracker) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

// Add takes the next result. A state becomes the status' own when n of the last m results have it; n and m are brought into 1 <= n <= m <= MaxOf.
// The first OK counts at once, and is no change. While the state is Failed or Degraded, the reason follows by n of m too; at a turn of the state it
// is the latest result's. A result of another UID is one of a new service of the same name, and what was known is forgotten.
// The change is nil when there is nothing to tell.
func (t *Tracker) Add(r *Result, n, m int) (Status, *Change) {
	m = min(max(m, 1), MaxOf)
	n = min(max(n, 1), m)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status.UID != r.UID {
		t.status, t.last, t.been = Status{UID: r.UID}, nil, false
	}
	t.status.Ref = r.Ref
	if r.Starting && r.State != hops.OK && !t.been {
		return t.status, nil
	}
	t.been = t.been || r.State == hops.OK
	t.remember(r, m)
	was := t.status
	switch {
	case t.status.State == "" && r.State == hops.OK:
		t.turn(r)
		return t.status, nil
	case r.State != t.status.State:
		if t.count(func(s said) bool { return s.state == r.State }) < n {
			return t.status, nil
		}
		t.turn(r)
	case r.Reason == t.status.Reason:
		t.status.Hop = r.Hop // the same fault may be seen at another hop
		return t.status, nil
	case t.count(func(s said) bool { return s == said{r.State, r.Reason} }) < n:
		return t.status, nil
	default:
		t.turn(r)
		if r.State != hops.Failed && r.State != hops.Degraded { // why it could not be checked, or a remark on an answer that is good
			return t.status, nil
		}
	}
	return t.status, &Change{Was: was, Is: t.status, By: r}
}

// turn makes the status what a result says.
func (t *Tracker) turn(r *Result) {
	t.status.State, t.status.Hop, t.status.Reason, t.status.Since = r.State, r.Hop, r.Reason, r.Ended
}

// remember adds a result to the latest m.
func (t *Tracker) remember(r *Result, m int) {
	t.last = append(t.last, said{r.State, r.Reason})
	if over := len(t.last) - m; over > 0 {
		t.last = slices.Delete(t.last, 0, over)
	}
}

func (t *Tracker) count(is func(said) bool) int {
	n := 0
	for _, s := range t.last {
		if is(s) {
			n++
		}
	}
	return n
}
