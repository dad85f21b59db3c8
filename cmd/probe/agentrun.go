// agentrun.go: `probe agent` at work: opens what it needs, wires the parts, ends them in order.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"probe/hops"
	"probe/probe"
	"probe/probe/agent"
	"probe/probe/agent/metrics"
	"probe/probe/agent/settings"
	"probe/probe/agent/state"
	"probe/probe/agent/tell"
	"probe/probe/agent/watch"
	"probe/probe/dial"
	"probe/probe/read"
	"probe/probe/redact"
	"probe/tracing"
)

// lastTraces is how long the traces that wait may take to be sent at the end.
const lastTraces = 5 * time.Second

// running is an agent and its parts.
type running struct {
	*agentFlags
	s        streams
	config   *rest.Config
	log      *logger
	defaults settings.Settings

	agent    *agent.Agent
	watcher  *watch.Watcher
	shards   *watch.Sharder      // nil without --shard auto
	owns     func(hops.Ref) bool // nil is all
	metrics  *metrics.Metrics
	events   *tell.Events
	failures *tell.Failures
	batch    *tracing.Batch // nil without a collector
	kept     *dial.Sender   // of --reuse; nil without
	store    *settings.Store
	server   *tell.Server

	mu       sync.Mutex
	problems map[hops.Ref]string // with the annotations of services, as they were told last
	listener net.Listener
}

// run runs an agent until it is interrupted or told to end, which is no error.
func (f *agentFlags) run(ctx context.Context, s streams) error {
	defaults, err := f.check()
	if err != nil {
		return err
	}
	r := &running{agentFlags: f, s: s, defaults: defaults, problems: map[hops.Ref]string{}, log: &logger{to: s.err}}
	if err := r.open(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	return r.until(ctx)
}

// open makes the parts; nothing is sent yet but the listener's address taken.
func (r *running) open() error {
	cluster, config, _, err := r.probe.cluster(r.s)
	if err != nil {
		return err
	}
	r.config = config
	exporter, err := tracing.NewExporter(r.probe.export.config(), r.probe.export.options())
	if err != nil {
		return &exit{exitUsage, err}
	}
	if exporter.Enabled() {
		r.batch = tracing.NewBatch(exporter, func(err error) { r.log.seldom("Warning: " + err.Error()) })
	}
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "probe/"+version))
	if err != nil {
		return &exit{exitCannot, err}
	}
	r.store = settings.NewStore(client.CoreV1(), time.Now)
	r.events = tell.NewEvents(client.CoreV1(), tell.EventOptions{Log: r.log.line})
	r.failures = tell.NewFailures(0)
	shown := metrics.Options{Version: version, Rules: hops.Rules(), Reuse: r.reuse, Trouble: r.troubles, Skipped: func() uint64 { return r.agent.Skipped() },
		Events: func() (written, dropped int64) { c := r.events.Counts(); return c.Written, c.Dropped }}
	if r.batch != nil {
		shown.Traces = r.batch.Counts
	}
	r.metrics = metrics.New(shown)
	if err := r.share(); err != nil {
		return err
	}
	if err := r.make(cluster); err != nil {
		return err
	}
	r.server = tell.NewServer(tell.ServerOptions{Metrics: r.metrics.Handler(), Failures: r.failures, Guard: tell.NewGuard(client, time.Now, r.log.line),
		Alive: r.agent.Alive, Ready: r.ready, Profiles: r.profile, Version: version})
	if r.listener, err = net.Listen("tcp", r.listen); err != nil {
		return &exit{exitCannot, fmt.Errorf("--listen: %w", err)}
	}
	return nil
}

