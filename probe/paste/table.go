// table.go: finds `kubectl get` tables and cuts their rows into cells: padded, collapsed to single blanks, with tabs, cut at the right or wrapped.
package paste

import (
	"regexp"
	"strings"
)

// column is one column of a table.
type column struct {
	name string
	off  int // where it starts in a padded table
}

// table is one table while it is read.
type table struct {
	cols  []column
	tabs  bool // cells are separated by tabs
	loose bool // padding was lost: cells are separated by single blanks
	kind  kind
	known bool
}

// has says whether a table has a column.
func (tb *table) has(name string) bool {
	for _, c := range tb.cols {
		if c.name == name {
			return true
		}
	}
	return false
}

// startTable takes a block whose first line is a header.
func (p *parser) startTable(l line, t string) bool {
	if len(t) > 2000 || !headerLike(t) {
		return false
	}
	base := indentOf(l.text)
	head := dedent(l.text, base)
	wrapped := 0
	tb, ok := parseHeader(head)
	if n, more := p.peek(); more && headerRest(n.text) {
		if joined, whole := parseHeader(strings.TrimRight(head, " ") + dedent(n.text, base)); whole || ok {
			if !whole {
				joined, _ = parseHeader(head + "   " + strings.TrimSpace(n.text))
			}
			if len(joined.cols) > len(tb.cols) {
				tb, ok, wrapped = joined, true, 1
			}
		}
	}
	if !ok {
		return false
	}
	if p.hint.verb == "logs" && p.hint.strict {
		return false
	}
	p.endLog()
	p.hint.used = true
	if wrapped > 0 {
		p.wrappedTable(tb, head, base)
		return true
	}
	p.tableRows(tb, base)
	return true
}

// headerLike is a quick look: nothing but capitals, and one of the words that come first.
func headerLike(t string) bool {
	for i := 0; i < len(t); i++ {
		if c := t[i]; c >= 'a' && c <= 'z' || c >= 0x80 || c == '"' || c == ':' || c == '{' || c == '=' {
			return false
		}
	}
	for _, w := range []string{"NAME", "LAST", "FIRST", "KIND", "POD", "TYPE", "AGE", "REASON"} {
		if strings.HasPrefix(t, w) {
			return true
		}
	}
	return false
}

// headerRest says whether a line can be the wrapped end of a header: known words only.
func headerRest(s string) bool {
	w := strings.Fields(s)
	if len(w) == 0 || len(w) > 8 || len(s) > 300 {
		return false
	}
	for i, one := range w {
		if strings.ToUpper(one) != one || strings.Trim(one, "ABCDEFGHIJKLMNOPQRSTUVWXYZ()-0123456789") != "" || !(knownWord(one) || i == 0 && knownTail(one)) {
			return false
		}
	}
	return true
}

// headerNames are the columns of kubectl's printers and of the printer columns of KServe, KFServing, Knative and Istio, those of several words
// first.
func headerNames() []string {
	return []string{"LAST SEEN", "FIRST SEEN", "K8S SERVICE NAME", "CONFIG NAME", "ACTUAL REPLICAS", "DESIRED REPLICAS", "NOMINATED NODE",
		"READINESS GATES", "DEFAULT TRAFFIC", "CANARY TRAFFIC", "ACCESS MODES", "CREATED AT", "SERVICE NAME", "NAME", "NAMESPACE", "READY", "STATUS", "RESTARTS", "AGE",
		"IP", "NODE", "URL", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION", "LATESTCREATED", "LATESTREADY", "REASON", "GENERATION",
		"UP-TO-DATE", "AVAILABLE", "DESIRED", "CURRENT", "CONTAINERS", "IMAGES", "SELECTOR", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)",
		"ENDPOINTS", "ADDRESSTYPE", "PORTS", "GATEWAYS", "HOSTS", "HOST", "HOSTNAMES", "CLASS", "ADDRESS", "PROGRAMMED", "OBJECT", "MESSAGE", "KIND",
		"SUBOBJECT", "SOURCE", "COUNT", "MODE", "ACTIVATORS", "SERVICENAME", "PRIVATESERVICENAME", "DESIREDSCALE", "ACTUALSCALE", "DISABLED",
		"MODELTYPE", "VOLUME", "CAPACITY", "STORAGECLASS", "VOLUMEATTRIBUTESCLASS", "VOLUMEMODE", "REQUEST", "LIMIT", "SECRETS", "DATA", "ROLES",
		"VERSION", "LABELS", "DOMAIN", "ACTION", "WEBHOOKS", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "OS-IMAGE", "KERNEL-VERSION",
		"CONTAINER-RUNTIME", "INTERNAL-IP", "POD-SELECTOR", "CANARY", "DEFAULT", "CONTROLLER", "PARAMETERS", "SERVICE", "TRAFFIC", "PERCENT",
		"INFERENCESERVICE", "REVISION", "COMPLETIONS", "DURATION", "NODE SELECTOR", "POD", "CONTAINER", "NODENAME", "FIRSTSEEN", "LASTSEEN"}
}

