// basket.go: what reads that run side by side bring home, and the gaps that they leave.
package read

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"probe/hops"
)

// basket gathers one snapshot. A source that is read in several parts is full when all its parts are.
type basket struct {
	mu      sync.Mutex
	snap    hops.Snapshot
	whole   map[hops.Source]bool
	partial map[hops.Source]bool
}

func newBasket(at time.Time) *basket {
	return &basket{snap: hops.Snapshot{Time: at}, whole: map[hops.Source]bool{}, partial: map[hops.Source]bool{}}
}

// job is one part of a snapshot.
type job func(context.Context, *basket)

// side runs jobs side by side until all are done; their reads have deadlines.
func side(ctx context.Context, b *basket, jobs []job) {
	var wg sync.WaitGroup
	for _, j := range jobs {
		wg.Go(func() { j(ctx, b) })
	}
	wg.Wait()
}

// objects takes what a part of a source brought, and how the reading ended. what names the part: "pods in demo".
func (b *basket) objects(info hops.SourceInfo, what string, list []hops.Object, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range list {
		if info.Source == hops.Events || info.Source == hops.SystemEvents {
			b.snap.Events = append(b.snap.Events, hops.ParseEvent(&o))
			continue
		}
		b.snap.Objects = append(b.snap.Objects, o)
	}
	b.end(info, what, err)
}

// lines takes a log. Only a log that was read from its first line proves that something is not in it.
func (b *basket) lines(list []hops.Line, whole bool, source hops.Source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.snap.Lines = append(b.snap.Lines, list...)
	if whole {
		b.whole[source] = true
	} else {
		b.partial[source] = true
	}
}

// done says how reading a part of a source ended.
func (b *basket) done(info hops.SourceInfo, what string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(info, what, err)
}

func (b *basket) end(info hops.SourceInfo, what string, err error) {
	if err == nil {
		b.whole[info.Source] = true
		return
	}
	b.partial[info.Source] = true
	g := hops.Gap{Source: info.Source, What: what, Why: why(err), Err: err.Error()}
	var missing *notInstalledError
	if errors.As(err, &missing) {
		g.What = product(info.Group)
	}
	b.snap.Gaps = append(b.snap.Gaps, g)
}

// snapshot gives the whole in an order that does not depend on who came first.
func (b *basket) snapshot() hops.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.snap
	rank := map[hops.Source]int{}
	for i, info := range hops.Known() {
		rank[info.Source] = i
		if b.whole[info.Source] && !b.partial[info.Source] {
			s.Full = append(s.Full, info.Source)
		}
	}
	slices.SortStableFunc(s.Objects, func(x, y hops.Object) int {
		return cmp.Or(rank[x.Source]-rank[y.Source], strings.Compare(x.Kind, y.Kind), strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Name, y.Name))
	})
	s.Objects = slices.CompactFunc(s.Objects, func(x, y hops.Object) bool {
		return x.Source == y.Source && x.Kind == y.Kind && x.Namespace == y.Namespace && x.Name == y.Name
	})
	slices.SortStableFunc(s.Events, func(x, y hops.Event) int {
		return cmp.Or(x.Last.Compare(y.Last), strings.Compare(x.About.Name, y.About.Name), strings.Compare(x.Message, y.Message))
	})
	slices.SortStableFunc(s.Lines, func(x, y hops.Line) int {
		return cmp.Or(rank[x.Source]-rank[y.Source], strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Pod, y.Pod),
			strings.Compare(x.Container, y.Container), -compareBool(x.Previous, y.Previous), x.Number-y.Number)
	})
	slices.SortStableFunc(s.Gaps, func(x, y hops.Gap) int {
		return cmp.Or(rank[x.Source]-rank[y.Source], strings.Compare(x.What, y.What))
	})
	return s
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// add takes over what another basket gathered.
func (b *basket) add(other *basket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.snap.Objects = append(b.snap.Objects, other.snap.Objects...)
	b.snap.Events = append(b.snap.Events, other.snap.Events...)
	b.snap.Lines = append(b.snap.Lines, other.snap.Lines...)
	b.snap.Gaps = append(b.snap.Gaps, other.snap.Gaps...)
	for s := range other.whole {
		b.whole[s] = true
	}
	for s := range other.partial {
		b.partial[s] = true
	}
}

// refusal is the API server's own text (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go):
// pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "demo".
var refusal = regexp.MustCompile(`User "([^"]*)" cannot (\w+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]*)"| (at the cluster scope))?`)

// why says in the user's words why a read brought nothing.
func why(err error) string {
	var missing *notInstalledError
	switch {
	case errors.As(err, &missing):
		return "not installed: " + missing.Error()
	case apierrors.IsForbidden(err):
		return forbidden(err)
	case apierrors.IsUnauthorized(err):
		return "the cluster does not accept these credentials"
	case apierrors.IsTooManyRequests(err):
		return "the API server is overloaded and asks to come back later"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return hops.Clip(line, 300)
}

func forbidden(err error) string {
	m := refusal.FindStringSubmatch(err.Error())
	if m == nil {
		return "forbidden: " + hops.Clip(err.Error(), 300)
	}
	where := ""
	switch {
	case m[5] != "":
		where = " in " + m[5]
	case m[6] != "":
		where = " " + m[6]
	}
	resource := m[3]
	if info := (hops.SourceInfo{Group: m[4], Resource: m[3]}); m[4] != "" {
		resource = words(info)
	}
	return fmt.Sprintf("forbidden: %s may not %s %s%s", m[1], m[2], resource, where)
}
