// run.go: everything known about one probe of one service. It is the only thing that is passed on, saved, exported and reported.
package hops

import "time"

// Run is one probe of one service, or one reading of a capture or paste.
type Run struct {
	Ref          Ref           `json:"ref"`
	Started      time.Time     `json:"started"`
	Ended        time.Time     `json:"ended"`
	TraceID      string        `json:"traceId,omitempty"`
	SpanID       string        `json:"spanId,omitempty"` // of the root span
	Flow         Flow          `json:"flow"`
	Snapshots    []Snapshot    `json:"snapshots,omitempty"` // in time order
	Observations []Observation `json:"observations,omitempty"`
	Spans        []Span        `json:"spans,omitempty"` // read back from a trace store
	Verdict      Verdict       `json:"verdict"`
	// Reads counts requests to the API server, ReadTook their wall time.
	Reads    int           `json:"reads,omitempty"`
	ReadTook time.Duration `json:"readTook,omitempty"`
	// Warnings are about the run itself: a collector that did not answer, a vantage that failed.
	Warnings []string `json:"warnings,omitempty"`
}

// Span is one span read back from a trace store.
type Span struct {
	TraceID  string            `json:"traceId"`
	SpanID   string            `json:"spanId"`
	ParentID string            `json:"parentId,omitempty"`
	Service  string            `json:"service"`
	Name     string            `json:"name"`
	Start    time.Time         `json:"start"`
	Took     time.Duration     `json:"took"`
	Failed   bool              `json:"failed,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
}

// Facts is what is known before the verdict.
type Facts struct {
	Ref          Ref
	Flow         Flow
	Snapshots    []Snapshot // in time order; rules see the latest, and the history of events and lines
	Observations []Observation
	Spans        []Span
	// Live says that a front door was, or should have been, tried. False for captures and pastes without requests.
	Live bool
}

// Facts gives the run's facts.
func (r *Run) Facts() Facts {
	return Facts{Ref: r.Ref, Flow: r.Flow, Snapshots: r.Snapshots, Observations: r.Observations, Spans: r.Spans, Live: r.TraceID != ""}
}

// State is the answer in one word.
type State string

// The states, worst first.
const (
	Failed       State = "Failed"
	Degraded     State = "Degraded"
	Inconclusive State = "Inconclusive"
	OK           State = "OK"
)

// Verdict is the answer.
type Verdict struct {
	State      State        `json:"state"`
	Step       Step         `json:"step"` // where requests stop; empty when they do not
	Summary    string       `json:"summary"`
	Asleep     bool         `json:"asleep,omitempty"`
	Findings   []Finding    `json:"findings,omitempty"` // the root cause first
	Hidden     []Finding    `json:"hidden,omitempty"`   // what the findings explain
	Rows       []Row        `json:"rows,omitempty"`
	NotChecked []NotChecked `json:"notChecked,omitempty"`
	Notes      []string     `json:"notes,omitempty"`
}

// NotChecked is something that the verdict does not cover.
type NotChecked struct {
	What string `json:"what"`
	Why  string `json:"why"`
	// Rules are the ids of the rules that could not be judged for it.
	Rules []string `json:"rules,omitempty"`
}

// RowState is the state of one hop.
type RowState string

// The states of a hop.
const (
	RowOK         RowState = "ok"
	RowFailed     RowState = "failed"
	RowDegraded   RowState = "degraded"
	RowInferred   RowState = "inferred"
	RowNotChecked RowState = "not-checked"
)

// How a hop was seen.
type How string

// The ways of seeing a hop.
const (
	Dialled  How = "dialled"
	Inferred How = "inferred"
	Unseen   How = "not-checked"
)

// Row is one hop in the table.
type Row struct {
	Step  Step     `json:"step"`
	State RowState `json:"state"`
	How   How      `json:"how"`
	// Why says from which request it is inferred, why it was not checked, or what went wrong.
	Why string `json:"why,omitempty"`
	// Observation is the index in the Run of the request that speaks for this row; -1 for none.
	Observation int `json:"observation"`
}
