// cronjob.go: `probe cronjob`: a probe on a schedule, as manifests.
package main

import (
	"cmp"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"probe/probe"
	"probe/probe/agent"
	"probe/probe/agent/settings"
)

// cronFlags are the choices of the schedule, and those of the probe that travel into the container's arguments.
type cronFlags struct {
	job   agent.CronJob
	probe oneShot
	all   bool
	token string // NAME/KEY of a Secret
	data  string // NAME/KEY of a ConfigMap
}

func newCronJob(s streams) *cobra.Command {
	var f cronFlags
	cmd := &cobra.Command{
		Use:   "cronjob --isvc NAME|--all|--selector LABELS -n NAMESPACE",
		Short: "Print a CronJob that probes services on a schedule, with the least rights",
		Long: `Print a CronJob that probes a service, or many, on a schedule, for ` + "`kubectl apply -f -`" + `: with a ServiceAccount and the least rights that it needs.
The Job's exit code, the last line of its log and its termination message carry the verdict. Without --wake it never sends a real request to a
service that may scale to zero, so that it does not keep it up. Without --system and --cluster the rules that look outside the namespace are
listed as not checked in each run.`,
		Example: `  probe cronjob --isvc sklearn-iris -n models --image registry.example.com/probe:v1 \
    --otlp-endpoint http://collector.observability:4317 | kubectl apply -f -
  probe cronjob --all -n models --schedule '*/10 * * * *'   # every service of the namespace, in one job
  probe cronjob -A -l team=fraud -n canaries                # those of all namespaces with a label; the job runs in canaries`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := f.fill(s); err != nil {
				return err
			}
			return printManifests(s.out, f.job.Objects())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.probe.isvc, "isvc", "", "name of the InferenceService")
	flags.BoolVar(&f.all, "all", false, "all services of the namespace, in one job")
	flags.StringVarP(&f.probe.selector, "selector", "l", "", "the services with these labels, in one job")
	flags.BoolVarP(&f.probe.all, "all-namespaces", "A", false, "the services of all namespaces, in one job")
	flags.StringVarP(&f.job.Namespace, "namespace", "n", "", "namespace of the services, where the CronJob runs too")
	flags.StringVar(&f.job.Schedule, "schedule", "*/5 * * * *", "when to probe: minute, hour, day of month, month, day of week")
	flags.StringVar(&f.job.Name, "name", "", "name of the CronJob, the ServiceAccount and the roles (default: probe-NAME, or probe)")
	flags.StringVar(&f.job.Image, "image", "probe:"+version, "image of this program, which `make image` builds")
	flags.BoolVar(&f.job.System, "system", false, "also read the system namespaces: gateways, activator, controllers, configuration")
	flags.BoolVar(&f.job.Cluster, "cluster", false, "also read cluster-wide objects: webhooks, nodes, runtimes (implies --system)")
	flags.StringVar(&f.probe.gateway, "gateway", "both", "front door to try: outside, cluster-local, both")
	flags.StringVar(&f.probe.path, "path", "", "path and query of the request (default: by protocol and model name)")
	flags.StringVar(&f.token, "token-secret", "", "NAME/KEY of a Secret of the namespace: a bearer token for the request")
	flags.StringVar(&f.data, "data-configmap", "", "NAME/KEY of a ConfigMap of the namespace: the body of the request")
	flags.DurationVar(&f.probe.timeout, "timeout", 0, "of one request (default 10s, 5m with --wake)")
	flags.BoolVar(&f.probe.wake, "wake", false, "send a real request even if that wakes a service at zero, or keeps it from going there")
	flags.BoolVar(&f.probe.strict, "strict", false, "let the Job fail when the service is degraded")
	f.probe.export.flags(flags)
	f.probe.export.push(flags)
	return cmd
}

// fill checks the flags and makes the container's arguments and variables of them.
func (f *cronFlags) fill(s streams) error {
	if f.job.Namespace == "" {
		return usage("which namespace? Give -n NAMESPACE")
	}
	f.probe.output, f.probe.via = "text", "auto"
	which, timeout, err := f.services(s)
	if err != nil {
		return err
	}
	f.job.Args = append(which, f.args(timeout)...)
	if f.job.Env, err = f.probe.export.variables(); err != nil {
		return err
	}
	if err := f.files(); err != nil {
		return err
	}
	if err := f.job.Check(); err != nil {
		return &exit{exitUsage, err}
	}
	return nil
}

