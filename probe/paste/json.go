// json.go: collects JSON by counting brackets, so that lists of any length give one object at a time, and closes what a cut left open.
package paste

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"probe/hops"
)

// startJSON takes a block that begins with a bracket. Log lines that are JSON objects go to the log.
func (p *parser) startJSON(l line, t string) bool {
	if t[0] == '[' && len(t) > 1 && t[1] != '{' && t[1] != ']' && strings.TrimSpace(t[1:]) != "" {
		return false // "[2026-...] access log", "[pod/x/y] ..."
	}
	if t[0] == '{' && p.flowYAML(l, t) {
		return true
	}
	if t[0] == '{' && !p.objectLine(t) {
		return false
	}
	if (t == "[" || t == "{") && !p.jsonNext() {
		return false
	}
	if p.hint.clientish && !strings.Contains(t, `"apiVersion"`) && !strings.Contains(t, `"kind"`) && p.hint.tool != "" {
		return false // the body of an answer
	}
	p.endLog()
	p.collectJSON(l)
	return true
}

// flowYAML takes an object that YAML holds on one line: {apiVersion: v1, kind: Pod, metadata: {name: x}}.
func (p *parser) flowYAML(l line, t string) bool {
	if !strings.HasSuffix(t, "}") || !strings.Contains(t, "kind: ") || !strings.Contains(t, "metadata: ") || len(t) > maxLogLine {
		return false
	}
	tree, err := libraryYAML(t)
	if err != nil || str(tree["kind"]) == "" {
		return false
	}
	p.endLog()
	p.keep(tree, false, l.no, len(t))
	return true
}

// objectLine says whether a line that starts with "{" begins an object rather than being a line of a log.
func (p *parser) objectLine(t string) bool {
	if strings.HasSuffix(t, "}") && len(t) > 1 {
		return strings.Contains(t, `"apiVersion"`) && strings.Contains(t, `"kind"`) && !strings.Contains(t, `"level"`) && !strings.HasPrefix(t, `{"ts"`) &&
			json.Valid([]byte(t))
	}
	rest := strings.TrimLeft(t[1:], " ")
	return rest == "" || rest[0] == '"' && (strings.HasSuffix(t, ",") || strings.HasSuffix(t, "[") || strings.HasSuffix(t, "{") || len(t) > maxLogLine)
}

// jsonNext says whether the next line goes on with JSON.
func (p *parser) jsonNext() bool {
	n, ok := p.peek()
	t := strings.TrimLeft(n.text, " \t")
	return ok && t != "" && strings.IndexByte(`"{[]}`, t[0]) >= 0
}

// maxFruitless is how many entries of a list are looked at that give nothing before the rest is passed over.
const maxFruitless = 2000

// listKind finds the kind of the entries of a list that the API server gave as it is: they do not say it themselves.
var listKind = regexp.MustCompile(`"kind":\s*"(\w+)List"`)

// jsonBlock is JSON text while it is collected.
type jsonBlock struct {
	stack  []byte // open brackets
	quoted bool
	escape bool
	last   strings.Builder // the string just read, at the depth where "items" may stand
	items  int             // depth of the list whose entries are given one by one; 0 for none
	outer  strings.Builder // all but the entries
	entry  strings.Builder
	key    string
	done   bool
	give   func(text string)
}

