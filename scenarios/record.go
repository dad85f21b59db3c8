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

// SaveLooks saves a capture of each look below dir, and under the look's name with a number those of the verdicts that came on the way to it.
func (res *Result) SaveLooks(dir string) error {
	var bad []error
	for _, l := range res.Looks {
		bad = append(bad, capture.Save(filepath.Join(dir, l.Name), &l.Run))
		for i, seen := range l.Seen[:max(0, len(l.Seen)-1)] {
			bad = append(bad, capture.Save(filepath.Join(dir, fmt.Sprintf("%s-%d", l.Name, i+1)), &seen.Run))
		}
	}
	return errors.Join(bad...)
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
