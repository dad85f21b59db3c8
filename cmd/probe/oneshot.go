// oneshot.go: `probe --isvc NAME`: flags, one run, output, exit code.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"probe/hops"
	"probe/probe"
	"probe/probe/capture"
	"probe/probe/dial"
	"probe/probe/read"
	"probe/probe/redact"
	"probe/probe/report"
)

// oneShot holds the flags of one probe.
type oneShot struct {
	isvc       string
	all        bool
	selector   string
	graph      string
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	via        string
	address    string
	gateway    string
	path       string
	method     string
	protocol   string
	data       string
	headers    []string
	headerFile string
	tokenFile  string
	caFile     string
	insecure   bool
	wake       bool
	spare      bool
	timeout    time.Duration
	deadline   time.Duration
	noLogs     bool
	output     string
	verbose    bool
	trace      bool
	strict     bool
	save       string
	ending     string
	export     exportFlags
	back       readBackFlags
}

func (o *oneShot) flags(f *pflag.FlagSet) {
	f.StringVar(&o.isvc, "isvc", "", "name of the InferenceService")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "probe all InferenceServices of the cluster, a line each; with -n and without --isvc, those of a namespace")
	f.StringVar(&o.graph, "graph", "", "name of an InferenceGraph: all services that its steps call, a line each")
	f.StringVarP(&o.selector, "selector", "l", "", "with -A, or -n without --isvc: only the services with these labels")
	f.StringVar(&o.via, "via", "auto", "how to reach the hops: auto, pod, port-forward, network")
	f.StringVar(&o.address, "address", "", "HOST:PORT of the ingress gateway's load balancer")
	f.StringVar(&o.gateway, "gateway", "both", "front door to try: outside, cluster-local, both")
	f.StringVar(&o.path, "path", "", "path and query of the request (default: by protocol and model name)")
	f.StringVar(&o.method, "method", "", "method of the request (default: GET, or POST with --data)")
	f.StringVar(&o.protocol, "protocol", "", "v1, v2 or grpc-v2 (default: the service's own); with grpc-v2 --path is /SERVICE/METHOD and --data the protobuf message")
	f.StringVar(&o.data, "data", "", "body of the request; @FILE reads it from a file, @- from standard input")
	f.StringArrayVar(&o.headers, "header", nil, "header of the request, 'Name: value'; for secrets use --header-file")
	f.StringVar(&o.headerFile, "header-file", "", "file with headers, one 'Name: value' a line")
	f.StringVar(&o.tokenFile, "token-file", "", "file with a bearer token for the request")
	f.StringVar(&o.caFile, "ca-file", "", "PEM file of authorities for an https URL")
	f.BoolVar(&o.insecure, "insecure", false, "do not verify the certificate of an https URL")
	f.BoolVar(&o.wake, "wake", false, "send a real request even if that wakes a service at zero")
	f.BoolVar(&o.spare, "spare", false, "only knock at a service that may scale to zero, even if it is awake: for runs so frequent that they would keep it up")
	f.DurationVar(&o.timeout, "timeout", 0, "of one request (default 10s, 5m with --wake)")
	f.DurationVar(&o.deadline, "deadline", 0, "of the whole run (default: --timeout and 50s more)")
	f.BoolVar(&o.noLogs, "no-gateway-logs", false, "do not wait for the gateways' access logs when a front door fails")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "phases of each request, what was read, all that was not checked")
	f.BoolVar(&o.trace, "trace", false, "print the trace as a waterfall")
	f.BoolVar(&o.strict, "strict", false, "exit with 4 when the service is degraded")
	f.StringVar(&o.save, "save", "", "directory to save a capture in, for `probe explain`")
	f.StringVar(&o.ending, "termination-log", "", "file to write the verdict to in short, when it exists; the text output ends in it too")
	o.export.flags(f)
	o.export.push(f)
	o.back.flags(f)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "path to the kubeconfig file")
	kubectl := pflag.NewFlagSet("kubectl", pflag.ContinueOnError)
	clientcmd.BindOverrideFlags(&o.overrides, kubectl, clientcmd.RecommendedConfigOverrideFlags(""))
	kubectl.VisitAll(func(flag *pflag.Flag) {
		if f.Lookup(flag.Name) == nil {
			if flag.Shorthand != "" && f.ShorthandLookup(flag.Shorthand) != nil {
				flag.Shorthand = ""
			}
			f.AddFlag(flag)
		}
	})
}

func usage(format string, args ...any) error { return &exit{exitUsage, fmt.Errorf(format, args...)} }

