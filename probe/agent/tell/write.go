// write.go: one change as one Event: created, or counted up on the Event that says the same.
package tell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"probe/hops"
	"probe/probe/agent/state"
	"probe/probe/redact"
)

const (
	component  = "probe"
	kind       = "InferenceService"
	apiVersion = "serving.kserve.io/v1beta1" // of services whose object the probe did not read
	// maxMessage is what an Event's note may have, in bytes (kubernetes/pkg/apis/core/validation/events.go, noteLengthLimit).
	maxMessage = 1024
)

// series are the changes that are told by one Event.
type series struct {
	uid    types.UID
	ref    hops.Ref
	reason string // of the Event
	rule   string
	hop    hops.Hop
	after  hops.State // of a turn to OK: what it was before
}

// written is an Event that stands.
type written struct {
	name  string
	count int32
	at    time.Time
}

// newNote says a change in the words of an Event.
func newNote(c *state.Change, now time.Time) *note {
	is := c.Is
	n := &note{ref: is.Ref, uid: is.UID, apiVersion: versionOf(c.By.Run), typ: corev1.EventTypeWarning, at: now, message: message(c),
		series: series{uid: is.UID, ref: is.Ref, reason: eventReason(is.State), rule: is.Reason, hop: is.Hop}}
	if is.State == hops.OK {
		n.typ, n.series.rule, n.series.hop, n.series.after = corev1.EventTypeNormal, c.Was.Reason, c.Was.Hop, c.Was.State
	}
	return n
}

// settingsReason is the reason of the Event about annotations that cannot be used.
const settingsReason = "ProbeSettings"

func settingsNote(r *state.Result, now time.Time) *note {
	text := "annotations that cannot be used, the defaults hold in their place: " + clean(strings.Join(r.Problems, "; "))
	return &note{ref: r.Ref, uid: r.UID, apiVersion: versionOf(r.Run), typ: corev1.EventTypeWarning, at: now, message: cut(text, maxMessage),
		series: series{uid: r.UID, ref: r.Ref, reason: settingsReason, rule: state.BadSettings}}
}

// eventReason is a state in the form of an Event's reason.
func eventReason(s hops.State) string { return "Probe" + string(s) }

// versionOf finds the API version of the service's object, which a look at the cluster has read.
func versionOf(run *hops.Run) string {
	if run == nil {
		return apiVersion
	}
	for i := range run.Snapshots {
		for j := range run.Snapshots[i].Objects {
			if o := &run.Snapshots[i].Objects[j]; o.Source == hops.InferenceServices && o.Name == run.Ref.Name && o.APIVersion != "" {
				return o.APIVersion
			}
		}
	}
	return apiVersion
}

// message is "RULE at HOP: SUMMARY. Fix: FIX. Trace: ID", without secrets. What is too long loses its middle: the rule and the trace stay.
func message(c *state.Change) string {
	r := c.By
	text := clean(r.Summary)
	if r.State == hops.OK {
		text = "requests get good answers again"
		if c.Was.State != "" {
			text += fmt.Sprintf(", after %s of %s", c.Is.Since.Sub(c.Was.Since).Round(time.Second), c.Was.State)
		}
		if c.Was.Reason != "" {
			text += " (" + c.Was.Reason + ")"
		}
	}
	if head := strings.Join(filled(c.Is.Reason, string(c.Is.Hop)), " at "); head != "" && r.State != hops.OK {
		text = strings.Join(filled(head, text), ": ")
	}
	text = strings.TrimSuffix(text, ".") + "."
	if fix := clean(r.Fix); fix != "" && r.State != hops.OK {
		text += " Fix: " + strings.TrimSuffix(fix, ".") + "."
	}
	trace := ""
	if r.Run != nil && r.Run.TraceID != "" {
		trace = " Trace: " + r.Run.TraceID
	}
	return cut(text, maxMessage-len(trace)) + trace
}

// filled are those that are not empty.
func filled(in ...string) []string {
	var out []string
	for _, s := range in {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// clean makes one line without secrets.
func clean(s string) string { return strings.Join(strings.Fields(redact.String(s)), " ") }

// cut shortens a text to a number of bytes, at the end of a character.
func cut(s string, most int) string {
	const dots = "…"
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:max(0, most-len(dots))], "") + dots
}

