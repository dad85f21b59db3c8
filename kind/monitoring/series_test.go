// series_test.go: the series that there are.
package monitoring

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

const product = "../../probe/agent/metrics/"

// programs are what the Go client library tells of every program, which the product's tests leave out of the exposition; they demand these three.
var programs = map[string]model.MetricType{"process_cpu_seconds_total": model.MetricTypeCounter,
	"process_resident_memory_bytes": model.MetricTypeGauge, "go_goroutines": model.MetricTypeGauge}

// sample is one line of the exposition.
type sample struct {
	labels labels.Labels
	value  float64
	grows  bool // counters, and the parts of histograms
}

// exposition reads the series as Prometheus does when it scrapes, with the labels that it adds itself.
func exposition(t *testing.T) (samples []sample, exemplars int) {
	t.Helper()
	text, err := os.ReadFile(product + "testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	target := []string{"instance", "10.0.0.1:9110", "job", "probe"}
	p := textparse.NewOpenMetricsParser(text, labels.NewSymbolTable())
	var kind model.MetricType
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch entry {
		case textparse.EntryType:
			_, kind = p.Type()
		case textparse.EntrySeries:
			var l labels.Labels
			p.Labels(&l)
			_, _, value := p.Series()
			b := labels.NewBuilder(l)
			b.Set(target[0], target[1]).Set(target[2], target[3])
			samples = append(samples, sample{b.Labels(), value, kind == model.MetricTypeCounter || kind == model.MetricTypeHistogram})
			var e exemplar.Exemplar
			if p.Exemplar(&e) {
				exemplars++
			}
		}
	}
	for name, kind := range programs {
		samples = append(samples, sample{labels.FromStrings(append([]string{"__name__", name}, target...)...), 17, kind == model.MetricTypeCounter})
	}
	return samples, exemplars
}

// names gives the labels of each name.
func names(samples []sample) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, s := range samples {
		name := s.labels.Get("__name__")
		if out[name] == nil {
			out[name] = map[string]bool{}
		}
		s.labels.Range(func(l labels.Label) { out[name][l.Name] = true })
	}
	return out
}

func TestExposition(t *testing.T) {
	samples, exemplars := exposition(t)
	known := names(samples)
	for _, name := range []string{"probe_success", "probe_request_seconds_bucket", "probe_runs_total", "probe_build_info"} {
		if known[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if exemplars < 10 {
		t.Errorf("%d exemplars", exemplars)
	}
	for name, has := range known { // labels that would make series without end
		for _, bad := range []string{"pod", "revision", "trace_id", "url", "path"} {
			if has[bad] {
				t.Errorf("%s has the label %s", name, bad)
			}
		}
		if !strings.HasPrefix(name, "probe_") && programs[name] == "" {
			t.Errorf("%s: a name of another program", name)
		}
	}
}
