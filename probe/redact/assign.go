// assign.go: secrets that a name announces: "password=x", `"token": "x"`, "Authorization: Bearer x", `{"instances": [...]}`.
package redact

import "strings"

// assignments looks at every '=' and ':' and decides by the name before it.
func (t tally) assignments(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '=' && c != ':' || i == 0 || !ends(s[i-1]) {
			continue
		}
		k, ok := keyBefore(s, i)
		if !ok {
			continue
		}
		begin, end, kind := extent(s, i, k)
		if begin >= end || s[begin:end] == Mask || s[begin:end] == k.quote+Mask+k.quote {
			continue
		}
		put := t.mask(kind)
		if kind == kindPayload { // JSON stays whole: the mask is a text in the quotes of the field's name
			put = k.quote + put + k.quote
		}
		s = s[:begin] + put + s[end:]
		i = begin + len(put) - 1
	}
	return s
}

// ends says whether one of the names of classify may end in this byte, or what may stand between a name and its sign.
func ends(c byte) bool {
	switch c {
	case 'd', 'n', 't', 'y', 'g', 'e', 's', 'l', 'D', 'N', 'T', 'Y', 'G', 'E', 'S', 'L', ' ', '"', '\'':
		return true
	}
	return false
}

// key is a name before a sign, with the quotes around it.
type key struct {
	class  class
	name   string
	quote  string // what stands right before the name and right behind it: `"`, `\"`, "'"; "" for a bare name
	before string // the quote that stands before the name only: `-H "Cookie: x"`
}

// keyBefore reads the name that ends before s[i].
func keyBefore(s string, i int) (key, bool) {
	e := i
	for e > 0 && s[e-1] == ' ' && i-e < 2 {
		e--
	}
	nameEnd := e
	if e > 0 && (s[e-1] == '"' || s[e-1] == '\'') {
		nameEnd = e - 1
		for nameEnd > 0 && s[nameEnd-1] == '\\' {
			nameEnd--
		}
	}
	closing := s[nameEnd:e]
	b := nameEnd
	for b > 0 && nameEnd-b <= 64 && (alnum(s[b-1]) || s[b-1] == '_' || s[b-1] == '-' || s[b-1] == '.') {
		b--
	}
	k := key{name: s[b:nameEnd]}
	k.class = classify(k.name)
	if k.class == plain {
		return key{}, false
	}
	switch {
	case closing != "" && strings.HasSuffix(s[:b], closing):
		k.quote = closing
	case closing == "" && b > 0 && (s[b-1] == '"' || s[b-1] == '\''):
		k.before = s[b-1 : b]
	}
	return k, true
}

// extent finds the value behind the sign at s[i] that is to be masked; begin == end for none.
func extent(s string, i int, k key) (begin, end int, kind string) {
	v := i + 1
	for v < len(s) && s[v] == '=' {
		v++
	}
	for v < len(s) && (s[v] == ' ' || s[v] == '\t') {
		v++
	}
	if v == len(s) {
		return 0, 0, ""
	}
	quote := quoteAt(s, v)
	switch k.class {
	case payload:
		if k.quote == "" || s[i] != ':' {
			return 0, 0, ""
		}
		begin, end = model(s, v, k, quote)
		return begin, end, kindPayload
	case header:
		begin, end = headerValue(s, v, k, quote)
		return begin, end, kindHeader
	}
	begin, end = named(s, v, k, quote, s[i] == '=')
	return begin, end, kindValue
}

// quoteAt gives the quote that opens at s[v], with the backslashes that escape it; "" when none does.
func quoteAt(s string, v int) string {
	e := v
	for e < len(s) && s[e] == '\\' {
		e++
	}
	if e < len(s) && (s[e] == '"' || s[e] == '\'') {
		return s[v : e+1]
	}
	return ""
}

// closing finds where a value in quotes ends: at the same quote, escaped as often. It is the end of the text when it is cut off.
func closing(s string, from int, quote string) int {
	for at := from; at < len(s); {
		j := strings.Index(s[at:], quote)
		if j < 0 {
			return len(s)
		}
		at += j
		if at == from || s[at-1] != '\\' {
			return at
		}
		at += len(quote)
	}
	return len(s)
}

// named is the value of a password, token or key.
func named(s string, v int, k key, quote string, equals bool) (begin, end int) {
	if quote != "" {
		begin = v + len(quote)
		end = closing(s, begin, quote)
	} else {
		begin, end = v, v
		for end < len(s) && strings.IndexByte(" \t\r\"'`&,;()[]{}\\", s[end]) < 0 {
			end++
		}
	}
	word := s[begin:end]
	sure := k.class == strong || equals || k.quote != "" && quote != ""
	switch n := strings.ToLower(k.name); {
	case n == "signature" || n == "secret" && !equals: // of a model; the name of a Secret
		sure = false
	}
	switch strings.TrimRight(word, ".") {
	case "true", "false", "null", "None", "nil":
		sure = false
	}
	if !sure && !opaque(word) {
		return 0, 0
	}
	return begin, end
}

// headerValue is the whole value of a header line, whatever it holds.
func headerValue(s string, v int, k key, quote string) (begin, end int) {
	switch {
	case quote != "":
		begin = v + len(quote)
		return begin, closing(s, begin, quote)
	case s[v] == '{' && k.quote != "": // "httpCookie": {"name": ...}, a setting
		return 0, 0
	case s[v] == '[':
		return v + 1, len(strings.TrimSuffix(s[:balanced(s, v, k.quote)], "]"))
	case k.before != "":
		return v, closing(s, v, k.before)
	}
	return v, len(strings.TrimRight(s, " \t\r"))
}

// model is the value of a field of a request to a model or of its answer: a list, an object or a text.
func model(s string, v int, k key, quote string) (begin, end int) {
	switch {
	case quote != "":
		e := closing(s, v+len(quote), quote)
		return v, min(e+len(quote), len(s))
	case s[v] == '[' || s[v] == '{':
		return v, balanced(s, v, k.quote)
	}
	return 0, 0
}

// balanced is the place behind the bracket that closes the one at s[from]; the end of the text when none does. Brackets within texts, which
// stand in the given quotes, do not count.
func balanced(s string, from int, quote string) int {
	if quote == "" {
		quote = `"`
	}
	depth := 0
	for i := from; i < len(s); i++ {
		switch s[i] {
		case quote[0]:
			if strings.HasPrefix(s[i:], quote) {
				i = closing(s, i+len(quote), quote) + len(quote) - 1
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}
