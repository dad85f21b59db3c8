// Package probe runs one probe of one InferenceService: it reads, resolves the path, sends requests side by side, reads more where something
// failed, and hands the facts to hops for the verdict. It knows neither the command line nor OpenTelemetry.
//
// options.go: what a caller chooses, and what a probe needs from outside.
package probe

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"probe/hops"
	"probe/probe/dial"
)

// Options are one probe's choices. The zero value of each field means its default.
type Options struct {
	Ref   hops.Ref
	Doors []hops.Door // both when empty

	Method string // GET, or POST with data
	Path   string // path and query; by protocol and model name when empty
	// Protocol is v1, v2 or grpc-v2; the service's own when empty. Of grpc-v2 Path is /SERVICE/METHOD and Data the message.
	Protocol string
	Header   http.Header
	Data     []byte
	// Credentials says that Header carries some, so that a 401 or 403 is an answer and not a gate.
	Credentials bool

	// Wake allows a real request to a service at zero.
	Wake bool
	// Spare sends only knocks to a service that may scale to zero: for canaries whose interval would keep it up.
	Spare bool

	// RequestTimeout bounds one request; 10 s, or 5 min with Wake.
	RequestTimeout time.Duration
	// Deadline bounds the whole run; 60 s, or RequestTimeout + 60 s with Wake.
	Deadline time.Duration
	// Logs asks for the gateways' access logs when a front door fails; they lag by a second or two.
	Logs bool

	// Unrecorded leaves it to the mesh's own sampling whether it records the requests: traceparent says that nobody asked for it.
	Unrecorded bool
	// FrontOnly leaves out of a light run what lies behind the front doors: it cannot be reached from here.
	FrontOnly bool
	// After is a light run that failed just now: the full run goes on from what it saw at the front doors, as one trace.
	After *hops.Run
	// Body takes the whole body of each answer to a real request, up to 1 MiB, by the request's span id, before redaction. It may be called from
	// several goroutines.
	Body func(spanID string, body []byte)
}

func (o Options) requestTimeout() time.Duration {
	if o.Wake {
		return cmp.Or(o.RequestTimeout, 5*time.Minute)
	}
	return cmp.Or(o.RequestTimeout, 10*time.Second)
}

func (o Options) deadline() time.Duration {
	return cmp.Or(o.Deadline, o.requestTimeout()+50*time.Second)
}

// Reader reads a cluster.
type Reader interface {
	// First does the reads of a healthy run. Its error says why there is nothing to probe.
	First(ctx context.Context, ref hops.Ref) (hops.Snapshot, error)
	// Want reads the named sources.
	Want(ctx context.Context, facts hops.Facts, wants []hops.Source) hops.Snapshot
	// Reads counts requests to the API server so far, and the time they took.
	Reads() (n int, took time.Duration)
}

// Sender sends one request.
type Sender interface {
	Send(ctx context.Context, r dial.Request) hops.Observation
}

// Sink takes a finished run.
type Sink interface {
	Export(ctx context.Context, run *hops.Run) error
}

// SpanReader reads back what other programs added to a run's trace.
type SpanReader interface {
	// Spans waits, within a bound of its own and the context's, for the spans that the run's requests let expect. Remarks say in the user's words what
	// did not come, or why nothing could be read: they are about tracing, never about the service.
	Spans(ctx context.Context, run *hops.Run) (spans []hops.Span, remarks []string)
}

// Deps are what a probe needs from outside.
type Deps struct {
	Reader Reader
	// Connect gives the sender for a path, once it is resolved: where to enter depends on it.
	Connect func(*hops.Flow) Sender
	Rules   []hops.Rule
	Now     func() time.Time
	// ID fills a slice with random bytes, never all zero. It may be called from several goroutines.
	ID func([]byte)
	// Progress takes one line about what is being waited for; nil is quiet.
	Progress func(string)
	// Spans reads the run's trace back as further evidence; nil reads none and waits for none.
	Spans SpanReader
}
