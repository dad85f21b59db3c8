// drill.go: `probe drill [NAME...]`: causes failure modes on a cluster and checks the verdicts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"probe/scenarios"
)

type drillFlags struct {
	kubeconfig  string
	context     string
	list        bool
	dryRun      bool
	allowShared bool
	smoke       bool
	parallel    int
	junit       string
	output      string
	save        string
	values      string
	set         []string
	images      []string
}

func newDrill(s streams) *cobra.Command {
	var f drillFlags
	cmd := &cobra.Command{
		Use:   "drill [NAME...]",
		Short: "Cause failure modes in throw-away namespaces of a cluster, and check that each is told",
		Long: `Cause failure modes in throw-away namespaces of a cluster, one a scenario, probe, and check that the verdict is the expected one. Without names:
all of them. What the cluster lacks is skipped. Nothing that other services use is touched unless --allow-shared says so. Ctrl-C cleans up; what a
drill leaves that was killed, the next one undoes.`,
		Example: `  probe drill --list
  probe drill --dry-run oom-killed
  probe drill --values values.yaml healthy oom-killed --junit drill.xml`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), s, args) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.list, "list", false, "list the scenarios and end")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and do nothing")
	flags.BoolVar(&f.allowShared, "allow-shared", false, "also run what breaks gateways or controllers that other services use too")
	flags.BoolVar(&f.smoke, "smoke", false, "only the short set")
	flags.IntVar(&f.parallel, "parallel", 2, "how many scenarios that share nothing run side by side")
	flags.StringVar(&f.junit, "junit", "", "file to write the results to as JUnit XML")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.StringVar(&f.save, "save", "", "directory to save a capture of each look in, for `probe explain`")
	flags.StringVar(&f.values, "values", "", "YAML file with values for the manifests' placeholders, NAME: VALUE")
	flags.StringArrayVar(&f.set, "set", nil, "value of a placeholder, NAME=VALUE; NAME=@FILE reads it from a file")
	flags.StringArrayVar(&f.images, "image", nil, "image of a placeholder, NAME=REFERENCE: echo=registry.example/echo:1 is IMAGE_ECHO")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "path to the kubeconfig file")
	flags.StringVar(&f.context, "context", "", "name of the kubeconfig context")
	return cmd
}

func (f *drillFlags) run(ctx context.Context, s streams, names []string) error {
	if f.output != "text" && f.output != "json" {
		return usage("--output %q: text or json", f.output)
	}
	if f.parallel < 1 || f.parallel > 16 {
		return usage("--parallel %d: 1 to 16", f.parallel)
	}
	list, err := f.choose(names)
	if err != nil {
		return err
	}
	if f.list {
		return listScenarios(s.out, list)
	}
	values, err := f.placeholders()
	if err != nil {
		return err
	}
	config, err := f.config()
	if err != nil && !f.dryRun {
		return err
	}
	r := &scenarios.Runner{Config: config, Values: values, AllowShared: f.allowShared, Parallel: f.parallel, Now: time.Now,
		Probe: scenarios.NewProber(config, version)}
	if f.dryRun {
		return f.plan(ctx, s, r, list)
	}
	f.follow(s, r)
	sum, err := r.Run(ctx, list)
	if err != nil {
		return drillCannot(ctx, err)
	}
	return f.finish(ctx, s, &sum)
}

// choose picks the scenarios that are named.
func (f *drillFlags) choose(names []string) ([]scenarios.Scenario, error) {
	all, err := scenarios.All()
	if err != nil {
		return nil, &exit{exitCannot, err}
	}
	var out []scenarios.Scenario
	for _, sc := range all {
		if (len(names) == 0 || slices.Contains(names, sc.Name)) && (!f.smoke || sc.Smoke) {
			out = append(out, sc)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(sc scenarios.Scenario) bool { return sc.Name == name }) {
			return nil, usage("no scenario %q; `probe drill --list` names them", name)
		}
	}
	return out, nil
}

