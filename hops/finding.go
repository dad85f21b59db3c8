// finding.go: a fact with its source, and what a rule makes of facts.
package hops

import (
	"strings"
	"time"
)

// Evidence is one fact with its source, quoted literally.
type Evidence struct {
	// Source is object, event, line, observation, span or absent.
	Source string    `json:"source"`
	Ref    string    `json:"ref"`             // "pod/x", "log pod/x kserve-container", "request outside/ingress-gateway"
	Field  string    `json:"field,omitempty"` // path in the object, reason of the event, header
	Value  string    `json:"value"`           // as it stands in the input; of an absence, the list that was read in full
	At     time.Time `json:"at,omitzero"`
}

// The kinds of evidence.
const (
	FromObject      = "object"
	FromEvent       = "event"
	FromLine        = "line"
	FromObservation = "observation"
	FromSpan        = "span"
	FromAbsence     = "absent"
)

// Severity says whether a finding is wrong, doubtful, or worth knowing.
type Severity string

// The severities. Only Error and Warning can lower a verdict.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "info"
)

// Confidence says how sure a finding is.
type Confidence string

// The confidences, surest first.
const (
	Certain  Confidence = "certain"
	Likely   Confidence = "likely"
	Possible Confidence = "possible"
)

func (c Confidence) rank() int {
	switch c {
	case Certain:
		return 0
	case Likely:
		return 1
	}
	return 2
}

// Finding is what a rule found at one step.
type Finding struct {
	ID         string     `json:"id"`
	Step       Step       `json:"step"`
	Severity   Severity   `json:"severity"`
	Confidence Confidence `json:"confidence"`
	Summary    string     `json:"summary"`
	Evidence   []Evidence `json:"evidence"`
	Fix        string     `json:"fix"`
	// Explains are the ids of findings that were found too and are hidden by this one.
	Explains []string `json:"explains,omitempty"`
	// Expires says when the controllers will delete the evidence; zero when they will not, or when it is not known.
	Expires time.Time `json:"expires,omitzero"`
}

// Clip cuts a text for display: one line, at most n runes.
func Clip(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
