// place.go: where a request went, by its URL, its Host and the command around it; and the list of what requests saw.
package paste

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"probe/hops"
)

// place fills in where a request went: from its URL, its Host header, the command around it.
func (p *parser) place(o *hops.Observation, raw string, c call) {
	if o.Host == "" {
		o.Host = c.host
	}
	if o.Method == "" {
		o.Method = c.method
	}
	if strings.Contains(raw, "$") {
		raw = ""
	}
	if raw == "" && o.Host == "" && o.Target == "" {
		raw = p.code
	}
	if raw != "" && !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	if u, err := url.Parse(raw); err == nil && raw != "" {
		o.Scheme = u.Scheme
		if o.Host == "" || strings.Contains(o.Host, "$") {
			o.Host = u.Host
		}
		if o.Target == "" {
			o.Target = u.Host
		}
		if o.Path == "" {
			o.Path = u.Path
		}
	}
	if strings.ContainsAny(c.host, "$<{") && strings.Contains(raw, o.Host) || strings.ContainsAny(o.Host, "$<{") {
		o.Host = "" // a variable of the shell
	}
	if o.Host == "" && c.host == "" {
		o.Host = bare(o.Target)
	}
	o.Step = hops.Step{Hop: hops.Client, Door: hops.Outside}
	host := bare(o.Host)
	if strings.HasSuffix(host, ".svc.cluster.local") || strings.HasSuffix(host, ".svc") {
		o.Step.Door = hops.ClusterLocal
	}
	target := bare(o.Target)
	local := target == "localhost" || strings.HasPrefix(target, "127.")
	switch {
	case local && host != target:
		o.Vantage = hops.PortForward
	case local:
		o.Vantage = hops.PortForward
		p.innerStep(o)
	case target != "" && host != target:
		o.Vantage = hops.Address
	default:
		o.Vantage = hops.Network
	}
}

// innerStep places a request to the caller's own machine that a port-forward or an exec led into a pod of the service.
func (p *parser) innerStep(o *hops.Observation) {
	if name := p.hint.name; hops.ComponentInName(name) != "" {
		o.Step = hops.Step{Hop: hops.Container, Component: hops.ComponentInName(name), Revision: hops.RevisionInName(name)}
		if strings.HasSuffix(o.Target, ":8012") {
			o.Step.Hop = hops.QueueProxy
		}
	}
}

// bare is a host without its port.
func bare(h string) string {
	if host, _, err := net.SplitHostPort(h); err == nil {
		h = host
	}
	return strings.ToLower(strings.Trim(h, "[]"))
}

// observe keeps one observation.
func (p *parser) observe(o hops.Observation, no int) {
	if len(p.seen) >= maxSeen {
		p.dropped["request"]++
		return
	}
	o.From = fmt.Sprintf("%s:%d", p.name, max(no, 1))
	p.mentionHost(o.Host, o.Path)
	p.seen = append(p.seen, o)
}
