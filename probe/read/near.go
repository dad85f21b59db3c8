// near.go: the names that somebody may have meant.
package read

import (
	"cmp"
	"slices"
	"strings"

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
		far := distance(name, o.Name)
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

// distance is Levenshtein's: insertions, deletions and replacements from a to b. Names are ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
