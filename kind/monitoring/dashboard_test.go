// dashboard_test.go: the dashboard's form, and that each of its panels finds something.
package monitoring

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const dashboardFile = product + "dashboard.json"

// board is what the checks beyond the schema need.
type board struct {
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
			Definition string
		}
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		Expr, RefID string
		Exemplar    bool
	}
}

func read(t *testing.T) (b board) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("dashboard.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDashboardSchema(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	s := schema(t)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(doc); err != nil {
		t.Error(err)
	}
	for _, broken := range []struct{ from, to string }{ // the schema finds what it is for
		{`"schemaVersion": 39`, `"schemaVersion": 16`},
		{`"legendFormat"`, `"legendformat"`},
		{`"uid": "${datasource}"`, `"uid": "P1809F7CD0C75ACF3"`},
		{`"w": 24`, `"w": 25`},
		{`"type": "timeseries"`, `"type": "graph"`},
		{`"colorMode": "background"`, `"colorMode": "red"`},
	} {
		text := strings.Replace(string(text), broken.from, broken.to, 1)
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if s.Validate(doc) == nil {
			t.Errorf("%s in place of %s is valid", broken.to, broken.from)
		}
	}
}

func TestDashboardLayout(t *testing.T) {
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range read(t).Panels {
		if other, twice := ids[p.ID]; twice {
			t.Errorf("%s and %s have the id %d", other, p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s stands out on the right", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" && other != p.Title {
					t.Errorf("%s covers %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] {
				t.Errorf("%s: query %s twice", p.Title, q.RefID)
			}
			refs[q.RefID] = true
		}
	}
}

var variable = regexp.MustCompile(`\$\{?(\w+)\}?`)

// plain puts values for the variables: those of Grafana itself, and everything for ours.
func plain(t *testing.T, b board, expr string) string {
	t.Helper()
	values := map[string]string{"__rate_interval": "5m", "__range": "10m"}
	for _, v := range b.Templating.List {
		values[v.Name] = ".*"
	}
	return variable.ReplaceAllStringFunc(expr, func(s string) string {
		name := variable.FindStringSubmatch(s)[1]
		if values[name] == "" {
			t.Errorf("there is no variable %s: %s", name, expr)
		}
		return values[name]
	})
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// TestVariables: the variables are filled from series and labels that there are.
func TestVariables(t *testing.T) {
	samples, _ := exposition(t)
	known := names(samples)
	b := read(t)
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		query, _ := v.Query.(map[string]any)["query"].(string)
		m := labelValues.FindStringSubmatch(query)
		if m == nil || query != v.Definition {
			t.Errorf("%s: query %q, definition %q", v.Name, query, v.Definition)
			continue
		}
		check(t, v.Name, fmt.Sprintf("count by (%s) (%s)", m[2], plain(t, b, m[1])), known)
	}
}

// TestExpressions evaluates every query over ten minutes of what the agent exposes: one that finds nothing has a wrong name, label or value.
func TestExpressions(t *testing.T) {
	samples, _ := exposition(t)
	known := names(samples)
	storage := promqltest.LoadedStorage(t, load(samples))
	defer storage.Close()
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	defer engine.Close()
	b := read(t)
	queries := 0
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			queries++
			expr := plain(t, b, q.Expr)
			check(t, p.Title, expr, known)
			query, err := engine.NewInstantQuery(t.Context(), storage, nil, expr, time.Unix(600, 0))
			if err != nil {
				t.Errorf("%s: %v", p.Title, err)
				continue
			}
			result := query.Exec(t.Context())
			vector, err := result.Vector()
			if err != nil || len(vector) == 0 || len(result.Warnings) > 0 {
				t.Errorf("%s finds nothing: %v, warnings %v: %s", p.Title, err, result.Warnings, expr)
			}
			query.Close()
			if strings.Contains(expr, "_request_seconds_bucket") && !q.Exemplar {
				t.Errorf("%s: no exemplars: %s", p.Title, expr)
			}
		}
	}
	if queries == 0 {
		t.Error("no query was seen")
	}
}

// load gives the samples as a load command: gauges stay, what counts grows.
func load(samples []sample) string {
	var out strings.Builder
	out.WriteString("load 30s\n")
	for _, s := range samples {
		step := 0
		if s.grows {
			step = 1
		}
		fmt.Fprintf(&out, "  %s %f+%dx30\n", s.labels, s.value, step)
	}
	return out.String()
}
