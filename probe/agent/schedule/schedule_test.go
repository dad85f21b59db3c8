// schedule_test.go: the loop, in a bubble where time passes when everything waits.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"probe/hops"
)

func ref(i int) hops.Ref { return hops.Ref{Namespace: "demo", Name: fmt.Sprintf("model-%d", i)} }

// probes notes when which service was probed, and how many at once.
type probes struct {
	takes time.Duration // of one probe; it ends early with its context
	began time.Time

	mu     sync.Mutex
	at     map[hops.Ref][]time.Duration
	delays []time.Duration
	causes []error
	now    map[hops.Ref]int
	most   int // at once
	twice  bool
}

func (p *probes) do(ctx context.Context, ref hops.Ref, due time.Time) {
	p.mu.Lock()
	p.at[ref] = append(p.at[ref], time.Since(p.began))
	p.delays = append(p.delays, time.Since(due))
	p.now[ref]++
	p.twice = p.twice || p.now[ref] > 1
	p.most = max(p.most, len(p.now))
	takes := p.takes
	p.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.causes = append(p.causes, context.Cause(ctx))
	if p.now[ref]--; p.now[ref] == 0 {
		delete(p.now, ref)
	}
}

// of gives when a service was probed.
func (p *probes) of(ref hops.Ref) []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.at[ref])
}

// all gives when each was probed.
func (p *probes) all() map[hops.Ref][]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[hops.Ref][]time.Duration{}
	for ref, at := range p.at {
		out[ref] = slices.Clone(at)
	}
	return out
}

// longest gives the longest delay.
func (p *probes) longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Max(p.delays)
}

// bubble runs a test on a scheduler that ends with it.
func bubble(t *testing.T, workers int, takes time.Duration, f func(s *Scheduler, p *probes)) {
	synctest.Test(t, func(t *testing.T) {
		p := &probes{takes: takes, began: time.Now(), at: map[hops.Ref][]time.Duration{}, now: map[hops.Ref]int{}}
		s := New(workers, p.do)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			s.Run(ctx)
			close(ended)
		}()
		f(s, p)
		cancel()
		<-ended
		s.Drain(0)
		if p.twice {
			t.Error("two probes of one service ran at once")
		}
	})
}

// after lets time pass, and what is due happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestSpread: a fleet that is set at one moment is probed evenly, each service once an interval.
func TestSpread(t *testing.T) {
	const services, minutes = 600, 20
	bubble(t, 1000, 0, func(s *Scheduler, p *probes) {
		for i := range services {
			s.Set(ref(i), time.Minute)
		}
		after(minutes * time.Minute)
		seconds := make([]int, minutes*60+1)
		for r, at := range p.all() {
			if at[0] > time.Minute {
				t.Errorf("%s was first probed after %s", r, at[0])
			}
			if n := len(at); n < minutes-1 || n > minutes+1 {
				t.Errorf("%s was probed %d times in %d minutes", r, n, minutes)
			}
			for _, d := range at {
				seconds[int(d/time.Second)]++
			}
		}
		if len(p.all()) != services {
			t.Errorf("%d of %d services were probed", len(p.all()), services)
		}
		if most := slices.Max(seconds); most > 30 { // 10 would be even
			t.Errorf("%d probes in one second", most)
		}
		if p.longest() >= beat {
			t.Errorf("a probe was late by %s", p.longest())
		}
	})
}

// TestInterval: neighbours are an interval apart, 5 % more or less, and no error adds up.
func TestInterval(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, 10 * time.Second, time.Minute, time.Hour} {
		t.Run(interval.String(), func(t *testing.T) {
			bubble(t, 1, 0, func(s *Scheduler, p *probes) {
				s.Set(ref(1), interval)
				after(1000 * interval)
				at := p.of(ref(1))
				if n := len(at); n < 998 || n > 1001 {
					t.Errorf("%d probes in 1000 intervals", n)
				}
				apart := map[time.Duration]bool{}
				for i := 2; i < len(at); i++ { // the first is where the service begins
					gap := at[i] - at[i-1]
					apart[gap] = true
					if gap < interval*95/100-beat || gap > interval*105/100+beat {
						t.Fatalf("probes %s apart", gap)
					}
				}
				if len(apart) < min(100, int(interval/20/beat)) { // a tenth of the interval is what the jitter reaches over
					t.Errorf("only %d different gaps: no jitter", len(apart))
				}
			})
		})
	}
}

