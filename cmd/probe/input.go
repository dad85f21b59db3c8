// input.go: what flags name outside themselves: payloads, certificates, the progress line.
package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"probe/probe/dial"
)

// maxPayload is the most that is sent as a body.
const maxPayload = 16 << 20

// payload reads --data. A body that looks like JSON must be JSON.
func payload(data string, in io.Reader) ([]byte, error) {
	var body []byte
	var err error
	switch {
	case data == "":
		return nil, nil
	case data == "@-":
		body, err = io.ReadAll(io.LimitReader(in, maxPayload+1))
	case strings.HasPrefix(data, "@"):
		body, err = os.ReadFile(data[1:])
	default:
		body = []byte(data)
	}
	switch {
	case err != nil:
		return nil, usage("--data: %w", err)
	case len(body) == 0:
		return nil, usage("--data %s: it is empty", data)
	case len(body) > maxPayload:
		return nil, usage("--data %s: more than %d MiB", data, maxPayload>>20)
	}
	text := strings.TrimSpace(string(body))
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		var any json.RawMessage
		if err := json.Unmarshal(body, &any); err != nil {
			at := ""
			if s, ok := errors.AsType[*json.SyntaxError](err); ok {
				at = fmt.Sprintf(" at byte %d", s.Offset)
			}
			return nil, usage("--data: not JSON%s: %w", at, err)
		}
	}
	return body, nil
}

// tls gives the option for https URLs.
func (o *oneShot) tls() (dial.Option, error) {
	if o.caFile == "" {
		return dial.WithTLS(nil, o.insecure), nil
	}
	raw, err := os.ReadFile(o.caFile)
	if err != nil {
		return nil, usage("--ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, usage("--ca-file %s: no certificate in it; it must be PEM", o.caFile)
	}
	return dial.WithTLS(pool, o.insecure), nil
}

// clusterDomain is the domain of the Services of the cluster in which this process is a pod.
func clusterDomain() string {
	raw, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return "" // the names are then looked up as the resolver can
	}
	return dial.ClusterDomain(string(raw))
}

func netDialer() net.Dialer { return net.Dialer{Timeout: 5 * time.Second} }

// progress shows one changing line on a terminal, and nothing in a pipe.
type progress struct {
	mu   sync.Mutex
	w    io.Writer
	show bool
	on   bool
}

func newProgress(s streams, want bool) *progress {
	return &progress{w: s.err, show: want && terminal(s.err)}
}

func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.show {
		fmt.Fprintf(p.w, "\r\033[K%s ...", line)
		p.on = true
	}
}

func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on {
		fmt.Fprint(p.w, "\r\033[K")
	}
	p.on = false
}
