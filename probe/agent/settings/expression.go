// expression.go: CEL expressions over an answer: compiled once for all services that use the same, and bounded when they are evaluated.
package settings

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"probe/hops"
	"probe/probe/redact"
)

const (
	maxCompiled = 512 // expressions kept; one takes some ten kilobytes
	// evalTime ends loops whose steps take long. It is far above what maxSteps of others take, so that a busy machine fails no answer.
	evalTime = 2 * time.Second
	// perCheck is how many turns of a loop go by between two looks at evalTime. With more than one cel-go may miss the end: an inner loop uses up the
	// looks of the outer.
	perCheck = 1
	// turns is how many answers are looked at at one time: the JSON of one of 1 MiB may take fifteen times that.
	turns = 8
	// maxNested is how many loops may stand in one another.
	maxNested = 2
)

// expressions compiles, and keeps what it compiled.
type expressions struct {
	mu   sync.Mutex
	env  *cel.Env // made when first needed
	kept *lru[string, *expression]
	turn chan struct{}
	time time.Duration // of one evaluation
}

func newExpressions() *expressions {
	return &expressions{kept: newLRU[string, *expression](maxCompiled, maxCompiled), turn: make(chan struct{}, turns), time: evalTime}
}

// expression is one, ready to be evaluated, or why it cannot be.
type expression struct {
	source  string
	program cel.Program
	uses    map[string]bool // variables
	from    *expressions
	err     error
}

// compile gives the expression of a source. The error says what is right.
func (x *expressions) compile(source string) (*expression, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e, ok := x.kept.get(source); ok {
		return e, e.err
	}
	if x.env == nil {
		env, err := newEnv()
		if err != nil {
			return nil, err
		}
		x.env = env
	}
	e := compile(x.env, source)
	e.from = x
	x.kept.put(source, e, 1)
	return e, e.err
}

func newEnv() (*cel.Env, error) {
	return cel.NewEnv(cel.Variable("status", cel.IntType), cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("body", cel.DynType), cel.Variable("text", cel.StringType), cel.Variable("latency", cel.DurationType),
		cel.CrossTypeNumericComparisons(true), // numbers of JSON are doubles, those of an expression mostly integers
		cel.ParserExpressionSizeLimit(maxExpect), cel.ParserRecursionLimit(64),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(maxNested)))
}

func compile(env *cel.Env, source string) *expression {
	e := &expression{source: source, uses: map[string]bool{}}
	if len(source) > maxExpect {
		e.err = fmt.Errorf("give an expression of at most %d bytes", maxExpect)
		return e
	}
	ast, issues := env.Compile(source)
	if found := issues.Errors(); len(found) > 0 {
		message := strings.TrimSuffix(oneLine(found[0].Message), " (in container '')")
		e.err = fmt.Errorf("give a CEL expression; line %d, column %d: %s", found[0].Location.Line(), found[0].Location.Column()+1,
			clipTo(redact.String(message), 2*maxShown))
		return e
	}
	if got := ast.OutputType(); !got.IsExactType(cel.BoolType) {
		e.err = fmt.Errorf("give an expression that is true or false; this one gives %s; compare it, as in `body.ready == true`", cel.FormatCELType(got))
		return e
	}
	for _, r := range ast.NativeRep().ReferenceMap() {
		e.uses[r.Name] = true
	}
	e.program, e.err = env.Program(ast, cel.CustomDecorator(limit), cel.InterruptCheckFrequency(perCheck))
	if e.err != nil {
		e.err = fmt.Errorf("give a CEL expression; %s", clipTo(redact.String(oneLine(e.err.Error())), 2*maxShown))
	}
	return e
}

// seen gives an answer's values to an expression; the body is parsed when it is asked for. It implements cel.Activation.
type seen struct {
	o      *hops.Observation
	body   []byte
	text   string
	parsed bool
	json   any
	isJSON bool
	steps  steps
}

// ResolveName implements cel.Activation.
func (s *seen) ResolveName(name string) (any, bool) {
	switch name {
	case "status":
		return s.o.Status, true
	case "headers":
		if s.o.Header == nil {
			return map[string]string{}, true
		}
		return s.o.Header, true
	case "body":
		if !s.parsed {
			s.parsed, s.isJSON = true, json.Unmarshal(s.body, &s.json) == nil
		}
		return s.json, true
	case "text":
		if s.text == "" {
			s.text = strings.ToValidUTF8(string(s.body), "\uFFFD")
		}
		return s.text, true
	case "latency":
		return s.o.Took, true
	case stepsName:
		return &s.steps, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (s *seen) Parent() cel.Activation { return nil }

// check evaluates the expression. The error says why the answer does not meet it, and quotes nothing of the body, which may be private.
func (e *expression) check(o *hops.Observation, body []byte) error {
	s := &seen{o: o, body: body}
	out, err := e.eval(s)
	about := fmt.Sprintf("status %d after %s", o.Status, after(o.Took))
	if e.uses["body"] && s.parsed && !s.isJSON {
		about += fmt.Sprintf("; the body of %d bytes is not JSON", len(body))
	}
	if err != nil {
		return fmt.Errorf("the answer does not meet `%s`: %s (%s)", e.shown(), e.why(err), about)
	}
	if out != types.True {
		return fmt.Errorf("the answer does not meet `%s` (%s)", e.shown(), about)
	}
	return nil
}

// eval evaluates it within its bounds.
func (e *expression) eval(s *seen) (ref.Val, error) {
	e.from.turn <- struct{}{}
	defer func() { <-e.from.turn }()
	ctx, cancel := context.WithTimeout(context.Background(), e.from.time)
	defer cancel()
	out, _, err := e.program.ContextEval(ctx, s)
	return out, err
}

// shown is the expression as it is quoted: clipped, on one line.
func (e *expression) shown() string {
	return clipTo(redact.String(oneLine(e.source)), 2*maxShown)
}

// plainKey is a key that can be quoted.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// why says in words of our own what went wrong: cel-go's may quote values of the answer.
func (e *expression) why(err error) string {
	text := err.Error()
	if key, ok := strings.CutPrefix(text, "no such key: "); ok {
		if plainKey.MatchString(key) && strings.Contains(e.source, key) {
			return "there is no " + key
		}
		return "a key is not there"
	}
	for _, w := range [...]struct{ says, means string }{
		{"no such overload", "a value is of another type than it needs"},
		{"unexpected type", "a value is of another type than it needs"},
		{"index out of", "a list is too short"},
		{"invalid_argument", "a list is too short"},
		{"division by zero", "it divides by zero"},
		{"modulus by zero", "it divides by zero"},
		{tooManySteps, "it takes more steps than it may"},
		{"operation interrupted", "it takes longer than it may"},
	} {
		if strings.Contains(text, w.says) {
			return w.means
		}
	}
	return "a value cannot be used as it needs"
}
