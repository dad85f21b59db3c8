// expr_test.go: what holds for every expression, of rules and of the dashboard.
package monitoring

import (
	"slices"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// check parses an expression and demands that every name and every label in it exists.
func check(t *testing.T, where, text string, known map[string]map[string]bool) {
	t.Helper()
	expr, err := parser.ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, text)
		return
	}
	var all []string // labels of all series, for what is aggregated
	for _, has := range known {
		for l := range has {
			all = append(all, l)
		}
	}
	labels := func(wanted []string) {
		for _, l := range wanted {
			if !slices.Contains(all, l) {
				t.Errorf("%s: no series has the label %s: %s", where, l, text)
			}
		}
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			has := known[n.Name]
			if has == nil {
				t.Errorf("%s: there is no %s: %s", where, n.Name, text)
				break
			}
			for _, m := range n.LabelMatchers {
				if !has[m.Name] {
					t.Errorf("%s: %s has no label %s: %s", where, n.Name, m.Name, text)
				}
			}
		case *parser.AggregateExpr:
			labels(n.Grouping)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				labels(n.VectorMatching.MatchingLabels)
			}
		}
		return nil
	})
}
