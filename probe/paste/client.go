// client.go: what a caller saw: transcripts of curl, httpie and wget, dumps of answers, bare bodies. Each exchange becomes one observation.
package paste

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"probe/hops"
)

// maxBody is how much of an answer's body an observation holds.
const maxBody = 1 << 10

// part of an exchange that the lines are in.
type part int

const (
	before part = iota
	sending
	sent     // the body of a request that httpie prints
	heading  // headers of the answer
	answered // its body
)

// transcript is one or more exchanges while they are read.
type transcript struct {
	p      *parser
	call   call
	o      hops.Observation
	part   part
	dump   bool // headers without "< " before them
	url    string
	error  string
	body   []string
	size   int
	no     int // first line
	at     int // present line
	blanks int
	n      int // exchanges given
	// outcome is what the number of curl's error says; "" when it says nothing.
	outcome hops.Outcome
}

var (
	piped      = regexp.MustCompile(`^HTTP/[0-9.]+ \d{3}[^|]*\|[a-z-]+: `)
	statusLine = regexp.MustCompile(`^(HTTP/[0-9.]+) (\d{3})(?: ([^|]*))?$`)
	sentHead   = regexp.MustCompile(`^(GET|POST|PUT|HEAD|OPTIONS|PATCH|DELETE) (\S+) (HTTP/[0-9.]+)$`)
	headerLine = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]*):\s*(.*)$`)
	curlError  = regexp.MustCompile(`^curl: \((\d+)\) (.*)$`)
	progress   = regexp.MustCompile(`^.*--:--:--\s+[0-9.]+[kMG]?\s*|^\s*\d+\s+[\d.]+[kMG]?\s+\d+\s+[\d.]+[kMG]?\s+\d+\s+\d+\s+[\d.kMG]+\s+[\d.kMG]+\s+[-:0-9]+\s+[-:0-9]+\s+[-:0-9]+\s+[\d.kMG]+`)
	connected  = regexp.MustCompile(`^(?:Connected to|Established connection to) (\S+) \(([^)\s]+)(?: port (\d+))?\)(?: port (\d+))?`)
	trying     = regexp.MustCompile(`^\s*Trying \[?([0-9a-fA-F.:]+?)\]?(?::(\d+))?\.\.\.`)
	queryText  = regexp.MustCompile(`\?[^"'\s<>]*`)
	pseudo     = regexp.MustCompile(`\[:(path|authority|method): ([^\]]*)\]`)
	// What curl says on its "* " lines about the time before a request is sent.
	curlTells = regexp.MustCompile(`^\*\s+(Trying|Connected|Could not|Couldn't|Hostname|Host |Name resolution|TCP_NODELAY|About to connect|Rebuilt|Uses proxy|Added|Failed to|Connection|connect to|Established|Closing|Recv|Empty|Operation|Resolving|ALPN|SSL|TLS|Note:|Immediate|IPv|Using|Re-using|upload|Mark|Request|OpenSSL|Server|Expire|getaddrinfo|Send|HTTP|schannel|shutting|We are|no chunk|\[HTTP|\[h2|h2h3|  )`)
)

// startClient takes a block that begins like a transcript or an answer, and what follows a client's command.
func (p *parser) startClient(l line, t string) bool {
	if p.hint.verb == "logs" {
		return false
	}
	ok := false
	switch t[0] {
	case '*':
		ok = curlTells.MatchString(t)
	case '>':
		ok = sentLine.MatchString(t)
	case '<':
		ok = strings.HasPrefix(t, "< HTTP/")
	case 'H':
		ok = statusLine.MatchString(t) || piped.MatchString(t)
	case 'c':
		ok = curlError.MatchString(t)
	case '-':
		ok = strings.HasPrefix(t, "--2") && strings.Contains(t, "--  http")
	case 'G', 'P', 'D', 'O':
		ok = sentHead.MatchString(t)
	case '%', '0', '1':
		ok = strings.HasPrefix(t, "% Total") || progress.MatchString(t)
	}
	if !ok && p.hint.tool != "" && p.hint.clientish && !p.hint.used && p.log == nil && p.hint.tool != "python" && p.hint.tool != "grpcurl" {
		ok = true
	}
	if !ok {
		return p.startClientError(l, t)
	}
	p.endLog()
	p.unread(l)
	p.transcript()
	return true
}

