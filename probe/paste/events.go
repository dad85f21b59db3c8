// events.go: events from tables and from the end of `kubectl describe`, in the columns of every year.
package paste

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"probe/hops"
)

// timedEvent is an event whose time may be known only as an age.
type timedEvent struct {
	hops.Event
	first, last time.Duration // ages; 0 when the times are absolute or unknown
}

// event keeps one event, within a bound.
func (p *parser) event(e hops.Event, age time.Duration) {
	p.timed(timedEvent{Event: e, last: age, first: age})
}

func (p *parser) timed(e timedEvent) {
	if e.Reason == "" && e.Message == "" {
		return
	}
	p.at(e.Last)
	if len(p.events) < maxEvents || e.Type == "Warning" && len(p.events) < 2*maxEvents || p.want.Name != "" && strings.Contains(e.About.Name, p.want.Name) {
		e.Message = clip(e.Message, maxLogLine)
		p.events = append(p.events, e)
		return
	}
	p.dropped["Event"]++
}

// eventRow takes one row of `kubectl get events`.
func (p *parser) eventRow(row map[string]any) {
	e := hops.Event{Type: str(row["TYPE"]), Reason: str(row["REASON"]), Message: str(row["MESSAGE"]), Namespace: str(row["NAMESPACE"]),
		Component: str(row["SOURCE"])}
	e.Component, _, _ = strings.Cut(e.Component, ",")
	if e.Namespace == "" {
		e.Namespace = p.hint.namespace
	}
	about := str(row["OBJECT"])
	if about == "" {
		about = str(row["KIND"]) + "/" + eventSuffix.ReplaceAllString(str(row["NAME"]), "")
	}
	e.About = p.about(about, e.Namespace)
	if n, err := strconv.Atoi(str(row["COUNT"])); err == nil {
		e.Count = n
	}
	seen := firstOf(row, "LAST SEEN", "LASTSEEN", "AGE")
	last, first, count := eventAge(seen)
	if f := firstOf(row, "FIRST SEEN", "FIRSTSEEN"); f != "" {
		first = ageOf(f)
	}
	if count > 0 {
		e.Count = count
	}
	p.timed(timedEvent{Event: e, first: first, last: last})
}

// eventSuffix is what an event's own name has behind the name of its object.
var eventSuffix = regexp.MustCompile(`\.[0-9a-f]{8,}$`)

func firstOf(row map[string]any, names ...string) string {
	for _, n := range names {
		if s := str(row[n]); s != "" {
			return s
		}
	}
	return ""
}

// about reads "pod/x", "Pod/x", "inferenceservice/x", "service.serving.knative.dev/x".
func (p *parser) about(s, namespace string) hops.ObjectRef {
	prefix, name, ok := strings.Cut(s, "/")
	if !ok {
		return hops.ObjectRef{Name: s, Namespace: namespace}
	}
	k, known := p.kinds.find(prefix)
	if !known {
		return hops.ObjectRef{Kind: prefix, Name: name, Namespace: namespace}
	}
	if strings.EqualFold(prefix, "ingress") { // an event says the bare kind: Knative's one bears the name of a component
		if hops.ComponentInName(name) == "" {
			k, _ = p.kinds.find("ing")
		}
	}
	return hops.ObjectRef{Source: hops.SourceOf(k.api, k.kind), Kind: k.kind, Name: name, Namespace: namespace}
}

var countedAge = regexp.MustCompile(`^(\S+)(?:\s+\(x(\d+) over (\S+?)\))?$`)

// eventAge reads "5m", "3s (x12 over 30m)", "<unknown>".
func eventAge(s string) (last, first time.Duration, count int) {
	m := countedAge.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, 0, 0
	}
	last = ageOf(m[1])
	first = last
	if m[2] != "" {
		count, _ = strconv.Atoi(m[2])
		first = ageOf(m[3])
	}
	return last, first, count
}

// ageOf reads an age as kubectl prints it: 45s, 5m30s, 3h5m, 2d3h, 400d, 2y. 0 when it is none.
func ageOf(s string) time.Duration {
	var total time.Duration
	n, digits := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' {
			if n > 100000 {
				return 0
			}
			n, digits = n*10+int(c-'0'), true
			continue
		}
		unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'y': 365 * 24 * time.Hour}[c]
		if unit == 0 || !digits {
			return 0
		}
		total += time.Duration(n) * unit
		n, digits = 0, false
	}
	if digits {
		return 0
	}
	return total
}

