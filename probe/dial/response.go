// response.go: what is kept of an answer: headers of an allow-list, the start of the body, its digest. Nothing that the caller sent as a secret.
package dial

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"probe/hops"
)

const (
	maxBody  = 1 << 20 // bytes read of an answer
	maxText  = 1 << 10 // bytes kept of it
	maxValue = 256     // bytes kept of a header value
)

// readBody reads at most maxBody; what it read stands also beside an error.
func readBody(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxBody)) }

// answer copies what may be kept of a response into the observation.
func (x *exchange) answer(resp *http.Response, body []byte) {
	header := map[string]string{}
	for name, values := range resp.Header {
		x.keepHeader(header, name, values)
	}
	for _, name := range []string{"Grpc-Status", "Grpc-Message"} {
		if values := resp.Trailer[name]; len(values) > 0 {
			x.keepHeader(header, name, values)
		}
	}
	if resp.Close && resp.ProtoMajor == 1 && resp.ProtoMinor == 1 {
		header["connection"] = "close" // net/http takes it out of the header; Envoy sends it with the answers that it makes itself
	}
	if len(header) > 0 {
		x.o.Header = header
	}
	if code, err := strconv.Atoi(header["grpc-status"]); err == nil {
		x.o.GRPCStatus = code
	}
	if m, err := url.PathUnescape(header["grpc-message"]); err == nil && m != "" { // percent-encoded on its way
		header["grpc-message"] = x.clean(m, maxValue)
	}
	if x.r.Keep != nil {
		x.r.Keep(body)
	}
	sum := sha256.Sum256(body)
	x.o.BodyBytes, x.o.BodyDigest = int64(len(body)), hex.EncodeToString(sum[:])
	if isText(body) {
		x.o.Body = x.clean(string(body), maxText)
	}
	if x.r.GRPC && x.r.Asked != hops.Knock {
		x.readGRPC(resp, body)
	}
}

func (x *exchange) keepHeader(into map[string]string, name string, values []string) {
	name = strings.ToLower(name)
	if !kept(name) {
		return
	}
	for i, v := range values {
		switch name {
		case "location":
			v = bareURL(v)
		case "www-authenticate":
			v = challenge(v)
		}
		if i > 0 {
			v = into[name] + ", " + v
		}
		into[name] = v
	}
	into[name] = x.clean(into[name], maxValue)
}

// kept is the allow-list, in lower case.
func kept(name string) bool {
	switch name {
	case "server", "k-network-hash", "location", "www-authenticate", "content-type", "content-length", "via", "x-powered-by", "grpc-status",
		"grpc-message", "retry-after", "x-request-id", "connection":
		return true
	}
	return strings.HasPrefix(name, "x-envoy-") || strings.HasPrefix(name, "x-ext-authz-")
}

// bareURL cuts what may hold a secret off a URL: query, fragment, user.
func bareURL(v string) string {
	u, err := url.Parse(v)
	if err != nil {
		cut, _, _ := strings.Cut(v, "?")
		cut, _, _ = strings.Cut(cut, "#")
		return cut
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment, u.User = "", false, "", "", nil
	return u.String()
}

// challenge keeps scheme and realm of a WWW-Authenticate challenge (RFC 9110, 11.6.1).
func challenge(v string) string {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
	realm := regexp.MustCompile(`(?i)(?:^|[\s,])realm\s*=\s*(?:"([^"]*)"|([^\s,"]+))`).FindStringSubmatch(rest)
	if realm == nil {
		return scheme
	}
	return scheme + ` realm="` + bareURL(realm[1]+realm[2]) + `"`
}

// clean takes the caller's own secrets out of a text, passes it through the redactor and clips it to at most n bytes. Patterns are looked for in
// a window that is much longer than what is kept, so that no half of a secret stays at the cut.
func (x *exchange) clean(text string, n int) string {
	for _, secret := range x.secrets {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	return clip(x.s.redact(clip(text, 8*maxText)), n)
}

// clip cuts a text to n bytes at the edge of a rune.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// isText says whether a body can be shown: valid UTF-8 without control characters other than white space. A rune that maxBody cut in two is
// forgiven.
func isText(body []byte) bool {
	for i := 0; i < len(body); {
		c, size := utf8.DecodeRune(body[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return len(body) == maxBody && len(body)-i < utf8.UTFMax
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			return false
		}
		i += size
	}
	return true
}