func knownWord(w string) bool {
	for _, n := range headerNames() {
		if n == w {
			return true
		}
		for part := range strings.FieldsSeq(n) {
			if part == w {
				return true
			}
		}
	}
	return false
}

// knownTail says whether w can be the end of a word that was wrapped in its middle.
func knownTail(w string) bool {
	for _, n := range headerNames() {
		if strings.HasSuffix(n, w) {
			return true
		}
	}
	return false
}

var wideGap = regexp.MustCompile(` {2,}`)

// parseHeader cuts a header into columns.
func parseHeader(s string) (table, bool) {
	var tb table
	switch {
	case strings.Contains(strings.TrimSpace(s), "\t"):
		tb.tabs = true
		for _, c := range splitTabs(s) {
			tb.cols = append(tb.cols, column{name: c})
		}
	default:
		tb.cols = padded(s)
		if len(tb.cols) < 3 && hasJoined(tb.cols) || len(tb.cols) < 2 {
			tb.cols, tb.loose = collapsed(s), true
		}
	}
	known := 0
	for _, c := range tb.cols {
		if isHeaderName(c.name) {
			known++
		}
	}
	return tb, len(tb.cols) >= 2 && known >= 2 && known*2 >= len(tb.cols)
}

// padded cuts a header at gaps of two blanks and more.
func padded(s string) []column {
	var cols []column
	at := 0
	for _, gap := range append(wideGap.FindAllStringIndex(s, -1), []int{len(s), len(s)}) {
		if name := strings.TrimSpace(s[at:gap[0]]); name != "" {
			cols = append(cols, column{name, at})
		}
		at = gap[1]
	}
	return cols
}

// hasJoined says whether one of the columns holds several known ones: their padding was a single blank, or was lost.
func hasJoined(cols []column) bool {
	for _, c := range cols {
		if strings.Contains(c.name, " ") && !isHeaderName(c.name) {
			return true
		}
	}
	return false
}

// collapsed cuts a header at single blanks, keeping the names of several words together.
func collapsed(s string) []column {
	var cols []column
	rest, off := s, 0
	for {
		trimmed := strings.TrimLeft(rest, " ")
		off += len(rest) - len(trimmed)
		if trimmed == "" {
			return cols
		}
		name, _, _ := strings.Cut(trimmed, " ")
		for _, n := range headerNames() {
			if strings.Contains(n, " ") && (trimmed == n || strings.HasPrefix(trimmed, n+" ")) {
				name = n
				break
			}
		}
		cols = append(cols, column{name, off})
		rest, off = trimmed[len(name):], off+len(name)
	}
}

func isHeaderName(s string) bool {
	for _, n := range headerNames() {
		if n == s {
			return true
		}
	}
	return false
}

func splitTabs(s string) []string {
	var out []string
	for _, c := range strings.Split(strings.Trim(s, " \t"), "\t") {
		if c = strings.TrimSpace(c); c != "" {
			out = append(out, c)
		}
	}
	return out
}

// tableRows reads rows until something comes that is none.
func (p *parser) tableRows(tb table, base int) {
	tb.kind, tb.known = p.tableKind(tb)
	w := p.newRows(tb)
	for {
		l, ok := p.next()
		if !ok {
			break
		}
		t := strings.TrimSpace(l.text)
		if t == "" || p.bounds(l) {
			p.unread(l)
			break
		}
		if headerLike(t) {
			if again, isHead := parseHeader(dedent(l.text, base)); isHead && len(again.cols) == len(tb.cols) && !tb.loose && again.cols[0].name == tb.cols[0].name {
				tb.cols = again.cols // printed again by --watch
				w.tb = tb
				continue
			}
		}
		text := dedent(l.text, base)
		if elision(t) {
			w.elided = true
			continue
		}
		if cells, fits := tb.cells(text); fits {
			w.row(cells, l.no)
			w.gap = l.gap
			continue
		}
		if !w.continues(text, l.gap) {
			p.unread(l)
			break
		}
	}
	w.end()
}

