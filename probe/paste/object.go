// object.go: takes objects in: names their source, drops what no rule reads, joins what several pastes tell of the same object.
package paste

import (
	"strings"
	"time"

	"probe/hops"
)

// found is one object with what is known about how it was found.
type found struct {
	hops.Object
	row  bool // of a table
	age  time.Duration
	name string // of the file
	no   int    // line
}

// key is what makes two readings speak of one object.
type key struct {
	source          hops.Source
	namespace, name string
}

// object takes one decoded tree. partial says that fields may be missing.
func (p *parser) object(tree map[string]any, partial bool, no int) {
	kindName, api := str(tree["kind"]), str(tree["apiVersion"])
	if items, ok := tree["items"].([]any); ok {
		for _, m := range mapsIn(items) {
			if str(m["kind"]) == "" {
				m["kind"], m["apiVersion"] = strings.TrimSuffix(kindName, "List"), api
			}
			p.object(m, partial, no)
		}
		return
	}
	if kindName == "" {
		k, ok := p.kindOfFragment(tree)
		if !ok {
			p.note(p.name, no, "an object whose kind cannot be told: add its kind, or the kubectl command above it")
			return
		}
		kindName, partial = k.kind, true
		if api == "" {
			api = k.api
		}
	}
	meta, _ := tree["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		tree["metadata"] = meta
		partial = true
	}
	for k, v := range tree {
		if v == nil {
			delete(tree, k) // a section whose lines were left out
		}
	}
	if meta["uid"] == nil && meta["resourceVersion"] == nil && meta["creationTimestamp"] == nil || tree["spec"] == nil && tree["status"] != nil {
		partial = true // a manifest, or an object that somebody shortened: the API server always writes these
	}
	tree["kind"] = kindName
	if api != "" {
		tree["apiVersion"] = api
	}
	p.take(found{Object: hops.Object{APIVersion: api, Kind: kindName, Namespace: str(meta["namespace"]), Name: str(meta["name"]), Tree: tree,
		Partial: partial}, name: p.name, no: no})
}

// kindOfFragment tells the kind of a tree that does not say, by the command above it or by its shape.
func (p *parser) kindOfFragment(tree map[string]any) (kind, bool) {
	shape, shaped := p.kinds.shape(tree)
	if len(p.hint.kinds) == 1 && (p.hint.verb == "get" || p.hint.verb == "edit" || p.hint.verb == "") {
		k, ok := p.kinds.find(p.hint.kinds[0])
		if ok && (!shaped || shape.kind == k.kind) {
			return k, true
		}
	}
	return shape, shaped
}

// take stores an object, an event, or the likeness of one that hops does not know by its own name.
func (p *parser) take(f found) {
	p.taken++
	o := &f.Object
	switch o.Kind {
	case "Secret":
		return // never kept, on purpose
	case "Event":
		p.event(hops.ParseEvent(o), 0)
		return
	case "Endpoints":
		slice := endpointSlice(o)
		f.Object = slice
	case "Status":
		if m := str(o.Tree["message"]); m != "" { // an answer of the API server
			p.addLine(hops.Line{Source: hops.ClientLog, Text: m, Number: f.no})
			return
		}
	}
	o.Source = p.sourceOf(o.APIVersion, o.Kind)
	if o.Source == "" {
		p.dropped[o.Kind]++
		return
	}
	p.fromHint(o)
	f.Tree = p.prune(o.Tree)
	p.store(f)
}

// sourceOf remembers what hops.SourceOf says: it is asked for every row of a table.
func (p *parser) sourceOf(api, kind string) hops.Source {
	k := [2]string{api, kind}
	s, ok := p.sources[k]
	if !ok {
		s = hops.SourceOf(api, kind)
		if len(p.sources) < 1000 {
			p.sources[k] = s
		}
	}
	return s
}

// fromHint fills in a name and a namespace that only the command above tells.
func (p *parser) fromHint(o *hops.Object) {
	meta, _ := o.Tree["metadata"].(map[string]any)
	if o.Namespace == "" && p.hint.namespace != "" && !clusterWide(o.Source) {
		o.Namespace = p.hint.namespace
		meta["namespace"] = o.Namespace
	}
	if o.Name == "" && p.hint.name != "" && len(p.hint.kinds) == 1 {
		if k, ok := p.kinds.find(p.hint.kinds[0]); ok && k.kind == o.Kind {
			o.Name = p.hint.name
			meta["name"] = o.Name
		}
	}
}

func clusterWide(s hops.Source) bool {
	i, ok := hops.Info(s)
	return ok && i.Scope == hops.ScopeCluster
}

// store keeps an object, or joins it with what is known of it already.
func (p *parser) store(f found) {
	k := key{f.Source, f.Namespace, f.Name}
	at, known := p.byKey[k]
	if !known && f.Name != "" { // a namespace that one of the two does not tell
		at, known = p.byName(k)
	}
	if known && f.Name != "" {
		p.objects[at] = join(p.objects[at], f)
		return
	}
	if f.row {
		p.rows++
	}
	p.byKey[k] = len(p.objects)
	p.objects = append(p.objects, f)
}

