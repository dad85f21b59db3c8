// forward_test.go: the port-forward dialer against an API server on loopback that speaks the real subresource, as SPDY and as SPDY in a WebSocket.
package dial

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
	wire "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"

	"probe/hops"
)

// api is an API server that forwards ports of the pods that it knows to addresses on loopback. Its pods answer as their name says.
type api struct {
	webSocket bool
	ports     map[string]string // "pod:port" to address
	tunnels   atomic.Int32
	verbs     sync.Map // methods that were used
	mu        sync.Mutex
	open      []httpstream.Connection
	raw       []io.Closer // WebSockets below them
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/") // /api/v1/namespaces/NS/pods/POD/portforward
	if len(parts) != 8 || parts[7] != "portforward" {
		http.NotFound(w, r)
		return
	}
	a.verbs.Store(r.Method, true)
	switch name := parts[6]; {
	case name == "forbidden":
		refuse(w, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, name, errors.New("no rights")))
	case name == "absent":
		refuse(w, apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, name))
	case name == "stalls":
		<-r.Context().Done()
	case websocket.IsWebSocketUpgrade(r) && a.webSocket:
		a.overWebSocket(w, r, name)
	case websocket.IsWebSocketUpgrade(r):
		refuse(w, apierrors.NewBadRequest("Upgrade request required"))
	default:
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err == nil {
			a.serve(name, func(h httpstream.NewStreamHandler) httpstream.Connection {
				return spdy.NewResponseUpgrader().UpgradeResponse(w, r, h)
			})
		}
	}
}

func refuse(w http.ResponseWriter, err *apierrors.StatusError) {
	err.ErrStatus.Kind, err.ErrStatus.APIVersion = "Status", "v1"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(err.ErrStatus.Code))
	json.NewEncoder(w).Encode(err.ErrStatus)
}

func (a *api) overWebSocket(w http.ResponseWriter, r *http.Request, pod string) {
	u := websocket.Upgrader{Subprotocols: []string{wire.WebsocketsSPDYTunnelingPortForwardV1}}
	conn, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	a.mu.Lock()
	a.raw = append(a.raw, conn)
	a.mu.Unlock()
	a.serve(pod, func(h httpstream.NewStreamHandler) httpstream.Connection {
		c, err := spdy.NewServerConnection(portforward.NewTunnelingConnection("server", conn), h)
		if err != nil {
			return nil
		}
		return c
	})
}

// serve pairs streams by their request id and forwards each pair, as the kubelet does (k8s.io/kubelet/pkg/cri/streaming/portforward).
func (a *api) serve(pod string, upgrade func(httpstream.NewStreamHandler) httpstream.Connection) {
	a.tunnels.Add(1)
	streams := make(chan httpstream.Stream, 16)
	conn := upgrade(func(s httpstream.Stream, replied <-chan struct{}) error {
		go func() { <-replied; streams <- s }()
		return nil
	})
	if conn == nil {
		return
	}
	a.mu.Lock()
	a.open = append(a.open, conn)
	a.mu.Unlock()
	half := map[string]httpstream.Stream{}
	for {
		select {
		case <-conn.CloseChan():
			return
		case s := <-streams:
			id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
			other, paired := half[id]
			if !paired {
				half[id] = s
				continue
			}
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				s, other = other, s
			}
			go a.forward(pod, s, other)
		}
	}
}

// forward connects one pair and reports failures in the words of containerd and the kubelet.
func (a *api) forward(pod string, data, errs httpstream.Stream) {
	defer data.Close()
	defer errs.Close()
	port := data.Headers().Get(corev1.PortHeader)
	if pod == "speechless" {
		fmt.Fprintf(errs, "error forwarding port %s to pod 4f2a, uid : network namespace for sandbox \"4f2a\" is closed", port)
		return
	}
	conn, err := net.Dial("tcp4", a.ports[pod+":"+port])
	if err != nil {
		fmt.Fprintf(errs, "error forwarding port %s to pod 4f2a, uid : failed to execute portforward in network namespace \"/run/netns/x\": "+
			"failed to connect to localhost:%s inside namespace \"4f2a\", IPv4: %v IPv6 dial tcp6: address localhost: no suitable address ", port, port, err)
		return
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, data)
		conn.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(data, conn)
}

// breakTunnels ends all tunnels from the server's side.
func (a *api) breakTunnels() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.open {
		c.Close()
	}
	a.open = nil
}

// vanish ends the network connections below the tunnels.
func (a *api) vanish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.raw {
		c.Close()
	}
}

// cluster starts an API server and a dialer for it.
func cluster(t testing.TB, a *api, finder PodFinder) *PortForward {
	t.Helper()
	server := httptest.NewServer(a)
	server.Config.ErrorLog = quiet()
	t.Cleanup(server.Close)
	p, err := NewPortForward(&rest.Config{Host: server.URL}, finder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.breakTunnels) // hijacked connections are not the server's to close
	t.Cleanup(p.Close)
	return p
}