// write writes one change, and decides what becomes of it when that fails.
func (e *Events) write(ctx context.Context, n *note) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := e.put(ctx, n)
	switch {
	case err == nil:
		e.count(func(c *EventCounts) { c.Written++ })
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause): // the namespace went, and the service with it
		e.count(func(c *EventCounts) { c.Dropped++ })
	case apierrors.IsForbidden(err):
		e.log.line("forbidden", fmt.Sprintf("events cannot be written in namespace %s: the API server forbids it; give the agent's account the verbs create and patch on "+
			"events (`probe agent --manifests` prints the role)", n.ref.Namespace))
		e.count(func(c *EventCounts) { c.Dropped++ })
	case lasting(err):
		e.log.line("refused", fmt.Sprintf("event on inferenceservice %s: %s", n.ref, clean(err.Error())))
		e.count(func(c *EventCounts) { c.Dropped++ })
	default:
		e.log.line("away", fmt.Sprintf("event on inferenceservice %s: %s; it is tried again", n.ref, clean(err.Error())))
		after, _ := apierrors.SuggestsClientDelay(err)
		e.again(n, min(time.Duration(after)*time.Second, time.Minute))
	}
}

// lasting says whether an error would come again: the API server understood, and said no.
func lasting(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && status.ErrStatus.Code >= 400 && status.ErrStatus.Code < 500 && !apierrors.IsTooManyRequests(err) && !apierrors.IsUnauthorized(err) &&
		!apierrors.IsTimeout(err) && !apierrors.IsConflict(err)
}

// put counts up the Event that says the same, or creates one.
func (e *Events) put(ctx context.Context, n *note) error {
	now := e.now()
	if w := e.series[n.series]; w != nil && now.Sub(w.at) < seriesLife {
		err := e.patch(ctx, n, w)
		if err == nil {
			w.count, w.at = w.count+1, now
		}
		if !apierrors.IsNotFound(err) { // it expired, or was deleted
			return err
		}
	}
	ev := event(n)
	_, err := e.client.Events(n.ref.Namespace).Create(ctx, ev, metav1.CreateOptions{})
	if n.attempts > 0 && apierrors.IsAlreadyExists(err) { // an attempt that seemed to fail did not
		err = nil
	}
	if err != nil {
		return err
	}
	e.remember(n.series, &written{name: ev.Name, count: 1, at: now})
	return nil
}

// patch counts an Event up, as client-go's recorders do: its message becomes that of the latest change.
func (e *Events) patch(ctx context.Context, n *note, w *written) error {
	raw, err := json.Marshal(map[string]any{"count": w.count + 1, "lastTimestamp": metav1.NewTime(n.at), "message": n.message})
	if err != nil {
		return err
	}
	_, err = e.client.Events(n.ref.Namespace).Patch(ctx, w.name, types.StrategicMergePatchType, raw, metav1.PatchOptions{})
	return err
}

// remember keeps the name of an Event that was created; what is old makes room, then the oldest.
func (e *Events) remember(s series, w *written) {
	if len(e.series) >= maxSeries {
		var oldest series
		var at time.Time
		for s, o := range e.series {
			if w.at.Sub(o.at) >= seriesLife {
				delete(e.series, s)
			} else if at.IsZero() || o.at.Before(at) {
				oldest, at = s, o.at
			}
		}
		if len(e.series) >= maxSeries {
			delete(e.series, oldest)
		}
	}
	e.series[s] = w
}

// event is the object. Its name is made as client-go makes it, of the service's and the time of the change: the same at each attempt.
func event(n *note) *corev1.Event {
	name := fmt.Sprintf("%s.%x", n.ref.Name, n.at.UnixNano())
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		name = fmt.Sprintf("probe.%x", n.at.UnixNano())
	}
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: n.ref.Namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{APIVersion: n.apiVersion, Kind: kind, Namespace: n.ref.Namespace, Name: n.ref.Name, UID: n.uid},
		Type:           n.typ, Reason: n.series.reason, Message: n.message, Count: 1,
		FirstTimestamp: metav1.NewTime(n.at), LastTimestamp: metav1.NewTime(n.at),
		Source: corev1.EventSource{Component: component}, ReportingController: component}
}
