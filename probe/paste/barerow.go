// barerow.go: rows of tables whose header is not there: grep took it away, or --no-headers.
package paste

import (
	"regexp"
	"strings"

	"probe/hops"
)

var barePod = regexp.MustCompile(`^(?:[a-z0-9][-a-z0-9]*\s+)?(?:pod/)?[a-z0-9][-a-z0-9.]*\s+\d+/\d+\s+(?:[A-Z]\w+(?::\w+)?|Init:\S+|PodInitializing)\s+\d+(?:\s+\(\S+ ago\))?\s+(?:\d+[smhdy])+(?:\s|$)`)

// startBareRow takes rows that a pipe left of a table.
func (p *parser) startBareRow(l line, t string) bool {
	if len(t) > 600 || p.hint.verb != "get" && !rowLike(t) {
		return false
	}
	tb, ok := p.bareTable(t)
	if !ok {
		return false
	}
	cells, fits := tb.match(strings.Fields(t))
	if !fits {
		return false
	}
	p.endLog()
	p.hint.used = true
	w := p.newRows(tb)
	for {
		w.row(cells, l.no)
		next, more := p.next()
		if !more {
			break
		}
		if next.blank() || p.bounds(next) {
			p.unread(next)
			break
		}
		l, t = next, strings.TrimSpace(next.text)
		again, same := p.bareTable(t)
		if same = same && again.kind.kind == tb.kind.kind && len(again.cols) == len(tb.cols); same {
			cells, same = tb.match(strings.Fields(t))
		}
		if !same {
			p.unread(l)
			break
		}
	}
	return true
}

// bareEventRow is a row of `kubectl get events`, with a namespace before it or not.
var bareEventRow = regexp.MustCompile(`^\s*(?:([a-z0-9][-a-z0-9]*)\s+)?((?:\d+[smhd])+(?: \(x\d+ over \w+\))?|<unknown>)\s+(Normal|Warning)\s+([A-Z]\w+)\s+(\w[\w.]*/[-a-z0-9.]+)\s+(.+)$`)

// startBareEvent takes a row of events whose header is not there, of a table or of a description.
func (p *parser) startBareEvent(l line) bool {
	if p.hint.strict || len(l.text) > 4000 || !strings.Contains(l.text, "Normal ") && !strings.Contains(l.text, "Warning ") {
		return false
	}
	if m := bareEventRow.FindStringSubmatch(l.text); m != nil {
		p.endLog()
		p.eventRow(map[string]any{"NAMESPACE": m[1], "LAST SEEN": m[2], "TYPE": m[3], "REASON": m[4], "OBJECT": m[5], "MESSAGE": m[6]})
		return true
	}
	if p.hint.verb != "logs" && describedRow.MatchString(l.text) {
		p.endLog()
		p.describedEvents([]string{l.text}, hops.ObjectRef{})
		return true
	}
	return false
}

// rowLike is a quick look: a count such as 1/2 is the second or third word, or the first word names a kind.
func rowLike(t string) bool {
	if c := t[0]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
		return false
	}
	n := 0
	for w := range strings.FieldsSeq(t) {
		i := strings.IndexByte(w, '/')
		if n == 0 && i > 0 && strings.Contains(t, "  ") || n > 0 && i > 0 && i+1 < len(w) && w[0] >= '0' && w[0] <= '9' && len(w) < 12 {
			return true
		}
		if n++; n > 2 {
			break
		}
	}
	return false
}

// bareTable tells the table that a row without a header is of.
func (p *parser) bareTable(t string) (table, bool) {
	words := strings.Fields(t)
	if barePod.MatchString(t) {
		k, _ := p.kinds.find("pods")
		return looseTable(k, len(words) > 1 && !countCell.MatchString(words[1])), true
	}
	if prefix, _, ok := strings.Cut(words[0], "/"); ok && len(words) > 1 && strings.Contains(t, "  ") {
		if k, known := p.kinds.find(prefix); known && defaultColumns(k) != nil {
			return p.fitting(looseTable(k, false), words)
		}
	}
	if p.hint.verb != "get" || len(p.hint.kinds) != 1 || len(words) < 2 || !nameCell.MatchString(words[0]) || p.log != nil || !strings.Contains(t, "  ") {
		return table{}, false
	}
	k, ok := p.kinds.find(p.hint.kinds[0])
	if !ok || defaultColumns(k) == nil {
		return table{}, false
	}
	return p.fitting(looseTable(k, p.hint.all), words)
}

// fitting keeps a table when the words of a row have the forms of its columns.
func (p *parser) fitting(tb table, words []string) (table, bool) {
	cells, ok := tb.match(words)
	if !ok {
		return table{}, false
	}
	for i, c := range tb.cols {
		if cells[i] != "" && !cellFits(c.name, strings.Fields(cells[i])[0]) {
			return table{}, false
		}
		if c.name == "AGE" && cells[i] != "" || c.name == "READY" && cells[i] != "" {
			return tb, true
		}
	}
	return table{}, false
}

// looseTable is a table of a kind with its usual columns.
func looseTable(k kind, namespace bool) table {
	tb := table{kind: k, known: true, loose: true}
	if namespace {
		tb.cols = append(tb.cols, column{name: "NAMESPACE"})
	}
	for _, c := range defaultColumns(k) {
		tb.cols = append(tb.cols, column{name: c})
	}
	return tb
}

// defaultColumns are those of `kubectl get`, without -o wide.
func defaultColumns(k kind) []string {
	switch k.kind {
	case "Pod":
		return []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"}
	case "InferenceService":
		return []string{"NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION", "AGE"}
	case "Service":
		if strings.HasPrefix(k.api, "serving.") {
			return []string{"NAME", "URL", "LATESTCREATED", "LATESTREADY", "READY", "REASON"}
		}
		return []string{"NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"}
	case "Configuration":
		return []string{"NAME", "LATESTCREATED", "LATESTREADY", "READY", "REASON"}
	case "Route":
		return []string{"NAME", "URL", "READY", "REASON"}
	case "Revision":
		return []string{"NAME", "CONFIG NAME", "GENERATION", "READY", "REASON", "ACTUAL REPLICAS", "DESIRED REPLICAS"}
	case "Ingress":
		if strings.HasPrefix(k.api, "networking.internal") {
			return []string{"NAME", "READY", "REASON"}
		}
	case "Deployment":
		return []string{"NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"}
	case "ReplicaSet":
		return []string{"NAME", "DESIRED", "CURRENT", "READY", "AGE"}
	}
	return nil
}
