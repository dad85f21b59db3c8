// quickyaml.go: reads the plain block style that kubectl prints, several times faster than the library and with strings shared between
// objects. Whatever is not plain it declines, and the library reads it; a test holds both to the same result.
package paste

import (
	"strconv"
	"strings"
	"time"
)

// quick is one document in work.
type quick struct {
	lines  []string
	at     int
	intern func(string) string
	failed bool
	dashed []dash
}

// dash is a line whose "- " was taken off while its entry was read.
type dash struct {
	at   int
	line string
}

// quickYAML reads a document; ok is false when it is not plain.
func (p *parser) quickYAML(lines []string) (tree map[string]any, ok bool) {
	q := &quick{lines: lines, intern: p.shared}
	q.skip()
	if q.at >= len(lines) {
		return nil, false
	}
	v := q.mapping(indentOf(lines[q.at]), 0)
	q.skip()
	if q.failed || q.at < len(lines) || v == nil {
		for _, d := range q.dashed { // the library needs the lines as they were; the first change of a line is undone last
			defer func() { lines[d.at] = d.line }()
		}
		return nil, false
	}
	return v, true
}

// shared gives one copy of short strings that come again and again; others are copied, so that no tree holds on to a whole text.
func (p *parser) shared(s string) string {
	if len(s) > 64 {
		return strings.Clone(s)
	}
	if have, ok := p.intern[s]; ok {
		return have
	}
	s = strings.Clone(s)
	if len(p.intern) < 1<<15 {
		p.intern[s] = s
	}
	return s
}

// skip goes past blank lines and comments.
func (q *quick) skip() {
	for q.at < len(q.lines) {
		t := strings.TrimLeft(q.lines[q.at], " ")
		if t != "" && t[0] != '#' {
			return
		}
		q.at++
	}
}

func (q *quick) fail() any {
	q.failed = true
	return nil
}

// mapping reads keys that all stand at one indentation.
func (q *quick) mapping(in, depth int) map[string]any {
	m := map[string]any{}
	if depth > 60 {
		q.fail()
	}
	for !q.failed {
		q.skip()
		if q.at >= len(q.lines) {
			break
		}
		l := q.lines[q.at]
		at := indentOf(l)
		if at < in {
			break
		}
		if at > in || strings.HasPrefix(l[in:], "- ") || l[in:] == "-" {
			if at == in {
				break // a list at the indentation of its key's parent
			}
			q.fail()
			break
		}
		key, value, ok := splitKey(l[in:])
		if !ok {
			q.fail()
			break
		}
		if _, twice := m[key]; twice {
			q.fail()
			break
		}
		q.at++
		m[q.intern(key)] = q.value(value, in, depth)
	}
	return m
}

// splitKey cuts "key: value". Quoted keys and keys with odd characters are left to the library.
func splitKey(s string) (key, value string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ':':
			if i == 0 {
				return "", "", false
			}
			if i+1 == len(s) || s[i+1] == ' ' {
				key = s[:i]
				_, isText := scalar(key).(string)
				return key, strings.TrimLeft(s[i+1:], " "), isText
			}
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '/', c == '_', c == '-' && i > 0:
		default:
			return "", "", false
		}
	}
	return "", "", false
}

// value reads what stands behind a key, on its line or below it.
func (q *quick) value(v string, in, depth int) any {
	switch {
	case v == "":
		return q.below(in, depth)
	case v == "{}":
		return q.alone(map[string]any{}, in)
	case v == "[]":
		return q.alone([]any{}, in)
	case v == "|" || v == "|-" || v == "|+":
		return q.literal(v, in)
	}
	return q.inline(v, in)
}

// alone declines when a value goes on in the next line.
func (q *quick) alone(v any, in int) any {
	if q.at < len(q.lines) {
		if l := q.lines[q.at]; l != "" && indentOf(l) > in {
			return q.fail()
		}
	}
	return v
}

// below reads the mapping or list under a key; an empty value is null.
func (q *quick) below(in, depth int) any {
	q.skip()
	if q.at >= len(q.lines) {
		return nil
	}
	l := q.lines[q.at]
	at := indentOf(l)
	isItem := strings.HasPrefix(l[min(at, len(l)):], "- ") || l[min(at, len(l)):] == "-"
	switch {
	case isItem && at >= in:
		return q.list(at, depth+1)
	case at > in:
		if _, _, ok := splitKey(l[at:]); !ok {
			return q.fail()
		}
		return q.mapping(at, depth+1)
	}
	return nil
}

