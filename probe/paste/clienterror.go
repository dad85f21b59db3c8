// clienterror.go: errors as programs of callers print them: Python, gRPC, Go, Node and Java clients, and bodies that only one hop writes.
package paste

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"probe/hops"
)

var (
	exceptionLine = regexp.MustCompile(`^(?:[\w.]+\.)?(\w*(?:Error|Exception|Timeout|Disconnected|Refused|RpcError|gaierror))(?:: |$)`)
	httpErrorText = regexp.MustCompile(`(?:HTTPError: |HTTPStatusError: \w+ error '|HTTP Error |status code:? |Response \[|StatusCode: |HTTP status client error \()(\d{3})`)
	urlInText     = regexp.MustCompile(`(?:for url:? |url: ?|Post |Get |connect to |for |POST |GET )['"]?(https?://[^\s'">)]+)`)
	poolHost      = regexp.MustCompile(`(?:host='|Cannot connect to host |getaddrinfo ENOTFOUND |lookup |connect to )([A-Za-z0-9.-]+)(?:', port=|:)?(\d+)?`)
	poolPath      = regexp.MustCompile(`exceeded with url: (/[^\s(?]*)`)
	grpcCode      = regexp.MustCompile(`(?:StatusCode\.([A-Z_]+)|code = ([A-Za-z]+)|^\s*Code: ([A-Za-z]+))`)
	grpcDetails   = regexp.MustCompile(`(?:^\s*details = "(.*)"$|desc = (.*)$|^\s*Message: (.*)$|\[StatusCode\.[A-Z_]+\] (.*)$)`)
	barStatus     = regexp.MustCompile(`^(?:HTTP(?:/[0-9.]+)? |Status:? |status code:? |Error:? |HTTP error:? )?([45]\d\d)(?: [A-Z][A-Za-z]+){0,4}[:,]? *(.*)$`)
	codeURL       = regexp.MustCompile(`(?:\.(?:get|post|put|request)\(|url ?= ?)f?["'](https?://[^"'{}\s]+)["']`)
	replTuple     = regexp.MustCompile(`^\(([1-5]\d\d), ['"](.*)['"]\)$`)
	httpInGRPC    = regexp.MustCompile(`(?:status: |HTTP status code |unexpected HTTP status code received from server: )(\d{3})`)
)

// startClientError takes a line that is an error of a caller's program, or an answer's body that stands alone.
func (p *parser) startClientError(l line, t string) bool {
	if p.log != nil && (p.log.n > 30 || p.log.server) || len(t) > 4000 {
		return false
	}
	if m := codeURL.FindStringSubmatch(t); m != nil {
		p.code = m[1]
	}
	switch {
	case replTuple.MatchString(t):
		m := replTuple.FindStringSubmatch(t)
		code, _ := strconv.Atoi(m[1])
		p.bareBody(strings.ReplaceAll(m[2], `\n`, "\n"), code, l.no)
		return true
	case strings.Contains(t, "StatusCode.") || strings.Contains(t, "rpc error: code") || t == "ERROR:":
		return p.grpcError(l, t)
	case strings.HasPrefix(t, "<Response ["), exceptionLine.MatchString(t), strings.HasPrefix(t, `Post "http`), strings.HasPrefix(t, `Get "http`),
		strings.HasPrefix(t, "http: error:"), strings.HasPrefix(t, "Error: connect E"), strings.HasPrefix(t, "Error: getaddrinfo"),
		strings.HasPrefix(t, "Error: Request failed with status"), strings.HasPrefix(t, "wget: "):
		return p.programError(l, t)
	case statusOfBody(t) >= 400:
		p.bareBody(t, statusOfBody(t), l.no)
		return true
	}
	if m := barStatus.FindStringSubmatch(t); m != nil && p.hint.verb == "" {
		code, _ := strconv.Atoi(m[1])
		if want := statusOfBody(m[2]); want != 0 || m[2] == "" && strings.Contains(t, " ") {
			p.bareBody(m[2], code, l.no)
			return true
		}
	}
	return false
}

