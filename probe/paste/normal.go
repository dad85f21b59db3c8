// normal.go: takes off what copying put on: terminal colours, odd blanks and quotes, quote marks of mail and Markdown.
package paste

import (
	"context"
	"html"
	"regexp"
	"strings"
	"unicode/utf8"
)

// line is one line of the paste, cleaned.
type line struct {
	text string
	no   int  // counts from 1 in its file
	gap  bool // a blank stood at its end
}

// blank says whether there is nothing on the line.
func (l line) blank() bool { return strings.TrimSpace(l.text) == "" }

// source gives the cleaned lines of one text, with as many steps back as a parser needs.
type source struct {
	ctx   context.Context
	name  string
	raw   rawLines
	back  []line
	quote int    // how many quote marks stand before the lines here
	prev  string // the line before, as it stood
	junk  int    // lines of no text at all
	junk1 int    // the first of them
	read  int64  // bytes given
	given int    // lines given, each counted once however often it was put back
	rests int    // how often the rest of one line was put back
	long  int    // that line
}

// next gives the next line; ok is false at the end, and when the context ends.
func (s *source) next() (line, bool) {
	if n := len(s.back); n > 0 {
		l := s.back[n-1]
		s.back = s.back[:n-1]
		return l, true
	}
	for {
		text, no, ok := s.raw.next()
		if !ok || no%1024 == 0 && s.ctx.Err() != nil {
			return line{}, false
		}
		s.read += int64(len(text)) + 1
		t, isText := clean(text)
		if !isText {
			if s.junk++; s.junk == 1 {
				s.junk1 = no
			}
			continue
		}
		s.given++
		return line{text: s.unquote(t), no: no, gap: strings.HasSuffix(text, " ")}, true
	}
}

// unread puts a line back; the last one put back comes first.
func (s *source) unread(l line) { s.back = append(s.back, l) }

// unreadRest puts the rest of a line back. It says no once one line was cut into very many pieces, since each of them is looked through again.
func (s *source) unreadRest(l line) bool {
	if s.long != l.no {
		s.long, s.rests = l.no, 0
	}
	if s.rests++; s.rests > maxRests {
		return false
	}
	s.unread(l)
	return true
}

// behind counts the lines that were given and not put back.
func (s *source) behind() int { return s.given - len(s.back) }

// again says whether a parser gave back the line with which it began. behind is as it was with that line taken. A rest of it is shorter.
func (s *source) again(l line, behind int) bool {
	n := len(s.back)
	return n > 0 && s.behind() < behind && len(s.back[n-1].text) >= len(l.text)
}

// peek looks at the next line.
func (s *source) peek() (line, bool) {
	l, ok := s.next()
	if ok {
		s.unread(l)
	}
	return l, ok
}

var (
	sentLine  = regexp.MustCompile(`^> ?[A-Z]{3,8} \S+( HTTP/[0-9.]+)?\s*$`) // curl -v: what was sent
	quoteMark = regexp.MustCompile(`^\s{0,3}(>\s?)+`)
)

// unquote takes quote marks off. A stretch of quoted lines is as deep as its first line; what curl -v sent also starts with ">".
func (s *source) unquote(t string) string {
	prev := s.prev
	s.prev = t
	if len(t) == 0 || t[0] != '>' && (t[0] != ' ' || !strings.HasPrefix(strings.TrimLeft(t, " "), ">")) {
		s.quote = 0
		return t
	}
	if s.quote == 0 {
		if sentLine.MatchString(t) || strings.HasPrefix(prev, "* ") || strings.HasPrefix(prev, "} [") {
			s.quote = -1
		} else {
			s.quote = s.depth(t)
		}
	}
	for range s.quote {
		u := strings.TrimLeft(t, " ")
		if !strings.HasPrefix(u, ">") {
			break
		}
		t = strings.TrimPrefix(u[1:], " ")
	}
	return t
}

// depth counts the quote marks of a line, less the one that belongs to curl.
func (s *source) depth(t string) int {
	n := strings.Count(quoteMark.FindString(t), ">")
	u := strings.TrimLeft(t, " ")
	for i := 1; i < n; i++ {
		u = strings.TrimPrefix(u[1:], " ")
		if sentLine.MatchString(u) {
			return i
		}
	}
	return n
}

