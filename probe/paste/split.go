// split.go: goes through a text line by line, finds where each block begins and hands it to the parser of its format.
package paste

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"probe/hops"
)

// parser holds what was read so far. One parser reads all texts of an Input.
type parser struct {
	ctx   context.Context
	want  hops.Ref
	now   time.Time
	kinds kindTable

	objects     []found
	byKey       map[key]int
	objectBytes int
	retried     int // bytes of broken YAML that were decoded again
	taken       int // objects seen, kept or not
	rows        int
	dropped     map[string]int // objects left out, by kind
	events      []timedEvent
	lines       []hops.Line
	lineBytes   int
	linesLost   int
	seen        []hops.Observation
	notes       []Note
	mentions    []mention
	named       map[string][]int // places in mentions, by name
	parsed      int              // access log lines whose hosts were looked at
	sources     map[[2]string]hops.Source
	lists       []wholeList
	latest      time.Time
	intern      map[string]string
	total       int64
	tells       *tells

	*source      // the text that is being read
	file    hint // of its name
	hint    hint // of the last command, else file
	fence   string
	fences  bool // the text is Markdown: what stands outside of fences was written by hand
	log     *logBlock
	code    string // the last URL that a caller's program was seen to ask
	listOf  kind   // of the entries of the JSON list that is being read
	cut     bool   // the text begins in the middle of a file
}

func newParser(ctx context.Context, in Input) *parser {
	return &parser{ctx: ctx, want: in.Want, now: in.Now, kinds: newKinds(), byKey: map[key]int{}, dropped: map[string]int{}, intern: map[string]string{},
		named: map[string][]int{}, sources: map[[2]string]hops.Source{}, tells: newTells()}
}

// readText reads one text; cut says that its first line is the end of one that was not read.
func (p *parser) readText(name string, r io.Reader, cut bool) {
	defer p.survive(name)
	br, why := decodeText(r)
	if why != "" {
		p.note(name, 0, why)
		return
	}
	head, _ := br.Peek(peekBytes)
	if len(head) == 0 {
		p.note(name, 0, "is empty")
		return
	}
	p.source = &source{ctx: p.ctx, name: name, raw: rawLines{r: br}}
	p.raw.long = func(no int) { p.note(name, no, "a line of more than a MiB: its end was left out") }
	text := string(head)
	p.fences = strings.Contains(text, "```") || strings.Contains(text, "\n~~~")
	p.file = p.fileHint(name)
	p.code = ""
	p.hint, p.fence, p.log, p.cut = p.file, "", nil, cut
	if cut {
		p.next()
	}
	for {
		l, ok := p.next()
		if !ok {
			break
		}
		p.step(l)
	}
	p.endLog()
	p.total += p.read
	if err := p.raw.err; err != nil && p.ctx.Err() == nil {
		p.note(name, 0, "the reading stopped before its end: "+err.Error())
	}
	if p.junk > 0 {
		p.note(name, p.junk1, plural(p.junk, "line")+" from here on that are no text were left out")
	}
}

// step reads one block. Each step leaves a line behind, or shortens it, so that a text of n bytes takes at most n steps: a line that a parser took
// and gave back untouched goes to the log.
func (p *parser) step(l line) {
	behind := p.behind()
	p.block(l)
	if p.again(l, behind) {
		l, _ = p.next()
		p.logLine(l)
	}
}

// survive turns a fault of a parser into a note, so that one odd file does not cost what the others tell.
func (p *parser) survive(name string) {
	if r := recover(); r != nil {
		p.log = nil
		p.note(name, 0, fmt.Sprintf("%s (%v); please report it with the text that led to it", ownFault, r))
	}
}

const ownFault = "could not be read, by a fault of the reader"

// block looks at the first line of whatever comes next.
func (p *parser) block(l line) {
	t := strings.TrimLeft(l.text, " \t")
	if t == "" {
		p.logBlank()
		return
	}
	if p.turn(l, t) {
		return
	}
	if p.hint.strict {
		p.logLine(l)
		return
	}
	switch c := t[0]; {
	case c == '{' || c == '[':
		if p.startJSON(l, t) {
			return
		}
	case c == '=':
		if p.startTimeline(l, t) {
			return
		}
	case c >= 'A' && c <= 'Z':
		if p.startTable(l, t) || p.startBareEvent(l) || p.startDescribe(l, t) || p.startAnalysis(l, t) || p.startKubectlError(l, t) {
			return
		}
	case c >= 'a' && c <= 'z' || c == '-':
		if p.startBareEvent(l) || p.startBareRow(l, t) || p.startYAML(l, t) || p.startKubectlError(l, t) {
			return
		}
	}
	if p.startClient(l, t) || p.startBareEvent(l) || p.startBareRow(l, t) {
		return
	}
	p.logLine(l)
}

