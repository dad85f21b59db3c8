// events_test.go: what is written of changes, how often, and what happens when it cannot be.
package tell

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"probe/hops"
	"probe/probe/agent/state"
	"probe/probe/redact/redacttest"
)

const trace = "30f86847c77cb802aeda47f86e26c5f8"

var began = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// change is a turn of models/NAME from one state to another; the reason is that of the failure.
func change(name string, was, is hops.State, reason string) *state.Change {
	ref := hops.Ref{Namespace: "models", Name: name}
	r := &state.Result{Ref: ref, UID: types.UID("uid-" + name), State: is, Ended: began.Add(12 * time.Minute), Run: &hops.Run{Ref: ref, TraceID: trace}}
	c := &state.Change{Was: state.Status{Ref: ref, UID: r.UID, State: was, Since: began}, By: r}
	if was != hops.OK && was != "" {
		c.Was.Reason, c.Was.Hop = reason, hops.Container
	}
	if is != hops.OK {
		r.Hop, r.Reason, r.Summary, r.Fix = hops.Container, reason, "ModuleNotFoundError: No module named 'x'", "put the module into the image"
	}
	c.Is = state.Status{Ref: ref, UID: r.UID, State: is, Hop: r.Hop, Reason: r.Reason, Since: r.Ended}
	return c
}

// written runs Events inside a bubble: do tells, and may sleep; it gives the Events that stand at the end.
func writtenEvents(t *testing.T, client *fake.Clientset, log func(string), do func(*Events)) (map[string]corev1.Event, EventCounts) {
	t.Helper()
	e := NewEvents(client.CoreV1(), EventOptions{Log: log})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(ctx) })
	do(e)
	synctest.Wait()
	stop()
	wg.Wait()
	list, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]corev1.Event{}
	for _, ev := range list.Items {
		out[ev.InvolvedObject.Name+" "+ev.Reason+" "+ev.Message] = ev
	}
	if len(out) != len(list.Items) {
		t.Errorf("%d events of %d say the same", len(list.Items)-len(out), len(list.Items))
	}
	return out, e.Counts()
}

func TestEvent(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  *state.Change
		typ     string
		reason  string
		message string
	}{
		{"failed", change("iris", hops.OK, hops.Failed, "container-crash-loop"), "Warning", "ProbeFailed",
			"container-crash-loop at container: ModuleNotFoundError: No module named 'x'. Fix: put the module into the image. Trace: " + trace},
		{"degraded", change("iris", hops.OK, hops.Degraded, "too-slow"), "Warning", "ProbeDegraded",
			"too-slow at container: ModuleNotFoundError: No module named 'x'. Fix: put the module into the image. Trace: " + trace},
		{"could not check", change("iris", hops.OK, hops.Inconclusive, ""), "Warning", "ProbeInconclusive",
			"container: ModuleNotFoundError: No module named 'x'. Fix: put the module into the image. Trace: " + trace},
		{"good again", change("iris", hops.Failed, hops.OK, "container-crash-loop"), "Normal", "ProbeOK",
			"requests get good answers again, after 12m0s of Failed (container-crash-loop). Trace: " + trace},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := metav1.Now()
				got, counts := writtenEvents(t, fake.NewClientset(), nil, func(e *Events) { e.Tell(c.change) })
				ev, ok := got["iris "+c.reason+" "+c.message]
				if !ok || counts != (EventCounts{Written: 1}) {
					t.Fatalf("%+v, got %v", counts, got)
				}
				about := corev1.ObjectReference{APIVersion: "serving.kserve.io/v1beta1", Kind: "InferenceService", Namespace: "models", Name: "iris", UID: "uid-iris"}
				if ev.InvolvedObject != about || ev.Namespace != "models" || ev.Type != c.typ || ev.Source.Component != "probe" || ev.Count != 1 ||
					!ev.FirstTimestamp.Equal(&at) || !ev.LastTimestamp.Equal(&at) {
					t.Errorf("got %+v", ev)
				}
			})
		})
	}
}