// model is a server in a pod.
func model(t testing.TB) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(30 * time.Millisecond)
		fmt.Fprint(w, r.Method, " ", r.Host, " ", r.URL.Path)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func podEntry(name string, port int) hops.Entry {
	return hops.Entry{Host: "echo.demo.example.com", Target: hops.Target{Kind: "pod", Namespace: "demo", Name: name, Port: port}}
}

func TestPortForward(t *testing.T) {
	finder := pods{list: []PodAddress{{"demo", "unready", "", 8080, false}, {"demo", "ready", "", 8080, true}}}
	service := hops.Entry{Host: "echo.demo.example.com", Target: hops.Target{Kind: "service", Namespace: "demo", Name: "echo", Port: 80}}
	address := hops.Entry{Host: "x", Target: hops.Target{Kind: "address", Name: "x", Port: 80}}
	tests := []struct {
		name    string
		entry   hops.Entry
		finder  pods
		want    hops.Outcome
		target  string
		err     string // part of Err
		notErr  string
		timeout time.Duration
	}{
		{name: "pod", entry: podEntry("ready", 8080), want: hops.Answered, target: "pod demo/ready:8080"},
		{name: "first ready pod of a service", entry: service, finder: finder, want: hops.Answered, target: "pod demo/ready:8080"},
		{name: "no pod of a service is ready", entry: service, finder: pods{list: finder.list[:1]}, want: hops.NoWay, target: "service demo/echo:80",
			err: "none of the 1 pods of service demo/echo:80 is ready"},
		{name: "no pods", entry: service, want: hops.NoWay, target: "service demo/echo:80", err: "no pods found for service demo/echo:80"},
		{name: "address", entry: address, want: hops.NoWay, target: "x:80", err: "a port-forward leads to pods only"},
		{name: "nobody listens", entry: podEntry("ready", 8081), want: hops.Refused, target: "pod demo/ready:8081",
			err: "port 8081 of pod demo/ready: failed to connect to localhost:8081", notErr: "netns"},
		{name: "closes early", entry: podEntry("ready", 8082), want: hops.ClosedEarly, target: "pod demo/ready:8082", err: "EOF"},
		{name: "stalls", entry: podEntry("ready", 8083), want: hops.Timeout, target: "pod demo/ready:8083", timeout: time.Second},
		{name: "sandbox is gone", entry: podEntry("speechless", 8080), want: hops.NoWay, target: "pod demo/speechless:8080", err: "is closed"},
		{name: "forbidden", entry: podEntry("forbidden", 8080), want: hops.NoWay, target: "pod demo/forbidden:8080",
			err: "pods \"forbidden\" is forbidden: no rights; grant get and create on pods/portforward in namespace demo"},
		{name: "pod not found", entry: podEntry("absent", 8080), want: hops.NoWay, target: "pod demo/absent:8080",
			err: `pods "absent" not found; see: kubectl -n demo get pods`},
		{name: "API server stalls", entry: podEntry("stalls", 8080), want: hops.NoWay, target: "pod demo/stalls:8080",
			err: "the API server has not opened a tunnel", timeout: time.Second},
	}
	for _, webSocket := range []bool{false, true} {
		ports := map[string]string{"ready:8080": model(t), "ready:8081": closedPort(t),
			"ready:8082": listen(t, func(c net.Conn) { readRequest(c); c.Close() }),
			"ready:8083": listen(t, func(c net.Conn) { defer c.Close(); readRequest(c); time.Sleep(2 * time.Second) })}
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s, WebSocket %t", test.name, webSocket), func(t *testing.T) {
				p := cluster(t, &api{webSocket: webSocket, ports: ports}, test.finder)
				o := NewSender(p, WithTimeout(cmp.Or(test.timeout, 5*time.Second))).Send(t.Context(), Request{Entry: test.entry, Path: "/p"})
				if o.Outcome != test.want || o.Target != test.target || o.Vantage != hops.PortForward || !strings.Contains(o.Err, test.err) {
					t.Errorf("got %s at %s by %s: %s", o.Outcome, o.Target, o.Vantage, o.Err)
				}
				if test.notErr != "" && strings.Contains(o.Err, test.notErr) {
					t.Errorf("error holds %q: %s", test.notErr, o.Err)
				}
				if o.Outcome == hops.Answered && (o.Body != "GET echo.demo.example.com /p" || o.Peer != "demo/ready:8080" || o.Phases.Connect <= 0) {
					t.Errorf("got %+v", o)
				}
				if o.Took > 4*time.Second {
					t.Errorf("took %s", o.Took)
				}
			})
		}
	}
}

