package scenarios

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"probe/hops"
	"probe/probe/capture"
)

// minCaused is how many failure modes are caused for real at the least.
const minCaused = 70

// TestModesAreCaused counts the failure modes whose rule fires on something recorded on a real cluster, also where a deeper cause explains it away
// in the verdict. A scenario's own mode must be among them.
func TestModesAreCaused(t *testing.T) {
	rules := slices.Clone(hops.Rules())
	for i := range rules {
		rules[i].Explains = nil
	}
	seen, sure := map[string][]string{}, map[string]bool{}
	var mu sync.Mutex
	t.Run("recordings", func(t *testing.T) {
		for _, dir := range recordings(t) {
			t.Run(dir, func(t *testing.T) {
				t.Parallel()
				run, _, err := capture.Load(dir)
				if err != nil {
					t.Fatal(err)
				}
				found := hops.Diagnose(run.Facts(), run.Ended, rules).Findings
				mu.Lock()
				defer mu.Unlock()
				for _, f := range found {
					seen[f.ID] = append(seen[f.ID], dir)
					sure[f.ID] = sure[f.ID] || f.Confidence != hops.Possible
				}
			})
		}
	})
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Mode != "" && !slices.ContainsFunc(seen[s.Mode], func(dir string) bool { return strings.HasPrefix(dir, s.Name+string(filepath.Separator)) }) {
			t.Errorf("%s: no recording of it shows %s", s.Name, s.Mode)
		}
	}
	for id, is := range sure {
		if !is {
			delete(sure, id)
		}
	}
	t.Logf("%d modes: %s", len(sure), strings.Join(slices.Sorted(maps.Keys(sure)), ", "))
	if len(sure) < minCaused {
		t.Errorf("%d modes are caused, expected at least %d", len(sure), minCaused)
	}
}
