// rule.go: what a rule is.
package hops

// Rule is one failure mode: how to tell it and what to do about it. Rules are values in the file of their hop, listed in all.go.
type Rule struct {
	// ID is the name in output, metrics, docs and tests; it never changes.
	ID  string
	Hop Hop
	// Title says in one line what is wrong.
	Title string
	// Means says what it means, for somebody who has not seen it before.
	Means string
	// Fix says what to do, concretely: the object, the field, the command. {isvc}, {ns}, {component}, {revision}, {object}, {pod} and {container} are filled in.
	Fix string
	// Looks says what it looks like in each place.
	Looks Looks
	// Needs are the sources that the rule reads. A rule whose needs were not read, and which found nothing in the rest, was not checked.
	Needs []Source
	// Explains are the ids of the symptoms that this cause explains: they are hidden when they lie on the same step or further out.
	Explains []string
	// Severity is the default; a match may lower it. Empty means Error.
	Severity Severity
	// Match finds the places where this mode is present.
	Match func(*View) []Match
}

// Looks is what a failure mode looks like from three places; "" where it does not show.
type Looks struct {
	Status string `json:"status,omitempty"`
	Client string `json:"client,omitempty"`
	Logs   string `json:"logs,omitempty"`
}

// Match is one place where a rule's mode is present.
type Match struct {
	// Step is where; an empty hop means the rule's own.
	Step Step
	// Confidence is how sure; empty means Certain.
	Confidence Confidence
	// Severity overrides the rule's.
	Severity Severity
	// Summary says what is wrong here, in one line, with the names of this service; empty means the rule's title.
	Summary string
	// Evidence is what bears the match out; there is always some.
	Evidence []Evidence
	// Fix overrides the rule's.
	Fix string
	// Names fill the placeholders of Fix: pod, container, object.
	Pod, Container string
}