// TestNew: services that are made together are probed within seconds, and do not stay together.
func TestNew(t *testing.T) {
	bubble(t, 1000, 0, func(s *Scheduler, p *probes) {
		after(time.Hour)
		began := time.Since(p.began)
		for i := range 600 {
			s.SetWithin(ref(i), time.Minute, 5*time.Second)
		}
		after(5 * time.Second)
		if len(p.all()) != 600 {
			t.Errorf("%d of 600 were probed in 5 s", len(p.all()))
		}
		after(3 * time.Minute)
		seconds := map[int]int{}
		for r, at := range p.all() {
			if gap := at[1] - at[0]; gap < 28*time.Second || gap > 92*time.Second {
				t.Errorf("%s: second probe %s after the first", r, gap)
			}
			for _, d := range at {
				if d > began+100*time.Second {
					seconds[int(d/time.Second)]++
				}
			}
		}
		for at, n := range seconds {
			if n > 30 {
				t.Errorf("%d probes in second %d", n, at)
			}
		}
	})
}

// TestSlow: a probe that takes longer than the interval leaves out what falls due meanwhile, and nothing is made up for.
func TestSlow(t *testing.T) {
	bubble(t, 8, 25*time.Second, func(s *Scheduler, p *probes) {
		s.Set(ref(1), 10*time.Second)
		after(5 * time.Minute)
		at := p.of(ref(1))
		if n := len(at); n < 9 || n > 11 {
			t.Errorf("%d probes in 5 minutes", n)
		}
		for i := 2; i < len(at); i++ { // the first is where the service begins
			if gap := at[i] - at[i-1]; gap < 25*time.Second || gap > 31*time.Second {
				t.Errorf("probes %s apart", gap)
			}
		}
		if n := s.Stats().Skipped; n < 15 || n > 22 {
			t.Errorf("%d skipped", n)
		}
	})
}

// TestSoon: an extra probe comes at once, but not more than one in ten seconds or an interval.
func TestSoon(t *testing.T) {
	for _, c := range []struct {
		name     string
		interval time.Duration
		takes    time.Duration
		ask      []time.Duration // when Soon is called; the service's regular probe is at 0 and then each hour
		want     []time.Duration
	}{
		{"at once", time.Hour, 0, secs(60), secs(60)},
		{"again after a while", time.Hour, 0, secs(60, 100), secs(60, 100)},
		{"flapping", time.Hour, 0, secs(60, 61, 62, 63, 64, 71, 72), secs(60, 70, 80)},
		{"while one runs", time.Hour, 5 * time.Second, secs(60, 61, 62), secs(60, 70)},
		{"while a long one runs", time.Hour, 30 * time.Second, secs(60, 61, 62), secs(60, 90)},
		{"asked again while it waits for the end of one", time.Hour, 30 * time.Second, secs(60, 61, 75, 76), secs(60, 90)},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, 8, 0, func(s *Scheduler, p *probes) {
				s.SetWithin(ref(1), c.interval, 0)
				synctest.Wait()
				p.mu.Lock()
				p.takes = c.takes
				p.mu.Unlock()
				for _, d := range c.ask {
					after(d - time.Since(p.began))
					s.Soon(ref(1))
				}
				after(10 * time.Minute)
				if got := p.of(ref(1))[1:]; !slices.Equal(got, c.want) {
					t.Errorf("extra probes at %v, want %v", got, c.want)
				}
			})
		})
	}
}

func secs(list ...int) []time.Duration {
	var out []time.Duration
	for _, n := range list {
		out = append(out, time.Duration(n)*time.Second)
	}
	return out
}

