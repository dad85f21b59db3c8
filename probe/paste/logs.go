// logs.go: keeps the telling part of a log of any length: its first lines, its last lines, and of the middle what looks like trouble.
package paste

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"probe/hops"
)

// Lines that are kept of one log.
const (
	headLines   = 200
	middleLines = 2000
	tailLines   = 2000
	tailBytes   = 8 << 20
)

// logBlock is one log while it is read.
type logBlock struct {
	n       int // lines seen
	kept    []hops.Line
	telling int
	tail    []hops.Line // the last lines, as a ring once it is full
	at      int
	bytes   int // of the tail
	skipped int
	prev    string
	who     origin // of the lines that do not tell themselves
	blanks  int
	server  bool // the lines are of a server, not of a caller's program
	tells   *tells
}

// origin is whose log a line is of.
type origin struct {
	source         hops.Source
	namespace, pod string
	container      string
	previous       bool
}

// logLine takes one line that belongs to no other format.
func (p *parser) logLine(l line) {
	if p.log == nil {
		p.log = &logBlock{who: p.originOf(p.hint), tells: p.tells}
		p.log.server = p.hint.verb == "logs"
	}
	b := p.log
	b.n++
	b.blanks = 0
	text := l.text
	if text == b.prev {
		return
	}
	b.prev = text
	if len(text) > maxLogLine {
		text = clip(text, maxLogLine)
	}
	who := b.who
	text, who = prefixed(text, who)
	if o, ok := told(text, &who); ok {
		b.server = true
		if b.who.source == hops.ContainerLogs && b.who.container == "" && o.container != "" && o.source == hops.ContainerLogs {
			b.adopt(o)
		}
		who = o
	} else if p.prose(text) {
		who = origin{source: hops.ClientLog}
	}
	rec := hops.Line{Source: who.source, Namespace: who.namespace, Pod: who.pod, Container: who.container, Previous: who.previous, Number: l.no, Text: text}
	switch {
	case b.n <= headLines:
		b.kept = append(b.kept, rec)
	default:
		b.push(rec)
	}
}

// prose says whether a line is what somebody wrote around the pastes of a Markdown text.
func (p *parser) prose(text string) bool {
	return p.fences && p.fence == "" && p.hint.verb != "logs" && !p.hint.strict
}

// adopt gives the lines before it the container that a line of the same log tells.
func (b *logBlock) adopt(o origin) {
	for i := range b.kept {
		if l := &b.kept[i]; l.Source == hops.ContainerLogs && l.Container == "" {
			l.Container = o.container
		}
	}
	b.who.container = o.container
}

// push keeps a line among the last ones; the one that falls out is kept when it is telling.
func (b *logBlock) push(l hops.Line) {
	b.bytes += len(l.Text)
	if len(b.tail) < tailLines {
		b.tail = append(b.tail, l)
	} else {
		old := b.tail[b.at]
		b.tail[b.at] = l
		b.at = (b.at + 1) % tailLines
		b.drop(old)
	}
	for i := 0; b.bytes > tailBytes && i < len(b.tail); i++ {
		if old := &b.tail[(b.at+i)%len(b.tail)]; old.Text != "" {
			b.drop(*old)
			old.Text = ""
		}
	}
}

// drop lets a line go, unless it tells something and there is room.
func (b *logBlock) drop(l hops.Line) {
	b.bytes -= len(l.Text)
	if l.Text == "" {
		return
	}
	if b.telling < middleLines && b.tells.match(l.Text) {
		b.telling++
		b.kept = append(b.kept, l)
		return
	}
	b.skipped++
}

// logBlank ends a log that a paste goes on after; a log may have blank lines itself.
func (p *parser) logBlank() {
	if p.log == nil {
		return
	}
	if p.log.blanks++; p.log.blanks > 1 && p.hint.verb != "logs" {
		p.endLog()
	}
}

// endLog hands over what was kept.
func (p *parser) endLog() {
	b := p.log
	if b == nil {
		return
	}
	p.log = nil
	for i := range b.tail {
		if l := b.tail[(b.at+i)%len(b.tail)]; l.Text != "" {
			b.kept = append(b.kept, l)
		}
	}
	scarce := p.lineBytes > maxLogBytes/2 // after many logs only what tells something, and the ends
	for i, l := range b.kept {
		if scarce && i < len(b.kept)-100 && !p.tells.match(l.Text) {
			b.skipped++
			continue
		}
		if strings.TrimSpace(l.Text) == "" || l.Source == hops.ClientLog && !p.tells.match(l.Text) {
			continue
		}
		if l.Container == "" && l.Source == hops.ContainerLogs {
			l.Container = b.who.container
		}
		l.Time = lineTime(l.Text)
		p.at(l.Time)
		p.mentionLine(&l)
		p.addLine(l)
	}
	if b.skipped > 0 {
		p.note(p.name, 0, fmt.Sprintf("a log of %d lines: the first, the last and the telling ones were read, %d were left out", b.n, b.skipped))
	}
}

// originOf says whose log follows, as far as the command or the file's name tells.
func (p *parser) originOf(h hint) origin {
	o := origin{source: hops.ContainerLogs}
	if h.verb != "logs" {
		if h.clientish {
			o.source = hops.ClientLog
		}
		return o
	}
	o.namespace, o.pod, o.container, o.previous = h.namespace, h.pod, h.container, h.previous
	name := h.name
	if name == "" {
		name = h.selector
	}
	return system(o, name)
}

