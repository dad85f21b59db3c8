// rules_test.go: the alert rules, each fired and each kept silent.
package monitoring

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v3"
)

const alertsFile = product + "alerts.yaml"

// unitTests is the format of `promtool test rules` (Prometheus, cmd/promtool/unittest.go), as far as it is used here.
type unitTests struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []unitTest     `yaml:"tests"`
}

type unitTest struct {
	Name     string         `yaml:"name"`
	Interval model.Duration `yaml:"interval"`
	Series   []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Alerts []alertTest `yaml:"alert_rule_test"`
}

type alertTest struct {
	At     model.Duration `yaml:"eval_time"`
	Name   string         `yaml:"alertname"`
	Expect []struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	} `yaml:"exp_alerts"`
}

func TestRulesAreValid(t *testing.T) {
	groups, errs := rulefmt.ParseFile(alertsFile, false, model.LegacyValidation)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	samples, _ := exposition(t)
	known := names(samples)
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			check(t, r.Alert, r.Expr, known)
			if !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: no summary or no description", r.Alert)
			}
		}
	}
}

func TestRulesFire(t *testing.T) {
	const file = "testdata/alerts_test.yaml"
	text, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	var all unitTests
	d := yaml.NewDecoder(text)
	d.KnownFields(true)
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	if want := []string{"../../" + alertsFile[len("../"):]}; !slices.Equal(all.RuleFiles, want) {
		t.Fatalf("%s tests %v, not %v", file, all.RuleFiles, want)
	}
	ruleFile := filepath.Join(filepath.Dir(file), all.RuleFiles[0])
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, u := range all.Tests {
		t.Run(u.Name, func(t *testing.T) { u.run(t, ruleFile, time.Duration(all.EvaluationInterval)) })
		for _, a := range u.Alerts {
			fires[a.Name] = fires[a.Name] || len(a.Expect) > 0
			silent[a.Name] = silent[a.Name] || len(a.Expect) == 0
		}
	}
	groups, errs := rulefmt.ParseFile(ruleFile, false, model.LegacyValidation)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if !fires[r.Alert] || !silent[r.Alert] {
				t.Errorf("%s: seen firing %t, seen silent %t", r.Alert, fires[r.Alert], silent[r.Alert])
			}
		}
	}
}

// run evaluates all rules at every interval, as promtool does, and compares what fires.
func (u *unitTest) run(t *testing.T, ruleFile string, interval time.Duration) {
	var load strings.Builder
	fmt.Fprintf(&load, "load %s\n", u.Interval)
	for _, s := range u.Series {
		fmt.Fprintf(&load, "  %s %s\n", s.Series, s.Values)
	}
	suite, err := promqltest.NewLazyLoader(load.String(), promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true})
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	manager := rules.NewManager(&rules.ManagerOptions{QueryFunc: rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		Appendable: suite.Storage(),
		Context:    t.Context(), NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: promslog.NewNopLogger()})
	groups, errs := manager.LoadGroups(interval, labels.EmptyLabels(), "", nil, false, ruleFile)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range groups {
		for _, r := range g.AlertingRules() {
			r.SetRestored(true)
		}
	}
	due := map[time.Duration][]alertTest{}
	for _, a := range u.Alerts {
		due[time.Duration(a.At)] = append(due[time.Duration(a.At)], a)
	}
	last := slices.Max(slices.Collect(maps.Keys(due)))
	for at := time.Duration(0); at <= last; at += interval {
		now := time.Unix(0, 0).UTC().Add(at)
		suite.WithSamplesTill(now, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			evaluate(t, suite.Context(), groups, now)
		})
		for _, a := range due[at] {
			a.compare(t, groups)
		}
		delete(due, at)
	}
	if len(due) > 0 {
		t.Errorf("some eval_time is not a multiple of %s", interval)
	}
}

func evaluate(t *testing.T, ctx context.Context, groups map[string]*rules.Group, now time.Time) {
	t.Helper()
	for _, g := range groups {
		g.Eval(ctx, now)
		for _, r := range g.Rules() {
			if r.LastError() != nil {
				t.Fatalf("%s at %s: %v", r.Name(), now.Format(time.TimeOnly), r.LastError())
			}
		}
	}
}

// compare demands exactly the expected alerts.
func (a *alertTest) compare(t *testing.T, groups map[string]*rules.Group) {
	t.Helper()
	var got, want []string
	for _, g := range groups {
		for _, r := range g.AlertingRules() {
			for _, active := range r.ActiveAlerts() {
				if r.Name() == a.Name && active.State == rules.StateFiring {
					got = append(got, fmt.Sprintf("%s\n  %s", active.Labels, active.Annotations))
				}
			}
		}
	}
	for _, e := range a.Expect {
		l := maps.Clone(e.Labels)
		if l == nil {
			l = map[string]string{}
		}
		l[model.AlertNameLabel] = a.Name
		want = append(want, fmt.Sprintf("%s\n  %s", labels.FromMap(l), labels.FromMap(e.Annotations)))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s at %s:\n got %s\nwant %s", a.Name, a.At, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
