// rows.go: the table of hops: which were dialled, which are inferred from a request that passed them, and where a request stopped.
package hops

import (
	"fmt"
	"slices"
	"strings"
)

// Rows says of every step on the path how it was seen and what state it is in, both doors one after the other, shared steps once.
func Rows(f *Facts) []Row {
	var out []Row
	at := map[string]int{}
	for _, door := range []Door{Outside, ClusterLocal} {
		for _, r := range doorRows(f, door) {
			i, seen := at[r.Step.ID()]
			if !seen {
				at[r.Step.ID()] = len(out)
				out = append(out, r)
				continue
			}
			if stronger(r, out[i]) {
				out[i] = r
			}
		}
	}
	return out
}

// stronger says whether a row seen through one door tells more than the same row seen through the other: what a good request passed is in order.
func stronger(a, b Row) bool {
	rank := func(r Row) int {
		switch {
		case r.State == RowOK:
			return 0
		case r.State == RowInferred:
			return 1
		case r.State == RowFailed || r.State == RowDegraded:
			return 2
		}
		return 3
	}
	return rank(a) < rank(b)
}

// doorRows walks one door's path.
func doorRows(f *Facts, door Door) []Row {
	steps := f.Flow.Path(door)
	if !hasDoor(steps, door) {
		return nil
	}
	answer := doorAnswer(f.Observations, door)
	b := bracketOf(f, door, steps)
	b.blame(f, steps)
	rows := make([]Row, 0, len(steps))
	for i, s := range steps {
		rows = append(rows, b.row(f, i, s, answer))
	}
	return rows
}

func hasDoor(steps []Step, door Door) bool {
	return slices.ContainsFunc(steps, func(s Step) bool { return s.Door == door })
}

// bracket is what the requests of one door tell about where it stops: bad is the hop that failed, "" when none did.
type bracket struct {
	door Door
	good *Observation // the door's own success
	bad  Step
	why  *Observation
	// blamed are the steps that requests which entered further in ended at, by id.
	blamed map[string]*Observation
}

// bracketOf says where a door's failure stops. An answer tells by whom it was written; a request that got none is narrowed by those that entered
// further in: the innermost that still fails speaks for the place. A place that is seen to work is not blamed, but what lies just outside it.
func bracketOf(f *Facts, door Door, steps []Step) bracket {
	b := bracket{door: door}
	o := doorAnswer(f.Observations, door)
	switch {
	case o == nil:
		return b
	case o.OK():
		b.good = o
		return b
	case !o.Judged():
		return b
	}
	b.why = o
	hop := f.suspect(o)
	for _, s := range steps { // outermost first
		inner := lastRequest(f.Observations, s)
		if s.Door != "" || inner == nil || !inner.Judged() {
			continue
		}
		if inner.OK() {
			if (Step{Hop: hop}).place() <= s.place() {
				hop = outward(steps, s)
			}
			break
		}
		if !b.why.tellsPlace() {
			hop, b.why = f.suspect(inner), inner
		}
	}
	b.bad = place(steps, hop, b.why.Step)
	return b
}

// suspect is where a failed request ended. In Standard mode an ingress controller that is no Envoy is the gateway, and nothing in front of it.
func (f *Facts) suspect(o *Observation) Hop {
	hop := f.furthest(o)
	if hop == Client && f.Flow.Mode == Standard && f.Flow.Routing == Ingresses && WroteIt(o) == BeforeGateway && nginxPage(o) != "" {
		return gatewayMade(o, "", IngressGateway)
	}
	return hop
}

// blame finds the steps at which the requests that entered at each step ended.
func (b *bracket) blame(f *Facts, steps []Step) {
	b.blamed = map[string]*Observation{}
	for _, s := range steps {
		own := lastAt(f.Observations, s)
		if own < 0 || !f.Observations[own].Judged() || f.Observations[own].OK() {
			continue
		}
		at := place(steps, f.suspect(&f.Observations[own]), s)
		if b.blamed[at.ID()] == nil {
			b.blamed[at.ID()] = &f.Observations[own]
		}
	}
}

// tellsPlace says whether an outcome itself tells where a request ended: an answer does, and so does a connection that never came about. One that
// was made and then brought nothing may have gone any distance.
func (o *Observation) tellsPlace() bool {
	switch o.Outcome {
	case Timeout, ResetByPeer, ClosedEarly, Malformed:
		return false
	}
	return true
}

// lastRequest is the last real request that entered at exactly this step.
func lastRequest(seen []Observation, s Step) *Observation {
	var last *Observation
	for i := range seen {
		if o := &seen[i]; o.Asked == RealRequest && o.Step.ID() == s.ID() {
			last = o
		}
	}
	return last
}

// outward is the hop just outside a step on the path.
func outward(steps []Step, s Step) Hop {
	for i := range steps {
		if steps[i].ID() == s.ID() && i > 0 {
			return steps[i-1].Hop
		}
	}
	return s.Hop
}

