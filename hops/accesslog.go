// accesslog.go: one line of an Envoy access log in Istio's default text form or as JSON.
package hops

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// AccessEntry is one request as a gateway logged it (istio.io/istio/pilot/pkg/model/telemetry_logging.go, EnvoyTextLogFormat), or as its span tells it:
// then the line's source is Spans, its container the service that sent it, and its text the response flags.
type AccessEntry struct {
	Line      Line
	Start     time.Time // of the request, by the gateway's clock; zero when it is not said
	Method    string
	Path      string
	Proto     string
	Code      int
	Flags     string // response flags joined by commas, "-" for none
	Details   string // response code details: route_not_found, via_upstream
	Failure   string // upstream transport failure reason
	Authority string // after the route's rewrite, when one matched
	Upstream  string // upstream host
	Cluster   string
	UserAgent string
	RequestID string
}

var accessText = regexp.MustCompile(`^\[([^\]]+)\] "([A-Z]+) ([^"]*?) ?(HTTP/[0-9.]+|-)?" (\d+) (\S+) (\S+) (\S+) "([^"]*)" (\d+) (\d+) (\d+) (\S+) "([^"]*)" "([^"]*)" "([^"]*)" "([^"]*)" "([^"]*)" (\S+)`)

// ParseAccess reads one line; ok is false when it is not an access log line.
func ParseAccess(l Line) (e AccessEntry, ok bool) {
	t := strings.TrimSpace(l.Text)
	if i := strings.Index(t, `{"`); i >= 0 && strings.Contains(t, `"response_code"`) {
		return parseAccessJSON(l, t[i:])
	}
	if !strings.HasPrefix(t, "[") {
		return AccessEntry{}, false
	}
	m := accessText.FindStringSubmatch(t)
	if m == nil {
		return AccessEntry{}, false
	}
	return AccessEntry{Line: l, Start: when(m[1]), Method: m[2], Path: m[3], Proto: m[4], Code: number(m[5]), Flags: m[6], Details: m[7], Failure: m[9],
		UserAgent: m[15], RequestID: m[16], Authority: m[17], Upstream: m[18], Cluster: m[19]}, true
}

func parseAccessJSON(l Line, t string) (AccessEntry, bool) {
	var m map[string]any
	if json.Unmarshal([]byte(t), &m) != nil {
		return AccessEntry{}, false
	}
	e := AccessEntry{Line: l, Start: when(m["start_time"]), Method: text(m["method"]), Path: text(m["path"]), Proto: text(m["protocol"]), Code: number(m["response_code"]),
		Flags: text(m["response_flags"]), Details: text(m["response_code_details"]), Failure: text(m["upstream_transport_failure_reason"]),
		Authority: text(m["authority"]), Upstream: text(m["upstream_host"]), Cluster: text(m["upstream_cluster"]),
		UserAgent: text(m["user_agent"]), RequestID: text(m["request_id"])}
	return e, m["response_code"] != nil
}

// Flag says whether a response flag such as "NR" is set.
func (e AccessEntry) Flag(f string) bool {
	for _, have := range strings.Split(e.Flags, ",") {
		if have == f {
			return true
		}
	}
	return false
}

// Made says that this gateway itself wrote the answer. Spans are entries only where it did.
func (e AccessEntry) Made() bool {
	return e.Line.Source == Spans || e.Details != "via_upstream" && e.Details != "" && e.Details != "-"
}