// collectJSON reads lines until the brackets are closed, or until something else surely begins.
func (p *parser) collectJSON(first line) {
	no, n, fruitless := first.no, 0, 0
	b := &jsonBlock{}
	var conditions []any // entries that are conditions and belong to one object
	b.give = func(text string) {
		n++
		if c := conditionEntry(text); c != nil && len(conditions) < 100 {
			conditions = append(conditions, c)
			return
		}
		if n == 1 {
			if m := listKind.FindStringSubmatch(b.outer.String()); m != nil {
				p.listOf, _ = p.kinds.find(m[1])
			}
		}
		had := p.taken
		if fruitless++; fruitless > maxFruitless {
			return
		}
		if p.jsonObject(text, no, false); p.taken > had {
			fruitless = 0
		}
	}
	defer func() { p.listOf = kind{} }()
	for l, ok := first, true; ok; l, ok = p.next() {
		if l.no != first.no && p.bounds(l) {
			p.unread(l)
			break
		}
		t := strings.TrimSpace(l.text)
		if elision(t) && t != "[]" && t != "{}" && t != "" {
			continue
		}
		rest := b.feed(l.text)
		if b.entry.Len() == 0 {
			no = l.no
		}
		if b.done {
			if strings.TrimSpace(rest) != "" && !p.unreadRest(line{text: rest, no: l.no}) {
				p.note(p.name, l.no, fmt.Sprintf("more than %d pieces of JSON on one line: its end was left out", maxRests))
			}
			break
		}
		if b.entry.Len()+b.outer.Len() > maxDocument {
			p.note(p.name, first.no, "JSON of more than 4 MiB in one object: not read")
			p.skipJSON(b)
			return
		}
	}
	if len(conditions) > 0 {
		p.keep(fragment(map[string]any{"conditions": conditions}), true, first.no, b.outer.Len())
		return
	}
	b.finish(p, first.no, n)
}

// conditionEntry decodes a list entry that is a condition; nil for any other.
func conditionEntry(text string) map[string]any {
	if len(text) > 8<<10 || !strings.Contains(text, `"type"`) || !strings.Contains(text, `"status"`) || strings.Contains(text, `"metadata"`) {
		return nil
	}
	var m map[string]any
	if json.Unmarshal([]byte(text), &m) != nil || !isCondition(m) {
		return nil
	}
	return m
}

// skipJSON reads on to the end of an object that is too long.
func (p *parser) skipJSON(b *jsonBlock) {
	for {
		l, ok := p.next()
		if !ok || p.bounds(l) {
			return
		}
		b.outer.Reset()
		b.entry.Reset()
		if b.feed(l.text); b.done {
			return
		}
	}
}

// feed takes one line; rest is what stands behind the closing bracket.
func (b *jsonBlock) feed(s string) (rest string) {
	start := 0 // of what is not yet written
	for i := 0; i < len(s); i++ {
		c := s[i]
		if b.quoted {
			b.inString(c)
			continue
		}
		switch c {
		case '"':
			b.quoted = true
			b.last.Reset()
		case ':':
			if len(b.stack) == 1 {
				b.key = b.last.String()
			}
		case '{', '[':
			if len(b.stack) == b.items && b.items > 0 {
				b.outer.WriteString(s[start:i])
				start = i
			}
			b.stack = append(b.stack, c)
			if c == '[' && b.items == 0 && (len(b.stack) == 1 || len(b.stack) == 2 && b.key == "items") {
				b.items = len(b.stack)
			}
		case '}', ']':
			if len(b.stack) > 0 {
				b.stack = b.stack[:len(b.stack)-1]
			}
			if b.items > 0 && len(b.stack) == b.items {
				b.entry.WriteString(s[start : i+1])
				b.give(b.entry.String())
				b.entry.Reset()
				start = i + 1
			}
			if len(b.stack) < b.items {
				b.items = 0
			}
			if len(b.stack) == 0 {
				b.outer.WriteString(s[start : i+1])
				b.done = true
				return s[i+1:]
			}
		}
	}
	b.write(s[start:] + "\n")
	return ""
}

func (b *jsonBlock) inString(c byte) {
	switch {
	case b.escape:
		b.escape = false
	case c == '\\':
		b.escape = true
	case c == '"':
		b.quoted = false
	default:
		if len(b.stack) == 1 && b.last.Len() < 64 {
			b.last.WriteByte(c)
		}
	}
}

func (b *jsonBlock) write(s string) {
	if b.items > 0 && len(b.stack) > b.items {
		b.entry.WriteString(s)
	} else {
		b.outer.WriteString(s)
	}
}

