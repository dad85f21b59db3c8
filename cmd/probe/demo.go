// demo.go: `probe demo`: the real code against services recorded on a real cluster and a data plane in this process.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"probe/hops"
	"probe/probe"
	"probe/probe/dial"
	"probe/probe/read"
	"probe/scenarios/inproc"
)

func newDemo(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Probe a healthy service and a broken one, both played in this process; no cluster is needed",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), s) },
	}
}

// demo probes the recorded services one after the other. It fails when a verdict is not the one that the recording is known to deserve.
func demo(ctx context.Context, s streams) error {
	for _, d := range inproc.Demos() {
		fmt.Fprintf(s.out, "# %s\n$ probe --isvc %s -n %s --trace\n", d.Title, d.Ref.Name, d.Ref.Namespace)
		done, err := runDemo(ctx, d)
		if err != nil {
			return &exit{exitCannot, fmt.Errorf("demo %s: %w", d.Name, err)}
		}
		show := oneShot{output: "text", trace: true}
		if err := show.print(s, &done); err != nil {
			return err
		}
		fmt.Fprintln(s.out)
		if first := firstID(done.Verdict); done.Verdict.State != d.State || first != d.ID {
			return &exit{1, fmt.Errorf("demo %s: got %s %s, the recording deserves %s %s", d.Name, done.Verdict.State, first, d.State, d.ID)}
		}
	}
	return nil
}

func firstID(v hops.Verdict) string {
	if len(v.Findings) == 0 {
		return ""
	}
	return v.Findings[0].ID
}

// runDemo starts the cluster in this process and probes it.
func runDemo(ctx context.Context, d inproc.Demo) (hops.Run, error) {
	c, err := d.Start()
	if err != nil {
		return hops.Run{}, err
	}
	defer c.Close()
	cluster, err := read.New(c.API.Config(), read.Options{Version: version})
	if err != nil {
		return hops.Run{}, err
	}
	sender := dial.NewSender(c.Plane, dial.WithVersion(version))
	defer sender.Close()
	return probe.Run(ctx, probe.Deps{Reader: cluster, Rules: hops.Rules(), Now: time.Now, ID: func(b []byte) { rand.Read(b) },
		Connect: func(*hops.Flow) probe.Sender { return sender }}, probe.Options{Ref: d.Ref})
}