// wrappedTable reads a table that a terminal broke at its right edge: header and rows take two lines each.
func (p *parser) wrappedTable(tb table, head string, base int) {
	first, _ := p.next() // the header's second line
	width := len(strings.TrimRight(head, " "))
	type pair struct {
		a, b string
		no   int
	}
	var pairs []pair
	for len(pairs) < maxRows {
		l, ok := p.next()
		if !ok {
			break
		}
		if l.blank() || p.bounds(l) {
			p.unread(l)
			break
		}
		text := dedent(l.text, base)
		if n := len(pairs) - 1; n >= 0 && !firstCell(tb.cols[0].name, text) {
			if len(pairs[n].b)+len(text) > maxWrapped {
				p.unread(l)
				break
			}
			pairs[n].b += text
			continue
		}
		width = max(width, len(text))
		pairs = append(pairs, pair{a: text, no: l.no})
	}
	second := dedent(first.text, base)
	if whole, ok := parseHeader(padTo(head, width) + second); ok {
		tb = whole
	}
	tb.kind, tb.known = p.tableKind(tb)
	w := p.newRows(tb)
	for _, r := range pairs {
		if cells, fits := tb.cells(padTo(r.a, width) + r.b); fits {
			w.row(cells, r.no)
		}
	}
	w.end()
}

func padTo(s string, n int) string {
	if len(s) >= n {
		return s
	}
	return s + strings.Repeat(" ", n-len(s))
}

// cells cuts a row. fits is false when it is no row of this table.
func (tb *table) cells(s string) (cells []string, fits bool) {
	if !firstCell(tb.cols[0].name, s) {
		return nil, false
	}
	if tb.tabs {
		return splitTabs(s), true
	}
	if !tb.loose {
		if cells, ok := tb.aligned(s); ok {
			return cells, true
		}
	}
	parts := splitGaps(strings.TrimSpace(s))
	if len(parts) == len(tb.cols) {
		return parts, true
	}
	return tb.match(strings.Fields(s))
}

// splitGaps cuts at gaps of two blanks and more.
func splitGaps(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, "  ") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// aligned cuts a row where the header's columns start: before each stands a blank.
func (tb *table) aligned(s string) ([]string, bool) {
	cells := make([]string, len(tb.cols))
	for i, c := range tb.cols {
		if c.off >= len(s) {
			break
		}
		if c.off > 0 && s[c.off-1] != ' ' {
			return nil, false
		}
		end := len(s)
		if i+1 < len(tb.cols) {
			end = min(tb.cols[i+1].off, len(s))
		}
		cells[i] = strings.TrimSpace(s[c.off:end])
	}
	return cells, cells[0] != ""
}

// match gives words to columns by their form, when the padding was lost: empty cells are found where the next word fits a later column only.
func (tb *table) match(words []string) ([]string, bool) {
	cells := make([]string, len(tb.cols))
	at := 0
	var rest []string // words behind the last cell, which are more of its text: put together once, as there may be very many
	skip := tb.onlyLatest(words)
	for i := 0; i < len(words); i++ {
		w := words[i]
		if i+2 < len(words) && strings.HasPrefix(words[i+1], "(") && strings.HasSuffix(words[i+2], ")") { // 5 (2m ago)
			w += " " + words[i+1] + " " + words[i+2]
			i += 2
		}
		to := at
		for to < len(tb.cols) && (skip[tb.cols[to].name] || !cellFits(tb.cols[to].name, w)) {
			to++
		}
		switch {
		case to < len(tb.cols):
			if len(rest) > 0 {
				cells[at-1] += " " + strings.Join(rest, " ")
				rest = rest[:0]
			}
			cells[to], at = w, to+1
		case at > 0:
			rest = append(rest, w)
		default:
			return nil, false
		}
	}
	if len(rest) > 0 {
		cells[at-1] += " " + strings.Join(rest, " ")
	}
	return cells, cells[0] != "" && len(words) > 1
}