// unitOf is the smallest unit that an age was printed in: what was rounded away is less than that.
func unitOf(age time.Duration) time.Duration {
	for _, u := range []time.Duration{24 * time.Hour, time.Hour, time.Minute} {
		if age >= u && age%u == 0 {
			return u
		}
	}
	return time.Second
}

// describedEvents reads the table at the end of a description. The lines are those below "Events:".
func (p *parser) describedEvents(lines []string, about hops.ObjectRef) {
	var cols []column
	var last *timedEvent
	for _, s := range lines {
		t := strings.TrimSpace(s)
		switch {
		case t == "" || strings.HasPrefix(t, "----") || t == "<none>":
			continue
		case strings.HasPrefix(t, "Type ") || strings.HasPrefix(t, "FirstSeen") || strings.HasPrefix(t, "LastSeen") || strings.HasPrefix(t, "Type\t"):
			cols = describedColumns(s)
			continue
		}
		e, ok := p.describedEvent(s, cols, about)
		if !ok {
			if last != nil && len(last.Message) < 4000 { // a message that was wrapped, or that has lines of its own
				last.Message += " " + t
			}
			continue
		}
		if last != nil {
			p.timed(*last)
		}
		last = &e
	}
	if last != nil {
		p.timed(*last)
	}
}

// describedColumns finds where the columns start; "Age" and "From" move with their content, so only the order is used.
func describedColumns(s string) []column {
	var cols []column
	for i, name := range strings.Fields(s) {
		cols = append(cols, column{name: name, off: i})
	}
	return cols
}

var (
	describedRow = regexp.MustCompile(`^\s*(Normal|Warning)\s+(\S+)\s+(<unknown>|<invalid>|(?:\d+[smhdy])+(?: \(x\d+ over \S+?\))?)\s+(.*)$`)
	// The form before Kubernetes 1.10: FirstSeen LastSeen Count From [SubObjectPath] Type Reason Message.
	oldRow = regexp.MustCompile(`^\s*(\S+)\s+(\S+)\s+(\d+)\s+(.*?)\s+(Normal|Warning)\s+(\S+)\s+(.*)$`)
)

// describedEvent reads one line of events.
func (p *parser) describedEvent(s string, cols []column, about hops.ObjectRef) (timedEvent, bool) {
	if m := describedRow.FindStringSubmatch(s); m != nil {
		from, message := cutFrom(m[4])
		last, first, count := eventAge(m[3])
		return timedEvent{Event: hops.Event{Type: m[1], Reason: m[2], Message: message, About: about, Namespace: about.Namespace, Count: max(1, count),
			Component: from}, first: first, last: last}, true
	}
	if len(cols) > 0 && (cols[0].name == "FirstSeen" || cols[0].name == "LastSeen") {
		if m := oldRow.FindStringSubmatch(s); m != nil && ageCell.MatchString(m[1]) {
			n, _ := strconv.Atoi(m[3])
			from, _, _ := strings.Cut(m[4], " ")
			return timedEvent{Event: hops.Event{Type: m[5], Reason: m[6], Message: m[7], About: about, Namespace: about.Namespace, Count: n,
				Component: strings.Trim(from, "{},")}, first: ageOf(m[1]), last: ageOf(m[2])}, true
		}
	}
	return timedEvent{}, false
}

// cutFrom splits "kubelet, node-1  Message" and "kubelet  Message": the column From ends at two blanks, or holds a comma.
func cutFrom(s string) (from, message string) {
	if a, b, ok := strings.Cut(s, "  "); ok && len(a) < 80 {
		from, _, _ = strings.Cut(a, ",")
		return from, strings.TrimSpace(b)
	}
	from, message, _ = strings.Cut(s, " ")
	if strings.HasSuffix(from, ",") {
		_, message, _ = strings.Cut(strings.TrimSpace(message), " ")
	}
	return strings.TrimSuffix(from, ","), strings.TrimSpace(message)
}