// transcript reads exchanges until something else surely begins.
func (p *parser) transcript() {
	t := &transcript{p: p, call: p.hint.call}
	for {
		l, ok := p.next()
		if !ok {
			break
		}
		if t.over(l) {
			p.unread(l)
			break
		}
		if t.no == 0 && !l.blank() {
			t.no = l.no
		}
		t.at = l.no
		t.line(l)
	}
	t.flush()
	p.hint.used = true
	p.hint.call = call{}
}

// over says whether a line is no longer of the transcript.
func (t *transcript) over(l line) bool {
	s := strings.TrimSpace(l.text)
	if s == "" {
		if t.blanks++; t.blanks > 3 && t.part != answered {
			return true
		}
		return false
	}
	if t.p.bounds(l) || s == "---" || s == "EOF" {
		return true
	}
	blanks := t.blanks
	t.blanks = 0
	if headerLike(s) {
		if _, ok := parseHeader(strings.TrimLeft(l.text, " ")); ok {
			return true
		}
	}
	if strings.HasPrefix(s, "apiVersion:") || describeHead.MatchString(s) || strings.HasPrefix(s, "[pod/") {
		return true
	}
	if _, _, ok := accessIn(s); ok {
		return true
	}
	marked := strings.HasPrefix(s, "* ") || strings.HasPrefix(s, "> ") || strings.HasPrefix(s, "< ") || strings.HasPrefix(s, "curl:") || statusLine.MatchString(s)
	if t.part == answered && !marked && t.complete() {
		return true
	}
	if t.part != answered && t.part != sent {
		return !marked && blanks > 1 || len(t.body) > 200 && !marked
	}
	return len(t.body) > 400 && !marked || blanks > 2 && !marked
}

// complete says whether the whole body was read, as its length tells. JSON may have been spread over lines since.
func (t *transcript) complete() bool {
	n, err := strconv.Atoi(t.o.Header["content-length"])
	return err == nil && (n == 0 || t.size > n && !strings.Contains(t.o.Header["content-type"], "json"))
}

// line takes one line.
func (t *transcript) line(l line) {
	s := l.text
	if strings.Contains(s, "--:--:--") || strings.HasPrefix(strings.TrimLeft(s, " "), "% Total") || strings.Contains(s, "Dload  Upload") || strings.Contains(s, "0    0 ") {
		s = strings.TrimLeft(progress.ReplaceAllString(s, ""), " ")
		if s == "" || strings.HasPrefix(s, "% Total") || strings.HasPrefix(s, "Dload") {
			return
		}
	}
	trimmed := strings.TrimLeft(s, " ")
	switch {
	case strings.HasPrefix(trimmed, "* ") && (t.part != answered || curlTells.MatchString(trimmed)):
		t.told(strings.TrimSpace(trimmed[2:]))
	case strings.HasPrefix(trimmed, "> ") || trimmed == ">":
		t.send(strings.TrimSpace(trimmed[1:]))
	case strings.HasPrefix(trimmed, "< ") || trimmed == "<":
		t.receive(strings.TrimSpace(trimmed[1:]))
	case strings.HasPrefix(trimmed, "{ [") || strings.HasPrefix(trimmed, "} ["):
	case curlError.MatchString(trimmed):
		m := curlError.FindStringSubmatch(trimmed)
		switch m[1] {
		case "5", "6", "7", "35", "60":
			if t.o.Status > 0 {
				t.flush() // this one never got an answer
			}
		}
		t.fail(m[2])
		t.outcome = curlOutcome(m[1], m[2])
		t.p.addLine(hops.Line{Source: hops.ClientLog, Text: trimmed, Number: l.no})
		t.flush()
		t.no = 0
	case piped.MatchString(trimmed): // answers that a script joined into one line
		for h := range strings.SplitSeq(trimmed, "|") {
			t.receive(strings.TrimSpace(h))
		}
		t.part = answered
	case statusLine.MatchString(trimmed) && (t.part != heading || t.dump):
		t.dump = true
		t.receive(trimmed)
	case sentHead.MatchString(trimmed) && t.part != heading:
		t.dump = true
		t.send(trimmed)
	case t.dump && (t.part == heading || t.part == sending):
		t.dumped(trimmed)
	case t.wget(trimmed):
	default:
		t.bodyLine(s)
	}
}

