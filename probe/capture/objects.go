// objects.go: objects and events as files, and what is left out of them for size.
package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"probe/hops"
)

// maxObjects bounds how many objects one file may hold.
const maxObjects = 20_000

// list writes a Kubernetes List, an item a line.
func list(items []map[string]any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"apiVersion":"v1","kind":"List","items":[`)
	for i, item := range items {
		raw, err := compact(item)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(raw)
	}
	b.WriteString("\n]}\n")
	return b.Bytes(), nil
}

// compact is JSON without spaces and without escaped angle brackets.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// objectFiles sorts objects into files by source; objects that hold only a part of what the cluster has go to files of their own.
func objectFiles(objects []hops.Object) map[string][]map[string]any {
	out := map[string][]map[string]any{}
	for i := range objects {
		o := &objects[i]
		name := string(o.Source)
		if name == "" {
			name = "other"
		}
		if o.Partial {
			name += ".partial"
		}
		out[name+".json"] = append(out[name+".json"], named(o))
	}
	return out
}

// named gives an object's tree with the names that a row of a table does not hold in its tree.
func named(o *hops.Object) map[string]any {
	tree := slim(o)
	meta, _ := tree["metadata"].(map[string]any)
	meta = maps.Clone(meta)
	if meta == nil {
		meta = map[string]any{}
	}
	set := func(m map[string]any, k, v string) {
		if _, ok := m[k]; !ok && v != "" {
			m[k] = v
		}
	}
	set(tree, "apiVersion", o.APIVersion)
	set(tree, "kind", o.Kind)
	set(meta, "name", o.Name)
	set(meta, "namespace", o.Namespace)
	tree["metadata"] = meta
	return tree
}

// slim copies the top of an object's tree without what no rule reads and what alone would outgrow a recording: examples in ConfigMaps, schemas
// of custom resources, images of nodes.
func slim(o *hops.Object) map[string]any {
	tree := maps.Clone(o.Tree)
	if tree == nil {
		tree = map[string]any{}
	}
	without := func(field string, drop ...string) {
		if m, ok := tree[field].(map[string]any); ok {
			m = maps.Clone(m)
			for _, d := range drop {
				delete(m, d)
			}
			tree[field] = m
		}
	}
	switch o.Kind {
	case "ConfigMap":
		without("data", "_example")
	case "Node":
		without("status", "images")
	case "CustomResourceDefinition":
		without("spec", "validation", "conversion")
		spec, _ := tree["spec"].(map[string]any)
		versions, _ := spec["versions"].([]any)
		if versions = slices.Clone(versions); versions == nil {
			break
		}
		for i, v := range versions {
			if m, ok := v.(map[string]any); ok {
				m = maps.Clone(m)
				delete(m, "schema")
				delete(m, "additionalPrinterColumns")
				versions[i] = m
			}
		}
		spec["versions"] = versions
	}
	return tree
}

// eventTree writes an event so that hops.ParseEvent reads the same again.
func eventTree(e hops.Event, n int) map[string]any {
	about := map[string]any{}
	set := func(m map[string]any, k, v string) {
		if v != "" {
			m[k] = v
		}
	}
	if info, ok := hops.Info(e.About.Source); ok && len(info.Versions) > 0 {
		about["apiVersion"] = strings.TrimPrefix(info.Group+"/"+info.Versions[0], "/")
	}
	set(about, "kind", e.About.Kind)
	set(about, "namespace", e.About.Namespace)
	set(about, "name", e.About.Name)
	meta := map[string]any{"name": fmt.Sprintf("%s.%d", e.About.Name, n)}
	set(meta, "namespace", e.Namespace)
	tree := map[string]any{"apiVersion": "v1", "kind": "Event", "metadata": meta, "involvedObject": about}
	set(tree, "type", e.Type)
	set(tree, "reason", e.Reason)
	set(tree, "message", e.Message)
	if e.Count != 0 {
		tree["count"] = e.Count
	}
	if e.Component != "" {
		tree["source"] = map[string]any{"component": e.Component}
	}
	for field, at := range map[string]time.Time{"firstTimestamp": e.First, "lastTimestamp": e.Last} {
		if !at.IsZero() {
			tree[field] = at.UTC().Format(time.RFC3339Nano)
		}
	}
	return tree
}

// parseObjects reads JSON or YAML, one object or many, lists taken apart. What was read before an error is given with it.
func parseObjects(raw []byte) ([]map[string]any, error) {
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF")))
	var out []map[string]any
	next := yamlDocuments(raw)
	if bytes.HasPrefix(raw, []byte("{")) || bytes.HasPrefix(raw, []byte("[")) {
		dec := json.NewDecoder(bytes.NewReader(raw))
		next = func() (v any, err error) {
			err = dec.Decode(&v)
			return v, err
		}
	}
	for {
		v, err := next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if out = flatten(out, v, "", "", 0); len(out) >= maxObjects {
			return out[:maxObjects], fmt.Errorf("more than %d objects", maxObjects)
		}
	}
}

func yamlDocuments(raw []byte) func() (any, error) {
	in := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	return func() (v any, err error) {
		doc, err := in.Read()
		if err != nil {
			return nil, err
		}
		return v, yaml.Unmarshal(doc, &v)
	}
}

// flatten adds the objects in v; items of a list may leave out their kind. Lists in lists beyond any real depth are dropped.
func flatten(out []map[string]any, v any, apiVersion, kind string, depth int) []map[string]any {
	switch v := v.(type) {
	case []any:
		if depth > 4 {
			return out
		}
		for _, e := range v {
			out = flatten(out, e, apiVersion, kind, depth+1)
		}
	case map[string]any:
		own, _ := v["kind"].(string)
		version, _ := v["apiVersion"].(string)
		if items, ok := v["items"].([]any); ok && (strings.HasSuffix(own, "List") || own == "") {
			if own = strings.TrimSuffix(own, "List"); own == "" {
				version = ""
			}
			return flatten(out, items, version, own, depth+1)
		}
		if own == "" && kind != "" {
			v["kind"] = kind
			if version == "" && apiVersion != "" {
				v["apiVersion"] = apiVersion
			}
		}
		out = append(out, v)
	}
	return out
}

// objectOf makes an object of a tree. file tells its source where several sources share a kind: pods and system-pods.
func objectOf(tree map[string]any, file string) (hops.Object, error) {
	text := func(m map[string]any, k string) string {
		s, _ := m[k].(string)
		return s
	}
	meta, _ := tree["metadata"].(map[string]any)
	o := hops.Object{APIVersion: text(tree, "apiVersion"), Kind: text(tree, "kind"), Namespace: text(meta, "namespace"), Name: text(meta, "name"), Tree: tree}
	if o.Kind == "" {
		return o, errors.New("an object without a kind")
	}
	base := strings.TrimSuffix(file, fileExt(file))
	base, o.Partial = strings.CutSuffix(base, ".partial")
	o.Source = hops.SourceOf(o.APIVersion, o.Kind)
	if info, ok := hops.Info(hops.Source(base)); ok && info.Kind == o.Kind && info.Kind != "" {
		o.Source = info.Source
	}
	return o, nil
}

func fileExt(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[i:]
	}
	return ""
}
