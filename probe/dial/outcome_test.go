// outcome_test.go: every way in which a request can end, made by real listeners on loopback.
package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"probe/hops"
)

// listen serves each connection with f until the test ends.
func listen(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	return l.Addr().String()
}

// readRequest reads up to the empty line that ends a request's head.
func readRequest(c net.Conn) {
	b := make([]byte, 4096)
	for head := ""; !strings.Contains(head, "\r\n\r\n"); {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		head += string(b[:n])
	}
}

// says reads a request, answers with raw bytes and closes.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, text)
		c.Close()
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// fullPort is an address whose queue of connections is full, so that the kernel drops what comes more.
func fullPort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue never filled up")
	return ""
}

func target(t *testing.T, addr string) hops.Target {
	t.Helper()
	host, port, err := splitPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return hops.Target{Kind: "address", Name: host, Port: port}
}

func TestOutcomes(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	secure.Config.ErrorLog = quiet()
	t.Cleanup(secure.Close) // the cases run after this function
	wantsCert := httptest.NewUnstartedServer(nil)
	wantsCert.Config.ErrorLog = quiet()
	wantsCert.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	wantsCert.StartTLS()
	t.Cleanup(wantsCert.Close)
	dns := &net.Resolver{PreferGo: true, Dial: fakeDNS(t, nil)}
	stall := func(c net.Conn) { readRequest(c); time.Sleep(5 * time.Second); c.Close() }
	reset := func(c net.Conn) { readRequest(c); c.(*net.TCPConn).SetLinger(0); c.Close() }

	tests := []struct {
		name   string
		addr   string
		scheme string
		h2c    bool
		roots  bool
		want   hops.Outcome
		status int
		err    string // part of Err
	}{
		{name: "answered", addr: listen(t, says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")), want: hops.Answered, status: 200},
		{name: "dns", addr: "no-such-name.test.:80", want: hops.DNSFailed, err: "no such host"},
		{name: "refused", addr: closedPort(t), want: hops.Refused, err: "connection refused"},
		{name: "connect timeout", addr: fullPort(t), want: hops.ConnectTimeout, err: "dial tcp"},
		{name: "reset", addr: listen(t, reset), want: hops.ResetByPeer, err: "connection reset by peer"},
		{name: "closed at once", addr: listen(t, func(c net.Conn) { readRequest(c); c.Close() }), want: hops.ClosedEarly, err: "EOF"},
		{name: "closed in the head", addr: listen(t, says("HTTP/1.1 200 OK\r\nContent-")), want: hops.ClosedEarly, err: "EOF"},
		{name: "closed in the body", addr: listen(t, says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")), want: hops.ClosedEarly, status: 200,
			err: "read the answer's body: unexpected EOF"},
		{name: "stalls", addr: listen(t, stall), want: hops.Timeout, err: "wait for the answer: context deadline exceeded"},
		{name: "stalls in the body", addr: listen(t, func(c net.Conn) {
			defer c.Close()
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
			time.Sleep(5 * time.Second)
		}), want: hops.Timeout, status: 200, err: "read the answer's body"},
		{name: "garbage", addr: listen(t, says("SSH-2.0-OpenSSH_9.6\r\n")), want: hops.Malformed, err: "SSH-2.0"},
		{name: "garbage without a line", addr: listen(t, says("\x15\x03\x01\x00\x02\x02\x46")), want: hops.Malformed, err: `malformed HTTP response "\x15\x03\x01`},
		{name: "closed in the status line", addr: listen(t, says("HTTP/1.1 20")), want: hops.ClosedEarly, err: "EOF"},
		{name: "bad header", addr: listen(t, says("HTTP/1.1 200 OK\r\nsecret-line-without-colon\r\n\r\n")), want: hops.Malformed, err: "wait for the answer: malformed MIME header"},
		{name: "bad chunk", addr: listen(t, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")), want: hops.Malformed, status: 200},
		{name: "plain to TLS", addr: secure.Listener.Addr().String(), want: hops.Answered, status: 400},
		{name: "unknown authority", addr: secure.Listener.Addr().String(), scheme: "https", want: hops.TLSFailed, err: "TLS handshake: tls: failed to verify"},
		{name: "known authority", addr: secure.Listener.Addr().String(), scheme: "https", roots: true, want: hops.Answered, status: 200},
		{name: "wants a client certificate", addr: wantsCert.Listener.Addr().String(), scheme: "https", roots: true, want: hops.TLSFailed,
			err: "certificate required"},
		{name: "TLS to plain", addr: listen(t, func(c net.Conn) {
			c.Read(make([]byte, 4096))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			c.Close()
		}), scheme: "https", want: hops.TLSFailed,
			err: "first record does not look like a TLS handshake"},
		{name: "TLS stalls", addr: listen(t, func(c net.Conn) { defer c.Close(); time.Sleep(5 * time.Second) }), scheme: "https", want: hops.Timeout, err: "TLS handshake"},
		{name: "h2c to HTTP/1", addr: listen(t, func(c net.Conn) {
			readPreface(c)
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			io.Copy(io.Discard, c)
			c.Close()
		}), h2c: true,
			want: hops.Malformed},
		{name: "h2c reset", addr: listen(t, reset), h2c: true, want: hops.ResetByPeer},
		{name: "h2c closed", addr: listen(t, func(c net.Conn) { readRequest(c); c.Close() }), h2c: true, want: hops.ClosedEarly},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var roots *x509.CertPool
			if test.roots {
				roots = x509.NewCertPool()
				roots.AddCert(secure.Certificate())
				roots.AddCert(wantsCert.Certificate())
			}
			s := NewSender(NewDirect(nil, net.Dialer{Resolver: dns}), WithTimeout(1500*time.Millisecond), WithTLS(roots, false))
			o := s.Send(t.Context(), Request{Entry: hops.Entry{Target: target(t, test.addr), Host: "example.com", Scheme: test.scheme, H2C: test.h2c}})
			if o.Outcome != test.want || o.Status != test.status || !strings.Contains(o.Err, test.err) {
				t.Errorf("got %s, status %d, %q; want %s, status %d, %q", o.Outcome, o.Status, o.Err, test.want, test.status, test.err)
			}
			if (o.Outcome == hops.Answered) != (o.Err == "") {
				t.Errorf("outcome %s with error %q", o.Outcome, o.Err)
			}
			if strings.Contains(o.Err, "secret-line") {
				t.Errorf("error quotes a header line: %q", o.Err)
			}
			if o.Took > 4*time.Second {
				t.Errorf("took %s", o.Took)
			}
		})
	}
}

func TestCancelEndsAtOnce(t *testing.T) {
	addr := listen(t, func(c net.Conn) { readRequest(c); time.Sleep(5 * time.Second); c.Close() })
	for name, a := range map[string]string{"connecting": fullPort(t), "waiting": addr} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			o := NewSender(NewDirect(nil, net.Dialer{})).Send(ctx, Request{Entry: hops.Entry{Target: target(t, a), Host: "example.com"}})
			if o.Outcome != hops.Cancelled || o.Took > 3*time.Second {
				t.Errorf("got %s after %s: %s", o.Outcome, o.Took, o.Err)
			}
		})
	}
}