// make makes the agent and the watcher that tells it who is there.
func (r *running) make(cluster *read.Cluster) error {
	ways, frontOnly, err := r.ways()
	if err != nil {
		return err
	}
	connect := func(f *hops.Flow, pods dial.PodFinder) probe.Sender {
		options := []dial.Option{dial.WithVersion(version), dial.WithRedact(redact.String)}
		if f != nil || !r.reuse {
			return dial.NewSender(ways(f, pods), options...)
		}
		r.kept = dial.NewSender(ways(nil, pods), append(options, dial.WithKeepAlive())...)
		return r.kept
	}
	lookers := []agent.Looker{cluster}
	for len(lookers) < r.looks {
		more, err := read.New(r.config, read.Options{Version: version})
		if err != nil {
			return &exit{exitCannot, err}
		}
		lookers = append(lookers, more)
	}
	c := agent.Config{Connect: connect, FrontOnly: frontOnly, Lookers: lookers,
		Rules: hops.Rules(), Defaults: r.defaults, Store: r.store, Record: r.record, Workers: r.workers, Grace: r.grace, Now: time.Now,
		Seen: r.seen, Changed: r.changed, Gone: r.gone, Log: r.log.line}
	if r.batch != nil {
		c.Sink = r.batch
	}
	c.Owns = r.owns
	r.agent = agent.New(c)
	o := watch.Options{Selector: r.probe.selector, Version: version, Log: r.log.line, Delete: r.agent.Delete,
		Upsert: r.agent.Upsert}
	if !r.probe.all {
		o.Namespaces = []string{r.probe.overrides.Context.Namespace}
	}
	if r.watcher, err = watch.New(r.config, o); err != nil {
		return usage("%w", err)
	}
	return nil
}

// ways are the ways into a path: from a pod directly; from elsewhere to the outside door only, by the address that was given.
func (r *running) ways() (ways func(*hops.Flow, dial.PodFinder) dial.Dialer, frontOnly bool, err error) {
	var fixed dial.Dialer
	if r.probe.address != "" {
		if fixed, err = dial.NewAddress(r.probe.address, brief()); err != nil {
			return nil, false, &exit{exitUsage, err}
		}
	}
	switch {
	case r.s.dialer != nil:
		return func(*hops.Flow, dial.PodFinder) dial.Dialer { return r.s.dialer }, false, nil
	case inPod(r.s) && r.probe.kubeconfig == "" && fixed != nil:
		return nil, false, usage("--address is for an agent outside the cluster: one in a pod enters at the gateways' Services")
	case inPod(r.s) && r.probe.kubeconfig == "":
		domain := clusterDomain()
		return func(_ *hops.Flow, pods dial.PodFinder) dial.Dialer {
			return &dial.Auto{InPod: dial.NewDirect(pods, brief()).In(domain)}
		}, false, nil
	case fixed == nil || r.defaults.Gateway != hops.Outside:
		return nil, false, usage("an agent outside the cluster reaches the outside door only: give --address HOST:PORT and --gateway outside; " +
			"--manifests prints one for the cluster")
	}
	return func(f *hops.Flow, _ dial.PodFinder) dial.Dialer {
		if f == nil {
			return fixed
		}
		auto := &dial.Auto{Address: fixed}
		for _, d := range f.Doors {
			if d.Door == hops.Outside {
				auto.Outside = d.Gateway
			}
		}
		return auto
	}, true, nil
}

// brief dials for connections that carry one request: keep-alive packets would never be sent, and setting them up costs four calls of the system.
func brief() net.Dialer {
	d := netDialer()
	d.KeepAlive = -1
	return d
}

// until runs the parts, and ends them: first no probe is begun any more, last the traces are sent.
func (r *running) until(ctx context.Context) error {
	beside, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var wg sync.WaitGroup
	watching, blind := context.WithCancel(beside)
	wg.Go(func() { r.watcher.Run(watching) })
	wg.Go(func() { r.events.Run(beside) })
	served := make(chan error, 1)
	wg.Go(func() { served <- r.server.Serve(beside, r.listener) })
	if r.shards != nil {
		wg.Go(func() {
			if r.synced(ctx) { // the others leave us our part as soon as they see us
				r.shards.Run(ctx) // and take it back as soon as we are told to end
			}
		})
	}
	probing, enough := context.WithCancel(ctx)
	defer enough()
	r.log.line(fmt.Sprintf("probe %s: watching, metrics at http://%s/metrics", version, r.listener.Addr()))
	var failed error
	wg.Go(func() {
		if err := <-served; err != nil {
			failed = err
			enough()
		}
	})
	r.agent.Run(probing)
	if r.kept != nil {
		r.kept.Close()
	}
	r.log.line("ending: what was under way is told")
	blind()
	end()
	wg.Wait()
	r.store.Close()
	if r.batch != nil {
		last, cancel := context.WithTimeout(context.Background(), lastTraces)
		defer cancel()
		if err := r.batch.Close(last); err != nil {
			r.log.line("Warning: " + err.Error())
		}
	}
	if failed != nil {
		return &exit{exitCannot, fmt.Errorf("--listen: %w", failed)}
	}
	return nil
}

