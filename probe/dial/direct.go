// direct.go: the dialers that use the network as it is: from inside a pod, to an address that was given, and to the service's own URL.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"probe/hops"
)

// Direct dials from inside the cluster's network: Services by their name, pods by their IP.
type Direct struct {
	pods   PodFinder
	net    net.Dialer
	domain string
}

// NewDirect makes a Direct. The net.Dialer may carry a resolver and limits of its own; its zero value will do.
func NewDirect(pods PodFinder, d net.Dialer) *Direct { return &Direct{pods: pods, net: d} }

// In says in which domain the cluster's Services are, as "cluster.local": their names are then looked up whole, with one question instead of one for
// each entry of a pod's search list.
func (d *Direct) In(domain string) *Direct {
	d.domain = strings.Trim(domain, ".")
	return d
}

// ClusterDomain reads the cluster's domain from a pod's resolv.conf, where the kubelet writes "search NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN"
// (kubernetes/pkg/kubelet/network/dns, generateSearchesForDNSClusterFirst); "" when it is none of the kubelet's.
func ClusterDomain(resolvConf string) string {
	for line := range strings.Lines(resolvConf) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "search" {
			continue
		}
		for _, f := range fields[1:] {
			if domain, found := strings.CutPrefix(strings.TrimSuffix(f, "."), "svc."); found {
				return domain
			}
		}
	}
	return ""
}

// Dial implements Dialer.
func (d *Direct) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	host, port := t.Name, t.Port
	switch t.Kind {
	case "service":
		host = t.Name + "." + t.Namespace + ".svc" // the search list of every pod's resolv.conf ends it
		if d.domain != "" {
			host += "." + d.domain + "."
		}
	case "pod":
		pod, err := onePod(ctx, d.pods, t)
		if err == nil && pod.IP == "" {
			err = errors.New("the pod has no IP yet")
		}
		if err != nil {
			return nil, hops.InPod, &VantageError{Vantage: hops.InPod, Target: t, Err: err}
		}
		host, port = pod.IP, pod.Port
	}
	conn, err := d.net.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	return conn, hops.InPod, err
}

// onePod picks the pod to dial: the target itself, or the first ready one behind it.
func onePod(ctx context.Context, pods PodFinder, t hops.Target) (PodAddress, error) {
	found, err := pods.Pods(ctx, t)
	if err != nil {
		return PodAddress{}, fmt.Errorf("find the pods of %s: %w", t, err)
	}
	for _, p := range found {
		if p.Ready || t.Kind == "pod" {
			if p.Port == 0 {
				p.Port = t.Port
			}
			return p, nil
		}
	}
	if len(found) > 0 {
		return PodAddress{}, fmt.Errorf("none of the %d pods of %s is ready", len(found), t)
	}
	return PodAddress{}, fmt.Errorf("no pods found for %s", t)
}

// Fixed dials one address, whatever it is asked for.
type Fixed struct {
	vantage  hops.Vantage
	hostport string
	place    Place
	net      net.Dialer
}

// NewAddress makes a dialer of the address that the user gave for the outside door's gateway.
func NewAddress(hostport string, d net.Dialer) (*Fixed, error) {
	host, port, err := splitPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("address %q is not HOST:PORT: %w", hostport, err)
	}
	return newFixed(hops.Address, host, port, "", d), nil
}

// NewNetwork makes a dialer of the host in the service's URL; the URL's scheme goes before the entry's.
func NewNetwork(rawURL string, d net.Dialer) (*Fixed, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read the service's URL: %w", err)
	}
	port := 80
	switch {
	case u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the service's URL %q is not http://HOST or https://HOST", u.Redacted())
	case u.Port() != "":
		if _, port, err = splitPort(u.Host); err != nil {
			return nil, fmt.Errorf("read the service's URL: %w", err)
		}
	case u.Scheme == "https":
		port = 443
	}
	return newFixed(hops.Network, u.Hostname(), port, u.Scheme, d), nil
}

func newFixed(v hops.Vantage, host string, port int, scheme string, d net.Dialer) *Fixed {
	return &Fixed{vantage: v, hostport: net.JoinHostPort(host, strconv.Itoa(port)), net: d,
		place: Place{Target: hops.Target{Kind: "address", Name: host, Port: port}, Scheme: scheme}}
}

// Dial implements Dialer.
func (f *Fixed) Dial(ctx context.Context, _ hops.Target) (net.Conn, hops.Vantage, error) {
	conn, err := f.net.DialContext(ctx, "tcp", f.hostport)
	if err != nil {
		return nil, f.vantage, placedError{err, f.place}
	}
	return placedConn{conn, f.place}, f.vantage, nil
}

func splitPort(hostport string) (string, int, error) {
	host, text, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || host == "" {
		return "", 0, errors.New("want a host and a port from 1 to 65535")
	}
	return host, int(port), nil
}