// TestSoonKeepsTheInterval: an extra probe does not move the regular ones, and a short interval bounds the extra ones too.
func TestSoonKeepsTheInterval(t *testing.T) {
	bubble(t, 8, 0, func(s *Scheduler, p *probes) {
		s.Set(ref(1), 2*time.Second)
		s.Set(ref(2), 2*time.Second)
		for range 600 {
			after(100 * time.Millisecond)
			s.Soon(ref(1))
		}
		extra := len(p.of(ref(1))) - len(p.of(ref(2)))
		if extra < 20 || extra > 30 {
			t.Errorf("%d extra probes in a minute", extra)
		}
	})
}

// TestSoonBeforeTheFirst: what is new is looked at in its turn: a fleet of new services must not come at once.
func TestSoonBeforeTheFirst(t *testing.T) {
	bubble(t, 1000, 0, func(s *Scheduler, p *probes) {
		for i := range 600 {
			s.Set(ref(i), time.Minute)
			s.Soon(ref(i))
		}
		after(time.Second)
		if n := len(p.all()); n > 30 {
			t.Errorf("%d of 600 were probed in the first second", n)
		}
	})
}

// TestRemove: a running probe learns that its service is gone, no further one follows, and one that was made anew waits for the end of the old one.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var causes []error
		n := 0
		s := New(4, func(ctx context.Context, _ hops.Ref, _ time.Time) {
			n++
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			<-release // it takes a while to notice
		})
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		s.SetWithin(ref(1), time.Minute, 0)
		synctest.Wait()
		s.Remove(ref(1))
		s.Remove(ref(2)) // never was there
		after(time.Hour)
		if n != 1 || !errors.Is(errors.Join(causes...), ErrRemoved) {
			t.Fatalf("%d probes, cause %v", n, causes)
		}
		s.SetWithin(ref(1), time.Minute, 0)
		synctest.Wait()
		if n != 1 {
			t.Fatal("two probes of one service run at once")
		}
		release <- struct{}{}
		synctest.Wait()
		if n != 2 {
			t.Fatalf("%d probes: the service made anew was not probed when the old probe ended", n)
		}
		cancel()
		close(release)
		s.Drain(0)
		if st := s.Stats(); st.Running != 0 || st.Services != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestWorkers: no more at once than workers; who waits longest comes first; the delay is told.
func TestWorkers(t *testing.T) {
	bubble(t, 4, time.Second, func(s *Scheduler, p *probes) {
		for i := range 100 {
			s.SetWithin(ref(i), time.Hour, 0)
		}
		after(time.Minute)
		if p.most != 4 {
			t.Errorf("%d at once", p.most)
		}
		if len(p.all()) != 100 {
			t.Errorf("%d of 100 were probed", len(p.all()))
		}
		if got := p.longest(); got != 24*time.Second {
			t.Errorf("longest delay %s, want 24s", got)
		}
	})
}

// TestOverload: too few workers for the load still probe each service, one as often as the other.
func TestOverload(t *testing.T) {
	bubble(t, 4, time.Second, func(s *Scheduler, p *probes) {
		for i := range 80 { // four workers do 40 in 10 s
			s.Set(ref(i), 10*time.Second)
		}
		after(10 * time.Minute)
		for r, at := range p.all() {
			if n := len(at); n < 25 || n > 35 {
				t.Errorf("%s: %d probes in 10 minutes", r, n)
			}
		}
		if len(p.all()) != 80 {
			t.Errorf("%d of 80 were probed", len(p.all()))
		}
	})
}

// TestChangedInterval: the turn is kept with the same interval, and follows another one.
func TestChangedInterval(t *testing.T) {
	bubble(t, 4, 0, func(s *Scheduler, p *probes) {
		s.SetWithin(ref(1), time.Minute, 0)
		synctest.Wait()
		for range 600 {
			after(time.Second)
			s.Set(ref(1), time.Minute)
		}
		if n := len(p.of(ref(1))); n < 10 || n > 12 {
			t.Errorf("%d probes in 10 minutes", n)
		}
		s.Set(ref(1), time.Second)
		before := len(p.of(ref(1)))
		after(time.Minute)
		if n := len(p.of(ref(1))) - before; n < 58 || n > 62 {
			t.Errorf("%d probes in a minute with an interval of 1s", n)
		}
	})
}