// turn handles the lines that stand between blocks: fences, separators, commands.
func (p *parser) turn(l line, t string) bool {
	if strings.HasPrefix(t, "```") || strings.HasPrefix(t, "~~~") {
		p.fenceLine(t)
		return true
	}
	switch t {
	case "---", "...", "EOF", "<details>", "</details>", "<pre>", "</pre>", "<code>", "</code>", "{code}", "{noformat}", "{code:bash}", "{code:yaml}",
		"{code:java}", "{code:title=}":
		if t == "---" {
			p.endLog()
		}
		return true
	}
	if cmd, _, ok := commandOf(l.text); ok {
		p.command(cmd, l)
		return true
	}
	if p.fence == "" && (p.log == nil || p.log.n < 3) && !p.hint.strict && strings.Contains(t, "kubectl ") && len(t) < 300 {
		return p.proseCommand(t)
	}
	return false
}

// proseCommand takes a command in the words above a paste as a hint: "Output of `kubectl get pods -n demo`:".
func (p *parser) proseCommand(t string) bool {
	for _, m := range prose.FindAllStringSubmatch(t, 8) {
		cmd := strings.TrimRight(strings.TrimSpace(m[1]), ".:)'?")
		if !knownCommand(cmd) {
			continue
		}
		h := p.parseCommand(cmd)
		if len(h.kinds) == 0 || h.tool != "kubectl" {
			continue
		}
		if _, ok := p.kinds.find(h.kinds[0]); ok {
			p.endLog()
			h.named = true // the text below may be any part of what it printed
			p.hint = h
			return true
		}
	}
	return false
}

// fenceLine opens or closes a fence. What stood before a fence speaks of what is in it; not of what follows it.
func (p *parser) fenceLine(t string) {
	p.endLog()
	if p.fence == "" {
		p.fence = t[:3]
		return
	}
	if strings.HasPrefix(t, p.fence) {
		p.fence = ""
		p.hint = p.file
	}
}

// command takes a command line as the hint for what follows. Lines that end in a backslash belong together.
func (p *parser) command(cmd string, l line) {
	p.endLog()
	for i := 0; i < 30 && strings.HasSuffix(cmd, `\`); i++ {
		more, ok := p.next()
		if !ok {
			break
		}
		cmd = strings.TrimSuffix(cmd, `\`) + " " + strings.TrimPrefix(strings.TrimSpace(more.text), "> ")
	}
	cmd = p.openQuote(cmd)
	before := p.hint
	p.hint = p.parseCommand(cmd)
	if p.hint.tool == "curl" || p.hint.tool == "wget" {
		if before.tool == "port-forward" {
			p.hint.kinds, p.hint.name, p.hint.namespace = before.kinds, before.name, before.namespace
		}
		p.transcript()
	}
	_ = l
}

// openQuote reads on in a command whose quotes are still open, such as a JSON body over several lines.
func (p *parser) openQuote(cmd string) string {
	for i := 0; i < 60 && strings.Count(cmd, "'")%2 == 1 && len(cmd) < 64<<10; i++ {
		more, ok := p.next()
		if !ok {
			break
		}
		if strings.HasPrefix(more.text, "```") {
			p.unread(more)
			break
		}
		cmd += "\n" + more.text
	}
	return cmd
}

// bounds says whether a line surely begins something else, whatever block it stands in.
func (p *parser) bounds(l line) bool {
	t := strings.TrimLeft(l.text, " \t")
	if strings.HasPrefix(t, "```") || strings.HasPrefix(t, "~~~") {
		return true
	}
	_, _, ok := commandOf(l.text)
	return ok
}

// note adds to what could not be read, up to a bound.
func (p *parser) note(name string, no int, why string) {
	switch n := len(p.notes); {
	case n < maxNotes:
		p.notes = append(p.notes, Note{Name: name, Line: no, Why: why})
	case n == maxNotes:
		p.notes = append(p.notes, Note{Name: name, Line: no, Why: "more of the kind above was not read"})
	}
}

// at remembers the latest time of the paste; times that lie in the future of the reader are wrong clocks or expiry dates.
func (p *parser) at(t time.Time) {
	if t.After(p.latest) && (p.now.IsZero() || t.Before(p.now.Add(time.Hour))) {
		p.latest = t
	}
}
