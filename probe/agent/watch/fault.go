// fault.go: why the API server is not heard, in words, and how often that is said.
package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// logEvery bounds how often a failure is logged. The end of one that was logged is logged too.
const logEvery = time.Minute

// Attempts are at first half a second apart, then twice as far each time, but never more than 30 s. After two quiet minutes it starts over.
const (
	firstDelay = 500 * time.Millisecond
	mostDelay  = 30 * time.Second
	quietTime  = 2 * time.Minute
)

// backoff gives the times to wait between attempts. It is for one goroutine.
type backoff struct {
	delay time.Duration
	last  time.Time
}

// next is the time to wait now: between half of the delay and all of it, so that agents which failed together do not come back together.
func (b *backoff) next() time.Duration {
	if now := time.Now(); now.Sub(b.last) > b.delay+quietTime {
		b.delay, b.last = firstDelay, now
	} else {
		b.delay, b.last = min(2*b.delay, mostDelay), now
	}
	return b.delay/2 + rand.N(b.delay/2)
}

// faults are what goes wrong now, by what is concerned. There are as many as there are namespaces watched.
type faults struct {
	log func(string)

	mu     sync.Mutex
	by     map[string]*fault
	logged time.Time
}

type fault struct {
	reason string
	since  time.Time
	told   bool
}

func newFaults(log func(string)) *faults {
	if log == nil {
		log = func(string) {}
	}
	return &faults{log: log, by: map[string]*fault{}}
}

// failed notes a failure, and logs it unless one was logged less than a minute ago.
func (f *faults) failed(what, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	one := f.by[what]
	if one == nil {
		one = &fault{since: now}
		f.by[what] = one
	}
	one.reason = reason
	if !f.logged.IsZero() && now.Sub(f.logged) < logEvery {
		return
	}
	f.logged, one.told = now, true
	f.log(one.text(what, now))
}

// text is one line: "WHAT: REASON (for 3m0s)".
func (f *fault) text(what string, now time.Time) string {
	line := what + ": " + strings.Join(strings.Fields(f.reason), " ")
	if d := now.Sub(f.since).Round(time.Second); d > 0 {
		line += fmt.Sprintf(" (for %s)", d)
	}
	return line
}

// mended notes that all is well.
func (f *faults) mended(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.by[what]; one != nil {
		delete(f.by, what)
		if one.told {
			f.log(fmt.Sprintf("%s: all is well again after %s", what, time.Since(one.since).Round(time.Second)))
		}
	}
}

// now lists what goes wrong, a line each; none when nothing does.
func (f *faults) now() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for what, one := range f.by {
		out = append(out, one.text(what, time.Now()))
	}
	slices.Sort(out)
	return out
}

// notInstalledError says that the cluster has no such resource.
type notInstalledError struct{ resource string }

func (e *notInstalledError) Error() string {
	return "the cluster does not know " + e.resource + ": it is not installed, or not yet; it is looked for again within 30 s"
}

// why is an error in words that end in the way out. What credentials were sent is in none of them.
func why(err error, resource string) string {
	var missing *notInstalledError
	var sent *url.Error
	switch {
	case errors.As(err, &missing):
		return missing.Error()
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("a right on %s is missing: %s; apply the role that `probe agent --manifests` prints", resource, err)
	case apierrors.IsUnauthorized(err):
		return "the API server does not accept the agent's credentials: they are read anew; a token that stays refused has expired or was revoked"
	case errors.Is(err, context.DeadlineExceeded):
		return "the API server does not answer in time; it is asked again within 30 s"
	case errors.As(err, &sent):
		return fmt.Sprintf("the API server does not answer: %s; it is asked again within 30 s", sent.Err)
	}
	return fmt.Sprintf("the API server cannot serve it: %s; it is asked again within 30 s", err)
}

// unknownResource tells "no such resource" from "no such object": only the latter names an object.
func unknownResource(err error) bool {
	var s apierrors.APIStatus
	return errors.As(err, &s) && s.Status().Code == 404 && (s.Status().Details == nil || s.Status().Details.Name == "")
}

// expired says that a list or a watch cannot go on from where it was: 410 Gone.
func expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }
