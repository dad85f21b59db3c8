// agent.go: `probe agent`: its flags and its manifests; agentrun.go runs it.
package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"probe/probe/agent"
	"probe/probe/agent/metrics"
	"probe/probe/agent/settings"
	"probe/probe/agent/watch"
)

// agentFlags are the choices of an agent, those of its manifests among them.
type agentFlags struct {
	probe    oneShot // the cluster, the services, the way in, telemetry
	defaults string  // file
	chosen   map[string]*string
	listen   string
	shard    string
	record   int
	workers  int
	looks    int
	reuse    bool
	profile  bool
	grace    time.Duration

	manifests bool
	deploy    agent.Deployment
	alerts    bool
	dashboard bool
}

// shardAuto is --shard for replicas that find each other.
const shardAuto = "auto"

// byFlag are the settings that flags give too; all of them may stand in --defaults and in annotations.
var byFlag = [...]struct{ name, means string }{
	{"interval", "between two probes of a service"},
	{"timeout", "of one request"},
	{"failures", "N/M: N of the last M probes must agree before a state turns"},
	{"gateway", "front doors to ask: outside, cluster-local, both"},
	{"max-latency", "a longer warm answer makes a service Degraded"},
	{"wake", "true: send real requests also to services that may scale to zero"},
}

func newAgent(s streams) *cobra.Command {
	f := agentFlags{chosen: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "agent -n NAMESPACE | -A [-l SELECTOR]",
		Short: "Probe services again and again: metrics, Events, traces, the evidence of failures",
		Long: `Watch InferenceServices and probe each on its interval. While a service answers, a probe is one request a front door and costs the API server
nothing; what fails is looked into as ` + "`probe --isvc`" + ` does it. A state turns when --failures of its last probes agree; an Event on the
InferenceService then says why, with the fix. A service that may scale to zero gets knocks only, unless probe/wake says "true".

/metrics is for Prometheus, /healthz and /readyz are for the kubelet, /failures holds captures of the last failures for ` + "`probe explain`" + `.

Annotations of an InferenceService choose for it alone:

` + settings.Doc(),
		Example: `  probe agent -A -n canaries --manifests --image registry.example.com/probe:v1 | kubectl apply -f -
  probe agent -n models --interval 30s --address 203.0.113.7:80 --gateway outside    # from outside the cluster
  probe agent --alerts > alerts.yaml
  kubectl port-forward deploy/probe-agent 9464 & curl -s localhost:9464/failures/models/iris | probe explain -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.alerts:
				_, err := io.WriteString(s.out, metrics.Alerts())
				return err
			case f.dashboard:
				_, err := io.WriteString(s.out, metrics.Dashboard())
				return err
			case f.manifests:
				return f.print(s, cmd.Flags())
			}
			return f.run(cmd.Context(), s)
		},
	}
	f.flags(cmd.Flags())
	return cmd
}

func (f *agentFlags) flags(flags *pflag.FlagSet) {
	f.probe.via = "auto"
	flags.BoolVarP(&f.probe.all, "all-namespaces", "A", false, "the services of all namespaces")
	flags.StringVarP(&f.probe.overrides.Context.Namespace, "namespace", "n", "", "the services of this namespace; with -A and --manifests, where the agent runs")
	flags.StringVarP(&f.probe.selector, "selector", "l", "", "only the services with these labels")
	flags.StringVar(&f.probe.kubeconfig, "kubeconfig", "", "path to the kubeconfig file")
	flags.StringVar(&f.probe.overrides.CurrentContext, "context", "", "the kubeconfig context to use")
	flags.StringVar(&f.probe.address, "address", "", "HOST:PORT of the ingress gateway's load balancer: the outside door is asked there")
	flags.StringVar(&f.defaults, "defaults", "", "YAML file with settings for services whose annotations say nothing, named as those without the prefix")
	for _, c := range byFlag {
		f.chosen[c.name] = flags.String(c.name, "", c.means+" (default: --defaults, else as below)")
	}
	flags.StringVar(&f.listen, "listen", ":9464", "address of /metrics, /healthz, /readyz and /failures")
	flags.StringVar(&f.shard, "shard", "", "share the services: auto (with the replicas of a StatefulSet, by Leases) or I/N, from 0/N")
	flags.IntVar(&f.record, "record", 20, "let the mesh record one healthy run in so many; each one after a failure is recorded")
	flags.IntVar(&f.workers, "workers", 512, "services that are probed at one time")
	flags.IntVar(&f.looks, "looks", 4, "failing services that are looked into at one time")
	flags.BoolVar(&f.reuse, "reuse", false, "keep connections between probes: cheaper, but faults of DNS, TLS and load balancers stay hidden; metrics say so")
	flags.DurationVar(&f.grace, "grace", 10*time.Second, "for probes under way at the end")
	flags.BoolVar(&f.profile, "pprof", false, "serve /debug/pprof to callers on the loopback")
	f.probe.export.flags(flags)

	flags.BoolVar(&f.manifests, "manifests", false, "print the agent as manifests, for `kubectl apply -f -`, with the other flags as its arguments")
	flags.StringVar(&f.deploy.Image, "image", "probe:"+version, "for --manifests: image of this program, which `make image` builds")
	flags.StringVar(&f.deploy.Name, "name", "probe-agent", "for --manifests: name of the workload, the account and the roles")
	flags.IntVar(&f.deploy.Replicas, "replicas", 1, "for --manifests: more than one share the services")
	flags.BoolVar(&f.deploy.System, "system", false, "for --manifests: also read the system namespaces: gateways, activator, controllers, configuration")
	flags.BoolVar(&f.deploy.Cluster, "cluster", false, "for --manifests: also read cluster-wide objects: webhooks, nodes, runtimes (implies --system)")
	flags.BoolVar(&f.deploy.Reviews, "token-review", false, "for --manifests: let callers with a token that may get /failures fetch them; others use port-forward")
	flags.StringSliceVar(&f.deploy.Secrets, "secret", nil, "for --manifests: name of a Secret that probe/credentials may point to")
	flags.StringSliceVar(&f.deploy.Samples, "sample", nil, "for --manifests: name of a ConfigMap that probe/sample may point to")
	flags.BoolVar(&f.alerts, "alerts", false, "print alert rules for Prometheus")
	flags.BoolVar(&f.dashboard, "dashboard", false, "print a dashboard for Grafana")
}

// check refuses what cannot be meant, before anything is opened.
func (f *agentFlags) check() (settings.Settings, error) {
	var none settings.Settings
	if f.probe.overrides.Context.Namespace == "" && !f.probe.all {
		return none, usage("which services? Give -n NAMESPACE, or -A for all namespaces")
	}
	if _, err := labels.Parse(f.probe.selector); err != nil {
		return none, usage("--selector %q: %w", f.probe.selector, err)
	}
	for _, n := range []struct {
		flag      string
		value, to int
	}{{"--record", f.record, 1_000_000}, {"--workers", f.workers, 100_000}, {"--looks", f.looks, 64}} {
		if n.value < 1 || n.value > n.to {
			return none, usage("%s %d: give 1 to %d", n.flag, n.value, n.to)
		}
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return none, usage("--listen %q is not HOST:PORT: %w; :9464 is all addresses", f.listen, err)
	}
	if f.grace < 0 || f.grace > 10*time.Minute {
		return none, usage("--grace %s: give 0s to 10m", f.grace)
	}
	if f.shard != "" && f.shard != shardAuto {
		if _, err := watch.Fixed(f.shard); err != nil {
			return none, usage("--shard: %w", err)
		}
	}
	return f.settings()
}

// settings are the defaults: those of the program, then of the file, then of the flags.
func (f *agentFlags) settings() (settings.Settings, error) {
	out, err := settings.Defaults(), error(nil)
	if f.defaults != "" {
		if out, err = settings.ReadFile(f.defaults); err != nil {
			return out, usage("--defaults: %w", err)
		}
	}
	given := map[string]string{}
	for name, value := range f.chosen {
		if *value != "" {
			given[name] = *value
		}
	}
	if out, err = out.With(given); err != nil {
		return out, usage("--%w", err)
	}
	return out, nil
}

// print prints the manifests. What was given travels into the container's arguments.
func (f *agentFlags) print(s streams, flags *pflag.FlagSet) error {
	if _, err := f.check(); err != nil {
		return err
	}
	if f.probe.overrides.Context.Namespace == "" {
		return usage("which namespace is the agent to run in? Give -n NAMESPACE beside -A")
	}
	if f.shard != "" {
		return usage("--shard follows from --replicas in manifests")
	}
	if f.defaults != "" {
		return usage("--defaults: a file of this machine is not in the pod; give the flags, or mount it and add the argument yourself")
	}
	f.deploy.Namespace, f.deploy.Everywhere, f.deploy.Grace = f.probe.overrides.Context.Namespace, f.probe.all, f.grace
	_, port, _ := net.SplitHostPort(f.listen) // check has read it
	number, err := strconv.Atoi(port)
	if err != nil || number < 1024 || number > 65535 {
		return usage("--listen %q: in a pod that is not root the port must be 1024 to 65535", f.listen)
	}
	f.deploy.Port = number
	if f.deploy.Env, err = f.probe.export.variables(); err != nil {
		return err
	}
	f.deploy.Args = f.arguments(flags)
	if err := f.deploy.Check(); err != nil {
		return &exit{exitUsage, err}
	}
	return printManifests(s.out, f.deploy.Objects())
}

// arguments are the flags that were given, as the container gets them.
func (f *agentFlags) arguments(flags *pflag.FlagSet) []string {
	var out []string
	if !f.probe.all {
		out = append(out, "--namespace="+f.probe.overrides.Context.Namespace)
	}
	pass := []string{"all-namespaces", "selector", "address", "listen", "record", "workers", "looks", "reuse", "grace", "otlp-phase-spans"}
	for _, c := range byFlag {
		pass = append(pass, c.name)
	}
	for _, name := range pass {
		if given := flags.Lookup(name); given != nil && given.Changed {
			out = append(out, "--"+name+"="+given.Value.String())
		}
	}
	return out
}

// replica is the name of this process among those that share the work.
func replica(s streams) string {
	host, _ := os.Hostname() // without a name the next one is taken
	return cmp.Or(s.env("POD_NAME"), host, fmt.Sprintf("probe-%d", os.Getpid()))
}