// run does one probe: everything that can be refused is refused before anything is sent.
func (o *oneShot) run(ctx context.Context, s streams) error {
	spans, err := o.back.open()
	if err != nil {
		return err
	}
	if o.sweeping() {
		if spans != nil {
			return usage("--jaeger is for one service: give --isvc NAME")
		}
		return o.sweep(ctx, s)
	}
	opts, err := o.options(s)
	if err != nil {
		return err
	}
	exporter, err := o.export.open()
	if err != nil {
		return err
	}
	cluster, config, namespace, err := o.cluster(s)
	if err != nil {
		return err
	}
	opts.Ref = hops.Ref{Namespace: namespace, Name: o.isvc}
	var closers []func()
	defer func() {
		for _, c := range closers {
			c()
		}
	}()
	progress := newProgress(s, o.output == "text")
	deps := probe.Deps{Reader: cluster, Rules: hops.Rules(), Now: time.Now, ID: func(b []byte) { rand.Read(b) }, Progress: progress.say, Spans: spans}
	forward := func() (dial.Dialer, error) { return portForward(config, cluster, &closers) }
	var connectErr error
	deps.Connect = func(f *hops.Flow) probe.Sender {
		d, err := o.dialer(f, forward, cluster, s, &closers)
		if err != nil {
			connectErr = err
			return blocked{err}
		}
		return d
	}
	done, err := probe.Run(ctx, deps, opts)
	progress.clear()
	if err := errors.Join(err, connectErr); err != nil {
		return o.cannot(ctx, err)
	}
	return o.finish(ctx, s, &done, exporter)
}

// cannot sorts the reasons why nothing could be probed into exit codes.
func (o *oneShot) cannot(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &exit{exitInterrupted, errors.New("interrupted before anything was seen")}
	}
	if _, ok := errors.AsType[*read.NotFoundError](err); ok {
		return &exit{exitUsage, err}
	}
	if _, ok := errors.AsType[*read.NoNamespaceError](err); ok {
		return &exit{exitUsage, err}
	}
	if _, ok := errors.AsType[*read.NoKServeError](err); ok {
		return &exit{1, err}
	}
	if e, ok := errors.AsType[*exit](err); ok {
		return e
	}
	return &exit{exitCannot, err}
}

// finish prints, saves and exports a run. The exit code is that of the verdict and of nothing else.
func (o *oneShot) finish(ctx context.Context, s streams, done *hops.Run, exporter probe.Sink) error {
	code := report.ExitCode(done.Verdict, o.strict)
	if ctx.Err() != nil {
		code = exitInterrupted
	}
	if o.save != "" {
		if err := capture.Save(o.save, done); err != nil {
			done.Warnings = append(done.Warnings, err.Error())
		}
	}
	if exporter != nil {
		if err := export(exporter, done); err != nil {
			done.Warnings = append(done.Warnings, err.Error())
		}
	}
	if err := errors.Join(o.print(s, done), o.end(s, done)); err != nil {
		return &exit{code, err}
	}
	if code != 0 {
		return &exit{code: code}
	}
	return nil
}

// print writes the run in the form that was asked for.
func (o *oneShot) print(s streams, done *hops.Run) error {
	if o.output == "json" {
		return report.JSON(s.out, done)
	}
	opts := report.Options{Verbose: o.verbose, Color: s.colour(s.out), Width: width(s.out)}
	if err := report.Text(s.out, done, opts); err != nil {
		return err
	}
	if o.trace {
		return waterfall(s, done)
	}
	return nil
}

// options checks the flags.
func (o *oneShot) options(s streams) (probe.Options, error) {
	if o.isvc == "" {
		return probe.Options{}, usage("which service? Give --isvc NAME (and -n NAMESPACE), or -A for all; `kubectl get inferenceservices` lists them")
	}
	if strings.Contains(o.isvc, "/") {
		return probe.Options{}, usage("--isvc %q: give the name alone, and the namespace with -n", o.isvc)
	}
	return o.choices(s)
}

// choices checks the flags that one probe and a sweep share.
func (o *oneShot) choices(s streams) (probe.Options, error) {
	opts := probe.Options{Method: strings.ToUpper(o.method), Path: o.path, Protocol: o.protocol, Wake: o.wake, Spare: o.spare, RequestTimeout: o.timeout, Deadline: o.deadline, Logs: !o.noLogs}
	if o.output != "text" && o.output != "json" {
		return opts, usage("--output %q: text or json", o.output)
	}
	if !slices.Contains([]string{"auto", "pod", "port-forward", "network"}, o.via) {
		return opts, usage("--via %q: auto, pod, port-forward or network", o.via)
	}
	switch o.gateway {
	case "both":
	case string(hops.Outside), string(hops.ClusterLocal):
		opts.Doors = []hops.Door{hops.Door(o.gateway)}
	default:
		return opts, usage("--gateway %q: outside, cluster-local or both", o.gateway)
	}
	if !slices.Contains([]string{"auto", "pod", "port-forward", "network"}, o.via) {
		return opts, usage("--via %q: auto, pod, port-forward or network", o.via)
	}
	switch o.protocol {
	case "", "v1", "v2", hops.GRPC:
	default:
		return opts, usage("--protocol %q: v1, v2 or grpc-v2", o.protocol)
	}
	if o.path != "" && !strings.HasPrefix(o.path, "/") {
		return opts, usage("--path %q: a path starts with / ; the scheme and the host are the service's own", o.path)
	}
	if o.wake && o.spare {
		return opts, usage("--wake and --spare: one wakes a service, the other lets it sleep; give one of them")
	}
	if o.timeout < 0 || o.deadline < 0 {
		return opts, usage("--timeout and --deadline: a time above 0")
	}
	var err error
	if opts.Data, err = payload(o.data, s.in); err != nil {
		return opts, err
	}
	opts.Header, opts.Credentials, err = o.header(len(opts.Data) > 0)
	return opts, err
}