// bareBody makes an observation of a status and a body that stand without headers.
func (p *parser) bareBody(body string, status, no int) {
	p.endLog()
	o := hops.Observation{Asked: hops.RealRequest, Status: status, Outcome: hops.Answered, Body: clip(body, maxBody), BodyBytes: int64(len(body))}
	p.place(&o, p.hint.call.url, p.hint.call)
	p.observe(o, no)
}

// body takes JSON of several lines as the body of an answer when it is one that a model server writes.
func (p *parser) body(text string, no int) bool {
	var b strings.Builder
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return false
	}
	if raw, err := json.Marshal(v); err == nil {
		b.Write(raw)
	}
	status := statusOfBody(b.String())
	if status == 0 || p.hint.verb == "logs" {
		return false
	}
	p.bareBody(b.String(), status, no)
	return true
}

// clientLine keeps a line of a caller's program.
func (p *parser) clientLine(text string, no int) {
	if strings.TrimSpace(text) != "" {
		p.addLine(hops.Line{Source: hops.ClientLog, Text: text, Number: no, Time: lineTime(text)})
	}
}

// programError reads the last line of a traceback, or the one line that a program prints.
func (p *parser) programError(l line, t string) bool {
	if strings.HasPrefix(t, "ApiException") || strings.Contains(t, ".ApiException") { // the API server answered, not the service
		p.endLogAs(hops.ClientLog)
		p.clientLine(t, l.no)
		for range 4 {
			n, ok := p.peek()
			if !ok || !strings.HasPrefix(n.text, "Reason: ") && !strings.HasPrefix(n.text, "HTTP response ") {
				break
			}
			_, _ = p.next()
			p.clientLine(n.text, n.no)
		}
		return true
	}
	status := 0
	if m := httpErrorText.FindStringSubmatch(t); m != nil {
		status, _ = strconv.Atoi(m[1])
	}
	outcome := outcomeOf(t)
	if status == 0 && (outcome == "" || !aboutHTTP(t)) {
		return false
	}
	if status > 0 && status < 300 && !strings.HasPrefix(t, "<Response") {
		return false
	}
	p.endLogAs(hops.ClientLog)
	p.clientLine(t, l.no)
	o := hops.Observation{Asked: hops.RealRequest, Status: status, Outcome: hops.Answered}
	raw := p.hint.call.url
	if m := urlInText.FindStringSubmatch(t); m != nil {
		raw = m[1]
	} else if m := poolHost.FindStringSubmatch(t); m != nil {
		raw = "http://" + m[1]
		if m[2] != "" && m[2] != "80" {
			raw += ":" + m[2]
		}
	}
	if m := poolPath.FindStringSubmatch(t); m != nil {
		o.Path = m[1]
	}
	if status == 0 {
		o.Outcome, o.Err = outcome, clip(t, maxBody)
	}
	p.place(&o, raw, p.hint.call)
	p.observe(o, l.no)
	return true
}

// aboutHTTP says whether an error is of a library that callers send requests with.
func aboutHTTP(t string) bool {
	for _, w := range []string{"requests.", "urllib", "httpx", "httpcore", "aiohttp", "HTTPConnectionPool", "HTTPSConnectionPool", "http.client", "ConnectionRefusedError",
		"gaierror", "http: error", "wget", "Post \"", "Get \"", "connect E", "getaddrinfo", "java.net.", "ConnectException", "tritonclient",
		"RemoteDisconnected", "ConnectionResetError", "MaxRetryError", "ConnectTimeout", "ReadTimeout"} {
		if strings.Contains(t, w) {
			return true
		}
	}
	return false
}