// place finds the path's step for a hop, on the side of the step that the answer came from.
func place(steps []Step, h Hop, near Step) Step {
	for _, s := range steps {
		if s.Hop == h && (near.Revision == "" || s.Revision == "" || s.Revision == near.Revision) && (near.Door != "" || s.Door == "") {
			return s
		}
	}
	if inner, ok := further(h); ok { // a shorter path: what the gateway speaks of is the next place that there is
		return place(steps, inner, near)
	}
	near.Hop = h
	return near
}

// further is the hop that stands in for one that a shorter path does not have: Standard mode has no second pass, and without a route of KServe's
// Knative's is the first.
func further(h Hop) (Hop, bool) {
	switch h {
	case KServeRoute:
		return KnativeRoute, true
	case LocalGateway, KnativeRoute, Activator:
		return Revision, true
	case QueueProxy:
		return Container, true
	}
	return h, false
}

// cleared is the good answer to something that entered behind the doors and passed the step: at the component's own gateway, or at the queue-proxy of
// the same revision. It counts as long as the door's own request says nothing else.
func cleared(f *Facts, s Step) *Observation {
	for i := range f.Observations {
		o := &f.Observations[i]
		if o.Step.Door != "" || o.Step.Component == "" || o.Step.Component != s.Component || s.Hop == ComponentLink || !o.OK() {
			continue
		}
		switch {
		case o.Step.Hop == LocalGateway && s.place() < o.Step.place() && (bracket{good: o}).passes(f, s):
			return o
		case o.Step.Hop == QueueProxy && o.Asked == RealRequest && s.Hop == Container && s.Revision == o.Step.Revision:
			return o
		}
	}
	return nil
}

// row says what is known about one step.
func (b bracket) row(f *Facts, i int, s Step, answer *Observation) Row {
	r := Row{Step: s, State: RowNotChecked, How: Unseen, Observation: -1}
	own := lastAt(f.Observations, s)
	switch {
	case own >= 0 && f.Observations[own].OK():
		return Row{Step: s, State: RowOK, How: Dialled, Observation: own, Why: f.Observations[own].Describe()}
	case b.good != nil && b.passes(f, s):
		r.State, r.How, r.Why = RowInferred, Inferred, b.passed(s)
		if own >= 0 && f.Observations[own].Judged() {
			r.Why += fmt.Sprintf("; a direct %s from %s got %s, which speaks of the vantage", f.Observations[own].Asked, f.Observations[own].Vantage, f.Observations[own].Describe())
		}
		return r
	case b.bad.Hop != "" && s.ID() == b.bad.ID():
		return Row{Step: s, State: RowFailed, How: how(own), Observation: own, Why: b.why.Describe()}
	case b.blamed[s.ID()] != nil:
		return Row{Step: s, State: RowFailed, How: how(own), Observation: own, Why: b.blamed[s.ID()].Describe()}
	case own < 0 && b.good != nil && cleared(f, s) != nil:
		o := cleared(f, s)
		r.State, r.How, r.Why = RowInferred, Inferred, fmt.Sprintf("the %s at the %s of the %s passed it", o.Asked, o.Step.Hop, s.Component)
		return r
	case own >= 0 && f.Observations[own].Judged() && f.furthest(&f.Observations[own]) != Suspect(&f.Observations[own]):
		r.State, r.How, r.Why = RowInferred, Inferred, "the trace shows that it passed the request on"
		return r
	case own >= 0 && f.Observations[own].Judged(): // it answers; what its answer speaks of lies further in
		return Row{Step: s, State: RowOK, How: Dialled, Observation: own, Why: "it answers: " + f.Observations[own].Describe()}
	case b.bad.Hop != "" && outside(f, s, b.bad):
		r.State, r.How, r.Why = RowInferred, Inferred, "the request that failed passed it"
		return r
	case own >= 0:
		r.Observation, r.Why = own, notJudged(&f.Observations[own])
		return r
	}
	r.Why = b.whyNot(f, s, answer)
	return r
}

// passed says from which request a step is inferred, and for the caller's side what that request went around.
func (b bracket) passed(s Step) string {
	if s.Hop != Client {
		return fmt.Sprintf("the %s at the %s passed it", b.good.Asked, doorName(b.door))
	}
	if around := around(b.good.Vantage); around != "" {
		return fmt.Sprintf("Host and path as sent; %s not checked from here (%s)", around, b.good.Vantage)
	}
	return fmt.Sprintf("the %s was sent as a caller would", b.good.Asked)
}

