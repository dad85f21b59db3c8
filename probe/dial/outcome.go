// outcome.go: from a wrapped Go error to one of the closed set of outcomes.
package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"

	"probe/hops"
)

// stage is how far a request had come when it failed.
type stage int

const (
	building stage = iota
	dialling
	securing
	exchanging
	reading
)

// says begins an error's text; errors of dialling say themselves what they were about.
func (s stage) says() string {
	return [...]string{"build the request: ", "", "TLS handshake: ", "wait for the answer: ", "read the answer's body: "}[s]
}

// classify names the outcome of a failed request. parent is the caller's context, without the sender's own timeout; received counts the bytes
// that came back for this request.
func classify(parent context.Context, at stage, err error, received int64) hops.Outcome {
	if errors.Is(parent.Err(), context.Canceled) {
		return hops.Cancelled
	}
	if o := byKind(err); o != "" {
		return o
	}
	switch {
	case at == building:
		return hops.NoWay // nothing was sent
	case timedOut(err) && at == dialling:
		return hops.ConnectTimeout
	case timedOut(err):
		return hops.Timeout
	case isTLS(err): // a peer that sends an alert often resets the connection next
		return hops.TLSFailed
	case anyOf(err, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED), strings.Contains(err.Error(), "stream error: "): // HTTP/2's RST_STREAM
		return hops.ResetByPeer
	case isMalformed(err):
		return hops.Malformed
	case isEnd(err):
		return hops.ClosedEarly
	}
	switch {
	case at == dialling:
		return hops.Unreachable
	case at == securing:
		return hops.TLSFailed
	case received > 0:
		return hops.Malformed
	}
	return hops.ClosedEarly
}

// byKind knows the errors that mean the same at every stage.
func byKind(err error) hops.Outcome {
	if _, ok := errors.AsType[*VantageError](err); ok {
		return hops.NoWay
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return hops.DNSFailed
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return hops.Refused
	case anyOf(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.EACCES, syscall.EPERM):
		return hops.Unreachable // EACCES and EPERM: a local rule forbids the connection
	}
	return ""
}

func timedOut(err error) bool {
	if anyOf(err, context.DeadlineExceeded, os.ErrDeadlineExceeded, syscall.ETIMEDOUT) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	// The alerts that a peer sends have an unexported type (crypto/tls, alert).
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "remote error" || op.Op == "local error") && op.Err != nil && strings.HasPrefix(op.Err.Error(), "tls: ")
}

// isMalformed goes by text where net/http has no exported type.
func isMalformed(err error) bool {
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return true
	}
	for _, text := range []string{"malformed HTTP", "malformed MIME", "malformed chunked", "invalid byte in chunk", "invalid Transfer-Encoding",
		"unsupported transfer encoding", "bad Content-Length", "header line too long", "server response headers exceeded",
		"looked like an HTTP/1.1 header", "http2: frame too large", "connection error: PROTOCOL_ERROR", "connection error: FRAME_SIZE_ERROR"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

func isEnd(err error) bool {
	return anyOf(err, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed) ||
		strings.Contains(err.Error(), "server closed idle connection") || strings.Contains(err.Error(), "server sent GOAWAY")
}

func anyOf(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// errText is the error's text without what net/http says of itself, and without the header lines that it quotes when it cannot parse one.
func errText(err error) string {
	text := err.Error()
	for _, own := range []string{"net/http: Transport failed to read from server: ", "net/http: HTTP/1.x transport connection broken: "} {
		text = strings.ReplaceAll(text, own, "")
	}
	for _, quotes := range []string{"malformed MIME header line: ", "malformed MIME header initial line: ", "malformed MIME header: "} {
		if before, _, ok := strings.Cut(text, quotes); ok {
			return before + strings.TrimSuffix(quotes, ": ")
		}
	}
	return text
}
