// describe.go: reads the text of `kubectl describe` into a tree of keys by indentation, and finds out which form it has.
package paste

import (
	"regexp"
	"strings"

	"probe/hops"
)

// node is one "Key:  value" line with what stands below it.
type node struct {
	key, value string
	in         int
	kids       []*node
	words      []string // lines below that are no keys: arguments, list entries
}

// kid finds a key below; nil when there is none. nil nodes have no kids.
func (n *node) kid(key string) *node {
	if n == nil {
		return nil
	}
	for _, k := range n.kids {
		if k.key == key {
			return k
		}
	}
	return nil
}

// get is the value of a key below; "" when there is none, or when kubectl says that there is none.
func (n *node) get(path ...string) string {
	for _, key := range path {
		n = n.kid(key)
	}
	if n == nil {
		return ""
	}
	switch n.value {
	case "<none>", "<unset>", "<unknown>", "<nil>":
		return ""
	}
	return n.value
}

// line is the first line of a value.
func (n *node) line(key string) string {
	s, _, _ := strings.Cut(n.get(key), "\n")
	return s
}

var (
	describeKey  = regexp.MustCompile(`^([A-Z][A-Za-z0-9 ().,/_'-]{0,60}?):(?:\s+(.*))?$`)
	anyKey       = regexp.MustCompile(`^([A-Za-z0-9][-A-Za-z0-9 .,/_()']{0,90}?):(?:\s+(.*))?$`)
	describeHead = regexp.MustCompile(`^Name:\s+\S+$`)
)

// startDescribe takes a block that begins "Name:  x", with another key of a description below it.
func (p *parser) startDescribe(l line, t string) bool {
	if !strings.HasPrefix(t, "Name:") || !describeHead.MatchString(t) {
		if p.hint.verb != "describe" || p.hint.used || !describeKey.MatchString(t) {
			return p.startPartDescribe(l, t)
		}
	} else if n, ok := p.peek(); ok && !describeKey.MatchString(strings.TrimLeft(n.text, " \t")) {
		return false
	}
	p.endLog()
	p.hint.used = true
	p.describe(l)
	return true
}

// startPartDescribe takes pieces of a description that people copy alone: its events, a container's state, its conditions.
func (p *parser) startPartDescribe(l line, t string) bool {
	n, ok := p.peek()
	if !ok || indentOf(n.text) < indentOf(l.text) {
		return false
	}
	next := strings.TrimLeft(n.text, " \t")
	switch t {
	case "Events:":
		if !strings.HasPrefix(next, "Type ") && !strings.HasPrefix(next, "FirstSeen") && !strings.HasPrefix(next, "LastSeen") && !strings.HasPrefix(next, "----") {
			return false
		}
	case "Status:", "Spec:", "Containers:", "Init Containers:":
		if indentOf(n.text) <= indentOf(l.text) || !anyKey.MatchString(next) {
			return false
		}
	case "Conditions:":
		if indentOf(n.text) <= indentOf(l.text) || !strings.HasPrefix(next, "Last Transition Time:") && !strings.HasPrefix(next, "Type") && !strings.HasPrefix(next, "Message:") {
			return false
		}
	default:
		if !strings.HasPrefix(t, "Type ") || !strings.Contains(t, "Reason") || !strings.Contains(t, "Message") || !strings.HasPrefix(next, "----") &&
			!strings.HasPrefix(next, "Normal ") && !strings.HasPrefix(next, "Warning ") {
			return false
		}
		p.unread(l)
		l = line{text: strings.Repeat(" ", max(0, indentOf(l.text)-2)) + "Events:", no: l.no}
	}
	p.endLog()
	p.describe(l)
	return true
}

// description is the text of one object.
type description struct {
	root   *node
	events []string
}