// files settles what is mounted: the token and the sample.
func (f *cronFlags) files() error {
	if f.job.Many && f.data != "" {
		return usage("--data-configmap is for one service: give --isvc NAME")
	}
	token, err := settings.Defaults().With(map[string]string{"credentials": f.token})
	if err != nil {
		return usage("--token-secret: %w", err)
	}
	sample, err := settings.Defaults().With(map[string]string{"sample": f.data})
	if err != nil {
		return usage("--data-configmap: %w", err)
	}
	f.job.Token, f.job.Sample = token.Credentials, sample.Sample
	return nil
}

// services says, as arguments, which services are meant, and how long one request may take. It settles what depends on their number.
func (f *cronFlags) services(s streams) (args []string, timeout time.Duration, err error) {
	var opts probe.Options
	f.job.Many = f.all || f.probe.all || f.probe.selector != ""
	f.job.Everywhere = f.probe.all
	switch {
	case !f.job.Many && f.probe.isvc == "":
		return nil, 0, usage("which services? Give --isvc NAME, or --all, or --selector LABELS; `kubectl get inferenceservices` lists them")
	case !f.job.Many:
		args, f.job.Name = []string{"--isvc=" + f.probe.isvc}, cmp.Or(f.job.Name, "probe-"+f.probe.isvc)
		opts, err = f.probe.options(s)
	case f.probe.isvc != "":
		return nil, 0, usage("--isvc names one service, --all, -A and -l choose many: give one or the other")
	default:
		if !f.probe.all {
			f.probe.overrides.Context.Namespace = f.job.Namespace
		}
		var sweep probe.SweepOptions
		sweep, err = f.probe.sweepOptions(s)
		opts, f.job.Name = sweep.Options, cmp.Or(f.job.Name, "probe")
	}
	if f.probe.all {
		args = append(args, "--all-namespaces")
	} else {
		args = append(args, "--namespace="+f.job.Namespace)
	}
	if f.probe.selector != "" {
		args = append(args, "--selector="+f.probe.selector)
	}
	timeout = opts.RequestTimeout
	if timeout == 0 && opts.Wake {
		timeout = 5 * time.Minute
	}
	timeout = cmp.Or(timeout, 10*time.Second)
	if f.job.Deadline = timeout + 50*time.Second; f.job.Many {
		f.job.Deadline = max(f.job.Deadline, 5*time.Minute)
	}
	return args, timeout, err
}

// args are those of the probe in the container beside the services; what is not given stays at the probe's own default.
func (f *cronFlags) args(timeout time.Duration) []string {
	args := []string{"--timeout=" + timeout.String(), "--deadline=" + f.job.Deadline.String()}
	if f.probe.gateway != "both" {
		args = append(args, "--gateway="+f.probe.gateway)
	}
	if f.probe.path != "" {
		args = append(args, "--path="+f.probe.path)
	}
	for _, b := range []struct {
		name string
		on   bool
	}{{"--spare", !f.probe.wake}, {"--wake", f.probe.wake}, {"--strict", f.probe.strict}, {"--otlp-phase-spans", f.probe.export.phases}, {"--otlp-metrics", f.probe.export.metrics}} {
		if b.on {
			args = append(args, b.name)
		}
	}
	return args
}

// variables are the standard ones that say to a process in a pod what the flags say here.
func (e *exportFlags) variables() (map[string]string, error) {
	if e.endpoint == "" {
		return nil, nil
	}
	if _, err := e.open(); err != nil {
		return nil, err
	}
	address := e.endpoint
	if !strings.Contains(address, "://") {
		scheme := "https://"
		if e.insecure {
			scheme = "http://"
		}
		address = scheme + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, usage("--otlp-endpoint: not a URL; write it like http://collector:4317")
	}
	if u.User != nil {
		return nil, usage("--otlp-endpoint: a password in it would stand in the manifest; give credentials as variable OTEL_EXPORTER_OTLP_HEADERS from a Secret")
	}
	vars := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address}
	if e.protocol != "" {
		vars["OTEL_EXPORTER_OTLP_PROTOCOL"] = e.protocol
	}
	return vars, nil
}
