// parse.go: from texts to settings: annotations, where a bad one hurts nothing but itself, and values of flags or a file, where it is an error.
package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"

	"probe/probe/redact"
)

const (
	maxProblems = 20 // lines about one service
	maxShown    = 60 // bytes of a value in a problem
	maxEdits    = 3  // between a name and the one that was meant
)

// problem is what is wrong with one value.
type problem struct {
	name string // of the choice
	text string // begins with the value
	used string // what is used instead; "" where there is no such choice
}

// Parse reads the annotations of a service, by their names without Prefix. What is bad keeps its default, and gives a line that names the
// annotation, what it is, what is right, and what is used instead. Values that may be secrets are not shown. At most 21 lines.
func Parse(annotations map[string]string, defaults Settings) (Settings, []string) {
	if len(annotations) == 0 {
		return defaults, nil
	}
	out, problems := apply(annotations, defaults)
	var lines []string
	for i, p := range problems {
		if i == maxProblems {
			return out, append(lines, fmt.Sprintf("annotations: %d more are wrong", len(problems)-i))
		}
		line := Prefix + p.name + p.text
		if p.used != "" {
			line += "; " + p.used
		}
		lines = append(lines, line)
	}
	return out, lines
}

// With gives s with other values, by the names of the annotations without Prefix: those of flags. A bad one is an error that names it.
func (s Settings) With(values map[string]string) (Settings, error) {
	out, problems := apply(values, s)
	var errs []error
	for _, p := range problems {
		errs = append(errs, errors.New(p.name+p.text))
	}
	if len(errs) > 0 {
		return s, errors.Join(errs...)
	}
	return out, nil
}

// apply sets what is right and tells of the rest, in the order of the table, then by name.
func apply(values map[string]string, from Settings) (Settings, []problem) {
	if from.expressions == nil { // made by hand
		from.expressions = newExpressions()
	}
	out := from
	var problems []problem
	known := map[string]bool{}
	given := func(name string) bool { _, is := values[name]; return is && known[name] }
	for _, c := range choices() {
		v, is := values[c.name]
		if !is {
			continue
		}
		v = strings.TrimSpace(v) // a block in YAML ends in a new line
		known[c.name] = true
		if err := c.read(&out, v); err != nil {
			problems = append(problems, c.problem(v, err.Error(), from))
			known[c.name] = false
		}
	}
	problems = append(problems, settle(&out, from, given, values)...)
	return out, append(problems, strangers(values)...)
}

func (c choice) read(s *Settings, v string) error {
	if v == "" && !c.empty {
		return fmt.Errorf("give %s", strings.ReplaceAll(c.form, "`", ""))
	}
	return c.set(s, v)
}

func (c choice) problem(v, right string, s Settings) problem {
	return problem{c.name, c.shown(v) + ": " + right, c.used(s)}
}

func (c choice) used(s Settings) string {
	if v := c.get(s); v != "" {
		return printable(v) + " is used"
	}
	return "it is not used"
}

// shown is a bad value as far as it may be seen. A query may hold a key.
func (c choice) shown(v string) string {
	if c.secret {
		return " (not shown, it may hold a secret)"
	}
	if path, _, cut := strings.Cut(v, "?"); cut && c.name == "path" {
		v = path + "?..."
	}
	return fmt.Sprintf(" %q", clip(redact.String(v)))
}

// settle brings choices into line that depend on one another. What the values chose is told of; a default gives way silently.
func settle(s *Settings, from Settings, given func(string) bool, values map[string]string) (problems []problem) {
	tell := func(name, right string) {
		for _, c := range choices() {
			if c.name == name {
				problems = append(problems, c.problem(values[name], right, *s))
			}
		}
	}
	switch {
	case given("timeout"):
	case s.Wake && !from.Wake: // the default is for models that are up
		s.Timeout = max(s.Timeout, wakeTimeout)
	case !s.Wake && from.Wake && s.Timeout == wakeTimeout:
		s.Timeout = usualTimeout
	}
	if !s.Wake && s.Timeout > s.Interval {
		s.Timeout = s.Interval
		if given("timeout") {
			s.Timeout = min(from.Timeout, s.Interval)
			tell("timeout", fmt.Sprintf("longer than the interval of %s, so that probes would be left out; give a longer interval or a shorter time",
				short(s.Interval)))
		}
	}
	if given("max-latency") && s.MaxLatency > s.Timeout {
		s.MaxLatency = from.MaxLatency
		tell("max-latency", fmt.Sprintf("above the timeout of %s, which ends a request before it is too slow; give a shorter time or a longer timeout",
			short(s.Timeout)))
	}
	return problems
}

// strangers are the names that nothing is known by.
func strangers(values map[string]string) (problems []problem) {
	var names []string
	for _, c := range choices() {
		names = append(names, c.name)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(names, name) {
			problems = append(problems, problem{name: printable(name), text: ": there is no such setting; " + nearest(name, names)})
		}
	}
	return problems
}

// nearest says which name the fewest edits lead to, or all names where none is near.
func nearest(name string, names []string) string {
	name = printable(name)
	far := func(other string) int { return levenshtein.ComputeDistance(name, other) }
	best := slices.MinFunc(names, func(a, b string) int { return far(a) - far(b) })
	if far(best) > maxEdits {
		return "there are " + strings.Join(names, ", ")
	}
	return "the nearest is " + best
}

// printable clips a name that somebody made up, and keeps it on one line.
func printable(name string) string { return clip(oneLine(name)) }

func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return '?'
	}, strings.Join(strings.Fields(text), " "))
}

// clip cuts a text to what a line can hold.
func clip(text string) string { return clipTo(text, maxShown) }

func clipTo(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "..."
}

// after writes a time as the end of a sentence about an answer.
func after(d time.Duration) string {
	if d >= time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
