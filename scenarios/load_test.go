package scenarios

import (
	"strings"
	"testing"
	"testing/fstest"
)

const goodScenario = `title: x
service: iris
inject: [{apply: service.yaml}]
settle: 1m
expect: {state: OK}
`

func TestLoad(t *testing.T) {
	if all, err := All(); err != nil || len(all) < 20 {
		t.Fatalf("%d scenarios: %v", len(all), err)
	}
	tests := map[string]struct{ from, to, want string }{
		"good":                   {"", "", ""},
		"unknown field":          {"settle:", "setle: 1m\nsettle:", `unknown field "setle"`},
		"unknown field below":    {"state: OK", "state: OK, stat: 1", `unknown field "stat"`},
		"unknown id":             {"state: OK", "state: Failed, id: no-such-rule", `"no-such-rule" is the id of no rule`},
		"unknown never":          {"state: OK", "state: OK, never: [no-such-rule]", `"no-such-rule" is the id of no rule`},
		"unknown mode":           {"service:", "mode: no-such-rule\nservice:", `mode "no-such-rule"`},
		"unknown hop":            {"state: OK", "state: Failed, hop: moon", `expect.hop "moon" is no hop`},
		"unknown state":          {"state: OK", "state: Fine", `expect.state "Fine"`},
		"unknown requirement":    {"settle:", "requires: [moon]\nsettle:", `requires "moon": one of`},
		"missing manifest":       {"service.yaml", "other.yaml", `manifest "other.yaml" is missing`},
		"manifest elsewhere":     {"service.yaml", "../x.yaml", "only files of the scenario's own folder"},
		"foreign namespace":      {"service.yaml", "foreign.yaml", "names the namespace kube-system"},
		"foreign object":         {"{apply: service.yaml}", "{scale: {namespace: other, name: x, replicas: 0}}", "shared: true"},
		"a Secret":               {"{apply: service.yaml}", "{delete: {apiVersion: v1, kind: Secret, name: x}}", "a Secret must not be"},
		"two actions in one":     {"{apply: service.yaml}", "{apply: service.yaml, wait: 1s}", "exactly one of"},
		"a wait that is no time": {"{apply: service.yaml}", "{wait: soon}", `invalid duration "soon"`},
		"an until that is none":  {"{apply: service.yaml}", "{until: dawn}", `until "dawn"`},
		"no settle":              {"settle: 1m\n", "", "settle: a time above 0"},
		"long settle":            {"settle: 1m", "settle: 1h", "settle: a time above 0 and up to 15m0s"},
		"nothing to do":          {"inject: [{apply: service.yaml}]\n", "", "neither base nor inject"},
		"no title":               {"title: x\n", "", "title and service must be there"},
		"later unknown id":       {"expect:", "later: {settle: 1m, expect: {state: OK, id: no-such-rule}}\nexpect:", `later.expect: "no-such-rule"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(goodScenario, test.from, test.to, 1)
			_, err := readAll(fstest.MapFS{"a/scenario.yaml": {Data: []byte(text)}, "a/service.yaml": {Data: []byte("kind: X\n")},
				"a/foreign.yaml": {Data: []byte("metadata: {namespace: kube-system}\n")}})
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "scenario a")):
				t.Errorf("got %v, expected %q", err, test.want)
			}
		})
	}
}
