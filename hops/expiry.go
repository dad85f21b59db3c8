// expiry.go: time: how old something is, until when Knative waits for a revision, and when it then deletes the evidence.
package hops

import (
	"time"
)

const (
	annDeadline     = "serving.knative.dev/progress-deadline"
	defaultDeadline = 600 * time.Second // config-deployment, progress-deadline (knative.dev/serving/pkg/deployment/config.go)
	// After the deadline the autoscaler waits this long before it gives up on a revision (knative.dev/serving/pkg/reconciler/autoscaling/kpa/scaler.go,
	// activationTimeoutBuffer); on a real cluster the pods went up to giveUpSlack later than that.
	giveUpAfter = 30 * time.Second
	giveUpSlack = 40 * time.Second
)

// past says whether at least d went by since t. What has no date is taken to be old: people paste what has been wrong for a while.
func (v *View) past(t time.Time, d time.Duration) bool {
	return t.IsZero() || v.ix.now.IsZero() || v.ix.now.Sub(t) >= d
}

// deadlineOf is how long Knative waits for the revision to become ready.
func deadlineOf(revision *Object) time.Duration {
	if d, err := time.ParseDuration(revision.Annotation(annDeadline)); err == nil && d > 0 {
		return d
	}
	return defaultDeadline
}

// expires says when Knative will begin to delete the pods of the step's revision, and with them their logs and states: when a revision did not
// become ready, or did not wake up, the autoscaler scales it to zero. A time that has passed says that it may happen at any moment. Zero when it
// will not happen or cannot be told.
func (ix *index) expires(s Step) time.Time {
	rev := ix.find(Revisions, s.Revision)
	if rev == nil || ix.now.IsZero() {
		return time.Time{}
	}
	left, gone := 0, time.Time{}
	for _, p := range ix.pods {
		switch {
		case p.Revision != s.Revision:
		case p.Ready:
			return time.Time{}
		case p.Deleted():
			t := when(p.Get("metadata", "deletionTimestamp")).Add(-time.Duration(p.Int("metadata", "deletionGracePeriodSeconds")) * time.Second)
			if t.After(gone) {
				gone = t
			}
		default:
			left++
		}
	}
	if left == 0 {
		return gone // being deleted since then
	}
	return ix.givesUp(rev)
}

// givesUp is when the autoscaler stops waiting: the deadline counts from the creation of the revision, or from when it was last woken. A
// revision whose pod never failed outright was seen to get the same time once more.
func (ix *index) givesUp(rev *Object) time.Time {
	from := rev.Created()
	active, _ := rev.Condition("Active")
	switch {
	case active.Unknown() && active.Since.After(from):
		from = active.Since
	case rev.Ready() && !active.Unknown() || from.IsZero():
		return time.Time{}
	}
	d := deadlineOf(rev)
	for _, at := range []time.Time{from.Add(d + giveUpAfter), from.Add(2*d + giveUpAfter)} {
		if !ix.now.After(at.Add(giveUpSlack)) {
			return at
		}
	}
	return time.Time{}
}

// find gives an object by name without noting it as read.
func (ix *index) find(s Source, name string) *Object {
	for _, o := range ix.objects[s] {
		if o.Name == name {
			return o
		}
	}
	return nil
}