// system tells the logs of controllers and gateways by the names of their pods and containers.
func system(o origin, name string) origin {
	switch o.container {
	case "activator", "autoscaler", "controller", "manager", "discovery", "webhook", "net-istio-controller":
		o.source = hops.SystemLogs
		if o.container == "net-istio-controller" {
			o.container = "controller"
		}
		return o
	case "istio-ingressgateway":
		o.source, o.container = hops.AccessLogs, "istio-proxy"
		return o
	case "":
	default:
		return o
	}
	for _, part := range []struct{ word, container string }{{"net-istio-controller", "controller"}, {"networking-istio", "controller"}, {"istiod", "discovery"},
		{"istio-pilot", "discovery"}, {"kserve-controller-manager", "manager"}, {"kfserving-controller-manager", "manager"}, {"activator", "activator"},
		{"autoscaler", "autoscaler"}, {"domain-mapping", ""}, {"control-plane=kserve", "manager"}} {
		if strings.Contains(name, part.word) && !strings.Contains(name, "predictor") {
			o.source, o.container = hops.SystemLogs, part.container
			return o
		}
	}
	if o.namespace == "knative-serving" || o.namespace == "kserve" || o.namespace == "kfserving-system" || o.namespace == "cert-manager" {
		o.source = hops.SystemLogs
		if strings.HasPrefix(name, "controller-") {
			o.container = "controller"
		}
	}
	return o
}

// prefixed takes off what `kubectl logs --prefix` and stern put before each line.
func prefixed(text string, o origin) (string, origin) {
	if strings.HasPrefix(text, "[pod/") {
		if head, rest, ok := strings.Cut(text[5:], "] "); ok {
			if pod, c, ok := strings.Cut(head, "/"); ok && len(head) < 300 {
				o.pod, o.container = pod, c
				return rest, system(o, pod)
			}
		}
		return text, o
	}
	if line, ok := nodeLine(text); ok {
		return line, o
	}
	if entry, pod, ok := accessIn(text); ok && len(entry) < len(text) {
		if pod != "" {
			o.pod = pod
		}
		return entry, o
	}
	pod, rest, ok := strings.Cut(text, " ")
	if !ok || len(pod) > 253 || !strings.Contains(pod, "-deployment-") || !podName.MatchString(pod) {
		return text, o
	}
	c, line, ok := strings.Cut(rest, " ")
	if ok && containerIn(c) == c && c != "" {
		o.pod, o.container = pod, c
		return line, o
	}
	return text, o
}

// nodeLine takes off what the container runtime writes around a line in its own files: "TIME stdout F line", {"log":"line\n","stream":"stderr"}.
func nodeLine(text string) (string, bool) {
	if strings.HasPrefix(text, `{"log":"`) {
		var m struct {
			Log string `json:"log"`
		}
		if json.Unmarshal([]byte(text), &m) == nil && m.Log != "" {
			return strings.TrimRight(m.Log, "\r\n"), true
		}
		return text, false
	}
	if len(text) < 30 || text[0] != '2' || text[10] != 'T' {
		return text, false
	}
	_, rest, _ := strings.Cut(text, " ")
	for _, p := range []string{"stdout F ", "stderr F ", "stdout P ", "stderr P "} {
		if line, ok := strings.CutPrefix(rest, p); ok {
			return line, true
		}
	}
	return text, false
}

// accessIn finds an access log entry in a line, behind the name of its pod if there is one: "istio-ingressgateway-5f-abcde: [2026-...] ...".
func accessIn(text string) (entry, pod string, ok bool) {
	at := strings.Index(text[:min(len(text), 160)], "[2")
	if at < 0 || !accessLike(text[at:]) {
		return "", "", false
	}
	for w := range strings.FieldsFuncSeq(text[:at], func(r rune) bool { return r == ' ' || r == ':' || r == '|' || r == '/' }) {
		if objectName.MatchString(w) && strings.Contains(w, "-") && w != "istio-proxy" && pod == "" {
			pod = w
		}
	}
	return text[at:], pod, true
}

// lineTime reads the time at the start of a line, or that of a JSON line; zero when there is none.
func lineTime(s string) time.Time {
	if len(s) > 20 && s[0] == '[' && s[5] == '-' {
		s = s[1:]
	}
	if len(s) >= 20 && s[4] == '-' && s[7] == '-' && (s[10] == 'T' || s[10] == ' ') {
		end := 19
		for end < len(s) && end < 40 && (s[end] >= '0' && s[end] <= '9' || strings.IndexByte(".:+-Z", s[end]) >= 0) {
			end++
		}
		stamp := s[:10] + "T" + s[11:end]
		if t, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			return t.UTC()
		}
		if t, err := time.Parse("2006-01-02T15:04:05", stamp[:19]); err == nil && s[10] == ' ' {
			return t
		}
	}
	if len(s) > 0 && s[0] == '{' {
		return jsonTime(s)
	}
	return time.Time{}
}

// jsonTime finds the time field of a JSON line without decoding it: "ts" of Knative and controller-runtime, "timestamp", "time", "start_time".
func jsonTime(s string) time.Time {
	for _, key := range []string{`"timestamp":`, `"ts":`, `"time":`, `"start_time":`} {
		_, rest, ok := strings.Cut(s, key)
		if !ok {
			continue
		}
		rest = strings.TrimLeft(rest, " ")
		if strings.HasPrefix(rest, `"`) {
			v, _, _ := strings.Cut(rest[1:], `"`)
			if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
				return t.UTC()
			}
			continue
		}
		var seconds float64
		if _, err := fmt.Sscanf(rest, "%g", &seconds); err == nil && seconds > 1e9 && seconds < 1e10 {
			return time.UnixMilli(int64(seconds * 1e3)).UTC()
		}
	}
	return time.Time{}
}
