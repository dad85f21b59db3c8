// shared.go: what the probes of a sweep read together: the first lists once for all services, the system's once for all that fail.
package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"probe/hops"
)

// Cluster reads for many services at once.
type Cluster interface {
	// All reads what Reader.First reads of one service, of all of them; the function picks one service's part, false when it is gone.
	All(ctx context.Context, services []hops.Object) func(hops.Ref) (hops.Snapshot, bool)
	// Want reads the named sources for one service.
	Want(ctx context.Context, facts hops.Facts, wants []hops.Source) hops.Snapshot
}

const (
	// fresh is how old the lists may be when a probe begins: a service that went to zero since would be woken by a real request.
	fresh = 10 * time.Second
	// furtherAtOnce is of how many services more is read at one time: more would wait for client-go's rate limit longer than a read may take.
	furtherAtOnce = 6
)

// shared serves all probes of one sweep.
type shared struct {
	cluster  Cluster
	services []hops.Object
	now      func() time.Time
	most     int // services to look into further, of those that fail and of those that do not
	busy     chan struct{}

	first sync.Mutex // held while the lists are read
	at    time.Time
	pick  func(hops.Ref) (hops.Snapshot, bool)

	mu           sync.Mutex
	failing, odd int // services looked into so far
	unread       []hops.Ref
	systems      map[string]*system
}

// system is what was read beside the services, for those that use the same gateways.
type system struct {
	once sync.Once
	snap hops.Snapshot
}

// lists gives the first lists, read again when they are no longer fresh.
func (s *shared) lists(ctx context.Context) func(hops.Ref) (hops.Snapshot, bool) {
	s.first.Lock()
	defer s.first.Unlock()
	if s.pick == nil || s.now().Sub(s.at) > fresh {
		s.at = s.now()
		s.pick = s.cluster.All(ctx, s.services)
	}
	return s.pick
}

// view is the Reader of one service of the sweep.
type view struct {
	*shared
	ref hops.Ref
}

// First implements Reader.
func (v *view) First(ctx context.Context, ref hops.Ref) (hops.Snapshot, error) {
	snap, there := v.lists(ctx)(ref)
	if !there {
		return snap, &goneError{ref}
	}
	return snap, nil
}

// Reads implements Reader. Requests that served many are nobody's own.
func (v *view) Reads() (int, time.Duration) { return 0, 0 }

// Want implements Reader. What belongs to the service is read for it, what does not is read once; beyond the bound, nothing is.
func (v *view) Want(ctx context.Context, facts hops.Facts, wants []hops.Source) hops.Snapshot {
	var own, common []hops.Source
	var out hops.Snapshot
	for _, s := range wants {
		info, _ := hops.Info(s)
		switch {
		case s == hops.SystemLogs || s == hops.AccessLogs:
			out.Gaps = append(out.Gaps, v.gap(s, "a sweep reads no logs of the system"))
		case info.Scope == hops.ScopeNamespace || s == hops.Namespaces || s == hops.AllVirtualServices: // the last two are read for the one service
			own = append(own, s)
		default:
			common = append(common, s)
		}
	}
	if !v.take(len(common) > 0) {
		out.Time = v.now()
		for _, s := range wants {
			out.Gaps = append(out.Gaps, v.gap(s, fmt.Sprintf("a sweep looks further into the first %d failing services only", v.most)))
		}
		return out
	}
	v.busy <- struct{}{}
	defer func() { <-v.busy }()
	var wg sync.WaitGroup
	var beside hops.Snapshot
	if len(common) > 0 {
		wg.Go(func() { beside = v.beside(ctx, facts, common) })
	}
	mine := v.cluster.Want(ctx, facts, own)
	wg.Wait()
	joined := hops.Join([]hops.Snapshot{beside, mine})
	joined.Gaps = append(joined.Gaps, out.Gaps...)
	return joined
}

func (v *view) gap(s hops.Source, why string) hops.Gap {
	return hops.Gap{Source: s, What: string(s), Why: fmt.Sprintf("%s; `probe --isvc %s -n %s` reads them", why, v.ref.Name, v.ref.Namespace)}
}

// take says whether one more service may be looked into. Those that fail do not wait behind those that only look odd.
func (v *view) take(failing bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := &v.odd
	if failing {
		n = &v.failing
	}
	if *n++; *n <= v.most {
		return true
	}
	v.unread = append(v.unread, v.ref)
	return false
}

// beside reads what is not the service's own once for all that use the same gateways: these tell where the system's namespaces are.
func (v *view) beside(ctx context.Context, facts hops.Facts, wants []hops.Source) hops.Snapshot {
	var spaces []string
	for _, d := range facts.Flow.Doors {
		if d.Gateway.Namespace != v.ref.Namespace { // in Standard mode that is the service's own Service
			spaces = append(spaces, d.Gateway.Namespace)
		}
	}
	slices.Sort(spaces)
	key := strings.Join(slices.Compact(spaces), ",")
	v.mu.Lock()
	if v.systems == nil {
		v.systems = map[string]*system{}
	}
	if v.systems[key] == nil {
		v.systems[key] = &system{}
	}
	sys := v.systems[key]
	v.mu.Unlock()
	sys.once.Do(func() { sys.snap = v.cluster.Want(ctx, facts, wants) })
	return sys.snap
}
