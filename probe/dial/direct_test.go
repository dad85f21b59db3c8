// direct_test.go: the dialers that use the network as it is, and the choice between dialers.
package dial

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"probe/hops"
)

// fakeDNS is a name server on loopback: it knows the given names at 127.0.0.1, and no other.
func fakeDNS(t *testing.T, known []string) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			server.WriteTo(dnsAnswer(b[:n], known), from)
		}
	}()
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}
}

// dnsAnswer answers the one question of a query (RFC 1035, 4.1).
func dnsAnswer(query []byte, known []string) []byte {
	name, at := "", 12
	for query[at] != 0 {
		size := int(query[at])
		name += string(query[at+1:at+1+size]) + "."
		at += 1 + size
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	answer := append([]byte{}, query[:at+5]...)
	binary.BigEndian.PutUint16(answer[2:], 0x8183) // response, no such name
	binary.BigEndian.PutUint16(answer[10:], 0)     // no additional records
	for _, k := range known {
		if k+"." != name {
			continue
		}
		binary.BigEndian.PutUint16(answer[2:], 0x8180)
		if kind == 1 {
			binary.BigEndian.PutUint16(answer[6:], 1)
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
		}
	}
	return answer
}

// pods is a PodFinder that knows all.
type pods struct {
	list []PodAddress
	err  error
}

func (p pods) Pods(context.Context, hops.Target) ([]PodAddress, error) { return p.list, p.err }

func TestDirect(t *testing.T) {
	host, port, _ := splitPort(listen(t, says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
	resolver := &net.Resolver{PreferGo: true, Dial: fakeDNS(t, []string{"gw.istio-system.svc"})}
	service := hops.Target{Kind: "service", Namespace: "istio-system", Name: "gw", Port: port}
	pod := hops.Target{Kind: "pod", Namespace: "demo", Name: "echo-0", Port: port}
	tests := []struct {
		name   string
		target hops.Target
		pods   pods
		want   hops.Outcome
		err    string
	}{
		{"service by name", service, pods{}, hops.Answered, ""},
		{"unknown service", hops.Target{Kind: "service", Namespace: "x", Name: "gw", Port: port}, pods{}, hops.DNSFailed, "gw.x.svc"},
		{"pod that is not ready", pod, pods{list: []PodAddress{{IP: host}}}, hops.Answered, ""},
		{"pod with a port of its own", hops.Target{Kind: "pod", Port: 1}, pods{list: []PodAddress{{IP: host, Port: port}}}, hops.Answered, ""},
		{"pod without IP", pod, pods{list: []PodAddress{{}}}, hops.NoWay, "the pod has no IP yet"},
		{"no pod", pod, pods{}, hops.NoWay, "no pods found for pod demo/echo-0"},
		{"pods cannot be read", pod, pods{err: errors.New("forbidden")}, hops.NoWay, "find the pods of pod demo/echo-0:"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := NewSender(NewDirect(test.pods, net.Dialer{Resolver: resolver}))
			o := s.Send(t.Context(), Request{Entry: hops.Entry{Target: test.target, Host: "x"}})
			if o.Outcome != test.want || !strings.Contains(o.Err, test.err) || o.Vantage != hops.InPod || o.Target != test.target.String() {
				t.Errorf("got %s from %s at %s: %s", o.Outcome, o.Vantage, o.Target, o.Err)
			}
			if named := test.target.Kind == "service"; (o.Phases.DNS > 0) != named || (test.want == hops.DNSFailed && o.Phases.Connect != 0) {
				t.Errorf("phases %+v", o.Phases)
			}
		})
	}
}

// In a domain that is known, a Service's name is looked up whole: one question for each kind of address.
func TestDirectInDomain(t *testing.T) {
	_, port, _ := splitPort(listen(t, says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
	var asked atomic.Int32
	ask := fakeDNS(t, []string{"gw.istio-system.svc.cluster.local"})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		asked.Add(1)
		return ask(ctx, network, address)
	}}
	s := NewSender(NewDirect(pods{}, net.Dialer{Resolver: resolver}).In("cluster.local."))
	target := hops.Target{Kind: "service", Namespace: "istio-system", Name: "gw", Port: port}
	if o := s.Send(t.Context(), Request{Entry: hops.Entry{Target: target, Host: "x"}}); o.Outcome != hops.Answered || asked.Load() > 2 {
		t.Errorf("%s %s after %d questions", o.Outcome, o.Err, asked.Load())
	}
}

func TestClusterDomain(t *testing.T) {
	for text, want := range map[string]string{
		"search demo.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n": "cluster.local",
		"nameserver 10.96.0.10\nsearch a.svc.k8s.example.com svc.k8s.example.com. example.com":                    "k8s.example.com",
		"search example.com svc\n": "",
		"nameserver 127.0.0.53\n":  "",
		"":                         "",
	} {
		if got := ClusterDomain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestFixed(t *testing.T) {
	addr := listen(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.Close()
	})
	closed := closedPort(t)
	entry := hops.Entry{Target: hops.Target{Kind: "service", Namespace: "istio-system", Name: "gw", Port: 80}, Host: "x", Scheme: "http"}
	tests := []struct {
		name    string
		make    func() (*Fixed, error)
		outcome hops.Outcome
		vantage hops.Vantage
		target  string
		scheme  string
	}{
		{"address", func() (*Fixed, error) { return NewAddress(addr, net.Dialer{}) }, hops.Answered, hops.Address, addr, "http"},
		{"address refuses", func() (*Fixed, error) { return NewAddress(closed, net.Dialer{}) }, hops.Refused, hops.Address, closed, "http"},
		{"network", func() (*Fixed, error) { return NewNetwork("http://"+addr+"/x", net.Dialer{}) }, hops.Answered, hops.Network, addr, "http"},
		{"the URL's scheme", func() (*Fixed, error) { return NewNetwork("https://"+addr, net.Dialer{}) }, hops.TLSFailed, hops.Network, addr, "https"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := test.make()
			if err != nil {
				t.Fatal(err)
			}
			o := NewSender(d).Send(t.Context(), Request{Entry: entry})
			if o.Outcome != test.outcome || o.Vantage != test.vantage || o.Target != test.target || o.Scheme != test.scheme {
				t.Errorf("got %s from %s at %s by %s: %s", o.Outcome, o.Vantage, o.Target, o.Scheme, o.Err)
			}
		})
	}
}

func TestFixedPorts(t *testing.T) {
	for in, want := range map[string]string{"http://h": "h:80", "https://h/p": "h:443", "http://h:81": "h:81", "https://[::1]": "[::1]:443"} {
		d, err := NewNetwork(in, net.Dialer{})
		if err != nil || d.hostport != want {
			t.Errorf("%s: got %+v, %v", in, d, err)
		}
	}
	for _, in := range []string{"", "h", "grpc://h", "http://", "http://h:0", "http://h:x"} {
		if d, err := NewNetwork(in, net.Dialer{}); err == nil {
			t.Errorf("URL %q: got %+v", in, d)
		}
	}
	for _, in := range []string{"", "h", "h:", ":80", "h:0", "h:70000", "http://h:80"} {
		if d, err := NewAddress(in, net.Dialer{}); err == nil {
			t.Errorf("address %q: got %+v", in, d)
		}
	}
}

// way is a dialer that only says its name.
type way struct {
	vantage hops.Vantage
	err     error
}

func (w way) Dial(context.Context, hops.Target) (net.Conn, hops.Vantage, error) {
	return nil, w.vantage, w.err
}

func TestAuto(t *testing.T) {
	door := hops.Target{Kind: "service", Namespace: "istio-system", Name: "gw", Port: 80, Selector: map[string]string{"a": "b"}}
	inner := hops.Target{Kind: "pod", Namespace: "demo", Name: "echo-0", Port: 8012}
	other := door
	other.Port = 81
	inPod, address, network := way{vantage: hops.InPod}, way{vantage: hops.Address}, way{vantage: hops.Network}
	forward := way{vantage: hops.PortForward}
	forbidden := way{hops.PortForward, &VantageError{Vantage: hops.PortForward, Err: errors.New("forbidden")}}
	refused := way{hops.PortForward, io.ErrUnexpectedEOF}
	gone := way{hops.Network, &net.DNSError{Err: "no such host"}}
	tests := []struct {
		name   string
		auto   Auto
		target hops.Target
		want   hops.Vantage
		err    string
	}{
		{"in a pod", Auto{InPod: inPod, Forward: forward, Network: network}, door, hops.InPod, ""},
		{"in a pod, by an address that was given", Auto{InPod: inPod, Address: address, Forward: forward, Network: network}, door, hops.Address, ""},
		{"address for the door", Auto{Address: address, Forward: forward, Network: network}, door, hops.Address, ""},
		{"address is for the door only", Auto{Address: address, Forward: forward, Network: network}, inner, hops.PortForward, ""},
		{"another port is not the door", Auto{Address: address, Forward: forward, Network: network}, other, hops.PortForward, ""},
		{"port-forward goes before network", Auto{Forward: forward, Network: network}, door, hops.PortForward, ""},
		{"network when there is no way", Auto{Forward: forbidden, Network: network}, door, hops.Network, ""},
		{"network for the door only", Auto{Forward: forbidden, Network: network}, inner, hops.PortForward, "forbidden"},
		{"an answer of the target stands", Auto{Forward: refused, Network: network}, door, hops.PortForward, "unexpected EOF"},
		{"both fail", Auto{Forward: forbidden, Network: way{hops.Network, io.ErrUnexpectedEOF}}, door, hops.Network, "unexpected EOF (tried after port-forward: no way to"},
		{"a name that nobody asked to resolve is no fault of the service", Auto{Forward: forbidden, Network: gone}, door, hops.Network, "no way to service istio-system/gw:80 by network"},
		{"a name that somebody asked to resolve is", Auto{Network: gone}, door, hops.Network, "lookup : no such host"},
		{"no cluster", Auto{Network: network}, door, hops.Network, ""},
		{"nothing", Auto{Network: network}, inner, "", "give --kubeconfig"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.auto.Outside = hops.Target{Kind: "service", Namespace: "istio-system", Name: "gw", Port: 80}
			_, got, err := test.auto.Dial(t.Context(), test.target)
			if got != test.want || (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
