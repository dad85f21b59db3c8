// sender.go: the Sender, its options, and one request from the first to the last byte.
package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"probe/hops"
)

// Sender sends requests. It may be used from several goroutines.
type Sender struct {
	dialer  Dialer
	agent   string
	timeout time.Duration
	tls     tls.Config
	redact  func(string) string
	now     func() time.Time

	keep bool
	mu   sync.Mutex
	kept map[string][]*line
}

// An Option changes a Sender.
type Option func(*Sender)

// WithVersion sets the version in the User-Agent.
func WithVersion(v string) Option { return func(s *Sender) { s.agent = "probe/" + v } }

// WithTimeout bounds each request, from the name's resolution to the last byte of the answer.
func WithTimeout(d time.Duration) Option { return func(s *Sender) { s.timeout = d } }

// WithTLS sets how a server's certificate is checked; nil roots mean the system's.
func WithTLS(roots *x509.CertPool, insecure bool) Option {
	return func(s *Sender) { s.tls.RootCAs, s.tls.InsecureSkipVerify = roots, insecure }
}

// WithRedact sets what every text passes on its way into an observation.
func WithRedact(f func(string) string) Option { return func(s *Sender) { s.redact = f } }

// WithClock sets the clock.
func WithClock(now func() time.Time) Option { return func(s *Sender) { s.now = now } }

// WithKeepAlive keeps connections for the next request to the same entry. Such a request has no DNS, connect and TLS phase, and a kept
// connection hides faults of all three: it is for load, not for diagnosis.
func WithKeepAlive() Option { return func(s *Sender) { s.keep = true } }

// NewSender makes a Sender: 10 s a request, certificates checked against the system's roots, every request on a fresh connection.
func NewSender(d Dialer, options ...Option) *Sender {
	s := &Sender{dialer: d, agent: "probe", timeout: 10 * time.Second, now: time.Now, redact: func(t string) string { return t },
		kept: map[string][]*line{}}
	for _, o := range options {
		o(s)
	}
	return s
}

// Close ends the connections that were kept. The dialer stays open.
func (s *Sender) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, lines := range s.kept {
		for _, l := range lines {
			l.close()
		}
		delete(s.kept, key)
	}
}

// Send sends one request and tells what it saw. It ends at the context's end, at the sender's timeout, or with the answer, whichever is first.
func (s *Sender) Send(parent context.Context, r Request) hops.Observation {
	r.Entry.H2C = r.Entry.H2C || r.GRPC && r.Asked != hops.Knock // gRPC is HTTP/2 everywhere
	x := exchange{s: s, parent: parent, r: r, secrets: secretsOf(r), o: begin(r, s.now())}
	ctx, cancel := context.WithTimeout(parent, s.timeout)
	defer cancel()
	x.run(ctx)
	x.o.Took = s.now().Sub(x.o.Start)
	return x.o
}

// begin fills in what is known of an observation before anything was sent.
func begin(r Request, start time.Time) hops.Observation {
	o := hops.Observation{Step: r.Entry.Step, Asked: r.Asked, Target: r.Entry.Target.String(), Method: r.method(), Scheme: r.scheme(), Host: r.host(),
		Path: r.path(), Attempt: r.Attempt, Start: start, Invented: r.Invented, ColdStart: r.ColdStart, TraceID: r.TraceID, SpanID: r.SpanID}
	o.Credentials = r.Credentials && r.Asked != hops.Knock
	return o
}

// exchange is one Send under way.
type exchange struct {
	s       *Sender
	parent  context.Context
	r       Request
	secrets []string
	o       hops.Observation
}

func (x *exchange) run(ctx context.Context) {
	req, err := x.r.build(ctx, x.s.agent)
	if err != nil {
		x.fail(building, err, 0)
		return
	}
	if reused := x.s.take(&x.r); reused != nil {
		stale := x.try(req, reused)
		if !stale || ctx.Err() != nil {
			return
		}
		x.o = begin(x.r, x.s.now()) // the server had let go of the kept connection: that is no answer of the path
		if req, err = x.r.build(ctx, x.s.agent); err != nil {
			x.fail(building, err, 0)
			return
		}
	}
	l, at, err := x.open(ctx)
	if err != nil {
		x.fail(at, err, 0)
		return
	}
	x.try(req, l)
}

// try sends the request over a connection and keeps or closes it. It says whether a kept connection turned out to be gone before the server
// said anything.
func (x *exchange) try(req *http.Request, l *line) (stale bool) {
	x.o.Vantage, x.o.Target, x.o.Scheme, x.o.Peer = l.vantage, l.target, l.scheme, l.peer
	req.URL.Scheme = l.scheme
	before := l.raw.received.Load()
	whole := x.trip(req, l)
	if whole && x.s.keep {
		x.s.put(&x.r, l)
		return false
	}
	l.close()
	gone := x.o.Outcome == hops.ClosedEarly || x.o.Outcome == hops.ResetByPeer
	return gone && l.raw.received.Load() == before
}

// trip is the round trip itself; it says whether the whole answer was read.
func (x *exchange) trip(req *http.Request, l *line) bool {
	var watch stopwatch
	watch.now = x.s.now
	start := x.s.now()
	before := l.raw.received.Load()
	resp, err := l.http.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), watch.exchange())))
	if err != nil {
		x.phases(start, &watch)
		x.fail(exchanging, l.explainHead(err), l.raw.received.Load()-before)
		return false
	}
	defer resp.Body.Close()
	x.o.Status, x.o.Proto = resp.StatusCode, resp.Proto
	body, err := readBody(resp.Body)
	x.phases(start, &watch)
	x.answer(resp, body)
	if err != nil {
		x.fail(reading, l.explain(err), l.raw.received.Load()-before)
		return false
	}
	x.o.Outcome = hops.Answered
	return true
}

// phases derives the phases of the round trip from the stopwatch; the last one under way ends now.
func (x *exchange) phases(start time.Time, w *stopwatch) {
	end := x.s.now()
	wrote, first := w.marks()
	switch {
	case first.IsZero() && wrote.IsZero():
		x.o.Phases.Write = end.Sub(start)
	case first.IsZero():
		x.o.Phases.Write, x.o.Phases.Wait = wrote.Sub(start), end.Sub(wrote)
	default:
		if wrote.IsZero() || wrote.After(first) { // the answer came before the request was out
			wrote = first
		}
		x.o.Phases.Write, x.o.Phases.Wait, x.o.Phases.Body = wrote.Sub(start), first.Sub(wrote), end.Sub(first)
	}
}

func (x *exchange) fail(at stage, err error, received int64) {
	if p, ok := err.(Placed); ok {
		x.o.Target = p.Place().Target.String()
	}
	x.o.Outcome = classify(x.parent, at, err, received)
	x.o.Err = x.clean(at.says()+errText(err), 512)
}