// grpcError reads the error of a gRPC client: on one line, or over the lines of _InactiveRpcError and grpcurl.
func (p *parser) grpcError(l line, t string) bool {
	code, details := "", ""
	lines := []line{l}
	take := func(s string) {
		if m := grpcCode.FindStringSubmatch(s); m != nil && code == "" {
			code = m[1] + m[2] + m[3]
		}
		if m := grpcDetails.FindStringSubmatch(s); m != nil && details == "" {
			details = m[1] + m[2] + m[3] + m[4]
		}
	}
	take(t)
	for len(lines) < 8 && details == "" {
		n, ok := p.next()
		if !ok {
			break
		}
		if n.blank() || p.bounds(n) {
			p.unread(n)
			break
		}
		lines = append(lines, n)
		take(n.text)
	}
	for len(lines) > 1 && len(lines) < 12 {
		n, ok := p.peek()
		if !ok || n.text != ">" && !strings.HasPrefix(n.text, "\t") {
			break
		}
		_, _ = p.next()
		lines = append(lines, n)
	}
	number := grpcNumber(code)
	if number <= 0 {
		for _, n := range lines[1:] {
			defer p.unread(n) // deferred calls run last first: the lines go back in their order
		}
		return false
	}
	p.endLogAs(hops.ClientLog)
	for _, n := range lines {
		p.clientLine(n.text, n.no)
	}
	o := grpcObservation(number, code, details)
	p.place(&o, p.hint.call.url, p.hint.call)
	p.observe(o, l.no)
	return true
}

// grpcObservation is what a status of gRPC says of the request. A proxy's answer keeps its own HTTP status; a code without an answer is an outcome.
func grpcObservation(number int, code, details string) hops.Observation {
	o := hops.Observation{Asked: hops.RealRequest, Status: 200, GRPCStatus: number, Outcome: hops.Answered, Proto: "HTTP/2.0", Method: "POST",
		Body: clip(details, maxBody), BodyBytes: int64(len(details)), Header: map[string]string{"content-type": "application/grpc"}}
	if m := httpInGRPC.FindStringSubmatch(details); m != nil {
		o.Status, _ = strconv.Atoi(m[1])
	}
	inner := outcomeOf(details)
	switch {
	case number == 4:
		o.Outcome = hops.Timeout
	case number == 1:
		o.Outcome = hops.Cancelled
	case number == 14 && inner != "" && !strings.Contains(details, "upstream"):
		o.Outcome = inner
	}
	if o.Outcome != hops.Answered {
		o.Status, o.Body, o.BodyBytes, o.Header, o.Err = 0, "", 0, nil, clip(code+": "+details, maxBody)
	}
	return o
}

// grpcNumber gives the number of a status code (google.golang.org/grpc/codes); -1 for a word that is none.
func grpcNumber(code string) int {
	names := []string{"ok", "cancelled", "unknown", "invalidargument", "deadlineexceeded", "notfound", "alreadyexists", "permissiondenied",
		"resourceexhausted", "failedprecondition", "aborted", "outofrange", "unimplemented", "internal", "unavailable", "dataloss", "unauthenticated"}
	low := strings.ToLower(strings.ReplaceAll(code, "_", ""))
	for i, n := range names {
		if n == low || n == "cancelled" && low == "canceled" {
			return i
		}
	}
	return -1
}

// endLogAs ends the present log and gives its lines another source: they turned out to be a caller's traceback.
func (p *parser) endLogAs(s hops.Source) {
	if p.log != nil && p.log.who.container == "" && p.log.n <= 60 {
		for i := range p.log.kept {
			if l := &p.log.kept[i]; l.Source == hops.ContainerLogs && l.Container == "" {
				l.Source = s
			}
		}
	}
	p.endLog()
}

// curlOutcome tells how a request ended by the number of curl's error (curl.se/libcurl/c/libcurl-errors.html); "" when only the words tell.
func curlOutcome(code, words string) hops.Outcome {
	switch code {
	case "5", "6":
		return hops.DNSFailed
	case "7": // newer versions say "Couldn't connect to server" for a refused connection; a timeout while connecting is 28
		if o := outcomeOf(words); o == hops.Unreachable || strings.Contains(words, "imed out") {
			return o
		}
		return hops.Refused
	case "28":
		if strings.Contains(words, "onnect") && !strings.Contains(words, "bytes received") {
			return hops.ConnectTimeout
		}
		return hops.Timeout
	case "35", "51", "53", "54", "58", "60", "77", "83", "91":
		return hops.TLSFailed
	case "18", "52":
		return hops.ClosedEarly
	case "1", "8":
		return hops.Malformed
	}
	return ""
}

