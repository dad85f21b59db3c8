// Package report prints a Run: as text for people, as JSON for programs. What it prints was redacted.
//
// report.go: options, exit codes, and the short words that both the report and the sweep use.
package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"probe/hops"
)

// Options of the text form. The zero value prints plain text of any width.
type Options struct {
	// Verbose adds phases, hidden findings, the ids of the rules that were not checked, and says why each hop is inferred.
	Verbose bool
	// Color marks states with ANSI colours. The caller knows the terminal and NO_COLOR.
	Color bool
	// Width bounds the lines that may be cut, in columns; 0 does not. Evidence, fixes and commands are never cut by it.
	Width int
	// Trace gives the place of a trace in a trace store; nil prints the id only.
	Trace func(traceID string) string
}

// Exit codes.
const (
	CodeOK           = 0
	CodeFailed       = 1
	CodeInconclusive = 3
	CodeDegraded     = 4
)

// ExitCode is the process's exit code for a verdict. A degraded service still answers, so it fails a script only when the caller is strict.
func ExitCode(v hops.Verdict, strict bool) int {
	switch v.State {
	case hops.OK:
		return CodeOK
	case hops.Failed:
		return CodeFailed
	case hops.Degraded:
		if strict {
			return CodeDegraded
		}
		return CodeOK
	}
	return CodeInconclusive
}

// Worst is the exit code of many runs: that of the worst.
func Worst(runs []*hops.Run, strict bool) int {
	badness := map[int]int{CodeFailed: 3, CodeInconclusive: 2, CodeDegraded: 1}
	worst := CodeOK
	for _, r := range runs {
		if code := ExitCode(r.Verdict, strict); badness[code] > badness[worst] {
			worst = code
		}
	}
	return worst
}

// clean makes a text from a cluster fit for a terminal: one line, no escape sequences, no control characters.
func clean(s string) string {
	if i := strings.IndexByte(s, '\x1b'); i >= 0 {
		s = withoutEscapes(s)
	}
	s = strings.Join(strings.Fields(s), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
}

// withoutEscapes drops ANSI sequences such as the colours of a server's log.
func withoutEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\x1b' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '[' {
			for i += 2; i < len(s) && (s[i] < '@' || s[i] > '~'); i++ {
			}
		}
	}
	return b.String()
}

// quote shows a text as it stands in the input, cut to n runes.
func quote(s string, n int) string { return `"` + hops.Clip(clean(s), n) + `"` }

// took prints a duration as short as it is of use: "1.9 ms", "42 ms", "1.24 s", "2m5s".
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// clock prints a time of day; all clocks of a report are in UTC, as those of the cluster.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// place names a step in the user's words: the hop, and which of several.
func place(s hops.Step) string {
	out := string(s.Hop)
	if of := strings.Join(nonEmpty(s.Component, s.Revision), " "); of != "" {
		out += " (" + of + ")"
	}
	return out
}

func nonEmpty(in ...string) []string {
	var out []string
	for _, s := range in {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// paint colours words by state.
type paint bool

func (p paint) in(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) state(s hops.State) string {
	return p.in(map[hops.State]string{hops.OK: "32", hops.Failed: "1;31", hops.Degraded: "33", hops.Inconclusive: "36"}[s], string(s))
}

func (p paint) bold(s string) string { return p.in("1", s) }
func (p paint) dim(s string) string  { return p.in("2", s) }
