// encoding.go: from bytes to lines of UTF-8: byte order marks, UTF-16, Windows code page 1252, binary content, lines of any length.
package paste

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// peekBytes is how much of a text decides its encoding and whether it has fences.
const peekBytes = 64 << 10

// decodeText finds the encoding of a text. why is not empty when the content is no text.
func decodeText(r io.Reader) (text *bufio.Reader, why string) {
	br := bufio.NewReaderSize(r, peekBytes)
	head, _ := br.Peek(4096)
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return wide(br, unicode.LittleEndian), ""
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		_, _ = br.Discard(3)
		return br, ""
	}
	if form := magic(head); form != "" {
		return nil, form
	}
	even, odd := zeros(head)
	switch n := len(head) / 2; {
	case n >= 4 && odd*10 > n*6 && even*10 < n:
		return wide(br, unicode.LittleEndian), ""
	case n >= 4 && even*10 > n*6 && odd*10 < n:
		return wide(br, unicode.BigEndian), ""
	}
	if binary(head) {
		return nil, "is not text: not read"
	}
	return br, ""
}

// wide decodes UTF-16; a byte order mark overrides the guess.
func wide(r io.Reader, guess unicode.Endianness) *bufio.Reader {
	return bufio.NewReaderSize(unicode.UTF16(guess, unicode.UseBOM).NewDecoder().Reader(r), peekBytes)
}

// zeros counts zero bytes at even and odd places: UTF-16 of Latin text has one in every second place.
func zeros(b []byte) (even, odd int) {
	for i, c := range b {
		if c != 0 {
			continue
		}
		if i%2 == 0 {
			even++
		} else {
			odd++
		}
	}
	return even, odd
}

// magic names files that are recognised as something else than text.
func magic(b []byte) string {
	for _, m := range []struct{ prefix, why string }{
		{"\x1f\x8b", "is compressed (gzip): unpack it first"},
		{"PK\x03\x04", "is an archive (zip): unpack it first"},
		{"BZh", "is compressed (bzip2): unpack it first"},
		{"\xfd7zXZ", "is compressed (xz): unpack it first"},
		{"\x28\xb5\x2f\xfd", "is compressed (zstd): unpack it first"},
		{"\x89PNG", "is a picture: paste the text instead"},
		{"\xff\xd8\xff", "is a picture: paste the text instead"},
		{"GIF8", "is a picture: paste the text instead"},
		{"%PDF", "is a PDF: paste the text instead"},
		{"\x7fELF", "is a program: not read"},
	} {
		if bytes.HasPrefix(b, []byte(m.prefix)) {
			return m.why
		}
	}
	if len(b) > 262 && string(b[257:262]) == "ustar" {
		return "is an archive (tar): unpack it first"
	}
	return ""
}

// binary says whether more than a tenth of the bytes are control codes that no text has.
func binary(b []byte) bool {
	n := 0
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != 0x1b && c != '\b' && c != '\f' {
			n++
		}
	}
	return n*10 > len(b)
}

// rawLines splits a text into lines. A line that is longer than its bound loses its end.
type rawLines struct {
	r    *bufio.Reader
	no   int
	rest []string // parts of a line that held carriage returns
	long func(no int)
	err  error // why the text ended before its end
}

// fault remembers an error that is not the end of the text.
func (s *rawLines) fault(err error) {
	if err != nil && err != io.EOF && err != bufio.ErrBufferFull && s.err == nil {
		s.err = err
	}
}

// next gives one line without its end; ok is false at the end of the text.
func (s *rawLines) next() (text string, no int, ok bool) {
	if len(s.rest) > 0 {
		text, s.rest = s.rest[0], s.rest[1:]
		return text, s.no, true
	}
	b, err := s.r.ReadSlice('\n')
	s.fault(err)
	if len(b) == 0 && err != nil && err != bufio.ErrBufferFull {
		return "", s.no, false
	}
	s.no++
	if err == bufio.ErrBufferFull {
		b = s.gather(b)
	}
	b = bytes.TrimRight(b, "\r\n")
	if bytes.IndexByte(b, '\r') >= 0 {
		return s.carriage(b)
	}
	return string(b), s.no, true
}

// carriage splits a line at lone carriage returns: progress bars, and files of an old kind.
func (s *rawLines) carriage(b []byte) (string, int, bool) {
	parts := strings.Split(string(b), "\r")
	s.rest = parts[1:]
	return parts[0], s.no, true
}

// gather reads on in a line that is longer than the buffer.
func (s *rawLines) gather(first []byte) []byte {
	limit := maxLine
	if t := bytes.TrimLeft(first, " \t>"); len(t) > 0 && (t[0] == '{' || t[0] == '[') {
		limit = maxJSONLine
	}
	line := append([]byte(nil), first...)
	cut := false
	for {
		b, err := s.r.ReadSlice('\n')
		if len(line) < limit {
			line = append(line, b...)
		} else {
			cut = true
		}
		if err != bufio.ErrBufferFull {
			s.fault(err)
			break
		}
	}
	if cut && s.long != nil {
		s.long(s.no)
	}
	return line
}

// valid makes a line UTF-8: bytes that are not are taken for Windows code page 1252, which gives every byte a meaning.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out, err := charmap.Windows1252.NewDecoder().String(s)
	if err != nil {
		return strings.ToValidUTF8(s, "?")
	}
	return out
}
