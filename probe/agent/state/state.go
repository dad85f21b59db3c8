// Package state holds what the agent knows of each service: what it was told of it, what its probes said, and what that amounts to once the same has
// been said often enough.
//
// state.go: the words that the parts of the agent share.
package state

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"probe/hops"
)

// Service is one InferenceService as the agent's informer keeps it: little, since there may be ten thousand.
type Service struct {
	Ref             hops.Ref
	UID             types.UID
	APIVersion      string // serving.kserve.io/v1beta1, or KFServing's
	ResourceVersion string // of the object, as the API server gave it
	// Annotations are those that are ours, by their name behind the prefix.
	Annotations map[string]string
	Created     time.Time
}

// Reasons of a result that are the agent's own and no rule's: all is well with the path, but not with the answer.
const (
	UnexpectedResponse = "unexpected-response" // the answer is not the one that was asked for
	TooSlow            = "too-slow"            // it took longer than the threshold
	BadSettings        = "bad-settings"        // the service's annotations cannot be used; the defaults are
	NoCause            = "no-cause-found"      // requests fail, and no rule says why
)

// Result is one probe of one service.
type Result struct {
	Ref hops.Ref
	UID types.UID
	// State is the verdict's, with what the settings expect of the answer taken into account.
	State  hops.State
	Asleep bool
	// Hop, Reason, Summary and Fix say where and why: empty when State is OK. Reason is the id of a rule, or one of the agent's own.
	Hop          hops.Hop
	Reason       string
	Summary, Fix string
	// Starting says that the service has not been ready yet and nothing certain is wrong with it: no news.
	Starting bool
	// Run is what was sent and seen. Its snapshots are gone unless the probe looked further.
	Run *hops.Run
	// Further says that the probe read the cluster, because requests failed or the path was not known yet.
	Further bool
	// Cold says that a request woke the service from zero: its time is no latency of a warm one.
	Cold bool
	// Recorded says that the mesh was asked to record the requests.
	Recorded bool
	// Due is when the probe should have begun; Started and Ended when it did and was over.
	Due, Started, Ended time.Time
	// Interval is the service's own; N of its last M results turn its status.
	Interval time.Duration
	N, M     int
	// Problems are what is wrong with the service's annotations, a line each.
	Problems []string
}

// Delay is how late the probe began.
func (r *Result) Delay() time.Duration { return r.Started.Sub(r.Due) }

// Took is how long the probe took.
func (r *Result) Took() time.Duration { return r.Ended.Sub(r.Started) }

// Status is what the agent says of a service: the state that enough of its last probes agree on.
type Status struct {
	Ref hops.Ref
	UID types.UID
	// State is "" until enough probes agree for the first time.
	State  hops.State
	Hop    hops.Hop
	Reason string
	Since  time.Time // when State or Reason became what they are
}

// Change is a turn of a status, and the result that made it turn.
type Change struct {
	Was, Is Status
	By      *Result
}
