// failures.go: the evidence of the last failures, in memory: few captures a service, compressed, all together bounded.
package tell

import (
	"bytes"
	"cmp"
	"container/list"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"probe/hops"
	"probe/probe/agent/state"
	"probe/probe/capture"
)

const (
	defaultBytes = 64 << 20
	maxServices  = 50_000 // of which the last good answer is known
	maxSummary   = 512    // bytes
)

// Failures keeps the captures of failed probes. Of a service there are at most three: the first of the outage, the latest, and the last that had
// another reason. When all together are too large, the oldest goes. Of good answers only a line is kept, the last one's.
type Failures struct {
	most int64

	mu       sync.Mutex
	bytes    int64
	byAge    *list.List // of *Failure, the oldest first
	services map[hops.Ref]*service
}

// Failure is one that is kept.
type Failure struct {
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	Time      time.Time  `json:"time"` // when the probe was over
	ID        string     `json:"id"`   // of the trace
	State     hops.State `json:"state"`
	Hop       hops.Hop   `json:"hop,omitempty"`
	Reason    string     `json:"reason,omitempty"` // the id of a rule, or one of the agent's own
	Summary   string     `json:"summary"`
	Bytes     int        `json:"bytes"` // of the capture, compressed
	Href      string     `json:"href"`
	LastOK    *Good      `json:"lastOK,omitempty"` // of the service

	raw     []byte
	further bool // the cluster was read for it
	age     *list.Element
}

// Good is the last good answer of a service.
type Good struct {
	Time    time.Time `json:"time"`
	ID      string    `json:"id"`
	Summary string    `json:"summary"`
}

// service is what is kept of one.
type service struct {
	outage bool       // the last answer was not good, or not enough of them were
	first  *Failure   // of the outage
	kept   []*Failure // the oldest first, three at most; first is one of them until it had to go
	good   *Good
}

// NewFailures keeps captures of at most so many bytes; 0 is 64 MiB.
func NewFailures(most int64) *Failures {
	return &Failures{most: cmp.Or(most, defaultBytes), byAge: list.New(), services: map[hops.Ref]*service{}}
}

// Add takes a result, and the status that it led to. Failed and degraded ones are kept, good ones noted; those that could not be checked say nothing
// of the service and would push out what does. The error is about a capture that cannot be kept.
func (f *Failures) Add(r *state.Result, s state.Status) error {
	switch r.State {
	case hops.OK:
		f.good(r, s)
		return nil
	case hops.Failed, hops.Degraded:
	default:
		return nil
	}
	if r.Run == nil || !r.Further && f.knowsMore(r) {
		return nil
	}
	made, err := newFailure(r)
	if err != nil {
		return err
	}
	if most := f.most / 4; int64(made.Bytes) > most {
		return fmt.Errorf("the capture of the failure of %s is not kept: it has %d bytes, more than a quarter of the %d that all may have", r.Ref, made.Bytes, f.most)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keep(r.Ref, made)
	return nil
}

// knowsMore says whether the latest failure of this outage has the same reason and more evidence than a result without a look at the cluster.
func (f *Failures) knowsMore(r *state.Result) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.services[r.Ref]
	if s == nil || !s.outage || len(s.kept) == 0 {
		return false
	}
	latest := s.kept[len(s.kept)-1]
	return latest.further && latest.Reason == r.Reason
}

// newFailure packs a result.
func newFailure(r *state.Result) (*Failure, error) {
	run := *r.Run
	run.Warnings = append(run.Warnings[:len(run.Warnings):len(run.Warnings)], told(r)...)
	var raw bytes.Buffer
	if err := capture.Archive(&raw, &run); err != nil {
		return nil, err
	}
	return &Failure{Namespace: r.Ref.Namespace, Name: r.Ref.Name, Time: r.Ended.UTC(), ID: run.TraceID, State: r.State, Hop: r.Hop, Reason: r.Reason,
		Summary: cut(clean(r.Summary), maxSummary), Bytes: raw.Len(), Href: href(r.Ref, r.Ended), raw: bytes.Clone(raw.Bytes()), further: r.Further}, nil
}

