// shard.go: agents find each other by Leases and share the services.
package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"probe/hops"
	"probe/probe"
)

const (
	// ShardLabel is on the Leases; its value is the name of the agents that share.
	ShardLabel = "probe/shard"
	// abandoned is how long a Lease may be silent before another agent deletes it: a Deployment's pods never come back under their name.
	abandoned = time.Hour
	// longestLease bounds what another agent's Lease may ask for.
	longestLease = 5 * time.Minute
)

// ShardOptions are a Sharder's choices.
type ShardOptions struct {
	Namespace string // of the Leases
	Name      string // of this agent and its Lease: the pod's name
	Set       string // the agents that share, as the value of ShardLabel; "probe-agent"
	// PodUID has Kubernetes delete the Lease with the pod; it may be empty.
	PodUID types.UID
	// Duration is how long an agent may be silent before others take its services; 15 s, at least 3 s. It speaks each third of it.
	Duration time.Duration
	Version  string // of this program, for the user agent
	// OnChange is called when the members have changed, and once when they are known at first. It must not wait.
	OnChange func()
	// Log takes a line when the Leases cannot be read or written, at most one a minute, and one when they can again. Nil is quiet.
	Log func(string)
	// Now is the clock that is written into the Lease. No agent reads another's: each times by its own clock when the other's Lease last changed.
	Now func() time.Time
}

// Sharder shares the services with the other agents. An agent gives up a service only when it sees the Lease of another that is to have it, and that
// one has it before it writes its Lease. So each service has an agent at any time, except until it is noticed that one has died or left.
type Sharder struct {
	o       ShardOptions
	client  *rest.RESTClient
	faults  *faults
	members atomic.Pointer[Members] // nil until they are known

	seen   map[string]*lease
	listed time.Time // when the Leases were last read
}

// lease is one as we saw it.
type lease struct {
	renewed time.Time // by its holder's clock
	changed time.Time // by ours
}

// NewSharder makes a sharder. Nothing is sent before Run.
func NewSharder(cfg *rest.Config, o ShardOptions) (*Sharder, error) {
	o.Set, o.Duration = cmp.Or(o.Set, "probe-agent"), max(cmp.Or(o.Duration, 15*time.Second), 3*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	for what, name := range map[string]string{"namespace": o.Namespace, "name": o.Name} {
		if wrong := validation.NameIsDNSSubdomain(name, false); len(wrong) > 0 {
			return nil, fmt.Errorf("shard: %s %q: %s; give the pod its own by the downward API", what, name, wrong[0])
		}
	}
	client, err := newClient(cfg, o.Version)
	if err != nil {
		return nil, err
	}
	return &Sharder{o: o, client: client, faults: newFaults(o.Log), seen: map[string]*lease{}}, nil
}

// Owns says whether this agent probes the service. It is false until the members are known, which takes no longer than a third of the duration: with
// Leases that cannot be read at all an agent takes every service.
func (s *Sharder) Owns(ref hops.Ref) bool {
	m := s.members.Load()
	return m != nil && m.Owns(ref)
}

// Members are the names of the agents that share; none until they are known.
func (s *Sharder) Members() []string {
	if m := s.members.Load(); m != nil {
		return m.Names()
	}
	return nil
}

// Trouble says why the members are not up to date; nil when they are.
func (s *Sharder) Trouble() error {
	for _, line := range s.faults.now() {
		return errors.New(line)
	}
	return nil
}

// Run shares until ctx ends, and then deletes the Lease, so that the others take over in their next round. Start it when the services are known: from
// then on the others leave this agent its part. While the API server is away the last view stands: rather two probes than none.
func (s *Sharder) Run(ctx context.Context) {
	for {
		err := s.round(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			s.faults.mended("shards")
		} else {
			s.faults.failed("shards", why(err, "leases.coordination.k8s.io"))
			if s.members.Load() == nil {
				s.publish([]string{s.o.Name})
			}
		}
		if !probe.Pause(ctx, s.o.Duration/3) {
			break
		}
	}
	ctx, cancel := s.deadline(context.WithoutCancel(ctx))
	defer cancel()
	_ = s.remove(ctx, s.o.Name) // else it runs out
}

func (s *Sharder) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(quiet(ctx), s.o.Duration/3)
}

