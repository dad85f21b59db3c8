// sender_test.go: what goes out and what is kept of the answer.
package dial

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"probe/hops"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
)

// serve starts a server for f and gives a sender of its own and an entry that leads there.
func serve(t testing.TB, f http.HandlerFunc, options ...Option) (*Sender, hops.Entry) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	host, port, err := splitPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := NewSender(NewDirect(nil, net.Dialer{}), append([]Option{WithVersion("v9")}, options...)...)
	return s, hops.Entry{Target: hops.Target{Kind: "address", Name: host, Port: port}, Host: "echo.demo.example.com",
		Step: hops.Step{Hop: hops.QueueProxy}}
}

// seen is a request as the server saw it.
type seen struct {
	Line, Host, Body string
	Header           http.Header
}

func capture(into *seen) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*into = seen{Line: r.Method + " " + r.RequestURI + " " + r.Proto, Host: r.Host, Body: string(body), Header: r.Header}
	}
}

func TestRequestOnTheWire(t *testing.T) {
	caller := http.Header{"Authorization": {"Bearer sesame-open"}, "X-Mine": {"1"}, "Traceparent": {"00-mine"}, "Host": {"other"}, "Connection": {"close"}}
	trace := map[string]string{"Traceparent": "00-" + traceID + "-" + spanID + "-01", "X-Client-Trace-Id": traceID}
	tests := []struct {
		name   string
		r      Request
		line   string
		body   string
		header map[string]string // besides trace
	}{
		{"request", Request{Asked: hops.RealRequest, Path: "/v1/models/a%2Fb:predict", Query: "x=1", Header: caller, Body: []byte(`{}`)},
			"POST /v1/models/a%2Fb:predict?x=1 HTTP/1.1", "{}", map[string]string{"Authorization": "Bearer sesame-open", "X-Mine": "1",
				"User-Agent": "probe/v9", "Content-Type": "application/json", "Content-Length": "2", "Knative-Serving-Revision": "r1"}},
		{"get", Request{Asked: hops.RealRequest, Header: http.Header{"User-Agent": {"me"}}}, "GET / HTTP/1.1", "",
			map[string]string{"User-Agent": "me", "Knative-Serving-Revision": "r1"}},
		{"knock", Request{Asked: hops.Knock, Method: "POST", Path: "/v1/models/echo:predict", Query: "x=1", Header: caller, Body: []byte(`{}`)},
			"GET /healthz HTTP/1.1", "", map[string]string{"K-Network-Probe": "probe", "K-Network-Hash": "override", "User-Agent": "Knocker",
				"Knative-Serving-Revision": "r1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got seen
			s, entry := serve(t, capture(&got))
			entry.Header = map[string]string{"Knative-Serving-Revision": "r1"}
			entry.Knocking = map[string]string{"User-Agent": "Knocker"}
			test.r.Entry, test.r.TraceID, test.r.SpanID = entry, traceID, spanID
			if o := s.Send(t.Context(), test.r); o.Outcome != hops.Answered {
				t.Fatalf("%s: %s", o.Outcome, o.Err)
			}
			want := http.Header{}
			for _, m := range []map[string]string{trace, test.header} {
				for k, v := range m {
					want.Set(k, v)
				}
			}
			if got.Line != test.line || got.Host != "echo.demo.example.com" || got.Body != test.body {
				t.Errorf("got %s, host %s, body %q", got.Line, got.Host, got.Body)
			}
			if !reflect.DeepEqual(got.Header, want) {
				t.Errorf("headers\n got %v\nwant %v", got.Header, want)
			}
		})
	}
}

func TestUnsendable(t *testing.T) {
	s, entry := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	for _, path := range []string{"no-slash", "/a?token=secret", "/%zz"} {
		o := s.Send(t.Context(), Request{Entry: entry, Path: path})
		if o.Outcome != hops.NoWay || !strings.Contains(o.Err, "build the request: path") {
			t.Errorf("%s: %s, %q", path, o.Outcome, o.Err)
		}
	}
}