// clean makes a line plain. ok is false for a line that is no text.
func clean(s string) (string, bool) {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x7f || c < 0x20 && c != '\t' {
			plain = false
			break
		}
	}
	if plain {
		return trimRight(entities(lostColours(s))), true
	}
	if len(s) > 8 && (binary([]byte(s)) || strings.Count(s, "\x00") > 2) {
		return "", false
	}
	s = valid(s)
	if strings.IndexByte(s, 0x1b) >= 0 {
		s = colours(s)
	}
	return trimRight(entities(lostColours(strings.Map(plainRune, backspaces(s))))), true
}

// entities turns back what a web page escaped.
func entities(s string) string {
	if strings.IndexByte(s, '&') < 0 || !strings.Contains(s, "&quot;") && !strings.Contains(s, "&lt;") && !strings.Contains(s, "&gt;") && !strings.Contains(s, "&#39;") &&
		!strings.Contains(s, "&amp;") {
		return s
	}
	return html.UnescapeString(s)
}

func trimRight(s string) string { return strings.TrimRight(s, " ") }

// plainRune maps look-alikes to what a terminal printed; control codes and marks without width go.
func plainRune(r rune) rune {
	switch r {
	case '\u00a0', '\u202f', '\u2007', '\u2002', '\u2003', '\u2009', '\u3000':
		return ' '
	case '\u201c', '\u201d', '\u201e', '\u00ab', '\u00bb':
		return '"'
	case '\u2018', '\u2019', '\u201a':
		return '\''
	case '\u200b', '\u200c', '\u200d', '\ufeff', '\u200e', '\u200f', '\u2060', utf8.RuneError:
		return -1
	case '\t':
		return r
	}
	if r < 0x20 || r >= 0x7f && r < 0xa0 || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef {
		return -1
	}
	return r
}

// colours takes escape sequences off: ESC [ ... letter, ESC ] ... BEL, and two-byte ones.
func colours(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			continue
		}
		if i++; i >= len(s) {
			break
		}
		switch s[i] {
		case '[':
			for i++; i < len(s) && (s[i] < 0x40 || s[i] > 0x7e); i++ {
			}
		case ']':
			for i++; i < len(s) && s[i] != 7 && s[i] != 0x1b; i++ {
			}
			if i < len(s) && s[i] == 0x1b {
				i++
			}
		case '(', ')':
			i++
		}
	}
	return b.String()
}

var lostColour = regexp.MustCompile(`(\^\[|\\033|\\e|\\x1b|\\u001b)?\[(\d{1,3}(;\d{1,3}){0,4})?[mK]`)

// lostColours takes off colour codes whose escape byte was lost, or made visible, on the way.
func lostColours(s string) string {
	if strings.IndexByte(s, '[') < 0 || !strings.Contains(s, "[0m") && !strings.Contains(s, "[m") && !strings.Contains(s, "\\u001b[") &&
		!strings.Contains(s, "^[[") {
		return s
	}
	return lostColour.ReplaceAllString(s, "")
}

// backspaces applies overstrikes, as in pages of man and old progress bars.
func backspaces(s string) string {
	if strings.IndexByte(s, '\b') < 0 {
		return s
	}
	var out []rune
	for _, r := range s {
		if r != '\b' {
			out = append(out, r)
		} else if len(out) > 0 {
			out = out[:len(out)-1]
		}
	}
	return string(out)
}

// indentOf counts leading blanks; a tab counts as two.
func indentOf(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			n++
		case '\t':
			n += 2
		default:
			return n
		}
	}
	return n
}

// untab writes the leading tabs of a line as blanks.
func untab(s string) string {
	if strings.IndexByte(s, '\t') < 0 {
		return s
	}
	rest := strings.TrimLeft(s, " \t")
	return strings.Repeat(" ", indentOf(s)) + rest
}

// dedent takes at most n blanks off the front.
func dedent(s string, n int) string {
	for n > 0 && s != "" && s[0] == ' ' {
		s, n = s[1:], n-1
	}
	return s
}
