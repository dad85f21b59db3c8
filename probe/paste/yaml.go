// yaml.go: collects YAML documents, lists and fragments from the lines, decodes them one object at a time, and saves the front of those that
// are cut.
package paste

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// startYAML takes a block that begins like a Kubernetes object, or like a part of one.
func (p *parser) startYAML(l line, t string) bool {
	word, rest, ok := strings.Cut(strings.TrimPrefix(t, "- "), ":")
	if !ok || rest != "" && rest[0] != ' ' && rest[0] != '\t' || !topKey(word) {
		return false
	}
	rest = strings.TrimSpace(rest)
	switch word {
	case "apiVersion", "kind":
		if rest == "" || strings.ContainsAny(rest, " {") {
			return false
		}
	default: // a fragment: its first key has its value on the lines below
		if rest != "" && rest != "|" && (word != "items" || rest != "[]") && !(strings.HasPrefix(t, "- ") && strings.HasPrefix(word, "last")) {
			return false
		}
		if word != "items" && !p.indentedNext(l) {
			return false
		}
	}
	p.endLog()
	p.collectYAML(l)
	return true
}

// topKey lists the keys with which an object, or a piece of one that people copy, begins.
func topKey(word string) bool {
	switch word {
	case "apiVersion", "kind", "metadata", "spec", "status", "items", "data", "conditions", "containerStatuses", "initContainerStatuses", "modelStatus",
		"components", "subsets", "endpoints", "involvedObject", "lastTransitionTime", "lastProbeTime", "traffic", "webhooks":
		return true
	}
	return false
}

// indentedNext says whether the next line stands deeper than this one, or is a list entry.
func (p *parser) indentedNext(l line) bool {
	n, ok := p.peek()
	if !ok || n.blank() {
		return false
	}
	in, at := indentOf(n.text), indentOf(l.text)
	t := strings.TrimLeft(n.text, " \t")
	return in > at && (strings.Contains(t, ":") || strings.HasPrefix(t, "- ")) || in == at && strings.HasPrefix(t, "- ")
}

// yamlBlock is a document while it is collected. A list gives its items as soon as each is whole, so that only one is in memory.
type yamlBlock struct {
	p       *parser
	base    int // blanks before the whole block
	doc     []string
	docNo   int // line of the first
	item    []string
	itemNo  int
	itemIn  int // blanks before the "-" of an item; -1 outside of items
	size    int
	elided  bool
	managed int              // blanks before "managedFields:" while its lines are passed over; -1 outside
	pending []map[string]any // items that do not say their kind
}

// collectYAML reads lines until the block ends.
func (p *parser) collectYAML(first line) {
	b := &yamlBlock{p: p, base: indentOf(first.text), docNo: first.no, itemIn: -1, managed: -1}
	if strings.HasPrefix(strings.TrimLeft(first.text, " \t"), "- ") {
		b.itemIn = 0
	}
	for l, ok := first, true; ok; l, ok = p.next() {
		if !b.takes(l) {
			p.unread(l)
			break
		}
		b.add(l)
	}
	b.end()
}

// takes says whether a line still belongs to the block.
func (b *yamlBlock) takes(l line) bool {
	t := strings.TrimLeft(l.text, " \t")
	if t == "" || l.no == b.docNo {
		return true
	}
	in := indentOf(l.text)
	if in < b.base {
		return false
	}
	if in > b.base {
		return !strings.HasPrefix(t, "```") // deeper lines may be anything: a block of text, a broken line
	}
	switch {
	case t[0] == '#':
		return true
	case strings.HasPrefix(t, "- "), t == "-":
		return true
	case t[0] == '-', t[0] == '`', t[0] == '$':
		return false
	}
	return yamlKey(t)
}

