// ending.go: the last words of a run in a pod, where only the end of the log and the termination message are looked at.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"probe/hops"
	"probe/probe"
	"probe/probe/report"
)

// maxEnding is how many bytes of a termination message the kubelet keeps (kubernetes/pkg/kubelet/container, MaxContainerTerminationMessageLength).
const maxEnding = 4096

// end writes the verdict as the last line of the text output and as termination message, when that is asked for. JSON stays one document.
func (o *oneShot) end(s streams, done *hops.Run) error {
	if o.ending == "" {
		return nil
	}
	line := report.Line(done)
	if err := writeEnding(o.ending, line); err != nil {
		fmt.Fprintln(s.err, "probe:", err)
	}
	if o.output != "text" {
		return nil
	}
	_, err := fmt.Fprintf(s.out, "\n%s\n", line)
	return err
}

// endSweep writes the termination message of a sweep: its last note, which counts the states, and a line for each service that is not OK.
func (o *oneShot) endSweep(s streams, swept *probe.Swept, notes []string) {
	if o.ending == "" || len(notes) == 0 {
		return
	}
	lines := []string{notes[len(notes)-1]}
	for _, r := range swept.Runs {
		if r.Verdict.State != hops.OK {
			lines = append(lines, report.Line(r))
		}
	}
	if err := writeEnding(o.ending, strings.Join(append(lines, notes[:len(notes)-1]...), "\n")); err != nil {
		fmt.Fprintln(s.err, "probe:", err)
	}
}

// ended writes an error as termination message; root.go makes it the last line of the log. A verdict's exit code has no text and was written by end.
func (o *oneShot) ended(s streams, err error) error {
	if err == nil || err.Error() == "" || o.ending == "" {
		return err
	}
	if e := writeEnding(o.ending, "probe: "+err.Error()); e != nil {
		fmt.Fprintln(s.err, "probe:", e)
	}
	return err
}

// writeEnding fills a file that is there already: the kubelet makes it. Outside a pod there is none, and nothing is written.
func writeEnding(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--termination-log: %w", err)
	}
	if len(text) > maxEnding {
		text = text[:maxEnding]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("--termination-log: %w", err)
	}
	return nil
}
