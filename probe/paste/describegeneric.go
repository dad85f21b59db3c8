// describegeneric.go: kubectl describes objects of custom kinds by their own fields; this turns the printed words back into those fields.
package paste

import (
	"strconv"
	"strings"
	"unicode"

	"probe/hops"
)

// genericObject makes the object of a description that lists the object's own fields (k8s.io/kubectl/pkg/describe, genericDescriber).
func genericObject(root *node, kindName, api string) hops.Object {
	if k := root.get("Kind"); k != "" {
		kindName = k
	}
	for _, key := range []string{"API Version", "Api Version"} {
		if v := root.get(key); v != "" {
			api = v
		}
	}
	tree := map[string]any{}
	for _, n := range root.kids {
		switch n.key {
		case "Name", "Namespace", "Labels", "Annotations", "Kind", "API Version", "Api Version":
		default:
			if v := fields(n); v != nil {
				tree[fieldName(n.key)] = v
			}
		}
	}
	meta, _ := tree["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	name, namespace := root.line("Name"), root.line("Namespace")
	meta["name"] = name
	if namespace != "" {
		meta["namespace"] = namespace
	}
	if l := pairs(root.kid("Labels"), "="); l != nil {
		meta["labels"] = l
	}
	if a := pairs(root.kid("Annotations"), ":"); a != nil {
		meta["annotations"] = a
	}
	tree["metadata"] = meta
	return hops.Object{APIVersion: api, Kind: kindName, Namespace: namespace, Name: name, Tree: fragment(tree)}
}

// pairs reads "a=b" lines; older versions write annotations as "a=b", newer ones as "a: b".
func pairs(n *node, sep string) map[string]any {
	if n == nil {
		return nil
	}
	m := map[string]any{}
	for _, w := range append(strings.Split(n.value, "\n"), n.words...) {
		k, v, ok := strings.Cut(w, sep)
		if !ok || strings.ContainsAny(k, " ") {
			k, v, ok = strings.Cut(w, "=")
		}
		if ok && k != "" && !strings.ContainsAny(k, " {") && k != "kubectl.kubernetes.io/last-applied-configuration" {
			m[k] = strings.TrimSpace(v)
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// fields makes the value of a node: a map, a list or a scalar. Entries of a list follow each other without a mark: keys are sorted, so a key
// that comes again, or that sorts before the last one, begins the next entry.
func fields(n *node) any {
	if len(n.kids) == 0 {
		if len(n.words) > 0 && n.value == "" {
			list := make([]any, len(n.words))
			for i, w := range n.words {
				list[i] = w
			}
			return list
		}
		return typed(n.key, n.value)
	}
	var entries []map[string]any
	m, seen := map[string]any{}, map[string]bool{}
	last := ""
	for _, k := range n.kids {
		name := fieldName(k.key)
		if seen[name] || isListKey(n.key) && last != "" && strings.ToLower(name) < strings.ToLower(last) {
			entries = append(entries, m)
			m, seen = map[string]any{}, map[string]bool{}
		}
		if v := fields(k); v != nil {
			m[name] = v
		} else {
			delete(m, name)
		}
		seen[name] = true
		last = name
	}
	if len(entries) == 0 && !isListKey(n.key) {
		return m
	}
	list := make([]any, 0, len(entries)+1)
	for _, e := range append(entries, m) {
		list = append(list, e)
	}
	return list
}

// isListKey lists fields that hold lists of maps even when there is but one entry.
func isListKey(key string) bool {
	switch key {
	case "Conditions", "Containers", "Init Containers", "Traffic", "Ports", "Env", "Volumes", "Volume Mounts", "Rules", "Servers", "Http", "Match",
		"Container Statuses", "Owner References", "Parents", "Parent Refs", "Backend Refs", "Supported Model Formats", "Ingress", "Tls", "TLS",
		"Hostnames", "Rollouts", "Splits", "Paths", "Image Pull Secrets":
		return true
	}
	return false
}

// typed gives a printed scalar the type it has in the API, as far as the key allows.
func typed(key, v string) any {
	switch v {
	case "true":
		return true
	case "false":
		return false
	case "<nil>", "<none>", "<unset>", "": // an empty value may be an empty text, map or list: unknown
		return nil
	}
	switch key {
	case "Value", "Resource Version", "Cpu", "Memory", "UID", "Name", "Message", "Reason", "Status", "Type", "Generation Name", "Version",
		"Nvidia . Com / Gpu", "nvidia.com/gpu", "Tag", "Ephemeral - Storage", "Revision Name":
		return v
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return n
	}
	return v
}

// fieldName turns the words of a printed key back into the field: "Last Transition Time" is lastTransitionTime, "URL" is url,
// "Client . Knative . Dev / User - Image" is client.knative.dev/user-image.
func fieldName(key string) string {
	if strings.Contains(key, " . ") || strings.Contains(key, " / ") || strings.Contains(key, " - ") {
		w := strings.Fields(key)
		for i := range w {
			w[i] = lowerFirst(w[i])
		}
		return strings.Join(w, "")
	}
	if strings.ContainsAny(key, "./_") {
		return key
	}
	w := strings.Fields(key)
	if len(w) == 0 {
		return key
	}
	if strings.ToUpper(w[0]) == w[0] {
		w[0] = strings.ToLower(w[0])
	} else {
		w[0] = lowerFirst(w[0])
	}
	for i := 1; i < len(w); i++ { // "Pod I Ps" was podIPs: words of one capital belong together as they are
		r := []rune(w[i])
		w[i] = string(unicode.ToUpper(r[0])) + string(r[1:])
		if w[i] == "API" || w[i] == "URL" || w[i] == "UID" { // kubectl prints these in capitals wherever they stand
			w[i] = w[i][:1] + strings.ToLower(w[i][1:])
		}
	}
	return strings.Join(w, "")
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	r := []rune(s)
	return string(unicode.ToLower(r[0])) + string(r[1:])
}