// cluster opens the cluster that kubectl would talk to.
func (o *oneShot) cluster(s streams) (*read.Cluster, *rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &o.overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, nil, "", &exit{exitCannot, fmt.Errorf("no cluster: %w; give --kubeconfig or --context", err)}
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, nil, "", &exit{exitCannot, fmt.Errorf("no cluster: %w; give --kubeconfig or --context", err)}
	}
	name := o.overrides.CurrentContext
	if raw, err := loader.RawConfig(); err == nil && name == "" {
		name = raw.CurrentContext
	}
	cluster, err := read.New(config, read.Options{Version: version, Context: name})
	if err != nil {
		return nil, nil, "", &exit{exitCannot, err}
	}
	return cluster, config, namespace, nil
}

// inPod says whether this process runs in a pod of the cluster, as client-go tells it.
func inPod(s streams) bool {
	_, err := os.Stat("/var/run/secrets/kubernetes.io/serviceaccount/token")
	return s.env("KUBERNETES_SERVICE_HOST") != "" && err == nil
}

// portForward is the way through the API server.
func portForward(config *rest.Config, cluster *read.Cluster, closers *[]func()) (dial.Dialer, error) {
	forward, err := dial.NewPortForward(config, cluster)
	if err != nil {
		return nil, &exit{exitCannot, err}
	}
	*closers = append(*closers, forward.Close)
	return forward, nil
}

// blocked stands where there is no way to send anything.
type blocked struct{ err error }

// Send implements probe.Sender.
func (b blocked) Send(_ context.Context, r dial.Request) hops.Observation {
	return hops.Observation{Step: r.Entry.Step, Asked: r.Asked, Target: r.Entry.Target.String(), Outcome: hops.NoWay, Err: b.err.Error()}
}

// dialer makes what sends requests into the path.
func (o *oneShot) dialer(f *hops.Flow, forward func() (dial.Dialer, error), cluster *read.Cluster, s streams, closers *[]func()) (probe.Sender, error) {
	ways := s.dialer
	if ways == nil {
		auto, err := o.ways(f, forward, cluster, s)
		if err != nil {
			return nil, err
		}
		ways = auto
	}
	options := []dial.Option{dial.WithVersion(version), dial.WithRedact(redact.String)}
	tls, err := o.tls()
	if err != nil {
		return nil, err
	}
	sender := dial.NewSender(ways, append(options, tls)...)
	*closers = append(*closers, sender.Close)
	return sender, nil
}

// ways are the ways into the path that --via allows.
func (o *oneShot) ways(f *hops.Flow, forward func() (dial.Dialer, error), cluster *read.Cluster, s streams) (*dial.Auto, error) {
	auto := &dial.Auto{}
	network := dial.Dialer(nil)
	for _, d := range f.Doors {
		if d.Door != hops.Outside {
			continue
		}
		auto.Outside = d.Gateway
		if d.URL != "" && d.Closed == "" {
			n, err := dial.NewNetwork(d.URL, netDialer())
			if err != nil {
				return nil, err
			}
			network = n
		}
	}
	switch via := o.via; {
	case via == "pod" || via == "auto" && inPod(s) && o.kubeconfig == "":
		auto.InPod = dial.NewDirect(cluster, netDialer()).In(clusterDomain())
	case via == "auto" || via == "port-forward":
		through, err := forward()
		if err != nil {
			return nil, err
		}
		auto.Forward = through
		if via == "auto" {
			auto.Network = network
		}
	default:
		auto.Network = network
	}
	if o.address != "" {
		fixed, err := dial.NewAddress(o.address, netDialer())
		if err != nil {
			return nil, &exit{exitUsage, err}
		}
		auto.Address = fixed
	}
	return auto, nil
}

// header collects the headers of the request.
func (o *oneShot) header(data bool) (h http.Header, credentials bool, err error) {
	h = http.Header{}
	lines := o.headers
	if o.headerFile != "" {
		raw, err := os.ReadFile(o.headerFile)
		if err != nil {
			return nil, false, usage("--header-file: %w", err)
		}
		for _, l := range strings.Split(string(raw), "\n") {
			if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
				lines = append(lines, l)
			}
		}
	}
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, false, usage("a header must read 'Name: value'; one of --header or --header-file does not (its text is not shown, it may hold a secret)")
		}
		h.Add(name, strings.TrimSpace(value))
	}
	if o.tokenFile != "" {
		raw, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return nil, false, usage("--token-file: %w", err)
		}
		token := strings.TrimSpace(string(raw))
		if token == "" || strings.ContainsAny(token, " \n") {
			return nil, false, usage("--token-file %s: it must hold one token and nothing else", o.tokenFile)
		}
		h.Set("Authorization", "Bearer "+token)
	}
	if data && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	for _, name := range []string{"Authorization", "Cookie", "X-Api-Key"} {
		credentials = credentials || h.Get(name) != ""
	}
	return h, credentials, nil
}
