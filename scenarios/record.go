// record.go: recordings: the captures of a live run, one a look, and what they still say.
package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"probe/hops"
	"probe/probe/capture"
)

// recordedDir is the folder of a scenario that holds its recordings, one folder a look.
const recordedDir = "recorded"

// Record compares the looks of a result with the recordings below dir and saves those that have none yet, or all when anew is set. It lists in
// what the verdicts differ.
func Record(dir string, res *Result, anew bool) ([]string, error) {
	var drift []string
	var bad []error
	for i := range res.Looks {
		l := &res.Looks[i]
		at := filepath.Join(dir, res.Scenario.Name, recordedDir, l.Name)
		_, err := os.Stat(at)
		switch {
		case anew || errors.Is(err, fs.ErrNotExist):
			bad = append(bad, capture.Save(at, &l.Run))
		case err != nil:
			bad = append(bad, err)
		default:
			old, err := Replay(at)
			if err != nil {
				bad = append(bad, err)
				continue
			}
			for _, d := range l.Expect.drift(&old.Verdict, &l.Run.Verdict) {
				drift = append(drift, l.Name+": "+d)
			}
		}
	}
	return drift, errors.Join(bad...)
}

// Replay reads a recording and diagnoses it anew.
func Replay(dir string) (hops.Run, error) {
	run, notes, err := capture.Load(dir)
	if err != nil {
		return run, fmt.Errorf("recording %s: %w", dir, err)
	}
	if len(notes) > 0 {
		return run, fmt.Errorf("recording %s: %v", dir, notes)
	}
	run.Verdict = hops.Diagnose(run.Facts(), run.Ended, hops.Rules())
	return run, nil
}
