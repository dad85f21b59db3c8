// light.go: very many services for load: copies of the healthy demo, all behind one gateway that answers for their models itself.
package inproc

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// Light is a fleet of healthy services that costs little: the API server makes their objects when they are read, and one server is all gateways,
// queue-proxies and models.
type Light struct {
	API     *API
	refs    []hops.Ref
	server  *http.Server
	address string
	targets map[string]*target // by "namespace/name"; read only
	strays  atomic.Int64
}

// target is what is known of one service.
type target struct {
	requests, knocks atomic.Int64
	broken           atomic.Bool
}

// StartLight plays so many services, perNamespace in each namespace. Close it.
func StartLight(services, perNamespace int) (*Light, error) {
	d := Demos()[0]
	run, err := d.load()
	if err != nil {
		return nil, err
	}
	s := hops.Join(run.Snapshots)
	rejuvenate(&s, time.Since(s.Time))
	made, err := moulds(&s, d.Ref)
	if err != nil {
		return nil, err
	}
	l := &Light{targets: make(map[string]*target, services)}
	for i := range services {
		ref := hops.Ref{Namespace: fmt.Sprintf("team-%04d", i/perNamespace), Name: fmt.Sprintf("model-%05d", i)}
		l.refs, l.targets[ref.String()] = append(l.refs, ref), &target{}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the in-process gateway: %w", err)
	}
	l.address = listener.Addr().String()
	l.server = &http.Server{Handler: http.HandlerFunc(l.serve), ReadHeaderTimeout: 10 * time.Second}
	go l.server.Serve(listener) // ends with Close
	if l.API, err = NewAPI(&hops.Snapshot{Time: s.Time}); err == nil {
		err = l.API.pour(made, l.refs)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// pour puts a cast of each mould there for each service. InferenceServices are kept as they are, since they may be changed.
func (a *API) pour(made []*mould, refs []hops.Ref) error {
	for _, ref := range refs {
		for _, m := range made {
			of, key := &cast{m, ref}, m.key.of(ref)
			if m.info.Source != hops.InferenceServices {
				a.store.load(resource(m.info), &entry{key: key, of: of})
				continue
			}
			if err := a.load(m.info, key, (&entry{of: of}).tree()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Refs lists the services.
func (l *Light) Refs() []hops.Ref { return l.refs }

// Address is HOST:PORT of the gateway.
func (l *Light) Address() string { return l.address }

// Host is the name by which callers from outside ask for a service.
func (l *Light) Host(ref hops.Ref) string { return ref.Name + "." + ref.Namespace + ".example.com" }

// Requests counts the real requests for a service, and the knocks.
func (l *Light) Requests(ref hops.Ref) (requests, knocks int64) {
	t := l.targets[ref.String()]
	if t == nil {
		return 0, 0
	}
	return t.requests.Load(), t.knocks.Load()
}

// Strays counts the requests for hosts of no service.
func (l *Light) Strays() int64 { return l.strays.Load() }

// Break lets the gateway find no backend for a service, or mends it.
func (l *Light) Break(ref hops.Ref, broken bool) {
	if t := l.targets[ref.String()]; t != nil {
		t.broken.Store(broken)
	}
}

// Dial implements dial.Dialer: everything leads to the one server.
func (l *Light) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.address)
	if err != nil {
		return nil, hops.InPod, fmt.Errorf("dial %s: %w", t, err)
	}
	return conn, hops.InPod, nil
}

var _ dial.Dialer = (*Light)(nil)

// Close stops all.
func (l *Light) Close() {
	l.server.Close()
	if l.API != nil {
		l.API.Close()
	}
}

// serve answers as the whole path does.
func (l *Light) serve(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(r.Host, ".")
	namespace, _, _ := strings.Cut(rest, ".")
	name = strings.TrimSuffix(name, "-predictor")
	t := l.targets[namespace+"/"+name]
	if t == nil {
		l.strays.Add(1)
		own(w, http.StatusNotFound, "")
		return
	}
	if r.Header.Get("K-Network-Hash") == "override" {
		r.Header.Set("K-Network-Hash", hash)
	}
	switch {
	case t.broken.Load():
		own(w, http.StatusServiceUnavailable, "no healthy upstream")
	case r.Header.Get("K-Network-Probe") == "probe":
		t.knocks.Add(1)
		envoy(w, true)
		knock(w, r)
	default:
		t.requests.Add(1)
		envoy(w, true)
		reply(w, r, name, true)
	}
}
