// text.go: secrets in free text. Each pass looks for a cheap mark first, so that a log without secrets costs a few byte searches a line.
package redact

import "strings"

// String takes secrets out of a text: header lines, passwords and tokens by name, tokens by shape, private keys, query strings and user names
// in URLs, payloads of models. String(String(s)) is String(s).
func String(s string) string { return tally(nil).text(s) }

// text is String with a count.
func (t tally) text(s string) string {
	if len(s) < 6 {
		return s
	}
	s = t.privateKeys(s)
	if strings.IndexByte(s, '\n') < 0 {
		return t.line(s)
	}
	var b strings.Builder
	kept := 0 // up to here s was copied to b
	for at := 0; at < len(s); {
		end := at + strings.IndexByte(s[at:], '\n')
		if end < at {
			end = len(s)
		}
		if was := s[at:end]; len(was) >= 6 {
			if now := t.line(was); now != was {
				b.WriteString(s[kept:at])
				b.WriteString(now)
				kept = end
			}
		}
		at = end + 1
	}
	if kept == 0 {
		return s
	}
	b.WriteString(s[kept:])
	return b.String()
}

// line repeats the passes until nothing changes: what one pass leaves beside its mask may be another's mark.
func (t tally) line(s string) string {
	const rounds = 8
	for range rounds {
		now := t.once(s)
		if now == s {
			return s
		}
		s = now
	}
	return t.mask(kindValue) // a text made to get through; nothing of it is worth a leak
}

// once runs every pass over one line.
func (t tally) once(s string) string {
	s = t.assignments(s)
	if strings.IndexByte(s, '/') >= 0 && strings.Contains(s, "://") {
		s = t.urls(s)
	}
	if strings.IndexByte(s, '?') >= 0 {
		s = t.queries(s)
	}
	if strings.Contains(s, " -") || strings.HasPrefix(s, "-") {
		s = t.flags(s)
	}
	s = t.tokens(s)
	return t.schemes(s)
}

// privateKeys masks PEM blocks, a block that is cut off to its end.
func (t tally) privateKeys(s string) string {
	const mark = "PRIVATE KEY-----"
	from := 0
	for {
		i := strings.Index(s[from:], mark)
		if i < 0 {
			return s
		}
		body := from + i + len(mark)
		if begin := strings.LastIndex(s[from:from+i], "-----"); begin < 0 || !strings.HasPrefix(s[from+begin:], "-----BEGIN") {
			from = body
			continue
		}
		end := len(s)
		if j := strings.Index(s[body:], "-----END"); j >= 0 {
			end = body + j
		}
		if s[body:end] != Mask && body < end {
			s = s[:body] + t.mask(kindPrivateKey) + s[end:]
			end = body + len(Mask)
		}
		from = end
		if i := strings.Index(s[end:], mark); i >= 0 && strings.HasPrefix(s[end:], "-----END") {
			from = end + i + len(mark)
		}
	}
}

// endOfURL is where a URL or a query in running text ends.
func endOfURL(s string, from int) int {
	for i := from; i < len(s); i++ {
		switch s[i] {
		case ' ', '\t', '\r', '\n', '"', '\'', '\\', '`':
			return i
		}
	}
	return len(s)
}

// urls masks user names, passwords and queries of whole URLs, of any scheme.
func (t tally) urls(s string) string {
	from := 0
	for {
		i := strings.Index(s[from:], "://")
		if i < 0 {
			return s
		}
		host := from + i + len("://")
		end := endOfURL(s, host)
		rest := s[host:end]
		authority := rest
		if j := strings.IndexAny(rest, "/?#"); j >= 0 {
			authority = rest[:j]
		}
		query := strings.IndexByte(rest, '?')
		if query >= 0 && query+1 < len(rest) && queryByte(rest[query+1]) {
			rest = rest[:query+1] + t.mask(kindQuery)
		}
		// "docker-pullable://name@sha256:..." is an image, not a user.
		if at := strings.LastIndexByte(authority, '@'); at > 0 && authority[:at] != Mask && !strings.HasPrefix(authority[at:], "@sha256:") {
			rest = t.mask(kindUserInfo) + rest[at:]
		}
		s = s[:host] + rest + s[end:]
		from = host
	}
}

func queryByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~%[]-", c) >= 0
}

// queries masks what looks like a query behind a path without a scheme: "?name=".
func (t tally) queries(s string) string {
	from := 0
	for {
		i := strings.IndexByte(s[from:], '?')
		if i < 0 {
			return s
		}
		from += i + 1
		name := from
		for name < len(s) && queryByte(s[name]) {
			name++
		}
		if name == from || name == len(s) || s[name] != '=' {
			continue
		}
		s = s[:from] + t.mask(kindQuery) + s[endOfURL(s, name):]
		from += len(Mask)
	}
}

