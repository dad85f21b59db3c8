// limits.go: what keeps an expression from taking a core or the memory. cel-go's own cost limit does not serve: its count of a loop takes time that
// grows with the square of the turns (interpreter/runtimecost.go, refValStack), and texts whose type only the answer tells cost it nothing.
package settings

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
)

const (
	// maxSteps bounds the calls of functions and operators; each turn of a loop makes at least one. 1,000,000 take some tenth of a second.
	maxSteps = 1_000_000
	// bytesAStep is how many bytes of a text that is made count as a step more: what all steps make is no more than 10 MB.
	bytesAStep = 10
	// maxPattern is how large a regular expression may become, in instructions of package regexp: 2000 take some 80 KB.
	maxPattern = 2000
	// maxMatch bounds instructions times bytes of the text: package regexp takes no longer than in proportion to it, some second here.
	maxMatch = 1 << 26
	// stepsName is the counter's name in an activation. No variable of an expression can be called so.
	stepsName = "#steps"
)

// steps counts those of one evaluation.
type steps struct{ n int }

// add counts a call, and ends the evaluation when there were too many.
func (s *steps) add(result ref.Val) {
	s.n++
	switch made := result.(type) {
	case types.String:
		s.n += len(made) / bytesAStep
	case types.Bytes:
		s.n += len(made) / bytesAStep
	}
	if s.n > maxSteps {
		tooMany()
	}
}

// tooMany ends an evaluation in the way of cel-go, which makes an error of it.
func tooMany() {
	panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: tooManySteps})
}

const tooManySteps = "too many steps"

// limit is the decorator of a plan.
func limit(i interpreter.Interpretable) (interpreter.Interpretable, error) {
	call, ok := i.(interpreter.InterpretableCall)
	switch {
	case !ok:
		return i, nil
	case call.Function() == overloads.Matches:
		return matches(call)
	}
	return counted{call}, nil
}

// counted is a call that counts.
type counted struct{ interpreter.InterpretableCall }

// Eval implements interpreter.Interpretable.
func (c counted) Eval(vars interpreter.Activation) ref.Val {
	out := c.InterpretableCall.Eval(vars)
	if s, ok := vars.ResolveName(stepsName); ok {
		s.(*steps).add(out)
	}
	return out
}

// matches is a call of the function of that name, with a pattern that is read once and is not large.
func matches(call interpreter.InterpretableCall) (interpreter.Interpretable, error) {
	pattern, ok := types.String(""), false
	if args := call.Args(); len(args) == 2 {
		if c, is := args[1].(interpreter.InterpretableConst); is {
			pattern, ok = c.Value().(types.String)
		}
	}
	if !ok {
		return nil, errors.New("a regular expression must stand in it as a text between quotes")
	}
	re, size, err := compilePattern(string(pattern))
	if err != nil {
		return nil, err
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		text, ok := args[0].(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(args[0])
		}
		if len(text)*size > maxMatch {
			tooMany()
		}
		return types.Bool(re.MatchString(string(text)))
	}), nil
}

// compilePattern measures a pattern before it compiles it.
func compilePattern(pattern string) (re *regexp.Regexp, size int, err error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, 0, fmt.Errorf("%.100s", err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, 0, fmt.Errorf("%.100s", err)
	}
	if size = len(program.Inst); size > maxPattern {
		return nil, 0, fmt.Errorf("a regular expression is too large: %d instructions, and %d may be", size, maxPattern)
	}
	re, err = regexp.Compile(pattern)
	return re, size, err
}
