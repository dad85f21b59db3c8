// Package inproc plays a cluster in this process: an API server that answers from a recording, and a data plane of real HTTP servers on loopback
// that stand for the gateways, the activator, queue-proxy and the model server, and fail as the real ones were seen to. The demo, tests and load
// tests run the real probe against it.
//
// plane.go: the data plane.
package inproc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// Fault is one thing that is broken in the data plane.
type Fault string

// The faults.
const (
	NoKServeRoute   Fault = "no-kserve-route"   // the gateways know no route for the service's own host
	NoKnativeRoute  Fault = "no-knative-route"  // the local gateway knows no route for the component's host
	NoLocalGateway  Fault = "no-local-gateway"  // the local gateway's Service has no pods
	ContainerDown   Fault = "container-down"    // nothing listens on the container's port
	ModelNotLoaded  Fault = "model-not-loaded"  // the server is up without a model
	GatewayAsksAuth Fault = "gateway-asks-auth" // the ingress gateway sends everybody to a login page
)

// hash is what a knock brings back through a gateway: the hash of the Knative Ingress. Any 64 hex digits do.
const hash = "4be48ffd0cfeb08a63429b06cfcad1b5ebadb1f3d36dec61284185508c08b444"

// Plane is the data plane of one service.
type Plane struct {
	flow    *hops.Flow
	faults  map[Fault]bool
	servers []*http.Server
	parts   map[string]http.Handler
	at      map[string]string // target -> loopback address
	mu      sync.Mutex
	counts  map[string]int // requests that reached a part
}

// NewPlane starts the servers for a flow. Close stops them.
func NewPlane(flow *hops.Flow, faults ...Fault) (*Plane, error) {
	p := &Plane{flow: flow, faults: map[Fault]bool{}, parts: map[string]http.Handler{}, at: map[string]string{}, counts: map[string]int{}}
	for _, f := range faults {
		p.faults[f] = true
	}
	model := p.serve("model", p.model())
	if p.faults[ContainerDown] {
		model = closedPort()
	}
	queue := p.serve("queue-proxy", p.queueProxy(model))
	activator := p.serve("activator", p.activator(queue))
	local := p.serve("local-gateway", p.localGateway(activator, queue))
	ingress := p.serve("ingress-gateway", p.ingressGateway(local))
	for _, e := range flow.Entries {
		addresses := map[hops.Hop]string{hops.IngressGateway: ingress, hops.LocalGateway: local, hops.Activator: activator, hops.QueueProxy: queue, hops.Container: model}
		p.at[e.Target.String()] = addresses[e.Step.Hop]
	}
	for _, a := range p.at {
		if a == "" {
			p.Close()
			return nil, errors.New("the in-process data plane: no free port on 127.0.0.1")
		}
	}
	return p, nil
}

// serve starts one server on a free loopback port; "" when there is none.
func (p *Plane) serve(part string, h http.HandlerFunc) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.counts[part]++
		p.mu.Unlock()
		h(w, r)
	})
	p.parts[part] = counted
	s := &http.Server{Handler: counted, ReadHeaderTimeout: 10 * time.Second}
	p.servers = append(p.servers, s)
	go s.Serve(l) // ends with Close
	return l.Addr().String()
}

// closedPort is an address that nothing listens on.
func closedPort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}

// Close stops all servers at once.
func (p *Plane) Close() {
	for _, s := range p.servers {
		s.Close()
	}
}

// Count says how many requests reached a part: "model", "queue-proxy", "activator", "local-gateway", "ingress-gateway".
func (p *Plane) Count(part string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[part]
}

// Dial implements dial.Dialer: what the probe would reach in a cluster it reaches here.
func (p *Plane) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	address, ok := p.at[t.String()]
	if !ok {
		return nil, "", &dial.VantageError{Vantage: hops.InPod, Target: t, Err: fmt.Errorf("the in-process data plane has no %s", t)}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	return conn, hops.InPod, err
}

// forward passes a request on, with another Host, as Envoy and Knative's components do.
func forward(to, host string, header map[string]string, failed func(http.ResponseWriter, error)) http.HandlerFunc {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", to
			r.Out.Host = r.In.Host
			if host != "" {
				r.Out.Host = host
			}
			for k, v := range header {
				r.Out.Header.Set(k, v)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { failed(w, err) },
	}
	return proxy.ServeHTTP
}

// envoy marks answers as Envoy does: everything that passed carries the upstream's time, what it wrote itself does not.
func envoy(w http.ResponseWriter, passed bool) {
	w.Header().Set("Server", "istio-envoy")
	if passed {
		w.Header().Set("X-Envoy-Upstream-Service-Time", "1")
	}
}

// own writes an answer that a gateway makes itself.
func own(w http.ResponseWriter, status int, body string) {
	envoy(w, false)
	if body == "" {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

// throughEnvoy passes a request on through a gateway.
func throughEnvoy(w http.ResponseWriter, r *http.Request, to, host string, header map[string]string) {
	marked := &marking{ResponseWriter: w}
	forward(to, host, header, func(w http.ResponseWriter, _ error) {
		own(w, http.StatusServiceUnavailable, "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure")
	})(marked, r)
}

// marking adds Envoy's headers just before the status goes out.
type marking struct {
	http.ResponseWriter
	done bool
}

func (m *marking) WriteHeader(status int) {
	if !m.done && m.Header().Get("Server") == "" {
		envoy(m, true)
	}
	m.done = true
	m.ResponseWriter.WriteHeader(status)
}

func (m *marking) Write(b []byte) (int, error) {
	if !m.done {
		m.WriteHeader(http.StatusOK)
	}
	return m.ResponseWriter.Write(b)
}

// hostIs compares a request's host without its port.
func hostIs(r *http.Request, hosts ...string) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	for _, h := range hosts {
		if h != "" && strings.EqualFold(h, host) {
			return true
		}
	}
	return false
}