// byName finds an object of the same name whose namespace is not known, or the only one there is when this one's is not.
func (p *parser) byName(k key) (int, bool) {
	if k.namespace != "" {
		at, ok := p.byKey[key{k.source, "", k.name}]
		if ok {
			delete(p.byKey, key{k.source, "", k.name})
			p.byKey[k] = at
		}
		return at, ok
	}
	if len(p.objects) > 2000 {
		return 0, false
	}
	at, n := 0, 0
	for i := range p.objects {
		if o := &p.objects[i]; o.Source == k.source && o.Name == k.name {
			at, n = i, n+1
		}
	}
	return at, n == 1
}

// join gives one object from two readings. A whole one stays whole; of two whole ones the later in the paste wins.
func join(old, new found) found {
	if new.Namespace == "" {
		new.Namespace = old.Namespace
	}
	if old.Namespace == "" {
		old.Namespace = new.Namespace
	}
	switch {
	case !new.Partial:
		if old.age > 0 {
			new.age = old.age
		}
		return new
	case !old.Partial:
		old.age = max(old.age, new.age)
		return old
	}
	if old.row && new.row && new.Kind == "Pod" {
		remember(&old, &new)
	}
	api := old.APIVersion
	if old.row || api == "" {
		api = new.APIVersion
	}
	old.Tree = mergeMaps(old.Tree, new.Tree)
	old.APIVersion = api
	old.row = old.row && new.row
	old.age = max(old.age, new.age)
	return old
}

// mergeMaps lays b over a. Conditions are joined by their type; other lists are replaced.
func mergeMaps(a, b map[string]any) map[string]any {
	for k, v := range b {
		am, aok := a[k].(map[string]any)
		bm, bok := v.(map[string]any)
		switch {
		case aok && bok:
			a[k] = mergeMaps(am, bm)
		case k == "conditions" && a[k] != nil:
			a[k] = mergeConditions(a[k], v)
		default:
			a[k] = v
		}
	}
	return a
}

func mergeConditions(a, b any) any {
	out := append([]any(nil), anyList(a)...)
	for _, c := range mapsIn(b) {
		placed := false
		for i, have := range out {
			m, ok := have.(map[string]any)
			if !ok || str(m["type"]) != str(c["type"]) {
				continue
			}
			placed = true
			if str(m["status"]) == str(c["status"]) && len(c) < len(m) {
				break // the same, told in fewer words
			}
			out[i] = c
		}
		if !placed {
			out = append(out, c)
		}
	}
	return out
}

func anyList(v any) []any {
	l, _ := v.([]any)
	return l
}

// endpointSlice writes an Endpoints object as the EndpointSlice that says the same.
func endpointSlice(o *hops.Object) hops.Object {
	meta := map[string]any{"name": o.Name, "labels": map[string]any{"kubernetes.io/service-name": o.Name}}
	if o.Namespace != "" {
		meta["namespace"] = o.Namespace
	}
	endpoints, ports := []any{}, []any{}
	for _, s := range o.List("subsets") {
		for _, field := range []string{"addresses", "notReadyAddresses"} {
			for _, a := range mapsIn(s[field]) {
				e := map[string]any{"addresses": []any{a["ip"]}, "conditions": map[string]any{"ready": field == "addresses"}}
				if ref, ok := a["targetRef"]; ok {
					e["targetRef"] = ref
				}
				endpoints = append(endpoints, e)
			}
		}
		ports = append(ports, anyList(s["ports"])...)
	}
	return hops.Object{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice", Namespace: o.Namespace, Name: o.Name, Partial: o.Partial,
		Tree: map[string]any{"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": meta, "endpoints": endpoints, "ports": ports}}
}

// prune drops what is long and never read, and remembers the times on the way.
func (p *parser) prune(tree map[string]any) map[string]any {
	if meta, ok := tree["metadata"].(map[string]any); ok {
		delete(meta, "managedFields")
		delete(meta, "selfLink")
		if a, ok := meta["annotations"].(map[string]any); ok {
			delete(a, "kubectl.kubernetes.io/last-applied-configuration")
		}
	}
	if str(tree["kind"]) == "CustomResourceDefinition" {
		if spec, ok := tree["spec"].(map[string]any); ok {
			delete(spec, "validation")
			for _, v := range mapsIn(spec["versions"]) {
				delete(v, "schema")
			}
		}
	}
	p.times(tree, 0)
	return tree
}

// times remembers the latest time in a tree.
func (p *parser) times(v any, depth int) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok {
				if len(s) >= 20 && len(s) <= 35 && s[4] == '-' && s[10] == 'T' && (strings.HasSuffix(k, "Time") || strings.HasSuffix(k, "Timestamp") ||
					strings.HasSuffix(k, "At")) {
					if t, err := time.Parse(time.RFC3339, s); err == nil {
						p.at(t)
					}
				}
			} else if depth < 12 {
				p.times(e, depth+1)
			}
		}
	case []any:
		for _, e := range v {
			p.times(e, depth+1)
		}
	}
}
