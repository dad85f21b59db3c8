// explain.go: `probe explain PATH|-`: a verdict from files, without a cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"probe/hops"
	"probe/probe/capture"
	"probe/probe/paste"
	"probe/probe/report"
)

type explainFlags struct {
	ref     hops.Ref
	output  string
	verbose bool
	strict  bool
}

func newExplain(s streams) *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain PATH|-",
		Short: "Say what is wrong from a capture, or from whatever was pasted, without a cluster",
		Long: `Say what is wrong from a capture that --save wrote, or from a file, a folder or standard input with any mix of what people paste: objects as
YAML or JSON, kubectl tables and descriptions, events, logs, curl -v transcripts, client errors, access logs, istioctl analyze.
Either may come as a tar, gzip'd or not, as the agent keeps those of the last failures:
  curl -s http://localhost:8080/failures/NAMESPACE/NAME | probe explain -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), s, args[0]) },
	}
	cmd.Flags().StringVar(&f.ref.Name, "isvc", "", "the InferenceService that is meant, when there are several")
	cmd.Flags().StringVarP(&f.ref.Namespace, "namespace", "n", "", "its namespace")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "all that was not checked, and what was not read")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "exit with 4 when the service is degraded")
	return cmd
}

func (f explainFlags) run(ctx context.Context, s streams, path string) error {
	if f.output != "text" && f.output != "json" {
		return usage("--output %q: text or json", f.output)
	}
	run, err := f.load(ctx, s, path)
	if err != nil {
		return err
	}
	all := hops.Join(run.Snapshots)
	run.Flow = hops.Resolve(&all, run.Ref)
	run.Verdict = hops.Diagnose(run.Facts(), all.Time, hops.Rules())
	show := oneShot{output: f.output, verbose: f.verbose}
	if err := show.print(s, &run); err != nil {
		return err
	}
	if code := report.ExitCode(run.Verdict, f.strict); code != 0 {
		return &exit{code: code}
	}
	return nil
}

// load reads a capture, or takes what there is for a paste.
func (f explainFlags) load(ctx context.Context, s streams, path string) (hops.Run, error) {
	in, err := openSource(ctx, path, s.in)
	defer in.close()
	if err != nil {
		return hops.Run{}, asUsage(err)
	}
	if in.dir != "" {
		run, notes, err := capture.LoadAs(in.dir, in.name)
		if several, ok := errors.AsType[*capture.AmbiguousError](err); ok {
			run.Ref, err = f.choose(several.Services, several)
		}
		if _, other := errors.AsType[*capture.NotCaptureError](err); !other {
			run.Warnings = append(append(run.Warnings, in.notes...), notes...)
			if err != nil {
				return run, asUsage(err)
			}
			return run, nil
		}
	}
	return f.paste(ctx, in)
}

// paste reads whatever it is.
func (f explainFlags) paste(ctx context.Context, in *source) (hops.Run, error) {
	what := paste.Input{Path: in.path, Want: f.ref, Now: time.Now()}
	switch {
	case in.dir != "":
		what.Path = in.dir
	case in.text != nil:
		what.Path, what.Files = "", []paste.File{{Name: in.label(), Reader: in.text}}
	}
	got, err := paste.Read(ctx, what)
	if err != nil {
		return hops.Run{}, asUsage(err)
	}
	run := hops.Run{Ref: got.Subject, Started: got.Time, Ended: got.Time, Snapshots: []hops.Snapshot{got.Snapshot}, Observations: got.Observations,
		Warnings: in.notes}
	if f.ref.Name != "" || run.Ref.Name == "" && len(got.Services) > 1 {
		if run.Ref, err = f.choose(got.Services, fmt.Errorf("the input speaks of %d services: %s; say which one with --isvc NAME", len(got.Services), names(got.Services))); err != nil {
			return run, err
		}
	}
	for _, n := range got.Unread {
		run.Warnings = append(run.Warnings, "not read: "+n.String())
	}
	return run, nil
}

// choose finds the service that --isvc and -n name among those of the input.
func (f explainFlags) choose(from []hops.Ref, several error) (hops.Ref, error) {
	if f.ref.Name == "" {
		return hops.Ref{}, &exit{exitUsage, several}
	}
	for _, r := range from {
		if r.Name == f.ref.Name && (f.ref.Namespace == "" || r.Namespace == "" || r.Namespace == f.ref.Namespace) {
			return r, nil
		}
	}
	if len(from) == 0 {
		return f.ref, nil
	}
	return hops.Ref{}, usage("the input does not speak of a service %s; it has %s", f.ref.Name, names(from))
}

func names(refs []hops.Ref) string {
	var out []string
	for _, r := range refs {
		out = append(out, strings.TrimPrefix(r.String(), "/"))
	}
	return strings.Join(out, ", ")
}

// asUsage gives what is wrong with the input the code of a usage error.
func asUsage(err error) error {
	if _, ok := errors.AsType[*exit](err); ok {
		return err
	}
	return &exit{exitUsage, err}
}