// What is long loses its middle, what is secret everything, and the trace stays.
func TestEventMessage(t *testing.T) {
	c := change("iris", hops.OK, hops.Failed, "container-crash-loop")
	c.By.Summary = "line one\nline two: password=" + redacttest.Canary + ", " + strings.Repeat("é", 2000)
	got := message(c)
	if len(got) > 1024 || !utf8.ValidString(got) || strings.ContainsAny(got, "\n") || strings.Contains(got, redacttest.Canary) ||
		!strings.HasPrefix(got, "container-crash-loop at container: line one line two") || !strings.HasSuffix(got, "… Trace: "+trace) {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	c.By.Run = nil
	if got := message(c); len(got) > 1024 || strings.Contains(got, "Trace") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func TestEventVersion(t *testing.T) {
	c := change("old", hops.OK, hops.Failed, "x")
	c.By.Run.Snapshots = []hops.Snapshot{{Objects: []hops.Object{
		{Source: hops.InferenceServices, APIVersion: "serving.kserve.io/v1beta1", Name: "other"},
		{Source: hops.InferenceServices, APIVersion: "serving.kubeflow.org/v1beta1", Name: "old"}}}}
	if n := newNote(c, began); n.apiVersion != "serving.kubeflow.org/v1beta1" {
		t.Errorf("got %s", n.apiVersion)
	}
}

// The same change again counts up the Event that stands; another one, or an Event that is gone, makes a new one.
func TestEventsCountUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		got, counts := writtenEvents(t, client, nil, func(e *Events) {
			for range 3 {
				e.Tell(change("iris", hops.OK, hops.Failed, "oom-killed"))
				time.Sleep(time.Minute)
				e.Tell(change("iris", hops.Failed, hops.OK, "oom-killed"))
				time.Sleep(time.Minute)
			}
			e.Tell(change("iris", hops.OK, hops.Failed, "image-pull"))
			time.Sleep(2 * time.Minute)
			e.Tell(change("cat", hops.OK, hops.Failed, "image-pull"))
		})
		if len(got) != 4 || counts.Written != 8 {
			t.Errorf("%+v, %d events", counts, len(got))
		}
		for key, ev := range got {
			want := int32(1)
			if strings.Contains(key, "oom-killed") {
				want = 3
			}
			if ev.Count != want || want == 3 && ev.LastTimestamp.Sub(ev.FirstTimestamp.Time) != 4*time.Minute {
				t.Errorf("%s: count %d, from %v to %v", key, ev.Count, ev.FirstTimestamp, ev.LastTimestamp)
			}
		}
	})
}

func TestEventsStartAnew(t *testing.T) {
	for name, between := range map[string]func(*fake.Clientset){
		"an hour later": func(*fake.Clientset) { time.Sleep(time.Hour) },
		"the Event was deleted": func(client *fake.Clientset) {
			_ = client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("events"), "models", fmt.Sprintf("iris.%x", time.Now().UnixNano()))
			time.Sleep(time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, created := fake.NewClientset(), 0
				client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) { created++; return false, nil, nil })
				e := NewEvents(client.CoreV1(), EventOptions{})
				for i := range 2 {
					e.Tell(change("iris", hops.OK, hops.Failed, "oom-killed"))
					n, _ := e.next()
					e.write(t.Context(), n)
					if i == 0 {
						between(client)
					}
				}
				if created != 2 || e.Counts().Written != 2 {
					t.Errorf("created %d, %+v", created, e.Counts())
				}
			})
		})
	}
}

// failing lets the first attempts fail.
func failing(client *fake.Clientset, times int, err error) *[]time.Time {
	seen := new([]time.Time)
	client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		*seen = append(*seen, time.Now())
		return len(*seen) <= times, nil, err
	})
	return seen
}