// outcomeOf tells how a request ended from the words of an error; "" when they do not say.
func outcomeOf(s string) hops.Outcome {
	low := strings.ToLower(s)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(low, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("could not resolve", "couldn't resolve", "name or service not known", "no such host", "nodename nor servname", "temporary failure in name",
		"nameresolution", "unknownhost", "bad address", "unable to resolve host", "eai_again", "enotfound", "failed to resolve", "dns resolution failed",
		"name does not resolve", "gaierror", "no address associated", "server misbehaving", "could not contact dns"):
		return hops.DNSFailed
	case has("connection refused", "econnrefused", "actively refused", "connectionrefused", "errno 111"):
		return hops.Refused
	case has("no route to host", "network is unreachable", "host is unreachable", "ehostunreach", "enetunreach"):
		return hops.Unreachable
	case has("connect timed out", "connecttimeout", "connection timed out", "connection timeout", "etimedout", "failed to connect to") && !has("refused"),
		has("i/o timeout") && has("dial"), has("could not connect to server"):
		return hops.ConnectTimeout
	case has("http/0.9", "badstatusline", "bad status line", "malformed http", "invalid http", "remoteprotocolerror: illegal"):
		return hops.Malformed
	case has("certificate", "ssl", "tls", "x509", "handshake") && !has("sslconnect: ok"):
		return hops.TLSFailed
	case has("connection reset", "econnreset", "broken pipe", "connectionreset"):
		return hops.ResetByPeer
	case has("empty reply", "remote end closed", "remotedisconnected", "connection aborted", "server disconnected", "socket hang up", "transfer closed",
		"unexpected eof", "incompleteread", ": eof", "stream was not closed cleanly", "peer closed connection"):
		return hops.ClosedEarly
	case has("timed out", "timeout", "deadline exceeded"):
		return hops.Timeout
	}
	return ""
}

// statusOfBody gives the status that always goes with a body that one hop alone writes; 0 for any other (Envoy's local replies, Knative's data
// plane, KServe's and KFServing's servers; see the hops' own texts in package hops).
func statusOfBody(b string) int {
	b = strings.TrimSpace(strings.TrimSuffix(b, "%"))
	if len(b) > 4096 {
		return 0
	}
	switch b {
	case "no healthy upstream", "pending request queue full":
		return 503
	case "upstream request timeout", "activator request timeout", "request timeout":
		return 504
	case "RBAC: access denied":
		return 403
	case "Jwt is missing", "Jwt is expired", "Jwt issuer is not configured", "Jwt verification fails":
		return 401
	case `{"detail":"Not Found"}`, "default backend - 404", "404 page not found":
		return 404
	}
	switch {
	case strings.HasPrefix(b, "upstream connect error or disconnect/reset before headers"):
		if strings.Contains(b, "protocol error") {
			return 502
		}
		return 503
	case strings.HasPrefix(b, "Jwt is not in the form"):
		return 401
	case strings.HasPrefix(b, "Error getting active endpoint:") && strings.Contains(b, "not found"):
		return 404
	case strings.HasPrefix(b, "dial tcp 127.0.0.1:"), strings.HasPrefix(b, "dial tcp [::1]:"):
		return 502
	case strings.HasPrefix(b, `{"name":`) && strings.Contains(b, `"ready":true`), strings.HasPrefix(b, `{"models":[`), b == `{"status":"alive"}`,
		strings.HasPrefix(b, `{"predictions":`), strings.HasPrefix(b, `{"model_name":`) && strings.Contains(b, `"outputs"`):
		return 200
	case strings.HasPrefix(b, "{") && strings.Contains(b, `"error"`) && strings.Contains(b, "Model with name"):
		if strings.Contains(b, "not ready") {
			return 503
		}
		return 404
	case strings.HasPrefix(b, `{"error":"Expected \"instances\"`), strings.Contains(b, "Unrecognized request format") && strings.HasPrefix(b, "{"):
		return 400
	}
	if m := titleStatus.FindStringSubmatch(b); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

var titleStatus = regexp.MustCompile(`(?is)^<(?:!doctype )?html.*?<title>(?:error |http )?([345]\d\d)\b`)