// describe reads one description, from its first line to where it surely ends.
func (p *parser) describe(first line) {
	base := indentOf(first.text)
	d := description{root: &node{in: -1}}
	g := growing{path: []*node{d.root}}
	inEvents, blanks, size := false, 0, 0
	for l, ok := first, true; ok; l, ok = p.next() {
		t := strings.TrimSpace(l.text)
		if t == "" {
			if blanks++; inEvents && blanks > 0 || blanks > 2 {
				break
			}
			continue
		}
		text := dedent(untab(l.text), base)
		if l.no != first.no && p.describeEnds(l, text, t, inEvents, blanks) {
			p.unread(l)
			break
		}
		blanks = 0
		if size += len(text); size > maxDocument {
			continue
		}
		switch {
		case strings.HasPrefix(text, "Events:"):
			inEvents = true
			d.events = append(d.events, strings.TrimPrefix(text, "Events:"))
		case inEvents:
			d.events = append(d.events, text)
		default:
			g.place(text, t)
		}
	}
	p.described(&d, first.no)
}

// describeEnds says whether a line begins something else.
func (p *parser) describeEnds(l line, text, t string, inEvents bool, blanks int) bool {
	if p.bounds(l) || t == "---" || strings.HasPrefix(text, "Name:") && describeHead.MatchString(t) {
		return true
	}
	if inEvents {
		return text[0] != ' ' && !strings.HasPrefix(t, "Normal") && !strings.HasPrefix(t, "Warning") && (headerLike(t) || describeKey.MatchString(t) || blanks > 0)
	}
	if blanks > 0 && text[0] != ' ' && !topLevel(text) {
		return true
	}
	if text[0] == ' ' {
		return false
	}
	return headerLike(t) && wideGap.MatchString(t) || strings.HasPrefix(t, "apiVersion:") || strings.HasPrefix(t, "{") && strings.HasSuffix(t, "}")
}

// growing is a tree while lines are put into it.
type growing struct {
	path []*node // from the root to the last key
	raw  *node   // a key whose value has lines of its own, printed as they are: a traceback in a message
}

// place puts a line below the key that its indentation says.
func (g *growing) place(text, t string) {
	in := indentOf(text)
	last := g.path[len(g.path)-1]
	m := anyKey.FindStringSubmatch(t)
	if g.raw != nil {
		if !topLevel(text) && !(m != nil && g.aligned(in) && describeKey.MatchString(t)) || in == 0 && !topLevel(text) {
			appendValue(g.raw, t)
			return
		}
		g.raw = nil
	}
	if in == 0 && !topLevel(text) {
		if last.in >= 0 {
			g.raw = last
			appendValue(last, t)
		} else if len(last.words) < 1000 {
			last.words = append(last.words, t)
		}
		return
	}
	if m == nil && last.key == "Message" && last.value != "" && in <= last.in {
		g.raw = last
		appendValue(last, t)
		return
	}
	for len(g.path) > 1 && g.path[len(g.path)-1].in >= in {
		g.path = g.path[:len(g.path)-1]
	}
	parent := g.path[len(g.path)-1]
	below := parent == last && in > last.in
	switch {
	case below && labelOwner(last):
		last.words = append(last.words, t)
	case below && last.value != "" && (m == nil || in > last.in+8):
		appendValue(last, t)
	case m == nil || len(g.path) > 40:
		parent.words = append(parent.words, t)
	default:
		n := &node{key: m[1], value: strings.TrimSpace(m[2]), in: in}
		parent.kids = append(parent.kids, n)
		g.path = append(g.path, n)
	}
}

// aligned says whether a key on the path stands at this indentation.
func (g *growing) aligned(in int) bool {
	for _, n := range g.path {
		if n.in == in {
			return true
		}
	}
	return false
}

// labelOwner says whether the lines below a key are values of it, not keys: "Labels:  a=b", next line "c=d".
func labelOwner(n *node) bool {
	return (n.key == "Labels" || n.key == "Annotations" || n.key == "Selector" || n.key == "Tolerations" || n.key == "Node-Selectors") && n.in == 0
}

func appendValue(n *node, t string) {
	if len(n.value) > 16<<10 {
		return
	}
	if n.value != "" {
		n.value += "\n"
	}
	n.value += t
}

