// kubectl.go: what kubectl and istioctl say beside objects: errors of the API server, empty lists, lines of istioctl analyze.
package paste

import (
	"regexp"
	"strings"

	"probe/hops"
)

var (
	analysisLine = regexp.MustCompile(`^(?:Error|Warning|Warn|Info) \[IST\d{4}\]`)
	emptyList    = regexp.MustCompile(`^No resources found(?: in (?:the )?(\S+) namespace)?\.?$`)
)

// startAnalysis takes a line of istioctl analyze. Old versions print "Warn [IST0102] (Namespace default) The namespace is not enabled ...".
func (p *parser) startAnalysis(l line, t string) bool {
	if !strings.Contains(t, "[IST") || !analysisLine.MatchString(t) {
		return false
	}
	p.endLog()
	p.hint.used = true
	p.addLine(hops.Line{Source: hops.Analysis, Text: t, Number: l.no})
	return true
}

// startKubectlError takes an error that kubectl prints, and the words for an empty list.
func (p *parser) startKubectlError(l line, t string) bool {
	if m := emptyList.FindStringSubmatch(t); m != nil {
		p.endLog()
		if len(p.hint.kinds) == 1 {
			h := p.hint
			if h.namespace == "" {
				h.namespace = m[1]
			}
			if k, ok := p.kinds.find(h.kinds[0]); ok {
				p.whole(h, k)
			}
		}
		p.hint.used = true
		p.addLine(hops.Line{Source: hops.ClientLog, Namespace: m[1], Text: t, Number: l.no})
		return true
	}
	for _, start := range []string{"Error from server", "error: ", "Unable to connect to the server", "The connection to the server", "Error: UPGRADE", "error when ",
		"Error from ", "Warning: ", "The InferenceService ", "The Service ", "Error in request:"} {
		if !strings.HasPrefix(t, start) {
			continue
		}
		if start == "Warning: " && p.hint.tool != "kubectl" || start == "error: " && p.log != nil {
			return false
		}
		p.endLog()
		p.hint.used = true
		p.addLine(hops.Line{Source: hops.ClientLog, Text: p.restOfError(t), Number: l.no})
		return true
	}
	return false
}

// restOfError joins the lines of one error that a terminal or kubectl broke: deeper ones, and those that bullet points begin.
func (p *parser) restOfError(t string) string {
	for range 20 {
		n, ok := p.peek()
		if !ok || n.blank() || p.bounds(n) || !strings.HasPrefix(n.text, "  ") && !strings.HasPrefix(n.text, "* ") && !strings.HasPrefix(n.text, "\t") {
			break
		}
		_, _ = p.next()
		t += " " + strings.TrimSpace(n.text)
	}
	return t
}