// flags masks the word behind a flag on a command line: "--token x", and curl's "-u name:password".
func (t tally) flags(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] != '-' || i > 0 && s[i-1] != ' ' {
			continue
		}
		name := strings.TrimLeft(s[i:], "-")
		word, rest, ok := strings.Cut(name, " ")
		if !ok || strings.HasPrefix(rest, "-") || strings.ContainsAny(word, "=:\"'") {
			continue
		}
		begin := len(s) - len(rest)
		end := endOfURL(s, begin)
		user := word == "u" && strings.IndexByte(s[begin:end], ':') > 0
		if c := classify(word); !user && c != weak && c != strong || begin == end || s[begin:end] == Mask {
			continue
		}
		s = s[:begin] + t.mask(kindValue) + s[end:]
	}
	return s
}

// shape is a token that is told by how it begins.
type shape struct {
	prefix string
	min    int    // bytes behind the prefix
	extra  string // bytes that it may hold beside letters and digits
	mixed  bool   // ordinary names may begin so too: it must look generated
	dotted bool   // it must hold a dot, or be long
}

// shapes lists the tokens of the services that models are loaded from.
func shapes() [16]shape {
	return [16]shape{
		{prefix: "eyJ", min: 12, extra: "._-=/+", dotted: true}, // JSON in base64: JWT
		{prefix: "AKIA", min: 12}, {prefix: "ASIA", min: 12},    // AWS
		{prefix: "hf_", min: 16},                                                                                   // Hugging Face
		{prefix: "ghp_", min: 16}, {prefix: "gho_", min: 16}, {prefix: "ghu_", min: 16}, {prefix: "ghs_", min: 16}, // GitHub
		{prefix: "ghr_", min: 16}, {prefix: "github_pat_", min: 16, extra: "_"},
		{prefix: "glpat-", min: 16, extra: "_-"},
		{prefix: "AIza", min: 30, extra: "_-"}, {prefix: "ya29.", min: 16, extra: "_-."}, // Google
		{prefix: "xoxb-", min: 16, extra: "-"}, {prefix: "nvapi-", min: 16, extra: "_-", mixed: true},
		{prefix: "sk-", min: 20, extra: "_-", mixed: true},
	}
}

// tokens masks tokens by their shape.
func (t tally) tokens(s string) string {
	all := shapes()
	for i := range all {
		if strings.Contains(s, all[i].prefix) {
			s = t.shaped(s, all[i])
		}
	}
	return s
}

func (t tally) shaped(s string, sh shape) string {
	from := 0
	for {
		i := strings.Index(s[from:], sh.prefix)
		if i < 0 {
			return s
		}
		begin := from + i
		end := begin + len(sh.prefix)
		body := end
		for end < len(s) && (alnum(s[end]) || strings.IndexByte(sh.extra, s[end]) >= 0) {
			end++
		}
		word := s[begin:end]
		inside := begin > 0 && (alnum(s[begin-1]) || s[begin-1] == '-')
		if inside || end-body < sh.min || sh.mixed && !opaque(word) || sh.dotted && len(word) < 40 && strings.IndexByte(word, '.') < 0 {
			from = max(end, begin+1)
			continue
		}
		s = s[:begin] + t.mask(kindToken) + s[end:]
		from = begin + len(Mask)
	}
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// schemes masks what follows "Bearer" and "Basic", in any case, unless it is an ordinary word or a challenge's realm.
func (t tally) schemes(s string) string {
	for _, tail := range [4]string{"earer ", "EARER ", "asic ", "ASIC "} {
		if strings.Contains(s, tail) {
			s = t.scheme(s, tail)
		}
	}
	return s
}

func (t tally) scheme(s, tail string) string {
	from := 0
	for {
		i := strings.Index(s[from:], tail)
		if i < 0 {
			return s
		}
		begin := from + i + len(tail)
		first := from + i - 1
		from = begin
		if first < 0 || s[first]|0x20 != 'b' || first > 0 && alnum(s[first-1]) {
			continue
		}
		for begin < len(s) && s[begin] == ' ' {
			begin++
		}
		end := begin
		for end < len(s) && (alnum(s[end]) || strings.IndexByte("._~+/=-:%", s[end]) >= 0) {
			end++
		}
		if word := s[begin:end]; len(word) < 6 || ordinary(word) || strings.HasPrefix(strings.ToLower(word), "realm=") {
			continue
		}
		s = s[:begin] + t.mask(kindHeader) + s[end:]
		from = begin + len(Mask)
	}
}

// ordinary says whether a word is one of plain language: "authentication", "tokens,".
func ordinary(word string) bool {
	word = strings.TrimRight(word, ".:")
	for i := 0; i < len(word); i++ {
		if c := word[i]; (c < 'a' || c > 'z') && (i > 0 || c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(word) < 20
}