func TestEventsFail(t *testing.T) {
	events := schema.GroupResource{Resource: "events"}
	terminating := apierrors.NewForbidden(events, "x", fmt.Errorf("being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	busy := apierrors.NewTooManyRequests("slow down", 20)
	for _, c := range []struct {
		name     string
		err      error
		times    int
		attempts int
		counts   EventCounts
		log      string
		after    time.Duration // of the last attempt
	}{
		{"the API server is away for a moment", fmt.Errorf("connection refused"), 2, 3, EventCounts{Written: 1}, "connection refused; it is tried again", 6 * time.Second},
		{"the API server is away", fmt.Errorf("connection refused"), 99, 4, EventCounts{Dropped: 1}, "connection refused", 14 * time.Second},
		{"the API server is busy", busy, 1, 2, EventCounts{Written: 1}, "slow down", 20 * time.Second},
		{"the token has expired", apierrors.NewUnauthorized("expired"), 1, 2, EventCounts{Written: 1}, "expired", 2 * time.Second},
		{"forbidden", apierrors.NewForbidden(events, "x", fmt.Errorf("no")), 99, 1, EventCounts{Dropped: 1}, "give the agent's account the verbs create and patch", 0},
		{"the namespace is gone", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "models"), 99, 1, EventCounts{Dropped: 1}, "", 0},
		{"the namespace is going", terminating, 99, 1, EventCounts{Dropped: 1}, "", 0},
		{"an admission webhook says no", &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusBadRequest, Message: "denied by x"}}, 99, 1, EventCounts{Dropped: 1},
			"event on inferenceservice models/iris: denied by x", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset()
				seen := failing(client, c.times, c.err)
				var log []string
				start := time.Now()
				_, counts := writtenEvents(t, client, func(s string) { log = append(log, s) }, func(e *Events) {
					e.Tell(change("iris", hops.OK, hops.Failed, "oom-killed"))
					time.Sleep(time.Hour)
				})
				if counts != c.counts || len(*seen) != c.attempts || (*seen)[len(*seen)-1].Sub(start) != c.after {
					t.Errorf("%+v after attempts at %v", counts, *seen)
				}
				if len(log) > 1 || !strings.Contains(strings.Join(log, ""), c.log) || c.log == "" && len(log) > 0 {
					t.Errorf("log %q", log)
				}
			})
		})
	}
}

// An attempt that timed out may have been heard: what exists under our name is ours.
func TestEventsHeardAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependReactor("create", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
			if err := client.Tracker().Create(a.GetResource(), a.(clienttesting.CreateAction).GetObject(), "models"); err != nil {
				return true, nil, err
			}
			return true, nil, context.DeadlineExceeded
		})
		got, counts := writtenEvents(t, client, nil, func(e *Events) {
			e.Tell(change("iris", hops.OK, hops.Failed, "oom-killed"))
			time.Sleep(time.Minute)
		})
		if len(got) != 1 || counts != (EventCounts{Written: 1}) {
			t.Errorf("%d events, %+v", len(got), counts)
		}
	})
}

// A service that flaps does not flood, and what is told last is how it is.
func TestEventsPerService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, counts := writtenEvents(t, fake.NewClientset(), nil, func(e *Events) {
			for i := range 100 {
				was, is := hops.OK, hops.Failed
				if i%2 == 1 {
					was, is = is, was
				}
				e.Tell(change("iris", was, is, "oom-killed"))
				time.Sleep(time.Second)
			}
			e.Tell(change("cat", hops.OK, hops.Failed, "x")) // is not held up
			time.Sleep(5 * time.Minute)
		})
		// six at once, one a minute in the hundred seconds, one that waited
		if want := (EventCounts{Written: 6 + 1 + 1 + 1, Merged: 92}); counts != want {
			t.Errorf("%+v, want %+v", counts, want)
		}
		var last corev1.Event
		for key, ev := range got {
			if strings.HasPrefix(key, "iris") && !ev.LastTimestamp.Before(&last.LastTimestamp) {
				last = ev
			}
		}
		if last.Reason != "ProbeOK" {
			t.Errorf("the last word is %s", last.Reason)
		}
	})
}

