// ending.go: the last words of a run in a pod, where only the end of the log and the termination message are looked at.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unicode/utf8"

	"probe/hops"
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
func writeEnding(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--termination-log: %w", err)
	}
	if len(line) > maxEnding {
		line = line[:maxEnding]
		for !utf8.ValidString(line) {
			line = line[:len(line)-1]
		}
	}
	_, err = f.WriteString(line)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("--termination-log: %w", err)
	}
	return nil
}
