// shell.go: words of a command line, and what the arguments of curl, httpie and wget say about the request. Values that may be secret are
// looked at, never kept.
package paste

import "strings"

// shellWords splits a command line at blanks, with quotes and backslashes. It stops at the first pipe, redirection or separator; piped says
// that there was a pipe, so what follows is not all that the command printed.
func shellWords(s string) (words []string, piped bool) {
	var b strings.Builder
	quote, started := byte(0), false
	flush := func() {
		if started {
			words = append(words, b.String())
			b.Reset()
			started = false
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			if s[i] != '\n' {
				b.WriteByte(s[i])
				started = true
			}
		case quote != 0:
			b.WriteByte(c)
		case c == '\'' || c == '"':
			quote, started = c, true
		case c == ' ' || c == '\t' || c == '\n':
			flush()
		case c == '|' || c == ';' || c == '>' && b.Len() == 0 || c == '&' && i+1 < len(s) && s[i+1] == '&':
			flush()
			return words, c == '|'
		default:
			b.WriteByte(c)
			started = true
		}
	}
	flush()
	return words, false
}

// curlCall reads the arguments of curl; those of wget that matter are alike.
func curlCall(args []string) call {
	c := call{raw: true}
	for i := 0; i < len(args); i++ {
		w := args[i]
		value := func() string {
			if i+1 < len(args) {
				i++
				return args[i]
			}
			return ""
		}
		switch {
		case w == "-H" || w == "--header":
			c.header(value())
		case strings.HasPrefix(w, "--header="):
			c.header(strings.TrimPrefix(w, "--header="))
		case strings.HasPrefix(w, "-H"):
			c.header(w[2:])
		case w == "-X" || w == "--request":
			c.method = value()
		case strings.HasPrefix(w, "-X"):
			c.method = w[2:]
		case w == "-u" || w == "--user" || w == "-b" || w == "--cookie":
			c.secret = true
			value()
		case w == "-d" || w == "-F" || w == "-T" || strings.HasPrefix(w, "--data") || w == "--json" || w == "--form" || strings.HasPrefix(w, "--post-"):
			if !strings.Contains(w, "=") {
				value()
			}
			c.post()
		case strings.HasPrefix(w, "-d") && !strings.HasPrefix(w, "--"):
			c.post()
		case w == "-I" || w == "--head":
			c.method, c.raw = "HEAD", false
		case w == "--url":
			c.url = value()
		case strings.HasPrefix(w, "--"):
			if longValue(w) {
				value()
			}
			if w == "--verbose" || w == "--include" {
				c.raw = false
			}
		case strings.HasPrefix(w, "-") && len(w) > 1:
			if strings.ContainsAny(w, "vi") {
				c.raw = false
			}
			if strings.ContainsAny(w[len(w)-1:], "oweAmxECcKrzPQ") {
				value()
			}
		case c.url == "" && (strings.ContainsAny(w, "/.:$") || w == "localhost"):
			c.url = w
		}
	}
	return c
}

// longValue lists the long flags of curl whose value is the next word.
func longValue(w string) bool {
	switch w {
	case "--resolve", "--connect-to", "--max-time", "--connect-timeout", "--output", "--write-out", "--cacert", "--cert", "--key", "--proxy",
		"--retry", "--user-agent", "--referer", "--config", "--interface", "--limit-rate", "--unix-socket", "--ciphers":
		return true
	}
	return false
}

func (c *call) post() {
	if c.method == "" {
		c.method = "POST"
	}
}

// header keeps the Host; of the others only what they mean.
func (c *call) header(h string) {
	name, value, _ := strings.Cut(h, ":")
	value = strings.TrimSpace(value)
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "host":
		c.host = value
	case "authorization", "cookie", "x-auth-token", "kubeflow-userid", "x-api-key":
		c.secret = true
	case "k-network-probe":
		c.knock = true
	}
}

// httpieCall reads the arguments of httpie: [METHOD] URL [ITEM ...].
func httpieCall(words []string) call {
	c := call{raw: false}
	for _, w := range words[1:] {
		name, _, isHeader := strings.Cut(w, ":")
		switch {
		case strings.HasPrefix(w, "-"):
		case c.url == "" && c.method == "" && w == strings.ToUpper(w) && strings.Trim(w, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "":
			c.method = w
		case c.url == "":
			c.url = w
			if !strings.Contains(w, "://") {
				c.url = words[0] + "://" + strings.TrimPrefix(w, ":")
			}
		case isHeader && !strings.Contains(w, ":=") && !strings.ContainsAny(name, "=@"):
			c.header(w)
		case strings.ContainsAny(w, "=@"):
			c.post()
		}
	}
	return c
}