// TestClassify holds the errors that loopback cannot make.
func TestClassify(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return fmt.Errorf("wrapped: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)})
	}
	tests := []struct {
		name     string
		at       stage
		err      error
		received int64
		want     hops.Outcome
	}{
		{"no route to host", dialling, dial(syscall.EHOSTUNREACH), 0, hops.Unreachable},
		{"network unreachable", dialling, dial(syscall.ENETUNREACH), 0, hops.Unreachable},
		{"forbidden by a local rule", dialling, dial(syscall.EPERM), 0, hops.Unreachable},
		{"kernel gave up connecting", dialling, dial(syscall.ETIMEDOUT), 0, hops.ConnectTimeout},
		{"kernel gave up waiting", exchanging, &net.OpError{Op: "read", Err: syscall.ETIMEDOUT}, 0, hops.Timeout},
		{"name timed out", dialling, &net.DNSError{IsTimeout: true, Name: "x"}, 0, hops.DNSFailed},
		{"vantage timed out", dialling, &VantageError{Err: context.DeadlineExceeded}, 0, hops.NoWay},
		{"wrong name", securing, &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}}, 0, hops.TLSFailed},
		{"reset in the handshake", securing, syscall.ECONNRESET, 0, hops.ResetByPeer},
		{"odd handshake", securing, errors.New("tls: something new"), 0, hops.TLSFailed},
		{"broken pipe", exchanging, &net.OpError{Op: "write", Err: syscall.EPIPE}, 0, hops.ResetByPeer},
		{"unknown after bytes", exchanging, errors.New("something new"), 5, hops.Malformed},
		{"unknown without bytes", exchanging, errors.New("something new"), 0, hops.ClosedEarly},
		{"unsendable", building, errors.New("path"), 0, hops.NoWay},
	}
	for _, test := range tests {
		if got := classify(t.Context(), test.at, test.err, test.received); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := classify(gone, dialling, syscall.ECONNREFUSED, 0); got != hops.Cancelled {
		t.Errorf("after cancellation: got %s", got)
	}
}

// readPreface reads what an HTTP/2 client says first (RFC 9113, 3.4), so that an answer does not cross it and reset the connection.
func readPreface(c net.Conn) {
	io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
}
