package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// try runs the command line in this process.
func try(t *testing.T, stdin string, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, streams{in: strings.NewReader(stdin), out: &out, err: &errs, env: func(k string) string { return env[k] }})
	return code, out.String(), errs.String()
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Bad input names the thing and the way out, before anything is sent.
func TestBadInput(t *testing.T) {
	broken := write(t, "kubeconfig", "this: [is not\n")
	dead := write(t, "kubeconfig", `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}],
users: [{name: u}], contexts: [{name: c, context: {cluster: c, user: u, namespace: models}}]}`)
	secret := write(t, "headers", "X-Token hunter2\n")
	for _, c := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"no service", nil, 2, []string{"which service? Give --isvc NAME"}},
		{"a namespace in the name", []string{"--isvc", "models/iris"}, 2, []string{`--isvc "models/iris"`, "-n"}},
		{"an unknown flag", []string{"--isvk", "iris"}, 2, []string{"unknown flag: --isvk"}},
		{"an unknown command", []string{"explode"}, 2, []string{`unknown command "explode"`}},
		{"an unknown gateway", []string{"--isvc", "iris", "--gateway", "north"}, 2, []string{`--gateway "north": outside, cluster-local or both`}},
		{"an unknown way in", []string{"--isvc", "iris", "--via", "tunnel", "--kubeconfig", dead}, 2, []string{`--via "tunnel": auto, pod, port-forward or network`}},
		{"a path with a scheme", []string{"--isvc", "iris", "--path", "http://iris/v1"}, 2, []string{"--path", "a path starts with /"}},
		{"data that is not JSON", []string{"--isvc", "iris", "--data", `{"instances": [1,}`}, 2, []string{"--data: not JSON at byte"}},
		{"data in a file that is not there", []string{"--isvc", "iris", "--data", "@nowhere.json"}, 2, []string{"--data: open nowhere.json"}},
		{"empty data", []string{"--isvc", "iris", "--data", "@-"}, 2, []string{"it is empty"}},
		{"a header that is none", []string{"--isvc", "iris", "--header-file", secret}, 2, []string{"a header must read 'Name: value'"}},
		{"an unknown output", []string{"--isvc", "iris", "-o", "yaml"}, 2, []string{`--output "yaml": text or json`}},
		{"an unreadable kubeconfig", []string{"--isvc", "iris", "--kubeconfig", broken}, 3, []string{"no cluster", broken}},
		{"a kubeconfig that is not there", []string{"--isvc", "iris", "--kubeconfig", "nowhere"}, 3, []string{"no cluster", "nowhere"}},
		{"no cluster answers", []string{"--isvc", "iris", "--kubeconfig", dead}, 3, []string{"no cluster answers at http://127.0.0.1:1", `context "c"`, "check the kubeconfig"}},
		{"an unknown rule", []string{"rules", "oom"}, 2, []string{`no rule has the id "oom"`, "oom-killed"}},
		{"nothing to explain", []string{"explain"}, 2, []string{"accepts 1 arg(s)"}},
		{"a path that is not there", []string{"explain", "nowhere"}, 2, []string{"nowhere"}},
		{"rights for nothing", []string{"rbac"}, 2, []string{"which namespace? Give -n NAMESPACE"}},
		{"a bad collector", []string{"--isvc", "iris", "--otlp-endpoint", "http://[bad"}, 2, []string{"OTLP"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := try(t, "", nil, c.args...)
			if code != c.code {
				t.Errorf("exit %d, want %d; stderr: %s", code, c.code, stderr)
			}
			for _, s := range c.says {
				if !strings.Contains(stderr, s) {
					t.Errorf("stderr %q does not say %q", stderr, s)
				}
			}
			if stdout != "" {
				t.Errorf("stdout must be empty, got %q", stdout)
			}
			if strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "goroutine") {
				t.Errorf("stderr leaks: %s", stderr)
			}
		})
	}
}

func TestRulesCommand(t *testing.T) {
	code, out, _ := try(t, "", nil, "rules", "oom-killed")
	if code != 0 || !strings.Contains(out, "resources.limits.memory") {
		t.Errorf("exit %d: %s", code, out)
	}
	code, out, _ = try(t, "", nil, "rules", "-o", "json")
	if code != 0 || !strings.Contains(out, `"schemaVersion": "probe/v1"`) || !strings.Contains(out, `"id": "oom-killed"`) {
		t.Errorf("exit %d: %.200s", code, out)
	}
}

func TestExplainStandardInput(t *testing.T) {
	paste := "$ kubectl get pods -n models\nNAME                                              READY   STATUS      RESTARTS   AGE\n" +
		"iris-predictor-default-00001-deployment-6d4-x2x   1/2     OOMKilled   3          2m\n"
	code, out, errs := try(t, paste, nil, "explain", "-")
	if code != 1 || !strings.Contains(out, "oom-killed") || !strings.HasPrefix(out, "Failed") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// The demo runs the whole product against a cluster in this process, and fails by itself when a verdict is not what the recording deserves.
func TestDemo(t *testing.T) {
	code, out, errs := try(t, "", nil, "demo")
	if code != 0 {
		t.Fatalf("exit %d: %s\n%s", code, errs, out)
	}
	for _, s := range []string{"OK  demo/sklearn-iris", "Failed  demo/fraud", "Cause: container-crash-loop", "No module named", "trace "} {
		if !strings.Contains(out, s) {
			t.Errorf("the demo does not say %q", s)
		}
	}
}
