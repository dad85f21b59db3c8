// observation.go: what one request at one step saw.
package hops

import "time"

// Asked says what kind of request was sent.
type Asked string

// The kinds of request.
const (
	RealRequest Asked = "request" // the caller's own request, or the cheapest honest one
	Knock       Asked = "knock"   // K-Network-Probe: answered by activator or queue-proxy; costs no model work and wakes nothing
)

// Outcome is how a request ended. It is a closed set; the wrapped error's text stands beside it.
type Outcome string

// The outcomes. Answered means that a whole HTTP response came, whatever its status.
const (
	Answered       Outcome = "answered"
	DNSFailed      Outcome = "dns-failed"
	Refused        Outcome = "connection-refused"
	ConnectTimeout Outcome = "connect-timeout"
	Unreachable    Outcome = "unreachable"
	TLSFailed      Outcome = "tls-failed"
	ResetByPeer    Outcome = "connection-reset"
	ClosedEarly    Outcome = "closed-early" // EOF before a whole response
	Timeout        Outcome = "timeout"      // connected, no whole answer within the deadline
	Malformed      Outcome = "malformed"    // an answer that is not HTTP
	NoWay          Outcome = "no-way"       // the vantage itself failed: no port-forward, no address; says nothing of the target
	Cancelled      Outcome = "cancelled"
)

// Vantage is from where a request entered.
type Vantage string

// The vantages, in the order of --via auto.
const (
	InPod       Vantage = "pod"          // the probe runs in a pod and dials directly
	Address     Vantage = "address"      // --address
	PortForward Vantage = "port-forward" // through the API server onto the pod's loopback
	Network     Vantage = "network"      // .status.url over the user's own network
)

// Phases are the parts of a round trip, each as its length; zero when it did not happen. Offsets are from the start of the request.
type Phases struct {
	DNS     time.Duration `json:"dns,omitempty"`
	Connect time.Duration `json:"connect,omitempty"`
	TLS     time.Duration `json:"tls,omitempty"`
	Write   time.Duration `json:"write,omitempty"`
	Wait    time.Duration `json:"wait,omitempty"` // from the last byte written to the first byte read
	Body    time.Duration `json:"body,omitempty"`
}

// Observation is what one request saw. Header values that may hold secrets are never in it.
type Observation struct {
	Step    Step          `json:"step"`
	Asked   Asked         `json:"asked"`
	Vantage Vantage       `json:"vantage,omitempty"`
	Target  string        `json:"target,omitempty"` // what was dialled: "pod istio-system/x:8080", "host:port"
	Method  string        `json:"method,omitempty"`
	Scheme  string        `json:"scheme,omitempty"`
	Host    string        `json:"host,omitempty"` // the Host header
	Path    string        `json:"path,omitempty"` // without the query
	Peer    string        `json:"peer,omitempty"` // remote address as dialled
	Attempt int           `json:"attempt,omitempty"`
	Start   time.Time     `json:"start,omitzero"`
	Took    time.Duration `json:"took,omitempty"`
	Phases  Phases        `json:"phases,omitzero"`
	Proto   string        `json:"proto,omitempty"` // HTTP/1.1, HTTP/2.0
	Status  int           `json:"status,omitempty"`
	// GRPCStatus is the grpc-status of the answer, -1 when there was none; 0 also for requests that are not gRPC.
	GRPCStatus int               `json:"grpcStatus,omitempty"`
	Header     map[string]string `json:"header,omitempty"` // of the response, lower-case names, an allow-list
	Body       string            `json:"body,omitempty"`   // start of the response's body, redacted, at most 1 KiB
	BodyBytes  int64             `json:"bodyBytes"`
	BodyDigest string            `json:"bodyDigest,omitempty"` // sha256 of what was read
	Outcome    Outcome           `json:"outcome"`
	Err        string            `json:"err,omitempty"`
	// Credentials says that the request carried some (never which).
	Credentials bool `json:"credentials,omitempty"`
	// Invented says that nobody specified the path: a 404 from the model server to it is not judged.
	Invented bool `json:"invented,omitempty"`
	// ColdStart says that the request woke a revision from zero.
	ColdStart bool   `json:"coldStart,omitempty"`
	TraceID   string `json:"traceId,omitempty"`
	SpanID    string `json:"spanId,omitempty"`
	// Evidence is where a pasted observation stands: file and line; "" for a live one.
	From string `json:"from,omitempty"`
}

// OK says whether the request got through and the answer is a success: 2xx, and for a knock the echoed hash as well.
func (o *Observation) OK() bool {
	if o.Outcome != Answered || o.Status < 200 || o.Status > 299 || o.GRPCStatus != 0 || o.unready() {
		return false
	}
	return o.Asked != Knock || o.Hash() != ""
}

// Ended is when the request was over. A server that was only starting may have kept it waiting until then.
func (o *Observation) Ended() time.Time { return o.Start.Add(o.Took) }

// Hash is the echoed K-Network-Hash of a knock: that of the Knative Ingress that the gateway was programmed from
// (knative.dev/networking/pkg/http/header, HashKey). The word that was sent, "override", does not count.
func (o *Observation) Hash() string {
	if h := o.Header["k-network-hash"]; h != "override" {
		return h
	}
	return ""
}

// Judged says whether the answer tells anything about the target. A vantage that failed, a cancelled request, a gate that asks for credentials
// which were not given, and the model server's own 404 to a path that we made up do not.
func (o *Observation) Judged() bool {
	switch {
	case o.Outcome == NoWay || o.Outcome == Cancelled:
		return false
	case o.Gated():
		return false
	case o.Invented && (o.httpStatus() == 404 || o.Status == 405) && WroteIt(o) == ByModel:
		return false
	case o.Asked == Knock && o.Outcome == Answered && o.Status >= 200 && o.Status < 300 && o.Hash() == "":
		return false // somebody answered who does not know the knock
	}
	return true
}

// Gated says that a gate asks for credentials that the request did not carry.
func (o *Observation) Gated() bool {
	if o.Outcome != Answered || o.Credentials {
		return false
	}
	switch o.httpStatus() {
	case 301, 302, 303, 307, 308:
		return true
	case 401:
		return true
	case 403:
		return o.Header["www-authenticate"] != ""
	}
	return false
}