// dumped takes a header, or the blank line behind the headers, of a dump.
func (t *transcript) dumped(s string) {
	if s == "" {
		if t.part++; t.part == sent {
			t.body = nil
		}
		return
	}
	if !headerLine.MatchString(s) {
		t.part++
		t.bodyLine(s)
		return
	}
	if t.part == sending {
		t.sentHeader(s)
	} else {
		t.header(s)
	}
}

// told takes what curl tells on a "* " line.
func (t *transcript) told(s string) {
	if m := trying.FindStringSubmatch(s); m != nil {
		if t.part == answered || t.error != "" {
			t.flush()
		}
		t.o.Peer = m[1]
		if m[2] != "" {
			t.o.Peer = net.JoinHostPort(m[1], m[2])
		}
		return
	}
	if m := connected.FindStringSubmatch(s); m != nil {
		port := m[3] + m[4]
		t.o.Target, t.o.Peer = net.JoinHostPort(m[1], port), net.JoinHostPort(m[2], port)
		t.error = ""
		return
	}
	for _, m := range pseudo.FindAllStringSubmatch(s, -1) {
		switch m[1] {
		case "path":
			t.o.Path, _, _ = strings.Cut(m[2], "?")
		case "authority":
			t.o.Host = m[2]
		case "method":
			t.o.Method = m[2]
		}
	}
	low := strings.ToLower(s)
	if strings.HasPrefix(low, "alpn") || strings.Contains(low, "ssl certificate verify ok") || strings.HasPrefix(low, "ssl connection using") ||
		strings.HasPrefix(low, "connection #") || strings.HasPrefix(low, "connected") || strings.HasPrefix(low, "closing connection") ||
		strings.Contains(low, "set certificate verify locations") || strings.HasPrefix(low, "tlsv") || strings.HasPrefix(low, "server certificate") ||
		strings.HasPrefix(low, "subject") || strings.HasPrefix(low, "issuer") || strings.HasPrefix(low, "start date") || strings.HasPrefix(low, "expire") ||
		strings.HasPrefix(low, "successfully") || strings.HasPrefix(low, "cipher selection") || strings.HasPrefix(low, "cafile") || strings.HasPrefix(low, "ssl certificate verify result") {
		return
	}
	if t.part < heading && outcomeOf(s) != "" {
		t.fail(s)
	}
}

// send takes what was sent: the request line, then headers. Of headers only the Host is kept.
func (t *transcript) send(s string) {
	if m := strings.Fields(s); len(m) >= 2 && strings.ToUpper(m[0]) == m[0] && strings.HasPrefix(m[1], "/") && !strings.HasSuffix(m[0], ":") {
		if t.part >= heading {
			peer, target := t.o.Peer, t.o.Target
			t.flush()
			t.o.Peer, t.o.Target = peer, target
		}
		t.part = sending
		t.o.Method = m[0]
		t.o.Path, _, _ = strings.Cut(m[1], "?")
		return
	}
	t.sentHeader(s)
}

func (t *transcript) sentHeader(s string) {
	var c call
	c.header(s)
	if c.host != "" {
		t.o.Host = c.host
	}
	t.o.Credentials = t.o.Credentials || c.secret
	t.call.knock = t.call.knock || c.knock
}

// receive takes what came: a status line, then headers, then a blank line. Interim answers such as 100 are passed over.
func (t *transcript) receive(s string) {
	if m := statusLine.FindStringSubmatch(s); m != nil {
		code, _ := strconv.Atoi(m[2])
		if t.o.Status >= 200 {
			t.flush()
		}
		t.part = heading
		if code < 200 {
			t.part = sending
			return
		}
		t.o.Status, t.o.Proto = code, m[1]
		if m[1] == "HTTP/2" || m[1] == "HTTP/3" {
			t.o.Proto += ".0"
		}
		return
	}
	if s == "" {
		if t.part == heading {
			t.part = answered
		}
		return
	}
	t.header(s)
}

// header keeps a header of the answer when it is on the list.
func (t *transcript) header(s string) {
	m := headerLine.FindStringSubmatch(s)
	if m == nil || t.o.Status == 0 {
		return
	}
	name, value := strings.ToLower(m[1]), strings.TrimSpace(m[2])
	switch name {
	case "date":
		if at, err := time.Parse(time.RFC1123, value); err == nil {
			t.o.Start = at.UTC()
			t.p.at(t.o.Start)
		}
		return
	case "location":
		value, _, _ = strings.Cut(value, "?") // what follows may be a token
	case "www-authenticate", "server", "x-envoy-upstream-service-time", "k-network-hash", "content-type", "content-length", "via", "grpc-status",
		"grpc-message", "retry-after", "x-ext-authz-check-result", "x-envoy-decorator-operation", "cf-ray", "x-cache":
	default:
		return
	}
	if t.o.Header == nil {
		t.o.Header = map[string]string{}
	}
	if len(t.o.Header) < 20 {
		t.o.Header[name] = clip(value, 512)
	}
}

