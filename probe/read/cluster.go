// Package read reads a cluster into hops.Snapshot: side by side, in few reads, with no more rights than that takes. It never writes, and what it
// cannot read becomes a gap with its reason, not an error.
//
// cluster.go: the connection to one cluster: rate limit, deadline of one read, what is remembered during a run.
package read

import (
	"cmp"
	"fmt"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"probe/probe/dial"
)

// A run sends some 20 reads in one burst and, when something is broken, some 35 more. client-go's defaults (5 a second, burst 10) would spread
// them over ten seconds.
const (
	queriesPerSecond = 100
	burst            = 200
)

// Options are what New may be told; the zero value has a default for each.
type Options struct {
	Version     string        // of this program, for the user agent
	Context     string        // name of the kubeconfig context, for error texts
	ReadTimeout time.Duration // of one read; 5 s
	MaxReads    int           // of one Want; 38
	System      System
	Now         func() time.Time
}

// System names the namespaces of the machinery; gateways are looked for where the flow says they are.
type System struct {
	Knative string   // knative-serving
	KServe  string   // kserve
	Istio   string   // istio-system
	More    []string // others to look in for gateways, policies and pods
}

func (o Options) withDefaults() Options {
	o.Version = cmp.Or(o.Version, "dev")
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 5*time.Second)
	o.MaxReads = cmp.Or(o.MaxReads, 38)
	o.System.Knative = cmp.Or(o.System.Knative, "knative-serving")
	o.System.KServe = cmp.Or(o.System.KServe, "kserve")
	o.System.Istio = cmp.Or(o.System.Istio, "istio-system")
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Cluster reads one cluster. It is safe for use by several goroutines; First starts a new run and forgets what the last one learnt.
type Cluster struct {
	client *rest.RESTClient
	host   string
	opts   Options
	meter  meter

	mu       sync.Mutex
	version  map[schema.GroupResource]string // the version that answered
	pods     map[string]podSeen              // "namespace/name", from the lists of this run
	offered  *memo[[]string]                 // versions that an API group offers
	resolved *memo[[]dial.PodAddress]        // pods behind a target
}

// New opens a cluster. Nothing is sent yet.
func New(cfg *rest.Config, opts Options) (*Cluster, error) {
	c := &Cluster{host: cfg.Host, opts: opts.withDefaults()}
	c.meter.now = c.opts.Now
	c.forget()
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "probe/" + c.opts.Version
	cfg.QPS, cfg.Burst, cfg.RateLimiter = queriesPerSecond, burst, nil
	cfg.WarningHandler = rest.NoWarnings{} // deprecation notes about versions are not for the user of a probe
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	cfg.APIPath, cfg.GroupVersion = "/", &schema.GroupVersion{}
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"}) // for the Status of a refusal
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return counted{rt, &c.meter} })
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: its configuration cannot be used: %w; check the kubeconfig", cfg.Host, err)
	}
	if c.client, err = rest.UnversionedRESTClientForConfigAndClient(cfg, client); err != nil {
		return nil, fmt.Errorf("cluster %s: its configuration cannot be used: %w; check the kubeconfig", cfg.Host, err)
	}
	return c, nil
}

// Reads counts the requests to the API server so far, repeats included, and the time during which at least one was under way.
func (c *Cluster) Reads() (n int, took time.Duration) { return c.meter.read() }

// forget drops what was learnt about the cluster: gateways move, versions come and go.
func (c *Cluster) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version, c.pods = map[schema.GroupResource]string{}, map[string]podSeen{}
	c.offered, c.resolved = newMemo[[]string](always), newMemo[[]dial.PodAddress](lastingly)
}

// meter counts reads. Reads that overlap are counted once in took.
type meter struct {
	now   func() time.Time
	mu    sync.Mutex
	n     int
	busy  int
	since time.Time
	took  time.Duration
}

func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy == 0 {
		m.since = m.now()
	}
	m.busy++
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy--; m.busy == 0 {
		m.took += m.now().Sub(m.since)
	}
}

func (m *meter) read() (int, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	took := m.took
	if m.busy > 0 {
		took += m.now().Sub(m.since)
	}
	return m.n, took
}

// counted counts what really goes out, client-go's own repeats included.
type counted struct {
	next  http.RoundTripper
	meter *meter
}

func (t counted) RoundTrip(r *http.Request) (*http.Response, error) {
	t.meter.mu.Lock()
	t.meter.n++
	t.meter.mu.Unlock()
	return t.next.RoundTrip(r)
}
