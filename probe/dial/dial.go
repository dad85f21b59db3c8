// Package dial sends one request at one entry of the path and tells what it saw. It knows how to get to a hop from where it stands: directly, by
// an address that was given, through the API server, or over the user's own network.
//
// dial.go: the words of the package: request, dialer, and the ways in which a dialer itself can fail.
package dial

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"probe/hops"
)

// Request is one request to send.
type Request struct {
	Entry hops.Entry
	Asked hops.Asked
	// Method is GET without a body and POST with one when it is empty.
	Method, Path, Query string
	Header              http.Header
	Body                []byte
	TraceID, SpanID     string // hex, 32 and 16 digits; no trace headers are sent without them
	Unrecorded          bool   // the trace headers do not ask anybody to record the request
	// GRPC makes it a unary call: Path is /SERVICE/METHOD, Body the message. A knock is never one.
	GRPC bool
	// Invented, Credentials and ColdStart are passed on to the observation.
	Invented, Credentials, ColdStart bool
	Attempt                          int
	// Keep takes the body of the answer as it was read, at most 1 MiB; it may be nil.
	Keep func(body []byte)
}

// Dialer opens a fresh connection to a target. The vantage is given also beside an error. An error that says nothing of the target, only that
// this dialer has no way to it, is a *VantageError. A context with an httptrace.ClientTrace is told about name resolution.
type Dialer interface {
	Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error)
}

// PodAddress is one pod that a target leads to.
type PodAddress struct {
	Namespace, Name, IP string
	Port                int // container port; 0 when the target's own port holds
	Ready               bool
}

// PodFinder finds the pods behind a target.
type PodFinder interface {
	Pods(ctx context.Context, t hops.Target) ([]PodAddress, error)
}

// VantageError says that the way to a target failed before the target could say anything.
type VantageError struct {
	Vantage hops.Vantage
	Target  hops.Target
	Err     error
	Hint    string // what the user can do; may be empty
}

func (e *VantageError) Error() string {
	text := fmt.Sprintf("no way to %s by %s: %v", e.Target, e.Vantage, e.Err)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap gives the cause.
func (e *VantageError) Unwrap() error { return e.Err }

// Place is what a dialer dialled when that is not the target it was asked for. A connection or an error may implement Placed to tell.
type Place struct {
	Target hops.Target
	Scheme string // "" keeps the entry's
}

// Placed is implemented by connections and errors of dialers that choose for themselves what to dial.
type Placed interface{ Place() Place }

// placedConn is a connection to somewhere else than the target that was asked for.
type placedConn struct {
	net.Conn
	place Place
}

func (c placedConn) Place() Place { return c.place }

// placedError is a failure there.
type placedError struct {
	error
	place Place
}

func (e placedError) Place() Place  { return e.place }
func (e placedError) Unwrap() error { return e.error }