// round reads the Leases, takes up what is this agent's, and only then says that it is here.
func (s *Sharder) round(ctx context.Context) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	list := &coordinationv1.LeaseList{}
	err := s.request(s.client.Get()).Param("labelSelector", ShardLabel+"="+s.o.Set).Param("limit", strconv.Itoa(maxMembers)).Do(ctx).Into(list)
	if err != nil {
		return late(ctx, err)
	}
	live, dead := s.see(list.Items, time.Now())
	s.publish(live)
	own := slices.IndexFunc(list.Items, func(l coordinationv1.Lease) bool { return l.Name == s.o.Name })
	if own >= 0 {
		err = s.renew(ctx, &list.Items[own])
	} else {
		err = s.renew(ctx, &coordinationv1.Lease{})
	}
	if err != nil {
		return late(ctx, err)
	}
	if len(dead) > 0 { // one a round: each agent does this, and nothing is urgent
		return s.remove(ctx, dead[0])
	}
	return nil
}

// see compares the Leases with what they were. Time during which they could not be read is held against nobody: perhaps nobody could write them.
func (s *Sharder) see(list []coordinationv1.Lease, now time.Time) (live, dead []string) {
	away := now.Sub(s.listed) > s.o.Duration
	s.listed = now
	seen := make(map[string]*lease, len(list))
	live = []string{s.o.Name}
	for i := range list {
		l, spec := s.seen[list[i].Name], list[i].Spec
		if l == nil {
			l = &lease{changed: now}
		}
		if renewed := spec.RenewTime; renewed != nil && !renewed.Time.Equal(l.renewed) {
			l.renewed, l.changed = renewed.Time, now
		} else if away {
			l.changed = now
		}
		seen[list[i].Name] = l
		lasts := s.o.Duration
		if spec.LeaseDurationSeconds != nil { // during an update of the agents theirs may be another
			lasts = min(max(lasts, time.Duration(*spec.LeaseDurationSeconds)*time.Second), longestLease)
		}
		switch silent := now.Sub(l.changed); {
		case list[i].Name == s.o.Name:
		case silent < lasts:
			live = append(live, list[i].Name)
		case silent > abandoned:
			dead = append(dead, list[i].Name)
		}
	}
	s.seen = seen
	slices.Sort(live)
	return live, dead
}

// publish makes the members known when they have changed.
func (s *Sharder) publish(all []string) {
	if old := s.members.Load(); old != nil && slices.Equal(old.all, all) {
		return
	}
	s.members.Store(&Members{self: s.o.Name, all: all})
	if s.o.OnChange != nil {
		s.o.OnChange()
	}
}

// renew writes this agent's Lease: a new one, or the one that was read.
func (s *Sharder) renew(ctx context.Context, l *coordinationv1.Lease) error {
	verb := s.client.Put
	if l.Name == "" {
		verb = s.client.Post
	}
	now := metav1.NewMicroTime(s.o.Now())
	l.TypeMeta = metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"}
	l.Namespace, l.Name, l.Labels = s.o.Namespace, s.o.Name, map[string]string{ShardLabel: s.o.Set}
	if s.o.PodUID != "" {
		l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: s.o.Name, UID: s.o.PodUID}}
	}
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &s.o.Name, new(int32(s.o.Duration/time.Second)), &now
	r := s.request(verb())
	if l.ResourceVersion != "" {
		r = r.Name(l.Name)
	}
	return r.Body(l).Do(ctx).Error()
}

// remove deletes a Lease. One that was deleted wrongly is written again in the next round of its holder.
func (s *Sharder) remove(ctx context.Context, name string) error {
	return s.request(s.client.Delete()).Name(name).Do(ctx).Error()
}

func (s *Sharder) request(r *rest.Request) *rest.Request {
	return r.AbsPath("/apis", coordinationv1.SchemeGroupVersion.Group, coordinationv1.SchemeGroupVersion.Version).Namespace(s.o.Namespace).
		Resource("leases").MaxRetries(0)
}