// onlyLatest names the columns of a rollout that are empty when an InferenceService has but one revision: its one number and its one revision
// are those of the latest.
func (tb *table) onlyLatest(words []string) map[string]bool {
	if !tb.has("PREV") || !tb.has("LATEST") {
		return nil
	}
	numbers, revisions := 0, 0
	for _, w := range words {
		if strings.Trim(w, "0123456789") == "" {
			numbers++
		} else if strings.Contains(w, "-predictor-") && !strings.Contains(w, "://") {
			revisions++
		}
	}
	return map[string]bool{"PREV": numbers < 2, "PREVROLLEDOUTREVISION": revisions < 2}
}

var (
	ageCell   = regexp.MustCompile(`^(\d+[smhdy]){1,3}$|^<unknown>$|^<invalid>$|^\d+(\.\d+)?(s|ms|µs)$`)
	countCell = regexp.MustCompile(`^\d+/\d+$`)
	truthCell = regexp.MustCompile(`^(True|False|Unknown|true|false)$`)
	numCell   = regexp.MustCompile(`^\d+$|^<none>$|^<unknown>$|^<unset>$|^\d+ \(.* ago\)$`)
	nameCell  = regexp.MustCompile(`^[a-z0-9*]([-a-z0-9.:/_@*]*[a-z0-9*…])?(\.\.\.)?$`)
	mixedName = regexp.MustCompile(`^[A-Za-z]+/[-a-z0-9.:]+$`)
)

// cellFits says whether a word has the form of a column's values.
func cellFits(col, w string) bool {
	switch col {
	case "NAME", "NAMESPACE", "K8S SERVICE NAME", "CONFIG NAME", "LATESTCREATED", "LATESTREADY", "OBJECT":
		return nameCell.MatchString(w) || mixedName.MatchString(w)
	case "AGE", "LAST SEEN", "FIRST SEEN", "LASTSEEN", "FIRSTSEEN":
		return ageCell.MatchString(w)
	case "READY":
		return countCell.MatchString(w) || truthCell.MatchString(w) || numCell.MatchString(w)
	case "RESTARTS", "PREV", "LATEST", "GENERATION", "ACTUAL REPLICAS", "DESIRED REPLICAS", "DEFAULT TRAFFIC", "CANARY TRAFFIC", "UP-TO-DATE", "AVAILABLE",
		"DESIRED", "CURRENT", "COUNT", "DESIREDSCALE", "ACTUALSCALE", "ACTIVATORS":
		return numCell.MatchString(w)
	case "URL", "DOMAIN":
		return strings.Contains(w, "://") || strings.Contains(w, ".") && !ageCell.MatchString(w)
	case "PREVROLLEDOUTREVISION", "LATESTREADYREVISION":
		return nameCell.MatchString(w) && strings.Contains(w, "-")
	case "STATUS", "REASON":
		return w[0] >= 'A' && w[0] <= 'Z' && !truthCell.MatchString(w) || strings.HasPrefix(w, "Init:")
	case "TYPE":
		return w[0] >= 'A' && w[0] <= 'Z'
	case "IP", "CLUSTER-IP", "EXTERNAL-IP":
		return strings.ContainsAny(w, ".:<")
	}
	return true
}

// plainName says what nameCell says, for the names that most rows have.
func plainName(w string) bool {
	for i := 0; i < len(w); i++ {
		if c := w[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' && c != '.' && c != '/' || i == 0 || i == len(w)-1) {
			return nameCell.MatchString(w)
		}
	}
	return true
}

// firstCell says whether a line starts like a row: with a name, or an age in tables of events.
func firstCell(col, s string) bool {
	if s == "" || s[0] == ' ' {
		return false
	}
	w := s
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		w = s[:i]
	}
	switch col {
	case "LAST SEEN", "FIRST SEEN", "LASTSEEN", "FIRSTSEEN", "AGE":
		return ageCell.MatchString(w)
	case "TYPE":
		return w == "Normal" || w == "Warning"
	case "REASON", "KIND":
		return true
	}
	return plainName(w) || mixedName.MatchString(w) || w == "<none>" || w == "<unknown>"
}