// told is what a capture does not hold: what the agent expected of the answer. Rules find it again themselves.
func told(r *state.Result) []string {
	switch r.Reason {
	case state.UnexpectedResponse, state.TooSlow, state.NoCause:
		return []string{fmt.Sprintf("the agent called it %s: %s: %s", r.State, r.Reason, r.Summary)}
	}
	return nil
}

// keep puts a failure into its place, and makes room. The caller holds the lock.
func (f *Failures) keep(ref hops.Ref, made *Failure) {
	s := f.of(ref)
	if s == nil {
		return
	}
	if !s.outage {
		s.outage, s.first = true, made
	}
	s.kept = append(s.kept, made)
	made.age = f.byAge.PushBack(made)
	f.bytes += int64(made.Bytes)
	for _, old := range s.surplus() {
		f.drop(old)
	}
	for f.bytes > f.most { // never made itself: it has a quarter at most
		f.drop(f.byAge.Front().Value.(*Failure))
	}
}

// surplus are the failures that are neither the first of the outage, nor the latest, nor the last with another reason than the latest.
func (s *service) surplus() []*Failure {
	var out []*Failure
	latest := s.kept[len(s.kept)-1]
	other := false
	for _, k := range slices.Backward(s.kept) {
		isOther := !other && k.Reason != latest.Reason
		other = other || isOther
		if k != latest && k != s.first && !isOther {
			out = append(out, k)
		}
	}
	return out
}

// drop forgets a failure. The caller holds the lock.
func (f *Failures) drop(old *Failure) {
	f.byAge.Remove(old.age)
	f.bytes -= int64(old.Bytes)
	ref := hops.Ref{Namespace: old.Namespace, Name: old.Name}
	s := f.services[ref]
	s.kept = slices.DeleteFunc(s.kept, func(k *Failure) bool { return k == old })
	if s.first == old {
		s.first = nil
	}
	if len(s.kept) == 0 && s.good == nil && !s.outage {
		delete(f.services, ref)
	}
}

// of is what is kept of a service; nil when there is no room for another.
func (f *Failures) of(ref hops.Ref) *service {
	s := f.services[ref]
	if s == nil && len(f.services) < maxServices {
		s = &service{}
		f.services[ref] = s
	}
	return s
}

// good notes a good answer. The outage is over when the status says so: one good answer among bad ones ends nothing.
func (f *Failures) good(r *state.Result, status state.Status) {
	summary, id := r.Summary, ""
	if r.Run != nil {
		summary, id = cmp.Or(summary, r.Run.Verdict.Summary), r.Run.TraceID
	}
	noted := &Good{Time: r.Ended.UTC(), ID: id, Summary: cut(clean(summary), maxSummary)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.of(r.Ref); s != nil {
		s.good = noted
		s.outage = s.outage && status.State != hops.OK
	}
}

// Forget is for a service that is no longer probed here. Its captures stay until others need the room: whoever deleted it may still ask why.
func (f *Failures) Forget(ref hops.Ref) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.services[ref]
	if s == nil {
		return
	}
	s.good, s.outage = nil, false
	if len(s.kept) == 0 {
		delete(f.services, ref)
	}
}

// List gives what is kept, the latest first, without the captures themselves.
func (f *Failures) List() []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Failure, 0, f.byAge.Len())
	for e := f.byAge.Back(); e != nil; e = e.Prev() {
		k := *e.Value.(*Failure)
		k.LastOK = f.services[hops.Ref{Namespace: k.Namespace, Name: k.Name}].good
		k.raw, k.age = nil, nil
		out = append(out, k)
	}
	return out
}

// find gives the latest failure of a service that is not later than a time and, when an id is given, has it. The time of zero is now.
func (f *Failures) find(ref hops.Ref, at time.Time, id string) (Failure, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.services[ref]
	if s == nil {
		return Failure{}, false
	}
	for _, k := range slices.Backward(s.kept) {
		if (at.IsZero() || !k.Time.After(at)) && (id == "" || k.ID == id) {
			return *k, true
		}
	}
	return Failure{}, false
}

// href is where a failure can be fetched.
func href(ref hops.Ref, at time.Time) string {
	return "/failures/" + url.PathEscape(ref.Namespace) + "/" + url.PathEscape(ref.Name) + "?at=" + url.QueryEscape(at.UTC().Format(time.RFC3339Nano))
}