// around names what lies in front of the gateway that a success from the vantage does not prove.
func around(v Vantage) string {
	var names []string
	for _, c := range Missing(v) {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}

// outside says whether s lies before the failed step in the order of the path.
func outside(f *Facts, s, bad Step) bool {
	if s.Door == "" && bad.Door != "" {
		return false
	}
	steps := f.Flow.Steps
	at := func(x Step) int {
		return slices.IndexFunc(steps, func(y Step) bool { return y.ID() == x.ID() })
	}
	return at(s) < at(bad)
}

func how(own int) How {
	if own >= 0 {
		return Dialled
	}
	return Inferred
}

// lastAt is the index of the observation that speaks for a step: its last real request, else its last knock; -1 for none.
func lastAt(seen []Observation, s Step) int {
	at := -1
	for i := range seen {
		if seen[i].Step.ID() != s.ID() || at >= 0 && seen[at].Asked == RealRequest && seen[i].Asked == Knock {
			continue
		}
		at = i
	}
	return at
}

// passes says whether the door's success went through the step: every step before the revisions; behind them only where it is known which
// revision took the request; with a knock only up to the one of activator and queue-proxy that answers it.
func (b bracket) passes(f *Facts, s Step) bool {
	if s.Hop == ComponentLink { // a transformer answers GET itself
		return s.Component == f.Flow.EntryPoint && b.good.Asked == RealRequest && b.good.Method == "POST"
	}
	if s.Component != "" && s.Component != f.Flow.EntryPoint && s.Component != b.good.Step.Component {
		return f.Flow.EntryPoint == Transformer && s.Component == Predictor && b.good.Asked == RealRequest && b.good.Method == "POST"
	}
	if s.Revision == "" {
		return true
	}
	weighted, proxied := 0, false
	for _, c := range f.Flow.Components {
		if c.Name != s.Component {
			continue
		}
		for _, r := range c.Revisions {
			if r.Weight > 0 {
				weighted++
			}
			if r.Name == s.Revision {
				proxied = r.ViaProxy
			}
		}
	}
	if weighted != 1 || s.Weight == 0 {
		return false
	}
	switch s.Hop {
	case Revision:
		return true
	case Activator:
		return proxied
	case QueueProxy:
		return b.good.Asked == RealRequest || !proxied
	}
	return b.good.Asked == RealRequest
}

// whyNot says why nothing is known about a step.
func (b bracket) whyNot(f *Facts, s Step, answer *Observation) string {
	for _, c := range f.Flow.Components {
		for _, r := range c.Revisions {
			if r.Name != s.Revision || s.Revision == "" {
				continue
			}
			switch {
			case s.Hop == Activator && !r.ViaProxy:
				return "not in the path: requests go straight to the pods"
			case r.Asleep:
				return "asleep: nothing was sent, so as not to wake it"
			}
		}
	}
	switch {
	case b.bad.Hop != "":
		return "the request did not get here"
	case answer == nil:
		for _, d := range f.Flow.Doors {
			if d.Door == s.Door && d.Closed != "" {
				return d.Closed
			}
		}
		return "no request was sent"
	}
	if answer.OK() {
		return b.unproved(f, s)
	}
	return notJudged(answer)
}

// unproved says why a good answer at the door proves nothing of a step.
func (b bracket) unproved(f *Facts, s Step) string {
	switch {
	case s.Component == Explainer && f.Flow.EntryPoint != Explainer:
		return "the request at the door does not go to the explainer, which takes :explain only"
	case s.Hop == ComponentLink, s.Component == Predictor && f.Flow.EntryPoint == Transformer:
		return "the transformer answered without calling the predictor; give --data for a request that goes on"
	case s.Revision != "":
		return "which of the weighted revisions took the request is not known"
	}
	return "the request at the door did not pass it"
}

// notJudged says why an answer tells nothing about the target.
func notJudged(o *Observation) string {
	switch {
	case o.Outcome == NoWay:
		return "no way in: " + Clip(o.Err, 200)
	case o.Outcome == Cancelled:
		return "cancelled"
	case o.Gated():
		return fmt.Sprintf("%d: a gate asks for credentials; give them with --token-file or --header-file", o.Status)
	case o.Invented:
		return fmt.Sprintf("%d from the model server to a path that nobody specified; give one with --path", o.Status)
	}
	return "the answer tells nothing: " + o.Describe()
}

func doorName(d Door) string {
	if d == ClusterLocal {
		return "cluster-local gateway"
	}
	return "ingress gateway"
}

// mark shows on the table what the findings are about: a step that nobody dialled and that a finding speaks of, and the places beside the path
// that have one. What a request was seen to pass stays as it is.
func mark(rows []Row, findings []Finding) []Row {
	for _, f := range findings {
		state := RowFailed
		switch f.Severity {
		case Note:
			continue
		case Warning:
			state = RowDegraded
		}
		at := slices.IndexFunc(rows, func(r Row) bool { return r.Step.ID() == f.Step.ID() })
		switch {
		case f.Confidence == Possible:
		case at < 0 && !f.Step.Hop.OnPath():
			rows = append(rows, Row{Step: f.Step, State: state, How: Inferred, Why: f.Summary, Observation: -1})
		case at >= 0 && rows[at].State == RowNotChecked:
			rows[at].State, rows[at].How, rows[at].Why = state, Inferred, f.Summary
		}
	}
	return rows
}
