// near.go: the names that somebody may have meant.
package read

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"probe/hops"
)

// nearest gives the names that are a slip of the pen away, the nearest first; a name that holds the other counts as near.
func nearest(name string, list []hops.Object) []string {
	type candidate struct {
		name string
		far  int
	}
	var found []candidate
	for _, o := range list {
		far := levenshtein.ComputeDistance(name, o.Name)
		if far <= max(2, len(name)/3) || strings.Contains(o.Name, name) || strings.Contains(name, o.Name) {
			found = append(found, candidate{o.Name, far})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Or(a.far-b.far, strings.Compare(a.name, b.name)) })
	var names []string
	for _, c := range found {
		names = append(names, c.name)
	}
	return names
}