// topLevel says whether a line without indentation is a key of a description rather than a line of some message.
func topLevel(text string) bool {
	key, _, ok := strings.Cut(text, ":")
	if !ok {
		return strings.HasPrefix(text, "Resource ") || strings.HasPrefix(text, "--------")
	}
	switch key {
	case "Name", "Namespace", "Labels", "Annotations", "API Version", "Api Version", "Kind", "Metadata", "Spec", "Status", "Events", "Priority",
		"Priority Class Name", "PriorityClassName", "Service Account", "Node", "Start Time", "IP", "IPs", "Controlled By", "Created By", "Init Containers",
		"Containers", "Conditions", "Volumes", "QoS Class", "Node-Selectors", "Tolerations", "Reason", "Message", "Runtime Class Name", "SeccompProfile",
		"CreationTimestamp", "Selector", "Replicas", "StrategyType", "MinReadySeconds", "RollingUpdateStrategy", "Pod Template", "OldReplicaSets",
		"NewReplicaSet", "Pods Status", "Type", "IP Family Policy", "IP Families", "Port", "TargetPort", "NodePort", "Endpoints", "Session Affinity",
		"LoadBalancer Ingress", "External Name", "External Traffic Policy", "Internal Traffic Policy", "StorageClass", "Volume", "Capacity",
		"Access Modes", "VolumeMode", "Used By", "Mounted By", "Finalizers", "Data", "BinaryData", "AddressType", "Ports", "Subsets", "Image pull secrets",
		"Mountable secrets", "Tokens", "Roles", "Taints", "Unschedulable", "Lease", "Addresses", "Allocatable", "System Info", "Non-terminated Pods",
		"Allocated resources", "Rules", "Default backend", "Address", "Ingress Class", "TLS", "Webhooks", "Resource", "Scopes", "Termination Grace Period",
		"Nominated Node Name", "NominatedNodeName", "Status (PodIP)", "DeletionTimestamp", "Created on", "Items", "Deletion Grace Period Seconds",
		"Desired Replicas", "Resource Claims", "IPFamilyPolicy", "HealthCheck NodePort", "Progress Deadline", "Deletion Timestamp":
		return true
	}
	return false
}

// described makes objects and events of one description.
func (p *parser) described(d *description, no int) {
	var o hops.Object
	switch k, typed := p.describedKind(d.root); {
	case d.root.kid("Kind") != nil && d.root.get("Kind") != "":
		o = genericObject(d.root, "", "")
	case typed:
		o = p.typedObject(k, d.root)
	case len(d.root.kids) > 0:
		o = genericObject(d.root, k.kind, k.api)
		if o.Kind == "" {
			if shaped, ok := p.kinds.shape(o.Tree); ok {
				o.Kind, o.APIVersion = shaped.kind, shaped.api
			}
		}
	}
	if o.Kind == "" && len(p.hint.kinds) == 1 {
		if k, ok := p.kinds.find(p.hint.kinds[0]); ok {
			o.Kind, o.APIVersion = k.kind, k.api
		}
	}
	if o.Tree == nil {
		o.Tree = map[string]any{"metadata": map[string]any{}}
	}
	o.Partial = true
	if o.Kind == "" && len(d.root.kids) > 0 {
		p.note(p.name, no, "a description of "+orSome(o.Name)+" whose kind cannot be told: put the kubectl command above it")
	}
	o.Tree["kind"] = o.Kind
	if o.APIVersion != "" {
		o.Tree["apiVersion"] = o.APIVersion
	}
	o.Source = hops.SourceOf(o.APIVersion, o.Kind)
	if o.Namespace == "" && p.hint.namespace != "" {
		o.Namespace = p.hint.namespace
	}
	if o.Name == "" && p.hint.name != "" {
		o.Name = p.hint.name
		o.Tree["metadata"].(map[string]any)["name"] = o.Name
	}
	p.describedEvents(d.events, o.Ref())
	if o.Kind != "" && len(d.root.kids) > 0 {
		p.take(found{Object: o, name: p.name, no: no})
	}
}

func orSome(name string) string {
	if name == "" {
		return "an object"
	}
	return name
}