// TestDrain: running probes may finish within the grace period, and are cut after it; nothing starts any more.
func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		grace time.Duration
		took  time.Duration
		cause error
	}{
		{"nothing runs", 0, time.Minute, 0, nil},
		{"finishes", 5 * time.Second, time.Minute, 5 * time.Second, nil},
		{"is cut", 5 * time.Minute, time.Minute, time.Minute, ErrDrained},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &probes{takes: c.takes, began: time.Now(), at: map[hops.Ref][]time.Duration{}, now: map[hops.Ref]int{}}
				s := New(4, p.do)
				ctx, cancel := context.WithCancel(t.Context())
				go s.Run(ctx)
				s.SetWithin(ref(1), time.Second, 0)
				synctest.Wait()
				cancel()
				synctest.Wait()
				s.SetWithin(ref(2), time.Second, 0) // too late
				began := time.Now()
				s.Drain(c.grace)
				if took := time.Since(began); took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
				p.mu.Lock()
				if len(p.causes) != 1 || p.causes[0] != c.cause {
					t.Errorf("causes %v, want %v", p.causes, c.cause)
				}
				p.mu.Unlock()
				after(time.Minute)
				if len(p.all()) != 1 || len(p.of(ref(1))) != 1 {
					t.Errorf("probed after the end: %v", p.all())
				}
			})
		})
	}
}

// TestDrainAlone: nothing starts once draining has begun, even when the loop still runs.
func TestDrainAlone(t *testing.T) {
	bubble(t, 4, 0, func(s *Scheduler, p *probes) {
		s.SetWithin(ref(1), time.Second, 0)
		synctest.Wait()
		s.Drain(time.Minute)
		after(time.Hour)
		if n := len(p.of(ref(1))); n != 1 {
			t.Errorf("%d probes", n)
		}
	})
}

// TestStalled: a process that stood still does not make up for what it missed.
func TestStalled(t *testing.T) {
	idle := func(hops.Ref) bool { return false }
	p := newPlan()
	for i := range 600 {
		p.set(ref(i), time.Minute, time.Minute, 0)
	}
	now := 10*time.Hour + 17*time.Second
	p.stalled(now)
	if r, _, ok := p.take(now, idle); ok {
		t.Fatalf("%s is due at once", r)
	}
	for end := now + time.Minute + 3*time.Second; now < end; now += time.Second {
		n := 0
		for {
			if _, due, ok := p.take(now, idle); !ok {
				break
			} else if now-due > time.Second {
				t.Errorf("%s late", now-due)
			}
			n++
		}
		if n > 30 {
			t.Errorf("%d probes in one second", n)
		}
	}
	for r, e := range p.entries {
		if e.fresh {
			t.Errorf("%s was not probed in an interval", r)
		}
	}
}

// TestAlive: a loop that does not do its work says so.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := func(s *Scheduler, want string) {
			t.Helper()
			switch err := s.Alive(); {
			case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%v, want %q", err, want)
			}
		}
		hang := make(chan struct{})
		s := New(1, func(context.Context, hops.Ref, time.Time) { <-hang })
		says(s, "not started")
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		after(time.Hour)
		says(s, "")
		s.SetWithin(ref(1), time.Minute, 0)
		after(4 * time.Minute)
		says(s, "")
		after(2 * time.Minute)
		says(s, "all 1 probes have been running for more than 5m0s")
		close(hang)
		after(time.Hour)
		says(s, "")
		s.mu.Lock()
		s.target = s.now() - time.Minute // as if the loop did not come round
		s.mu.Unlock()
		says(s, "due for 1m0s")
		cancel()
		s.Drain(0)
		says(s, "stopped")
	})
}

// BenchmarkMemory says what a service costs while it is not being probed.
func BenchmarkMemory(b *testing.B) {
	const services = 10_000
	refs := make([]hops.Ref, services)
	for i := range refs {
		refs[i] = ref(i)
	}
	for b.Loop() {
		before := heapInUse()
		s := New(64, func(context.Context, hops.Ref, time.Time) {})
		for _, r := range refs {
			s.Set(r, time.Minute)
		}
		b.ReportMetric(float64(heapInUse()-before)/services, "B/service")
		runtime.KeepAlive(s)
	}
	runtime.KeepAlive(refs)
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