func TestAnswerIsKept(t *testing.T) {
	body := `{"echo":{"authorization":"Bearer sesame-open","cookie":"session=0123456789abcdef"},"pad":"` + strings.Repeat("x", 3000) + `"}`
	s, entry := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range map[string]string{"Server": "istio-envoy", "X-Envoy-Upstream-Service-Time": "7", "Set-Cookie": "sid=1", "X-Other": "1",
			"Location":         "https://user:pw@login.example.com/start?rd=secret#frag",
			"Www-Authenticate": `Bearer error="invalid_token", realm="http://h/p?q=secret", nonce="n"`,
			"X-Ext-Authz-Why":  "saw sesame-open", "Via": strings.Repeat("v", 300), "Content-Type": "text/plain", "Connection": "close"} {
			w.Header().Set(k, v)
		}
		w.WriteHeader(302)
		io.WriteString(w, body)
	}, WithRedact(func(t string) string { return strings.ReplaceAll(t, "echo", "ECHO") }))
	o := s.Send(t.Context(), Request{Entry: entry, Asked: hops.RealRequest, Credentials: true, Attempt: 2, TraceID: traceID, SpanID: spanID,
		Header: http.Header{"Authorization": {"Bearer sesame-open"}, "Cookie": {"session=0123456789abcdef; a=b"}}})
	want := map[string]string{"server": "istio-envoy", "x-envoy-upstream-service-time": "7", "location": "https://login.example.com/start",
		"www-authenticate": `Bearer realm="http://h/p"`, "x-ext-authz-why": "saw [redacted]", "via": strings.Repeat("v", 256),
		"content-type": "text/plain", "connection": "close"}
	if !reflect.DeepEqual(o.Header, want) {
		t.Errorf("headers\n got %v\nwant %v", o.Header, want)
	}
	sum := sha256.Sum256([]byte(body))
	if o.Status != 302 || o.Outcome != hops.Answered || o.BodyBytes != int64(len(body)) || o.BodyDigest != hex.EncodeToString(sum[:]) {
		t.Errorf("got %+v", o)
	}
	if len(o.Body) != 1024 || !strings.HasPrefix(o.Body, `{"ECHO":{"authorization":"[redacted]","cookie":"[redacted]"}`) {
		t.Errorf("body of %d bytes: %.90s", len(o.Body), o.Body)
	}
	if o.Step.Hop != hops.QueueProxy || o.Host != "echo.demo.example.com" || o.Target != entry.Target.String() || o.Peer != entry.Target.String() ||
		o.Vantage != hops.InPod || o.Attempt != 2 || !o.Credentials || o.Proto != "HTTP/1.1" || o.TraceID != traceID || o.Method != "GET" {
		t.Errorf("got %+v", o)
	}
}

func TestBodies(t *testing.T) {
	tests := []struct {
		name, body, want string
		bytes            int64
	}{
		{"empty", "", "", 0},
		{"text", "no healthy upstream", "no healthy upstream", 19},
		{"binary", "a\x00b", "", 3},
		{"not UTF-8", "\xff\xfe", "", 2},
		{"rune at the cut", strings.Repeat("x", 1023) + "é", strings.Repeat("x", 1023), 1025},
		{"more than is read", strings.Repeat("é", maxBody), strings.Repeat("é", 512), maxBody},
		{"rune at the end of what is read", "x" + strings.Repeat("é", maxBody), "x" + strings.Repeat("é", 511), maxBody},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, entry := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, test.body) })
			o := s.Send(t.Context(), Request{Entry: entry})
			if o.Outcome != hops.Answered || o.Body != test.want || o.BodyBytes != test.bytes {
				t.Errorf("%s %s: %d bytes, body of %d: %.40q", o.Outcome, o.Err, o.BodyBytes, len(o.Body), o.Body)
			}
		})
	}
}

func TestSecretAtTheWindowsEdge(t *testing.T) {
	secret := strings.Repeat("s3cret", 50)
	s, entry := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 1000)+secret) })
	o := s.Send(t.Context(), Request{Entry: entry, Header: http.Header{"X-Api-Key": {secret}}})
	if strings.Contains(o.Body, "s3c") {
		t.Errorf("part of the secret is left: %q", o.Body[990:])
	}
}

