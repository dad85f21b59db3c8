package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"probe/hops"
	"probe/probe"
	"probe/scenarios/inproc"
)

// cronjob runs `probe cronjob` in this process.
func cronjob(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), append([]string{"cronjob"}, args...), streams{in: strings.NewReader(""), out: &out, err: &errs, env: func(string) string { return "" }})
	return code, out.String(), errs.String()
}

func TestCronJobCommand(t *testing.T) {
	for name, args := range map[string][]string{
		"one":  {"--isvc", "iris", "-n", "models", "--image", "registry.example.com/probe:v1", "--otlp-endpoint", "collector:4317", "--otlp-insecure"},
		"wake": {"--isvc", "iris", "-n", "models", "--image", "probe:v1", "--wake", "--strict", "--gateway", "outside", "--path", "/v1/models/iris?x=1", "--otlp-phase-spans", "--schedule", "@hourly", "--system"},
		"many": {"--selector", "team in (fraud,risk)", "-A", "-n", "canaries", "--image", "probe:v1", "--timeout", "3s"},
		"all":  {"--all", "-n", "models", "--image", "probe:v1"},
	} {
		code, got, errs := cronjob(args...)
		if code != 0 || errs != "" {
			t.Fatalf("%s: exit %d: %s", name, code, errs)
		}
		got = got[strings.LastIndex(got, "---\n")+4:] // the CronJob; the rights before it change with the rules
		file := filepath.Join("testdata", "cronjob-"+name+".golden.yaml")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != got {
			t.Errorf("%s differs (%v); run with -update and read the difference; got\n%s", file, err, got)
		}
	}
}

func TestCronJobBadInput(t *testing.T) {
	for _, c := range []struct {
		name, says string
		args       []string
	}{
		{"no namespace", "which namespace? Give -n NAMESPACE", []string{"--isvc", "iris"}},
		{"no service", "which services? Give --isvc NAME, or --all, or --selector LABELS", []string{"-n", "models"}},
		{"one and all", "--isvc names one service", []string{"-n", "models", "--isvc", "iris", "--all"}},
		{"one and some", "--isvc names one service", []string{"-n", "models", "--isvc", "iris", "-l", "a=b"}},
		{"a bad selector", `--selector "a in b": `, []string{"-n", "models", "-l", "a in b"}},
		{"a path for all", "--path is for one service", []string{"-n", "models", "--all", "--path", "/v1"}},
		{"waking all", "--wake is for one service", []string{"-n", "models", "--all", "--wake"}},
		{"a bad schedule", `schedule "5 minutes": expected exactly 5 fields, found 2`, []string{"-n", "models", "--isvc", "iris", "--schedule", "5 minutes"}},
		{"a bad path", "a path starts with /", []string{"-n", "models", "--isvc", "iris", "--path", "v1"}},
		{"a bad gateway", `--gateway "north"`, []string{"-n", "models", "--isvc", "iris", "--gateway", "north"}},
		{"a bad collector", "OTLP", []string{"-n", "models", "--isvc", "iris", "--otlp-endpoint", "http://[bad"}},
		{"a password", "give credentials as variable OTEL_EXPORTER_OTLP_HEADERS", []string{"-n", "models", "--isvc", "iris", "--otlp-endpoint", "http://u:hunter2@c:4317"}},
		{"a long service", "choose another with --name", []string{"-n", "models", "--isvc", strings.Repeat("a", 50)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := cronjob(c.args...)
			if code != 2 || !strings.Contains(errs, c.says) || out != "" {
				t.Errorf("exit %d, stdout %q, stderr %q, want 2 and %q", code, out, errs, c.says)
			}
			if strings.Contains(errs, "hunter2") {
				t.Errorf("leaks: %s", errs)
			}
		})
	}
}

