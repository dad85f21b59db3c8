// expectation.go: what answer is right, and whether one is.
package settings

import (
	"errors"
	"fmt"

	"probe/hops"
)

// Expectation is what Settings expect of an answer. It is safe for concurrent use. It is not to be kept: Compile finds it again in a microsecond,
// and lets go of those that no service has any more.
type Expectation struct {
	list     string
	statuses []span
	expr     *expression // nil where there is none
}

// Compile gives what the settings expect; nil when they expect no more than a good answer. Settings that Parse gave are never an error.
func Compile(s Settings) (*Expectation, error) {
	if s.ExpectStatus == "" && s.Expect == "" {
		return nil, nil
	}
	list, err := statuses(s.ExpectStatus)
	if err != nil {
		return nil, fmt.Errorf("expect-status %q: %w", clip(s.ExpectStatus), err)
	}
	e := &Expectation{list: s.ExpectStatus, statuses: list}
	if s.Expect == "" {
		return e, nil
	}
	from := s.expressions
	if from == nil { // made by hand
		from = newExpressions()
	}
	if e.expr, err = from.compile(s.Expect); err != nil {
		return nil, fmt.Errorf("expect: %w", err)
	}
	return e, nil
}

// Status says whether the expectation decides which statuses are right, so that an answer which meets it is good also with a 404.
func (e *Expectation) Status() bool {
	return e != nil && (len(e.statuses) > 0 || e.expr != nil && e.expr.uses["status"])
}

// Check says why the answer to a real request is not the right one; nil when it is. The body is that of the answer as it was read: an observation
// holds its start only. The error names the expression, status and time, and nothing of the body.
func (e *Expectation) Check(o *hops.Observation, body []byte) error {
	if o.Outcome != hops.Answered {
		return fmt.Errorf("there is no answer to compare with what is expected: %s", o.Outcome)
	}
	if err := e.status(o); err != nil {
		return err
	}
	if e == nil || e.expr == nil {
		return nil
	}
	return e.expr.check(o, body)
}

// status compares the status alone.
func (e *Expectation) status(o *hops.Observation) error {
	good := o.Status >= 200 && o.Status <= 299
	switch {
	case good && o.GRPCStatus != 0:
		return fmt.Errorf("the answer has gRPC status %d, not 0", o.GRPCStatus)
	case good && !o.OK():
		return errors.New("the server answers that the model is not ready")
	case !e.Status():
		if !good {
			return fmt.Errorf("the answer has status %d, not 2xx", o.Status)
		}
	case len(e.statuses) > 0 && !contains(e.statuses, o.Status):
		return fmt.Errorf("the answer has status %d, not %s (after %s)", o.Status, e.list, after(o.Took))
	case !good && (o.Status == 404 || o.Status >= 500) && hops.WroteIt(o) == hops.ByGateway:
		return fmt.Errorf("the answer has status %d, but the gateway itself wrote it, not the model", o.Status)
	}
	return nil
}