// share takes part in sharing the services, where --shard says so.
func (r *running) share() error {
	switch r.shard {
	case "":
		return nil
	case shardAuto:
	default:
		fixed, err := watch.Fixed(r.shard)
		if err != nil {
			return usage("--shard: %w", err)
		}
		r.owns = fixed.Owns
		return nil
	}
	namespace := r.s.env("POD_NAMESPACE")
	if namespace == "" {
		return usage("--shard auto: variable POD_NAMESPACE must say where the Leases are, as in the manifests that --manifests prints")
	}
	var err error
	r.shards, err = watch.NewSharder(r.config, watch.ShardOptions{Namespace: namespace, Name: replica(r.s), Set: r.s.env("PROBE_AGENT"), PodUID: types.UID(r.s.env("POD_UID")),
		Version: version, Log: r.log.line, OnChange: func() { r.agent.Reshard() }})
	if err != nil {
		return &exit{exitUsage, err}
	}
	r.owns = r.shards.Owns
	return nil
}

// synced waits until the services are known.
func (r *running) synced(ctx context.Context) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !r.watcher.Synced() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// ready says why no probes can be relied on yet.
func (r *running) ready() error {
	if !r.watcher.Synced() {
		return errors.Join(errors.New("the services were not listed yet"), r.watcher.Trouble())
	}
	return nil
}

// troubles counts the parts that do not know what they should.
func (r *running) troubles() int {
	n := 0
	if r.watcher.Trouble() != nil {
		n++
	}
	if r.shards != nil && r.shards.Trouble() != nil {
		n++
	}
	return n
}

// seen takes each result.
func (r *running) seen(res *state.Result, status state.Status) {
	r.metrics.Observe(res, status)
	r.settled(res)
	if err := r.failures.Add(res, status); err != nil {
		r.log.seldom(err.Error())
	}
}

// settled tells what is wrong with a service's annotations, once until it is something else.
func (r *running) settled(res *state.Result) {
	now := strings.Join(res.Problems, "; ")
	r.mu.Lock()
	was := r.problems[res.Ref]
	if now == "" {
		delete(r.problems, res.Ref)
	} else {
		r.problems[res.Ref] = now
	}
	r.mu.Unlock()
	if now != "" && now != was {
		r.events.Settings(res)
		r.log.line(res.Ref.String() + ": " + now)
	}
}

// gone takes a service that is no longer probed here.
func (r *running) gone(ref hops.Ref) {
	r.metrics.Remove(ref)
	r.failures.Forget(ref)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.problems, ref)
}

// changed takes each change of a status: an Event on the service, and a line in the log.
func (r *running) changed(c *state.Change) {
	r.events.Tell(c)
	text := fmt.Sprintf("%s: %s", c.Is.Ref, c.Is.State)
	if c.Is.Hop != "" {
		text += " at " + string(c.Is.Hop)
	}
	if c.Is.Reason != "" {
		text += fmt.Sprintf(": %s (%s)", redact.String(c.By.Summary), c.Is.Reason)
	}
	if c.By.Run != nil {
		text += ", trace " + c.By.Run.TraceID
	}
	r.log.line(text)
}

// logger writes lines with the time before them, and says the same at most once a minute.
type logger struct {
	mu   sync.Mutex
	to   io.Writer
	last map[string]time.Time
}

func (l *logger) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.to, "%s %s\n", time.Now().UTC().Format(time.RFC3339), text)
}

// seldom is line for what would be said again and again.
func (l *logger) seldom(text string) {
	l.mu.Lock()
	now := time.Now()
	if l.last == nil || len(l.last) > 100 {
		l.last = map[string]time.Time{}
	}
	known := now.Sub(l.last[text]) < time.Minute
	if !known {
		l.last[text] = now
	}
	l.mu.Unlock()
	if !known {
		l.line(text)
	}
}

var _ probe.Sink = (*tracing.Batch)(nil)