// What a CronJob passes to the probe must be what the probe takes.
func TestCronJobArgumentsAreTheProbes(t *testing.T) {
	for name, c := range map[string]struct {
		of    oneShot
		all   bool
		sweep bool
	}{
		"one":        {of: oneShot{isvc: "iris", gateway: "outside", path: "/v1", wake: true, strict: true, export: exportFlags{phases: true}}},
		"a selector": {of: oneShot{selector: "team in (fraud,risk)", gateway: "both"}, sweep: true},
		"all":        {of: oneShot{gateway: "both"}, all: true, sweep: true},
		"everywhere": {of: oneShot{all: true, gateway: "cluster-local"}, sweep: true},
	} {
		f := cronFlags{probe: c.of, all: c.all}
		f.job.Namespace, f.job.Schedule, f.job.Image = "models", "@hourly", "probe:v1"
		if err := f.fill(streams{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got oneShot
		flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
		got.flags(flags)
		if err := flags.Parse(f.job.Args); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.sweeping() != c.sweep || got.isvc != c.of.isvc || got.selector != c.of.selector || got.path != c.of.path || got.gateway != c.of.gateway ||
			got.spare == c.of.wake || got.strict != c.of.strict || (got.overrides.Context.Namespace == "models") == c.of.all {
			t.Errorf("%s: %q is read as %+v", name, f.job.Args, got)
		}
		check := func(s streams) error { _, err := got.options(s); return err }
		if c.sweep {
			check = func(s streams) error { _, err := got.sweepOptions(s); return err }
		}
		if err := check(streams{}); err != nil {
			t.Errorf("%s: the probe refuses %q: %v", name, f.job.Args, err)
		}
	}
}

// The message of a sweep begins with the line that the log ends in, and names what is not OK.
func TestEndingOfASweep(t *testing.T) {
	var swept probe.Swept
	for _, d := range inproc.Demos() {
		done, err := runDemo(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		swept.Runs = append(swept.Runs, &done)
	}
	file := filepath.Join(t.TempDir(), "termination-log")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	o := oneShot{output: "text", ending: file}
	if err := o.printSweep(streams{out: &out, err: &errs, env: func(string) string { return "" }}, &swept, []string{"Warning: no collector", "2 services in 1s: 1 Failed, 1 OK"}); err != nil {
		t.Fatal(err)
	}
	if errs.Len() > 0 || !strings.HasSuffix(out.String(), "\n2 services in 1s: 1 Failed, 1 OK\n") {
		t.Errorf("stdout %q, stderr %q", &out, &errs)
	}
	message, _ := os.ReadFile(file)
	lines := strings.Split(string(message), "\n")
	if len(lines) != 3 || lines[0] != "2 services in 1s: 1 Failed, 1 OK" || !strings.HasPrefix(lines[1], "Failed  ") || lines[2] != "Warning: no collector" {
		t.Errorf("message %q", message)
	}
}

// The three places where a CronJob's verdict is looked for agree.
func TestEnding(t *testing.T) {
	for _, d := range inproc.Demos() {
		t.Run(d.Name, func(t *testing.T) {
			done, err := runDemo(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "termination-log")
			if err := os.WriteFile(file, []byte("something longer from before "+strings.Repeat("x", 9000)), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			o := oneShot{output: "text", ending: file}
			code := 0
			if err := o.finish(t.Context(), streams{out: &out, err: &out, env: func(string) string { return "" }}, &done, nil); err != nil {
				code = err.(*exit).code
			}
			message, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
			last := lines[len(lines)-1]
			if last != string(message) || !strings.HasPrefix(last, string(d.State)+"  "+d.Ref.String()+"  ") || !strings.Contains(last, d.ID) {
				t.Errorf("last line %q, message %q, want %s %s", last, message, d.State, d.ID)
			}
			if (code == 0) != (d.State == hops.OK) {
				t.Errorf("exit %d for %s", code, d.State)
			}
		})
	}
}

func TestEndingOfAnError(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "termination-log")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, want string }{{file, "probe: no cluster: "}, {filepath.Join(dir, "none"), ""}} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"--isvc", "iris", "--kubeconfig", filepath.Join(dir, "nowhere"), "--termination-log", c.file},
			streams{out: &out, err: &errs, env: func(string) string { return "" }})
		got, err := os.ReadFile(c.file)
		if code != exitCannot || !strings.HasPrefix(string(got), c.want) || (c.want == "") != os.IsNotExist(err) {
			t.Errorf("%s: exit %d, message %q, %v, stderr %s", c.file, code, got, err, &errs)
		}
	}
}

func TestEndingFits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "termination-log")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeEnding(file, "x"+strings.Repeat("é", maxEnding)); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); len(got) != maxEnding-1 || !strings.HasSuffix(string(got), "é") {
		t.Errorf("%d bytes, want %d, without half a rune", len(got), maxEnding-1)
	}
}
