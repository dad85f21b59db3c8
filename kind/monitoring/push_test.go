// push_test.go: what a CronJob pushes by OTLP bears the names that the agent shows.
package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/promql/parser"
)

// pushed is the product's own form: unit, then the series as Prometheus would write it.
var pushed = regexp.MustCompile(`^(\S*) +(\w+)(\{.*\}) \S+$`)

// TestPushedNames puts each name through the translation that Prometheus does when it takes OTLP.
func TestPushedNames(t *testing.T) {
	samples, _ := exposition(t)
	known := names(samples)
	files, err := filepath.Glob("../../tracing/testdata/metrics-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			m := pushed.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if m == nil {
				t.Errorf("%s: %s", file, line)
				continue
			}
			name, err := namer.Build(otlptranslator.Metric{Name: m[2], Unit: m[1], Type: otlptranslator.MetricTypeGauge})
			if err != nil || name != m[2] {
				t.Errorf("%s becomes %q: %v", m[2], name, err)
			}
			has := known[m[2]]
			if has == nil {
				has = known[m[2]+"_bucket"] // the agent has a histogram of these
			}
			series, err := parser.ParseMetric(m[2] + m[3])
			if err != nil || has == nil {
				t.Errorf("the agent has no %s (%v)", m[2], err)
				continue
			}
			for l := range series.Map() {
				if !has[l] {
					t.Errorf("the agent's %s has no label %s", m[2], l)
				}
			}
		}
	}
}