// finish decodes what is left: the object itself, or what a cut left of an entry.
func (b *jsonBlock) finish(p *parser, no, given int) {
	if b.entry.Len() > 0 {
		p.jsonObject(b.entry.String(), no, true)
		return
	}
	if given > 0 {
		return
	}
	p.jsonObject(b.outer.String(), no, !b.done)
}

// jsonObject decodes one object, repaired when it is cut.
func (p *parser) jsonObject(text string, no int, cut bool) {
	var v any
	err := json.Unmarshal([]byte(text), &v)
	if err != nil {
		repaired := closeJSON(text)
		if json.Unmarshal([]byte(repaired), &v) != nil {
			p.note(p.name, no, "JSON that cannot be read: "+err.Error())
			return
		}
		cut = true
		p.note(p.name, no, "JSON that is cut: read as far as it goes")
	}
	tree, ok := v.(map[string]any)
	if !ok {
		return
	}
	p.jsonTree(tree, text, no, cut)
}

// jsonTree finds out what a decoded tree is: an object, a piece of one, an answer, a line of a log that was spread over several.
func (p *parser) jsonTree(tree map[string]any, text string, no int, cut bool) {
	_, access := tree["response_code"]
	_, level := tree["level"].(string)
	if tree["kind"] == nil && tree["metadata"] != nil && p.listOf.kind != "" {
		tree["kind"], tree["apiVersion"] = p.listOf.kind, p.listOf.api
	}
	switch {
	case tree["kind"] != nil && (tree["apiVersion"] != nil || tree["metadata"] != nil), tree["metadata"] != nil, tree["items"] != nil, isCondition(tree):
		if isCondition(tree) {
			tree = map[string]any{"conditions": []any{tree}}
		}
		p.keep(fragment(tree), cut, no, len(text))
	case access || level:
		if raw, err := json.Marshal(tree); err == nil {
			p.logLine(line{text: string(raw), no: no})
		}
	case tree["status"] != nil && !scalarStatus(tree), tree["spec"] != nil, tree["conditions"] != nil, tree["containerStatuses"] != nil, tree["involvedObject"] != nil:
		p.keep(fragment(tree), true, no, len(text))
	default:
		if p.body(text, no) {
			return
		}
		p.logLine(line{text: clip(strings.Join(strings.Fields(text), " "), maxLogLine), no: no})
	}
}

func scalarStatus(tree map[string]any) bool {
	_, ok := tree["status"].(map[string]any)
	return !ok
}

// closeJSON takes the broken end off a cut text and closes what is open.
func closeJSON(s string) string {
	good, _ := bracketsTo(s, len(s))
	_, stack := bracketsTo(s, good)
	if len(stack) > 200 {
		return ""
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(s[:good], ", \t\n"))
	for i := len(stack) - 1; i >= 0; i-- {
		if stack[i] == '{' {
			b.WriteByte('}')
		} else {
			b.WriteByte(']')
		}
	}
	return b.String()
}

// bracketsTo gives the last place before end where a value had ended, and the brackets that are open at end.
func bracketsTo(s string, end int) (good int, stack []byte) {
	quoted, escape := false, false
	for i := 0; i < end; i++ {
		c := s[i]
		switch {
		case escape:
			escape = false
		case quoted && c == '\\':
			escape = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			stack = append(stack, c)
			good = i + 1
		case c == '}' || c == ']':
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
			good = i + 1
		case c == ',':
			good = i
		}
	}
	return good, stack
}

// clip cuts a text at n bytes, on a letter's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// lineCost is what a line takes beside its text.
const lineCost = 128

// addLine keeps one line that is not of a long log.
func (p *parser) addLine(l hops.Line) {
	l.Text = clip(l.Text, maxLogLine)
	if p.lineBytes += len(l.Text) + lineCost; p.lineBytes > maxLogBytes {
		if p.linesLost++; p.linesLost == 1 {
			p.note(p.name, l.Number, "more log lines than can be kept: the rest was left out; give the logs of one service")
		}
		return
	}
	p.lines = append(p.lines, l)
}