// A node that goes takes many services along: their Events go out at a rate, none is lost.
func TestEventsOverall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counts EventCounts
		client := fake.NewClientset() // that keeps nothing: five hundred would take it seconds
		client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) { return true, &corev1.Event{}, nil })
		_, all := writtenEvents(t, client, nil, func(e *Events) {
			for i := range 500 {
				e.Tell(change(fmt.Sprintf("s%d", i), hops.OK, hops.Failed, "node-lost"))
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			counts = e.Counts()
			time.Sleep(2 * time.Minute)
		})
		if counts.Written != 50+50 || all.Written != 500 {
			t.Errorf("%d after 10 s, %+v", counts.Written, all)
		}
	})
}

// Tell never waits: nobody writes here, and the oldest goes.
func TestEventsQueueIsBounded(t *testing.T) {
	e := NewEvents(fake.NewClientset().CoreV1(), EventOptions{Now: func() time.Time { return began }})
	for i := range maxQueued + 7 {
		e.Tell(change(fmt.Sprintf("s%d", i), hops.OK, hops.Failed, "x"))
	}
	if e.Counts().Dropped != 7 || len(e.queue) != maxQueued || e.queue[0].ref.Name != "s7" {
		t.Errorf("%+v, %d queued, first %s", e.Counts(), len(e.queue), e.queue[0].ref.Name)
	}
}

func TestEventsMapsAreBounded(t *testing.T) {
	now := began
	e := NewEvents(fake.NewClientset().CoreV1(), EventOptions{Now: func() time.Time { return now }})
	for i := range maxSeries + 50 {
		now = now.Add(time.Second / 4)
		e.Tell(change(fmt.Sprintf("s%d", i), hops.OK, hops.Failed, "x"))
		n, _ := e.next()
		e.remember(n.series, &written{at: now})
	}
	if len(e.series) != maxSeries || len(e.services) > maxQueued {
		t.Errorf("%d series, %d services", len(e.series), len(e.services))
	}
	if e.series[newNote(change("s3", hops.OK, hops.Failed, "x"), now).series] != nil {
		t.Error("not the oldest went")
	}
}

// At the end what waits is written, but nobody waits long for it.
func TestEventsLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		e := NewEvents(client.CoreV1(), EventOptions{})
		ctx, stop := context.WithCancel(t.Context())
		stop()
		e.Tell(change("iris", hops.OK, hops.Failed, "x"))
		e.Run(ctx)
		if e.Counts().Written != 1 {
			t.Errorf("%+v", e.Counts())
		}
	})
}

// Bad annotations have an Event of their own, which a turn of the state does not overtake, and without what might be a secret.
func TestEventOfSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := change("iris", hops.OK, hops.Failed, "oom-killed")
		c.By.Problems = []string{`annotation probe/interval "soon": give a time from 1s to 24h`, "annotation probe/expct is unknown; did you mean probe/expect?"}
		got, counts := writtenEvents(t, fake.NewClientset(), nil, func(e *Events) {
			e.Settings(c.By)
			time.Sleep(time.Second) // an Event's name is of its time
			e.Tell(c)
		})
		want := "iris ProbeSettings annotations that cannot be used, the defaults hold in their place: " + strings.Join(c.By.Problems, "; ")
		e := NewEvents(fake.NewClientset().CoreV1(), EventOptions{})
		e.Settings(c.By)
		e.Tell(c)
		e.Settings(c.By)
		if len(e.queue) != 2 {
			t.Errorf("%d wait: one of the state and one of the settings should", len(e.queue))
		}
		if ev, found := got[want]; !found || ev.Type != corev1.EventTypeWarning || ev.InvolvedObject.UID != "uid-iris" || len(got) != 2 || counts.Merged != 0 {
			t.Errorf("%+v, want %q beside that of the state; %+v", got, want, counts)
		}
	})
}
