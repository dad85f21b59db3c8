// json.go: one run for programs. The form only grows: no field is ever renamed or taken away while the schema version stays.
package report

import (
	"encoding/json"
	"io"
	"time"

	"probe/hops"
	"probe/probe/redact"
)

// SchemaVersion is that of the JSON form.
const SchemaVersion = "probe/v1"

// document is the whole output. Fields without omitempty are always there.
type document struct {
	SchemaVersion string       `json:"schemaVersion"`
	Service       service      `json:"service"`
	Verdict       verdict      `json:"verdict"`
	Findings      []finding    `json:"findings"` // the root cause first
	Hops          []hop        `json:"hops"`
	NotChecked    []notChecked `json:"notChecked"`
	TraceID       string       `json:"traceId"`
	Notes         []string     `json:"notes,omitempty"`
	Warnings      []string     `json:"warnings,omitempty"` // about the run itself: a collector that did not answer
}

type service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

type verdict struct {
	State     hops.State `json:"state"` // OK, Degraded, Failed or Inconclusive
	Hop       hops.Hop   `json:"hop"`   // where requests stop; "" when they do not
	Component string     `json:"component"`
	Revision  string     `json:"revision"`
	Summary   string     `json:"summary"`
	Asleep    bool       `json:"asleep,omitempty"`
}

type finding struct {
	ID         string          `json:"id"`
	Hop        hops.Hop        `json:"hop"`
	Component  string          `json:"component"`
	Revision   string          `json:"revision"`
	Object     string          `json:"object"` // as kubectl takes it: "pod/x"
	Severity   hops.Severity   `json:"severity"`
	Confidence hops.Confidence `json:"confidence"`
	Summary    string          `json:"summary"`
	Evidence   []evidenceJSON  `json:"evidence"`
	Fix        string          `json:"fix"`
	Explains   []string        `json:"explains"`
	Door       hops.Door       `json:"door,omitempty"`
	Expires    time.Time       `json:"expires,omitzero"`
}

type evidenceJSON struct {
	Source string    `json:"source"` // object, event, line, observation, span or absent
	Ref    string    `json:"ref"`
	Field  string    `json:"field"`
	Value  string    `json:"value"`
	At     time.Time `json:"at,omitzero"`
}

type hop struct {
	ID        hops.Hop           `json:"id"`
	Door      hops.Door          `json:"door"` // "" behind the point where both doors meet
	Component string             `json:"component"`
	Revision  string             `json:"revision"`
	State     hops.RowState      `json:"state"` // ok, failed, degraded, inferred or not-checked
	How       hops.How           `json:"how"`   // dialled, inferred or not-checked
	MS        float64            `json:"ms"`    // 0 when nothing was sent here
	Vantage   hops.Vantage       `json:"vantage"`
	Phases    map[string]float64 `json:"phases"` // in milliseconds; those that did not happen are left out
	Object    string             `json:"object,omitempty"`
	Weight    int                `json:"weight,omitempty"` // percent of the component's traffic
	Status    int                `json:"status,omitempty"`
	Why       string             `json:"why,omitempty"`
}

type notChecked struct {
	What  string   `json:"what"`
	Why   string   `json:"why"`
	Rules []string `json:"rules,omitempty"`
}

// JSON prints a run as one object with a line break at its end.
func JSON(w io.Writer, run *hops.Run) error {
	clean, _ := redact.Run(run)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(documentOf(clean))
}

// sweepDocument is the output of a sweep.
type sweepDocument struct {
	SchemaVersion string     `json:"schemaVersion"`
	Services      []document `json:"services"` // the worst first
	Notes         []string   `json:"notes"`    // about the sweep itself: what it does not cover
}

// SweepJSON prints the runs of a sweep as one object with a line break at its end.
func SweepJSON(w io.Writer, runs []*hops.Run, notes []string) error {
	d := sweepDocument{SchemaVersion: SchemaVersion, Services: make([]document, len(runs)), Notes: append([]string{}, notes...)}
	for i, r := range runs {
		clean, _ := redact.Run(r)
		d.Services[i] = documentOf(clean)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

func documentOf(run *hops.Run) document {
	v := run.Verdict
	d := document{SchemaVersion: SchemaVersion, Service: service{run.Ref.Namespace, run.Ref.Name}, TraceID: run.TraceID, Notes: v.Notes, Warnings: run.Warnings,
		Verdict:  verdict{State: v.State, Hop: v.Step.Hop, Component: v.Step.Component, Revision: v.Step.Revision, Summary: v.Summary, Asleep: v.Asleep},
		Findings: make([]finding, len(v.Findings)), Hops: make([]hop, len(v.Rows)), NotChecked: make([]notChecked, len(v.NotChecked))}
	for i, f := range v.Findings {
		d.Findings[i] = findingOf(f)
	}
	for i, r := range v.Rows {
		d.Hops[i] = hopOf(run, r)
	}
	for i, n := range v.NotChecked {
		d.NotChecked[i] = notChecked{n.What, n.Why, n.Rules}
	}
	return d
}

func findingOf(f hops.Finding) finding {
	out := finding{ID: f.ID, Hop: f.Step.Hop, Component: f.Step.Component, Revision: f.Step.Revision, Object: f.Step.Object.String(), Severity: f.Severity,
		Confidence: f.Confidence, Summary: f.Summary, Evidence: make([]evidenceJSON, len(f.Evidence)), Fix: f.Fix, Explains: f.Explains, Door: f.Step.Door,
		Expires: f.Expires}
	if out.Explains == nil {
		out.Explains = []string{}
	}
	for i, e := range f.Evidence {
		out.Evidence[i] = evidenceJSON(e)
	}
	return out
}

func hopOf(run *hops.Run, r hops.Row) hop {
	out := hop{ID: r.Step.Hop, Door: r.Step.Door, Component: r.Step.Component, Revision: r.Step.Revision, State: r.State, How: r.How, Object: r.Step.Object.String(),
		Weight: r.Step.Weight, Why: r.Why, Phases: map[string]float64{}}
	o := observed(run, r)
	if o == nil {
		return out
	}
	out.MS, out.Vantage, out.Status = millis(o.Took), o.Vantage, o.Status
	for name, d := range map[string]time.Duration{"dns": o.Phases.DNS, "connect": o.Phases.Connect, "tls": o.Phases.TLS, "write": o.Phases.Write, "wait": o.Phases.Wait,
		"body": o.Phases.Body} {
		if d > 0 {
			out.Phases[name] = millis(d)
		}
	}
	return out
}

// millis keeps microseconds.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
