// root.go: the command `probe` itself, its streams and its exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"probe/probe/dial"
)

// streams are what the whole command line runs in; tests give their own.
type streams struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	dialer   dial.Dialer // in place of all ways into a cluster; nil for the real ones
}

// terminal says whether a stream is one that a person looks at.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is the width of the terminal, 0 for a pipe.
func width(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// colour says whether to colour what is printed to w (no-color.org).
func (s streams) colour(w any) bool {
	return terminal(w) && s.env("NO_COLOR") == "" && s.env("TERM") != "dumb"
}

// The exit codes beside those of a verdict.
const (
	exitUsage       = 2
	exitCannot      = 3
	exitInterrupted = 130
)

// exit is an error that carries an exit code. Its text is printed unless there is none.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// run is the whole command line: it returns the exit code and never ends the process.
func run(ctx context.Context, args []string, s streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitUsage // what cobra itself refuses is a usage error
	if e, ok := errors.AsType[*exit](err); ok {
		code = e.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(s.err, "probe:", text)
	}
	return code
}

func newRoot(s streams) *cobra.Command {
	var o oneShot
	root := &cobra.Command{
		Use:   "probe --isvc NAME [-n NAMESPACE] | probe -A | probe -n NAMESPACE",
		Short: "Trace a synthetic request through every hop of a KServe InferenceService, and say where it stops and why",
		Example: `  probe --isvc sklearn-iris -n models            # does it answer, and if not, where does it stop and why
  probe --isvc sklearn-iris --data @iris.json --path /v1/models/sklearn-iris:predict
  probe --isvc sklearn-iris --trace              # with the trace as a waterfall
  probe -A                                       # all services, a line each, the worst first
  probe explain capture/                         # from files or a paste, without a cluster
  probe rules oom-killed                         # what a finding means`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		RunE:          func(cmd *cobra.Command, _ []string) error { return o.ended(s, o.run(cmd.Context(), s)) },
	}
	o.flags(root.Flags())
	root.AddCommand(newExplain(s), newRules(s), newRBAC(s), newCronJob(s), newAgent(s), newDemo(s), newDrill(s))
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}
