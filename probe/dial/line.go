// line.go: one connection that carries HTTP: opened, secured, counted, and kept when the sender keeps any.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"probe/hops"
)

// line is one connection that is ready for requests.
type line struct {
	raw     *counted
	http    *http.ClientConn
	vantage hops.Vantage
	target  string
	scheme  string
	h2c     bool
	peer    string
}

func (l *line) close() {
	l.http.Close()
	l.raw.Close()
}

// explain adds what the connection itself saw to an error of net/http, which does not always pass it on.
func (l *line) explain(err error) error {
	if seen := l.raw.failure(); seen != nil && !errors.Is(err, seen) {
		return &alsoSeen{err, seen}
	}
	return err
}

// explainHead does so for an answer whose head could not be read. net/http calls half a head malformed.
func (l *line) explainHead(err error) error {
	if l.raw.ended.Load() && isMalformed(err) && strings.HasPrefix(l.raw.start(), "HTTP/") && !l.h2c {
		return fmt.Errorf("the answer ends in the middle of its head: %w", io.ErrUnexpectedEOF)
	}
	return l.explain(err)
}

// alsoSeen is an error with another one below it that tells more.
type alsoSeen struct{ err, seen error }

func (e *alsoSeen) Error() string   { return fmt.Sprintf("%v (%v)", e.err, e.seen) }
func (e *alsoSeen) Unwrap() []error { return []error{e.err, e.seen} }

// open dials the entry and speaks TLS where it is asked for. On failure it says at which stage.
func (x *exchange) open(ctx context.Context) (*line, stage, error) {
	watch := stopwatch{now: x.s.now}
	start := x.s.now()
	conn, vantage, err := x.s.dialer.Dial(httptrace.WithClientTrace(ctx, watch.lookup()), x.r.Entry.Target)
	x.o.Vantage = vantage
	x.o.Phases.DNS = watch.resolving()
	x.o.Phases.Connect = max(x.s.now().Sub(start)-x.o.Phases.DNS, 1)
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns != nil {
		x.o.Phases.Connect = 0
	}
	if err != nil {
		return nil, dialling, err
	}
	l := &line{raw: &counted{Conn: conn}, vantage: vantage, target: x.o.Target, scheme: x.r.scheme(), h2c: x.r.Entry.H2C,
		peer: conn.RemoteAddr().String()}
	if p, ok := conn.(Placed); ok {
		l.target = p.Place().Target.String()
		if s := p.Place().Scheme; s != "" {
			l.scheme = s
		}
	}
	x.o.Target, x.o.Scheme, x.o.Peer = l.target, l.scheme, l.peer
	at, err := x.speak(ctx, l)
	if err != nil {
		conn.Close()
		return nil, at, l.explain(err)
	}
	return l, at, nil
}

// speak sets up what is spoken over the line: TLS if the scheme says so, then HTTP/1.1, or HTTP/2 for an entry that speaks nothing else.
func (x *exchange) speak(ctx context.Context, l *line) (stage, error) {
	var conn net.Conn = l.raw
	if l.scheme == "https" {
		config := x.s.tls.Clone()
		config.ServerName = hostName(x.r.host())
		config.NextProtos = []string{"http/1.1"}
		if x.r.Entry.H2C {
			config.NextProtos = []string{"h2"}
		}
		start := x.s.now()
		secured := tls.Client(l.raw, config)
		err := secured.HandshakeContext(ctx)
		x.o.Phases.TLS = x.s.now().Sub(start)
		if err != nil {
			return securing, err
		}
		conn = secured
	}
	given := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{DialContext: given, DialTLSContext: given, DisableCompression: true, MaxResponseHeaderBytes: 256 << 10,
		Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!x.r.Entry.H2C)
	transport.Protocols.SetHTTP2(x.r.Entry.H2C && l.scheme == "https")
	transport.Protocols.SetUnencryptedHTTP2(x.r.Entry.H2C && l.scheme != "https")
	var err error
	l.http, err = transport.NewClientConn(ctx, l.scheme, "unused:0") // the connection is there already
	return exchanging, err
}

// hostName is a host without its port.
func hostName(text string) string {
	if host, _, err := net.SplitHostPort(text); err == nil {
		return host
	}
	return text
}

// lineKey names the connections that can carry each other's requests.
func lineKey(r *Request) string {
	return fmt.Sprint(r.Entry.Target, r.scheme(), r.host(), r.Entry.H2C)
}

// take gives a kept connection that was still open when last heard of, or nil.
func (s *Sender) take(r *Request) *line {
	if !s.keep {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := lineKey(r)
	for len(s.kept[key]) > 0 {
		last := len(s.kept[key]) - 1
		l := s.kept[key][last]
		s.kept[key] = s.kept[key][:last]
		if l.http.Err() == nil {
			return l
		}
		l.close()
	}
	return nil
}

func (s *Sender) put(r *Request, l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := lineKey(r)
	s.kept[key] = append(s.kept[key], l)
}

// counted is a connection that counts what it receives, and remembers how that began and its first failure.
type counted struct {
	net.Conn
	received atomic.Int64
	head     atomic.Pointer[string] // of what was read first
	ended    atomic.Bool            // an EOF was read
	failed   atomic.Pointer[error]
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.received.Add(int64(n)) == int64(n) && n > 0 {
		head := string(b[:min(n, 16)])
		c.head.Store(&head)
	}
	if errors.Is(err, io.EOF) {
		c.ended.Store(true)
	}
	c.note(err)
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.note(err)
	return n, err
}

func (c *counted) note(err error) {
	if err != nil && !anyOf(err, io.EOF, net.ErrClosed, io.ErrClosedPipe) { // net/http tells of an EOF itself; the others are our own doing
		c.failed.CompareAndSwap(nil, &err)
	}
}

func (c *counted) start() string {
	if p := c.head.Load(); p != nil {
		return *p
	}
	return ""
}

func (c *counted) failure() error {
	if p := c.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// stopwatch takes the times of a request; net/http calls it from goroutines of its own.
type stopwatch struct {
	now          func() time.Time
	mu           sync.Mutex
	asked, found time.Time
	wrote, first time.Time
}

// lookup is the trace for dialling.
func (w *stopwatch) lookup() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{DNSStart: func(httptrace.DNSStartInfo) { w.mark(&w.asked) },
		DNSDone: func(httptrace.DNSDoneInfo) { w.mark(&w.found) }}
}

// exchange is the trace for a round trip.
func (w *stopwatch) exchange() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		WroteRequest: func(i httptrace.WroteRequestInfo) {
			if i.Err == nil {
				w.mark(&w.wrote)
			}
		},
		GotFirstResponseByte: func() { w.mark(&w.first) },
	}
}

// mark keeps the first time only: an interim answer's first byte is the answer's.
func (w *stopwatch) mark(t *time.Time) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.IsZero() {
		*t = now
	}
}

func (w *stopwatch) marks() (wrote, first time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrote, w.first
}

// resolving is how long the name took; a lookup that did not end is ended by now.
func (w *stopwatch) resolving() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.asked.IsZero():
		return 0
	case w.found.IsZero():
		return w.now().Sub(w.asked)
	}
	return w.found.Sub(w.asked)
}