func TestChallenge(t *testing.T) {
	for in, want := range map[string]string{
		`Bearer realm="http://echo.demo.example.com/v1/models/echo:predict", error="invalid_token"`: `Bearer realm="http://echo.demo.example.com/v1/models/echo:predict"`,
		`Basic realm=plain, charset="UTF-8"`:    `Basic realm="plain"`,
		`Negotiate YIIBhwYGKwYBBQUCoIIBezCCAXc`: `Negotiate`,
		`Digest nonce="xrealm=no", qop="auth"`:  `Digest`,
		``:                                      ``,
	} {
		if got := challenge(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestPhases(t *testing.T) {
	const pause = 60 * time.Millisecond
	s, entry := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(pause)
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		time.Sleep(pause)
		io.WriteString(w, "second")
	})
	o := s.Send(t.Context(), Request{Entry: entry, Body: []byte("{}")})
	p := o.Phases
	if p.Connect <= 0 || p.Write <= 0 || p.Wait < pause/2 || p.Body < pause/2 || p.DNS != 0 || p.TLS != 0 {
		t.Errorf("got %+v", p)
	}
	if sum := p.Connect + p.Write + p.Wait + p.Body; sum > o.Took {
		t.Errorf("phases add up to %s of %s", sum, o.Took)
	}
}

func TestEarlyAnswer(t *testing.T) {
	addr := listen(t, func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	o := NewSender(NewDirect(nil, net.Dialer{}), WithTimeout(2*time.Second)).Send(t.Context(),
		Request{Entry: hops.Entry{Target: target(t, addr), Host: "x"}, Body: make([]byte, 8<<20)})
	if o.Status != 413 || o.Outcome != hops.Answered {
		t.Errorf("got %s %d %s", o.Outcome, o.Status, o.Err)
	}
}

func TestHTTP2(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "Grpc-Status")
				fmt.Fprint(w, r.Proto, " ", r.Host)
				w.Header().Set("Grpc-Status", "14")
			}))
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			scheme := "http"
			if secure {
				scheme, server.EnableHTTP2 = "https", true
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			s := NewSender(NewDirect(nil, net.Dialer{}), WithTLS(nil, true))
			o := s.Send(t.Context(), Request{Entry: hops.Entry{Target: target(t, server.Listener.Addr().String()), Host: "h.example", H2C: true,
				Scheme: scheme}})
			if o.Outcome != hops.Answered || o.Proto != "HTTP/2.0" || o.Body != "HTTP/2.0 h.example" || o.GRPCStatus != 14 || o.Scheme != scheme {
				t.Errorf("got %+v", o)
			}
			if (o.Phases.TLS > 0) != secure {
				t.Errorf("phases %+v", o.Phases)
			}
		})
	}
}

func TestServerNameIsTheHost(t *testing.T) {
	var name atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { name.Store(r.TLS.ServerName) }))
	server.StartTLS()
	defer server.Close()
	s := NewSender(NewDirect(nil, net.Dialer{}), WithTLS(nil, true))
	o := s.Send(t.Context(), Request{Entry: hops.Entry{Target: target(t, server.Listener.Addr().String()), Host: "sni.example:8443", Scheme: "https"}})
	if o.Outcome != hops.Answered || name.Load() != "sni.example" {
		t.Errorf("%s %s: server name %v", o.Outcome, o.Err, name.Load())
	}
}

func TestConnectionsAreFreshUnlessKept(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep ", keep), func(t *testing.T) {
			var peers []string
			var options []Option
			if keep {
				options = append(options, WithKeepAlive())
			}
			s, entry := serve(t, func(w http.ResponseWriter, r *http.Request) {
				peers = append(peers, r.RemoteAddr)
				if len(peers) == 2 {
					w.Header().Set("Connection", "close")
				}
			}, options...)
			defer s.Close()
			for i := range 3 {
				o := s.Send(t.Context(), Request{Entry: entry})
				if o.Outcome != hops.Answered || o.Peer == "" {
					t.Fatalf("request %d: %s %s", i, o.Outcome, o.Err)
				}
				if reused := o.Phases.Connect == 0; reused != (keep && i == 1) {
					t.Errorf("request %d: phases %+v", i, o.Phases)
				}
			}
			if (peers[0] == peers[1]) != keep || peers[1] == peers[2] {
				t.Errorf("peers %v", peers)
			}
		})
	}
}

// TestStaleConnectionIsNoAnswer closes a kept connection behind the sender's back when the next request comes.
func TestStaleConnectionIsNoAnswer(t *testing.T) {
	var requests atomic.Int32
	addr := listen(t, func(c net.Conn) {
		defer c.Close()
		readRequest(c)
		requests.Add(1)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		readRequest(c)
		requests.Add(1)
	})
	s := NewSender(NewDirect(nil, net.Dialer{}), WithKeepAlive())
	defer s.Close()
	r := Request{Entry: hops.Entry{Target: target(t, addr), Host: "x"}, Body: []byte("{}")}
	for range 2 {
		if o := s.Send(t.Context(), r); o.Outcome != hops.Answered || o.Phases.Connect == 0 {
			t.Errorf("got %s %s, phases %+v", o.Outcome, o.Err, o.Phases)
		}
	}
	if requests.Load() != 3 {
		t.Errorf("%d requests arrived", requests.Load())
	}
}

func BenchmarkSend(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(fmt.Sprint("keep=", keep), func(b *testing.B) {
			var options []Option
			if keep {
				options = append(options, WithKeepAlive())
			}
			s, entry := serve(b, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"predictions":[0]}`) }, options...)
			defer s.Close()
			r := Request{Entry: entry, Asked: hops.RealRequest, Path: "/v1/models/echo:predict", Body: []byte(`{"instances":[0]}`), TraceID: traceID, SpanID: spanID}
			b.ReportAllocs()
			for b.Loop() {
				if o := s.Send(b.Context(), r); o.Outcome != hops.Answered {
					b.Fatal(o.Err)
				}
			}
		})
	}
}