// yamlKey says whether a line starts with a key of an API object: lower-case first, no blanks.
func yamlKey(t string) bool {
	if t[0] < 'a' || t[0] > 'z' {
		return elision(t)
	}
	for i := 1; i < len(t); i++ {
		switch c := t[i]; {
		case c == ':':
			return i+1 == len(t) || t[i+1] == ' ' || t[i+1] == '\t'
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return false
}

// elision says whether a line only stands for lines that somebody left out.
func elision(t string) bool {
	if len(t) > 200 {
		return false
	}
	switch strings.Trim(t, " \t-#<>[](){}") {
	case "...", "…", "..", "....", "snip", "truncated", "omitted", "redacted", "cut", ". . .":
		return true
	}
	return false
}

// add takes a line into the document or into the present item.
func (b *yamlBlock) add(l line) {
	text := dedent(untab(l.text), b.base)
	t := strings.TrimLeft(text, " ")
	if t != "" && t[0] != '-' && elision(t) || t == "- ..." {
		b.elided = true
		return
	}
	in := len(text) - len(t)
	if b.passed(in, t) {
		return
	}
	if b.itemIn < 0 {
		if b.grow(len(text)) {
			b.doc = append(b.doc, text)
		}
		if text == "items:" {
			if n, ok := b.p.peek(); ok && strings.HasPrefix(strings.TrimLeft(n.text, " \t"), "-") {
				b.itemIn = max(0, indentOf(n.text)-b.base)
			}
		}
		return
	}
	isItem := in == b.itemIn && (strings.HasPrefix(t, "- ") || t == "-")
	switch {
	case isItem:
		b.endItem()
		b.itemNo = l.no
		b.item = append(b.item, " "+t[1:])
		b.grow(len(text))
	case t == "" || in > b.itemIn || len(b.item) > 0 && t[0] == '#':
		if b.grow(len(text)) {
			b.item = append(b.item, dedent(text, b.itemIn))
		}
	default: // the list is over
		b.endItem()
		b.itemIn = -1
		b.doc = append(b.doc, text)
	}
}

// passed says whether a line is of metadata.managedFields, which no rule reads and which is half of what newer versions of kubectl print.
func (b *yamlBlock) passed(in int, t string) bool {
	if b.managed >= 0 && (t == "" || in > b.managed || in == b.managed && t[0] == '-') {
		return true
	}
	b.managed = -1
	if t == "managedFields:" && in > 0 {
		b.managed = in
		return true
	}
	return false
}

// grow counts what is held; false when it is too much for one object.
func (b *yamlBlock) grow(n int) bool {
	b.size += n + 1
	if b.size <= maxDocument {
		return true
	}
	if !b.elided {
		b.p.note(b.p.name, max(b.itemNo, b.docNo), fmt.Sprintf("YAML of more than %d MiB in one object: only its front was read", maxDocument>>20))
	}
	b.elided = true
	return false
}

// endItem decodes the present item of a list.
func (b *yamlBlock) endItem() {
	if len(b.item) == 0 {
		return
	}
	if tree, cut := b.p.decodeYAML(b.item, b.itemNo); tree != nil {
		switch {
		case isCondition(tree):
			b.pending = append(b.pending, tree)
		case str(tree["kind"]) == "" && len(b.pending) < maxRows && len(b.p.hint.kinds) != 1:
			b.pending = append(b.pending, tree)
		default:
			b.p.keep(tree, cut || b.elided, b.itemNo, b.size)
		}
	}
	b.item, b.size = nil, 0
}

// end decodes what is left.
func (b *yamlBlock) end() {
	b.endItem()
	var tree map[string]any
	cut := false
	if len(b.doc) > 0 {
		tree, cut = b.p.decodeYAML(b.doc, b.docNo)
	}
	if len(b.pending) > 0 {
		b.orphans(tree)
		return
	}
	if tree == nil || tree["items"] != nil || b.itemIn >= 0 || strings.HasSuffix(str(tree["kind"]), "List") {
		return
	}
	b.p.keep(fragment(tree), cut || b.elided, b.docNo, b.size)
}

// orphans are list entries without a kind: objects of a typed list, or conditions that were copied alone.
func (b *yamlBlock) orphans(outer map[string]any) {
	if isCondition(b.pending[0]) {
		list := make([]any, len(b.pending))
		for i, c := range b.pending {
			list[i] = c
		}
		b.p.keep(fragment(map[string]any{"conditions": list}), true, b.docNo, b.size)
		return
	}
	kind := strings.TrimSuffix(str(outer["kind"]), "List")
	for _, tree := range b.pending {
		if kind != "" && str(tree["kind"]) == "" {
			tree["kind"], tree["apiVersion"] = kind, str(outer["apiVersion"])
		}
		b.p.keep(tree, b.elided, b.docNo, b.size)
	}
}

func isCondition(tree map[string]any) bool {
	_, kind := tree["type"].(string)
	_, status := tree["status"].(string)
	return kind && status && tree["kind"] == nil && tree["metadata"] == nil
}

// fragment puts a piece of an object where it belongs: conditions under status, a predictor under spec.
func fragment(tree map[string]any) map[string]any {
	if tree["kind"] != nil || tree["metadata"] != nil || tree["spec"] != nil || tree["status"] != nil || tree["involvedObject"] != nil {
		return tree
	}
	for _, k := range []string{"conditions", "containerStatuses", "initContainerStatuses", "modelStatus", "components", "traffic"} {
		if tree[k] != nil {
			return map[string]any{"status": tree}
		}
	}
	return tree
}

// keep stores a decoded object within the bound for all of them; what bears the wanted name is always kept.
func (p *parser) keep(tree map[string]any, partial bool, no, size int) {
	if p.objectBytes += size; p.objectBytes > maxObjectBytes {
		meta, _ := tree["metadata"].(map[string]any)
		if !p.wanted(str(meta["name"])) {
			p.dropped[str(tree["kind"])]++
			return
		}
	}
	p.hint.used = true
	p.object(tree, partial, no)
}

// decodeYAML decodes one document: the quick way for what kubectl prints, then the library. When the library refuses, what can be read of it is saved.
func (p *parser) decodeYAML(lines []string, no int) (tree map[string]any, cut bool) {
	if v, ok := p.quickYAML(lines); ok {
		return v, false
	}
	text := document(lines)
	v, err := libraryYAML(text)
	if err == nil {
		return v, false
	}
	if len(text) <= 256<<10 {
		if v, last, how := p.saveYAML(lines, text, err); v != nil {
			p.note(p.name, no+last, how)
			return v, true
		}
	}
	p.note(p.name, no, "YAML that cannot be read: "+yamlReason(err))
	return nil, true
}

// saveYAML tries again with the end of a quoted text added, with lines dropped from the end, and with those from the line on that the library names.
// last counts the lines behind the first that were read.
func (p *parser) saveYAML(lines []string, text string, err error) (tree map[string]any, last int, how string) {
	for _, end := range []string{"'", `"`} { // cut inside a quoted text
		if v := p.tryYAML(strings.TrimSuffix(text, "\n") + end); v != nil {
			return v, len(lines) - 1, "YAML that is cut inside a text: read up to here"
		}
	}
	n := len(lines)
	for try := 0; try < 40 && n > 1; try++ {
		n -= 1 + try/8*2
		if n < 1 {
			break
		}
		if v := p.tryYAML(document(lines[:n])); v != nil {
			return v, n, fmt.Sprintf("YAML that is cut or broken: read up to here (%s)", yamlReason(err))
		}
	}
	if at := badLine(err); at > 1 && at <= len(lines) {
		for back := at - 1; back > 0 && back > at-5; back-- {
			if v := p.tryYAML(document(lines[:back])); v != nil {
				return v, back, fmt.Sprintf("YAML that is broken: read up to here (%s)", yamlReason(err))
			}
		}
	}
	return nil, 0, ""
}

// tryYAML decodes a part of a document that the library refused; nil when it cannot, and when enough was tried.
func (p *parser) tryYAML(text string) map[string]any {
	if p.retried += len(text); p.retried > maxRetried || p.ctx.Err() != nil {
		return nil
	}
	v, err := libraryYAML(text)
	if err != nil {
		return nil
	}
	return v
}

// document puts lines together for the library. The last one has its end too: behind "|" it is part of the text.
func document(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// libraryYAML decodes with the library and brings numbers, times and keys into the form that JSON has.
func libraryYAML(text string) (tree map[string]any, err error) {
	defer func() { // the library panics on some broken input that its own recover does not expect
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		return nil, err
	}
	if crowded(&n) {
		return nil, fmt.Errorf("yaml: more than %d keys side by side", maxKeys)
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	m, ok := plainTree(v, 0).(map[string]any)
	if !ok && v != nil {
		return nil, fmt.Errorf("yaml: not an object")
	}
	return m, nil
}

// crowded says whether a mapping has more keys than the library is given: it compares each with each (go.yaml.in/yaml/v3, decode.go, uniqueKeys).
func crowded(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && len(n.Content) > 2*maxKeys || slices.ContainsFunc(n.Content, crowded)
}

func yamlReason(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: ")
}

// badLine is the line that the library names, 0 for none.
func badLine(err error) int {
	n := 0
	if _, e := fmt.Sscanf(err.Error(), "yaml: line %d:", &n); e != nil {
		return 0
	}
	return n
}
