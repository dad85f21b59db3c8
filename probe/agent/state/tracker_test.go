// tracker_test.go: sequences of results, and what is told of them.
package state

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"probe/hops"
)

var began = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// result reads a word of a sequence: O, I, F:reason, D:reason, with a leading s for a service that is starting.
func result(word string, i int) *Result {
	word, starting := strings.CutPrefix(word, "s")
	letter, reason, _ := strings.Cut(word, ":")
	r := &Result{Ref: hops.Ref{Namespace: "models", Name: "iris"}, UID: "1", Reason: reason, Starting: starting, Ended: began.Add(time.Duration(i) * time.Minute)}
	r.State = map[string]hops.State{"O": hops.OK, "I": hops.Inconclusive, "F": hops.Failed, "D": hops.Degraded}[letter]
	if r.State != hops.OK {
		r.Hop = hops.Container
	}
	return r
}

// told writes a change as "2:Failed:oom": which result made it, and what it is.
func told(i int, c *Change) string {
	return strings.TrimSuffix(fmt.Sprintf("%d:%s:%s", i, c.Is.State, c.Is.Reason), ":")
}

func TestTracker(t *testing.T) {
	for _, c := range []struct {
		name    string
		n, m    int
		results string
		changes string // the number of a result, the new state, the reason
		ends    hops.State
	}{
		{"the first OK is silent", 2, 3, "O O O", "", hops.OK},
		{"nothing is known before enough agree", 2, 3, "F:a", "", ""},
		{"a service that never worked", 2, 3, "F:a F:a F:a", "1:Failed:a", hops.Failed},
		{"one of one", 1, 1, "F:a O F:b O", "0:Failed:a 1:OK 2:Failed:b 3:OK", hops.OK},
		{"one failure among good ones", 2, 3, "O F:a O O F:a O O", "", hops.OK},
		{"two in a row", 2, 2, "O F:a O F:a F:a O O", "4:Failed:a 6:OK", hops.OK},
		{"two of three, not in a row", 2, 3, "O F:a O F:a", "3:Failed:a", hops.Failed},
		{"flapping, two of three", 2, 3, "O F:a O F:a O F:a O", "3:Failed:a 4:OK 5:Failed:a 6:OK", hops.OK},
		{"flapping, two in a row", 2, 2, "O F:a O F:a O F:a O", "", hops.OK},
		{"flapping, three of five", 3, 5, "O F:a O F:a O F:a O F:a", "5:Failed:a 6:OK 7:Failed:a", hops.Failed},
		{"flapping, four of five", 4, 5, "O F:a O F:a O F:a O F:a", "", hops.OK},
		{"three of five", 3, 5, "O F:a F:a O F:a O O O", "4:Failed:a 6:OK", hops.OK},
		{"mended and broken between", 3, 5, "F:a F:a F:a O O F:a O", "2:Failed:a 6:OK", hops.OK},
		{"failed and degraded are apart", 2, 3, "O F:a D:b O", "", hops.OK},
		{"degraded, then failed", 2, 2, "O D:b D:b F:a F:a", "2:Degraded:b 4:Failed:a", hops.Failed},
		{"could not check once", 2, 3, "O I:no-way-in O", "", hops.OK},
		{"could not check", 2, 3, "O I:no-way-in I:no-way-in O O", "2:Inconclusive:no-way-in 4:OK", hops.OK},
		{"could not check is no failure", 2, 3, "O F:a I:x O", "", hops.OK},
		{"could not check mends nothing", 2, 3, "F:a F:a I:x F:a I:x F:a", "1:Failed:a 4:Inconclusive:x 5:Failed:a", hops.Failed},
		{"why it could not be checked moves silently", 2, 2, "I:x I:x I:y I:y", "1:Inconclusive:x", hops.Inconclusive},
		{"a first OK after what was undecided", 2, 3, "F:a O", "", hops.OK},
		{"the reason follows", 2, 2, "F:a F:a F:b F:b", "1:Failed:a 3:Failed:b", hops.Failed},
		{"one other reason", 2, 3, "F:a F:a F:b F:a", "1:Failed:a", hops.Failed},
		{"undecided reasons: the latest", 2, 2, "F:a F:b F:b", "1:Failed:b", hops.Failed},
		{"undecided reasons, then one has enough", 3, 5, "F:a F:a F:b F:a", "2:Failed:b 3:Failed:a", hops.Failed},
		{"the reason of another state does not count", 2, 3, "F:a F:a D:b F:b", "1:Failed:a", hops.Failed},
		{"starting is no news", 1, 1, "sF:a sI:b sF:a O", "", hops.OK},
		{"starting, then a certain fault", 2, 3, "sF:a sF:a F:a sF:a F:a", "4:Failed:a", hops.Failed},
		{"starting again after it was OK is an outage", 2, 2, "O sF:a sF:a", "2:Failed:a", hops.Failed},
		{"a good answer while starting", 1, 1, "sO F:a", "1:Failed:a", hops.Failed},
		{"n above m", 9, 2, "O F:a F:a", "2:Failed:a", hops.Failed},
		{"n and m of nothing", 0, 0, "O F:a", "1:Failed:a", hops.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tracker Tracker
			var got []string
			for i, word := range strings.Fields(c.results) {
				was := tracker.Status()
				r := result(word, i)
				is, change := tracker.Add(r, c.n, c.m)
				if is != tracker.Status() {
					t.Errorf("result %d: gave %v, holds %v", i, is, tracker.Status())
				}
				if change == nil {
					continue
				}
				got = append(got, told(i, change))
				if change.By != r || change.Was != was && was.State != "" || change.Is != is || !is.Since.Equal(r.Ended) || is.Hop != r.Hop {
					t.Errorf("result %d: %+v", i, change)
				}
			}
			if s := strings.Join(got, " "); s != c.changes {
				t.Errorf("told %q, want %q", s, c.changes)
			}
			if s := tracker.Status().State; s != c.ends {
				t.Errorf("ends as %q, want %q", s, c.ends)
			}
		})
	}
}

// A service that was deleted and made again under its name starts anew.
func TestTrackerNewService(t *testing.T) {
	var tracker Tracker
	for i, word := range []string{"O", "F:a", "F:a"} {
		tracker.Add(result(word, i), 2, 2)
	}
	for i, word := range []string{"sF:a", "sF:a", "F:a"} {
		r := result(word, i)
		r.UID = "2"
		is, change := tracker.Add(r, 2, 2)
		if is.State != "" || is.UID != "2" || change != nil {
			t.Errorf("result %d of the new service gave %+v, %+v", i, is, change)
		}
	}
}

// Settings may change between results; memory does not grow with them.
func TestTrackerIsBounded(t *testing.T) {
	var tracker Tracker
	for i := range 1000 {
		tracker.Add(result("O", i), 500, 1000)
	}
	if len(tracker.last) != MaxOf {
		t.Errorf("%d results are remembered", len(tracker.last))
	}
	tracker.Add(result("F:a", 0), 1, 3)
	if len(tracker.last) != 3 || tracker.Status().State != hops.Failed {
		t.Errorf("%d results are remembered, %+v", len(tracker.last), tracker.Status())
	}
}

func TestTrackerSideBySide(t *testing.T) {
	var tracker Tracker
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				tracker.Add(result([]string{"O", "F:a"}[i%2], i), 2, 3)
				tracker.Status()
			}
		})
	}
	wg.Wait()
}