// list reads entries that all stand at one indentation.
func (q *quick) list(in, depth int) any {
	out := []any{}
	for !q.failed {
		q.skip()
		if q.at >= len(q.lines) {
			break
		}
		l := q.lines[q.at]
		at := indentOf(l)
		if at < in || at == in && !strings.HasPrefix(l[in:], "- ") && l[in:] != "-" {
			break
		}
		if at > in || l[in:] == "-" || depth > 60 {
			return q.fail()
		}
		rest := strings.TrimLeft(l[in+1:], " ")
		inner := len(l) - len(rest)
		if rest == "" || rest[0] == '-' && (len(rest) == 1 || rest[1] == ' ') {
			return q.fail()
		}
		if _, _, ok := splitKey(rest); ok {
			q.dashed = append(q.dashed, dash{q.at, l})
			q.lines[q.at] = strings.Repeat(" ", inner) + rest // the first key of a mapping, without its dash
			out = append(out, q.mapping(inner, depth+1))
			continue
		}
		q.at++
		out = append(out, q.value(rest, in, depth))
	}
	return out
}

// literal reads a block of text behind "|".
func (q *quick) literal(style string, in int) any {
	first := q.at
	at := -1
	var b strings.Builder
	for ; q.at < len(q.lines); q.at++ {
		l := q.lines[q.at]
		t := strings.TrimLeft(l, " ")
		if t == "" {
			if at >= 0 && len(l) > at || at < 0 && len(l) > 0 {
				return q.fail()
			}
			b.WriteByte('\n')
			continue
		}
		if n := len(l) - len(t); at < 0 {
			if n <= in || t[0] == '\t' {
				break
			}
			at = n
		} else if n < at {
			if n > in {
				return q.fail()
			}
			break
		}
		b.WriteString(l[at:])
		b.WriteByte('\n')
	}
	if at < 0 && q.at > first {
		return q.fail()
	}
	s := b.String()
	if style != "|+" {
		s = strings.TrimRight(s, "\n")
		if style == "|" && s != "" {
			s += "\n"
		}
	}
	return s
}

// inline reads a scalar on one line. One that goes on below is declined.
func (q *quick) inline(v string, in int) any {
	switch v[0] {
	case '"':
		s, err := strconv.Unquote(v)
		if err != nil || strings.ContainsAny(v, "\\") {
			return q.fail()
		}
		return q.alone(q.intern(s), in)
	case '\'':
		if len(v) < 2 || v[len(v)-1] != '\'' {
			return q.fail()
		}
		body := v[1 : len(v)-1]
		rest := strings.ReplaceAll(body, "''", "")
		if strings.IndexByte(rest, '\'') >= 0 {
			return q.fail()
		}
		return q.alone(q.intern(strings.ReplaceAll(body, "''", "'")), in)
	case '&', '*', '!', '|', '>', '%', '@', '`', '{', '[', '}', ']', ',', '#', '?', '<', '=':
		return q.fail()
	case '-', ':':
		if len(v) == 1 || v[1] == ' ' || v == "---" {
			return q.fail()
		}
	}
	if strings.Contains(v, ": ") || strings.Contains(v, " #") || v[len(v)-1] == ':' || strings.IndexByte(v, '\t') >= 0 {
		return q.fail()
	}
	s := scalar(v)
	if str, ok := s.(string); ok {
		s = q.intern(str)
	}
	if s == (declined{}) {
		return q.fail()
	}
	return q.alone(s, in)
}

// declined marks a plain scalar whose type is for the library to say.
type declined struct{}

// scalar gives a plain scalar its type, as YAML 1.2's core schema does, with the words of 1.1 left to the library.
func scalar(v string) any {
	switch v {
	case "true":
		return true
	case "false":
		return false
	case "null", "~":
		return nil
	case "True", "False", "TRUE", "FALSE", "Null", "NULL", "yes", "no", "on", "off", "Yes", "No", "On", "Off", "YES", "NO", "ON", "OFF", "y", "n", "Y", "N":
		return declined{}
	}
	if c := v[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') {
		return v
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && (v[0] != '0' || v == "0") && v[0] != '+' && v != "-0" {
		return n
	}
	switch {
	case strings.Trim(v, "0123456789.") == "" && strings.Count(v, ".") > 1:
		return v // an IP address, a version
	case strings.Trim(v, "0123456789_+-.eE:") == "", v[0] == '.', v[0] == '+', strings.HasPrefix(v, "-."), len(v) > 4 && v[4] == '-',
		len(v) > 1 && v[0] == '0' && strings.IndexByte("xXoObB", v[1]) >= 0, len(v) > 2 && v[0] == '-' && v[1] == '0':
		return declined{} // floats, dates, sexagesimals, hexadecimal and octal numbers
	}
	return v
}

// plainTree brings what the library decodes into the types that JSON has: string keys, int64, float64, times as text.
func plainTree(v any, depth int) any {
	if depth > 100 {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = plainTree(e, depth+1)
		}
		return v
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			if s, ok := k.(string); ok {
				m[s] = plainTree(e, depth+1)
			}
		}
		return m
	case []any:
		for i, e := range v {
			v[i] = plainTree(e, depth+1)
		}
		return v
	case int:
		return int64(v)
	case uint64:
		return float64(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	}
	return v
}