// fail remembers why no answer came.
func (t *transcript) fail(s string) {
	if t.error == "" || outcomeOf(s) != "" {
		t.error = s
	}
}

// bodyLine takes a line of an answer's body.
func (t *transcript) bodyLine(s string) {
	if t.part == sent || t.part == sending && t.dump {
		return
	}
	if i := strings.Index(s, "* Connection #"); i >= 0 {
		s = s[:i]
	}
	if i := strings.Index(s, "* Closing connection"); i >= 0 {
		s = s[:i]
	}
	if s == "" && len(t.body) == 0 {
		return
	}
	if t.part == heading {
		t.part = answered
	}
	if t.size < 4*maxBody {
		t.body = append(t.body, s)
		t.size += len(s) + 1
	}
}

// wget takes what wget tells.
func (t *transcript) wget(s string) bool {
	if m := wgetURL.FindStringSubmatch(s); m != nil {
		t.flush()
		t.url = m[1]
		return true
	}
	if m := wgetStatus.FindStringSubmatch(s); m != nil {
		t.o.Status, _ = strconv.Atoi(m[1])
		return true
	}
	if strings.HasPrefix(s, "Resolving ") || strings.HasPrefix(s, "Connecting to ") || strings.HasPrefix(s, "wget: ") || strings.HasPrefix(s, "http: error: ") {
		if outcomeOf(s) != "" {
			t.fail(s)
		}
		return true
	}
	return false
}

var (
	wgetURL    = regexp.MustCompile(`^--\d{4}-\d\d-\d\d \d\d:\d\d:\d\d--\s+(\S+)`)
	wgetStatus = regexp.MustCompile(`(?:awaiting response\.\.\.|^\d{4}-\d\d-\d\d \S+ ERROR|^wget: server returned error: HTTP/[0-9.]+) (\d{3})`)
)

// flush gives the exchange that was read, if it tells anything, and begins the next.
func (t *transcript) flush() {
	o := t.o
	body := strings.TrimSpace(strings.Join(t.body, "\n"))
	if cut, ok := strings.CutSuffix(body, "%"); ok && (statusOfBody(cut) > 0 || o.Header["content-length"] == strconv.Itoa(len(cut))) {
		body = cut // zsh marks a missing end of line so
	}
	callURL, knock, failed, no, outcome := t.url, t.call.knock, t.error, t.no, t.outcome
	if callURL == "" {
		callURL = t.call.url
	}
	defaults := t.call
	*t = transcript{p: t.p, call: t.call, n: t.n + 1, no: t.at, at: t.at}
	if o.Status == 0 && failed == "" {
		if body == "" || !defaults.raw && o.Method == "" {
			return
		}
		if o.Status = statusOfBody(body); o.Status == 0 {
			for _, s := range strings.Split(body, "\n") {
				t.p.clientLine(s, no)
			}
			return
		}
	}
	o.Asked = hops.RealRequest
	if knock {
		o.Asked = hops.Knock
	}
	if o.Status > 0 {
		o.Body, o.BodyBytes = clip(body, maxBody), int64(len(body))
	}
	if o.Status >= 300 && o.Status < 400 {
		o.Body = queryText.ReplaceAllString(o.Body, "") // the link to a login carries its state
	}
	o.Credentials = o.Credentials || defaults.secret
	t.p.place(&o, callURL, defaults)
	o.Outcome = hops.Answered
	if o.Status == 0 {
		if o.Outcome, o.Err = outcome, failed; outcome == "" {
			o.Outcome = outcomeOf(failed)
		}
		if o.Outcome == "" {
			o.Outcome = hops.ClosedEarly
		}
	} else if failed != "" {
		o.Err = failed
	}
	if s, err := strconv.Atoi(o.Header["grpc-status"]); err == nil {
		o.GRPCStatus = s
	}
	t.p.observe(o, no)
}
