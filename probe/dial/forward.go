// forward.go: the dialer that goes through the API server to a pod: a tunnel, and in it a fresh pair of streams for each connection. There is no
// local listener. A tunnel carries one connection at a time and is kept for the next one if that ended well: data that nobody reads at the pod's
// end, as at a port where nobody listens, blocks other streams of the same tunnel for good (github.com/moby/spdystream, handleDataFrame).
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/httpstream"
	httpspdy "k8s.io/apimachinery/pkg/util/httpstream/spdy"
	wire "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/transport/websocket"

	"probe/hops"
)

// PortForward dials pods through the API server. It may be used from several goroutines.
type PortForward struct {
	config *rest.Config
	base   *url.URL
	pods   PodFinder
	life   context.Context
	end    context.CancelFunc
	pairs  atomic.Int64 // of streams, opened so far

	mu   sync.Mutex
	idle map[podName][]httpstream.Connection
}

type podName struct{ namespace, name string }

// NewPortForward makes a dialer of a cluster's configuration. Close it.
func NewPortForward(config *rest.Config, pods PodFinder) (*PortForward, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("read the API server's address: %w", err)
	}
	life, end := context.WithCancel(context.Background())
	return &PortForward{config: config, base: base, pods: pods, life: life, end: end, idle: map[podName][]httpstream.Connection{}}, nil
}

// Close ends all tunnels and the connections in them.
func (p *PortForward) Close() {
	p.end() // each connection watches it and takes its tunnel along
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, tunnels := range p.idle {
		for _, t := range tunnels {
			t.Close()
		}
		delete(p.idle, name)
	}
}

// Dial implements Dialer. A process that does not listen is told by the first read or write, not by Dial: the API server takes the streams
// before the pod's side is dialled.
func (p *PortForward) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	pod, err := p.choose(ctx, t)
	if err != nil {
		return nil, hops.PortForward, &VantageError{Vantage: hops.PortForward, Target: t, Err: err}
	}
	at := hops.Target{Kind: "pod", Namespace: pod.Namespace, Name: pod.Name, Port: pod.Port}
	conn, err := p.connect(ctx, at)
	if err != nil {
		return nil, hops.PortForward, placedError{&VantageError{Vantage: hops.PortForward, Target: at, Err: err, Hint: hint(err, at)}, Place{Target: at}}
	}
	return conn, hops.PortForward, nil
}

func (p *PortForward) choose(ctx context.Context, t hops.Target) (PodAddress, error) {
	switch t.Kind {
	case "pod": // the name is all that is needed
		return PodAddress{Namespace: t.Namespace, Name: t.Name, Port: t.Port}, nil
	case "service":
		return onePod(ctx, p.pods, t)
	}
	return PodAddress{}, errors.New("a port-forward leads to pods only")
}

// connect opens a pair of streams in an idle tunnel, or in a new one when there is none or it broke since.
func (p *PortForward) connect(ctx context.Context, at hops.Target) (net.Conn, error) {
	name := podName{at.Namespace, at.Name}
	if t := p.take(name); t != nil {
		conn, err := p.openStreams(ctx, t, at)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
	}
	t, err := p.dig(ctx, name)
	if err != nil {
		return nil, err
	}
	return p.openStreams(ctx, t, at)
}

// take gives an idle tunnel to the pod, or nil.
func (p *PortForward) take(name podName) httpstream.Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tunnels := p.idle[name]; len(tunnels) > 0; tunnels = p.idle[name] {
		t := tunnels[len(tunnels)-1]
		p.idle[name] = tunnels[:len(tunnels)-1]
		if !isClosed(t) {
			return t
		}
		t.Close()
	}
	return nil
}

// put keeps a tunnel for the next connection to the pod.
func (p *PortForward) put(name podName, t httpstream.Connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		t.Close()
		return
	}
	p.idle[name] = append(p.idle[name], t)
}

func isClosed(c httpstream.Connection) bool {
	select {
	case <-c.CloseChan():
		return true
	default:
		return false
	}
}

// dig opens a tunnel as kubectl does: SPDY inside a WebSocket, and plain SPDY where the API server or a proxy knows no WebSocket
// (k8s.io/kubectl/pkg/cmd/portforward). The two ask for different verbs of pods/portforward: get and create. Not every wait in there knows the
// context, so what comes after its end is thrown away.
func (p *PortForward) dig(ctx context.Context, name podName) (httpstream.Connection, error) {
	type result struct {
		tunnel httpstream.Connection
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	u := p.base.JoinPath("api", "v1", "namespaces", name.namespace, "pods", name.name, "portforward")
	out := make(chan result, 1)
	go func() {
		t, err := p.overWebSocket(ctx, u)
		if httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) {
			t, err = p.overSPDY(ctx, u)
		}
		out <- result{t, err}
	}()
	select {
	case r := <-out:
		if r.err != nil {
			return nil, fmt.Errorf("the API server has not opened a tunnel: %w", r.err)
		}
		return r.tunnel, nil
	case <-ctx.Done():
		go func() {
			if r := <-out; r.err == nil {
				r.tunnel.Close()
			}
		}()
		return nil, fmt.Errorf("the API server has not opened a tunnel: %w", ctx.Err())
	}
}

func (p *PortForward) overWebSocket(ctx context.Context, u *url.URL) (httpstream.Connection, error) {
	transport, holder, err := websocket.RoundTripperFor(p.config)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	conn, err := websocket.Negotiate(transport, holder, req, wire.WebsocketsSPDYTunnelingPortForwardV1)
	if err != nil {
		return nil, err
	}
	return httpspdy.NewClientConnectionWithPings(portforward.NewTunnelingConnection("probe", conn), portforward.PingPeriod)
}

func (p *PortForward) overSPDY(ctx context.Context, u *url.URL) (httpstream.Connection, error) {
	transport, upgrader, err := spdy.RoundTripperFor(p.config)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, err
	}
	conn, _, err := spdy.Negotiate(upgrader, &http.Client{Transport: transport}, req, portforward.PortForwardProtocolV1Name)
	return conn, err
}

// hint says what the user can do about a tunnel that did not open.
func hint(err error, at hops.Target) string {
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return fmt.Sprintf("grant get and create on pods/portforward in namespace %s, or give --address HOST:PORT for the ingress gateway", at.Namespace)
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("see: kubectl -n %s get pods", at.Namespace)
	}
	return "check that the API server answers and that kubectl port-forward works"
}