func TestAPIServerAway(t *testing.T) {
	p, err := NewPortForward(&rest.Config{Host: closedPort(t)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o := NewSender(p).Send(t.Context(), Request{Entry: podEntry("ready", 8080)})
	if o.Outcome != hops.NoWay || !strings.Contains(o.Err, "connection refused; check that the API server answers") {
		t.Errorf("got %s: %s", o.Outcome, o.Err)
	}
}

// TestSideBySide sends many requests at once, some to a port where nobody listens. The pods answer only when all that reach them are there: had
// one to wait for another, none would.
func TestSideBySide(t *testing.T) {
	for range 2 {
		var present sync.WaitGroup
		present.Add(20)
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { present.Done(); present.Wait() }))
		addr := server.Listener.Addr().String()
		a := &api{webSocket: true, ports: map[string]string{"a:8080": addr, "b:8080": addr, "b:9": closedPort(t)}}
		s := NewSender(cluster(t, a, nil))
		var wait sync.WaitGroup
		for i := range 30 {
			entry, want := podEntry([]string{"a", "b", "b"}[i%3], []int{8080, 8080, 9}[i%3]), []hops.Outcome{hops.Answered, hops.Answered, hops.Refused}[i%3]
			wait.Go(func() {
				if o := s.Send(t.Context(), Request{Entry: entry, Body: []byte("{}")}); o.Outcome != want {
					t.Errorf("%s: got %s, want %s: %s", o.Target, o.Outcome, want, o.Err)
				}
			})
		}
		wait.Wait()
		if t.Failed() {
			return // the server has requests that still wait
		}
		server.Close()
	}
}

// TestTunnelsAreUsedAgain counts the tunnels of requests that follow each other: after an answer the tunnel is kept, after a failure or a body
// that the pod may not have read it is not.
func TestTunnelsAreUsedAgain(t *testing.T) {
	tests := []struct {
		name string
		port int
		body int
		want int32
	}{
		{"answers", 8080, 10, 1},
		{"nobody listens", 9, 10, 4},
		{"large body", 8080, 1 << 20, 4},
		{"the pod closes first", 8082, 10, 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := &api{webSocket: true, ports: map[string]string{"a:8080": model(t), "a:9": closedPort(t),
				"a:8082": listen(t, says("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"))}}
			s := NewSender(cluster(t, a, nil))
			for range 4 {
				s.Send(t.Context(), Request{Entry: podEntry("a", test.port), Body: make([]byte, test.body)})
			}
			if n := a.tunnels.Load(); n != test.want {
				t.Errorf("%d tunnels, want %d", n, test.want)
			}
		})
	}
}

func TestBrokenTunnelIsReplaced(t *testing.T) {
	a := &api{ports: map[string]string{"a:8080": model(t)}}
	s := NewSender(cluster(t, a, nil))
	for i := range 3 {
		if o := s.Send(t.Context(), Request{Entry: podEntry("a", 8080)}); o.Outcome != hops.Answered {
			t.Errorf("request %d: %s: %s", i, o.Outcome, o.Err)
		}
		a.breakTunnels()
	}
	if n := a.tunnels.Load(); n != 3 {
		t.Errorf("%d tunnels", n)
	}
}

func TestTunnelBreaksDuringRequest(t *testing.T) {
	a := &api{webSocket: true}
	a.ports = map[string]string{"a:8080": listen(t, func(c net.Conn) { defer c.Close(); readRequest(c); a.vanish(); time.Sleep(time.Second) })}
	o := NewSender(cluster(t, a, nil)).Send(t.Context(), Request{Entry: podEntry("a", 8080)})
	if o.Outcome != hops.NoWay || !strings.Contains(o.Err, "the tunnel through the API server broke off") {
		t.Errorf("got %s: %s", o.Outcome, o.Err)
	}
}

// TestCloseFreesAll watches that a closed dialer opens nothing more and that its connections end.
func TestCloseFreesAll(t *testing.T) {
	a := &api{webSocket: true, ports: map[string]string{"a:8080": listen(t, func(c net.Conn) { defer c.Close(); time.Sleep(2 * time.Second) })}}
	p := cluster(t, a, nil)
	conn, _, err := p.Dial(t.Context(), podEntry("a", 8080).Target)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("read after Close: %v", err)
	}
	if _, _, err := p.Dial(t.Context(), podEntry("a", 8080).Target); !errors.Is(err, context.Canceled) {
		t.Errorf("dial after Close: %v", err)
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func TestDeadlinesOfPodConnections(t *testing.T) {
	a := &api{webSocket: true, ports: map[string]string{"a:8080": listen(t, func(c net.Conn) { defer c.Close(); time.Sleep(time.Second) })}}
	conn, _, err := cluster(t, a, nil).Dial(t.Context(), podEntry("a", 8080).Target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkPortForward(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer server.Close()
	s := NewSender(cluster(b, &api{webSocket: true, ports: map[string]string{"a:8080": server.Listener.Addr().String()}}, nil))
	b.ReportAllocs()
	for b.Loop() {
		if o := s.Send(b.Context(), Request{Entry: podEntry("a", 8080)}); o.Outcome != hops.Answered {
			b.Fatal(o.Err)
		}
	}
}