func listScenarios(w io.Writer, list []scenarios.Scenario) error {
	for _, sc := range list {
		shared := ""
		if sc.Shared {
			shared = " (shared)"
		}
		if _, err := fmt.Fprintf(w, "%-40s %s%s\n", sc.Name, sc.Title, shared); err != nil {
			return err
		}
	}
	return nil
}

// placeholders collects the values of the manifests' placeholders; a flag goes before the file.
func (f *drillFlags) placeholders() (map[string]string, error) {
	out := map[string]string{}
	if f.values != "" {
		raw, err := os.ReadFile(f.values)
		if err != nil {
			return nil, usage("--values: %w", err)
		}
		if err := yaml.Unmarshal(raw, &out); err != nil {
			return nil, usage("--values %s: it must hold lines NAME: VALUE: %w", f.values, err)
		}
	}
	for _, one := range f.set {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return nil, usage("--set takes NAME=VALUE (its text is not shown, it may hold a secret)")
		}
		if file, is := strings.CutPrefix(value, "@"); is {
			raw, err := os.ReadFile(file)
			if err != nil {
				return nil, usage("--set %s: %w", name, err)
			}
			value = strings.TrimSpace(string(raw))
		}
		out[name] = value
	}
	for _, one := range f.images {
		name, ref, ok := strings.Cut(one, "=")
		if !ok || name == "" || ref == "" {
			return nil, usage("--image %q: it takes NAME=REFERENCE", one)
		}
		out["IMAGE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = ref
	}
	return out, nil
}

// config opens the cluster that kubectl would talk to.
func (f *drillFlags) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if err != nil {
		return nil, &exit{exitCannot, fmt.Errorf("no cluster: %w; give --kubeconfig or --context", err)}
	}
	return config, nil
}

// plan says what would be done. Without a cluster it cannot say what would be skipped.
func (f *drillFlags) plan(ctx context.Context, s streams, r *scenarios.Runner, list []scenarios.Scenario) error {
	lacks := make([]string, len(list))
	if r.Config == nil {
		fmt.Fprintln(s.err, "no cluster is configured: what it lacks is not known")
	} else if known, err := r.Plan(ctx, list); err != nil {
		fmt.Fprintf(s.err, "%v: what it lacks is not known\n", err)
	} else {
		lacks = known
	}
	for i := range list {
		scenarios.Describe(s.out, &list[i], lacks[i])
	}
	return nil
}

// follow prints progress on standard error, a line an event, and saves captures.
func (f *drillFlags) follow(s streams, r *scenarios.Runner) {
	var mu sync.Mutex
	began := time.Now()
	r.Say = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(s.err, "%6s  %s\n", time.Since(began).Round(time.Second), line)
	}
	r.Done = func(res scenarios.Result) {
		r.Say(fmt.Sprintf("%s: %s", res.Scenario.Name, res.Status))
		if f.save == "" {
			return
		}
		if err := res.SaveLooks(filepath.Join(f.save, res.Scenario.Name)); err != nil {
			r.Say(err.Error())
		}
	}
}

// drillCannot sorts the reasons why nothing ran into exit codes.
func drillCannot(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &exit{exitInterrupted, errors.New("interrupted before anything was run")}
	}
	return &exit{exitCannot, err}
}

// finish prints what ran, and fails when something did not pass.
func (f *drillFlags) finish(ctx context.Context, s streams, sum *scenarios.Summary) error {
	show := scenarios.Table
	if f.output == "json" {
		show = scenarios.JSON
	}
	err := show(s.out, sum)
	if f.junit != "" {
		err = errors.Join(err, writeJUnit(f.junit, sum))
	}
	code := 0
	switch {
	case ctx.Err() != nil:
		code = exitInterrupted
	case sum.Count(scenarios.Drifted) > 0:
		code = 1
	case sum.Count(scenarios.Broken)+sum.Count(scenarios.NotRun)+len(sum.Left) > 0 || err != nil:
		code = exitCannot
	}
	if code == 0 {
		return nil
	}
	return &exit{code, err}
}

func writeJUnit(file string, sum *scenarios.Summary) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	return errors.Join(scenarios.JUnit(f, sum), f.Close())
}
