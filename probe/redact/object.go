// object.go: secrets in Kubernetes objects: environment values, Secrets, arguments, headers in routes and probes, what nobody reads.
package redact

import (
	"encoding/json"
	"strings"
)

// Object copies an object without its secrets. managedFields and the last-applied annotation, which repeat the object, are left out.
func Object(tree map[string]any) map[string]any { return tally(nil).object(tree) }

func (t tally) object(tree map[string]any) map[string]any {
	if tree == nil {
		return nil
	}
	kind, _ := tree["kind"].(string)
	out := make(map[string]any, len(tree))
	for k, v := range tree {
		switch {
		case k == "managedFields":
			t.add(kindManaged)
		case k == "kubectl.kubernetes.io/last-applied-configuration":
			t.add(kindApplied)
		case kind == "Secret" && (k == "data" || k == "stringData"), kind == "ConfigMap" && k == "binaryData":
			out[k] = t.all(v, kindSecret)
		case k == "labels" || k == "matchLabels" || k == "selector" || k == "nodeSelector": // names only
			out[k] = clone(v)
		case k == "values" && ofHeader(tree["key"]): // AuthorizationPolicy: when a header has a value
			out[k] = t.all(v, kindRoute)
		default:
			out[k] = t.field(k, v)
		}
	}
	return out
}

// ofHeader says whether a condition of an AuthorizationPolicy is about a header that may hold a secret.
func ofHeader(key any) bool {
	name, ok := key.(string)
	name, found := strings.CutPrefix(name, "request.headers[")
	return ok && found && !headerAllowed(strings.TrimSuffix(name, "]"))
}

// field copies what stands under a key.
func (t tally) field(k string, v any) any {
	switch k {
	case "env":
		return t.env(v)
	case "args", "command":
		return t.arguments(v)
	case "header": // Envoy: one header as key and value
		if m, ok := v.(map[string]any); ok && pairName(m) != "" {
			return t.pair(pairName(m), m)
		}
	case "headers", "httpHeaders", "requestHeaders", "withoutHeaders", "appendHeaders", "requestHeaderModifier", "responseHeaderModifier",
		"queryParams", "request_headers_to_add", "response_headers_to_add", "requestHeadersToAdd", "responseHeadersToAdd":
		return t.headers("", v)
	case "status":
		if s, ok := v.(string); ok { // of a condition
			return s
		}
	}
	if s, ok := v.(string); ok {
		switch c := classify(k); {
		case s == "" || s == Mask || k == "secret" || k == "signature" || k == "credential":
		case c == weak || c == strong || c == header:
			return t.mask(kindValue)
		}
	}
	return t.value(v)
}

func (t tally) value(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return t.object(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = t.value(v[i])
		}
		return out
	case string:
		return t.text(v)
	}
	return v
}

// clone copies without looking.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = clone(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = clone(v[i])
		}
		return out
	}
	return v
}

// all masks every scalar and keeps the keys.
func (t tally) all(v any, kind string) any {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = t.all(x, kind)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = t.all(v[i], kind)
		}
		return out
	}
	return t.mask(kind)
}

// env masks the values of variables that no rule reads; where a value comes from stays.
func (t tally) env(v any) any {
	list, ok := v.([]any)
	if !ok {
		return t.all(v, kindEnv)
	}
	out := make([]any, len(list))
	for i, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			out[i] = t.all(e, kindEnv)
			continue
		}
		kept := t.object(m)
		name, _ := m["name"].(string)
		if value, has := m["value"]; has && value != "" {
			kept["value"] = t.variable(name, value)
		}
		out[i] = kept
	}
	return out
}

// variable is the value of one variable. A readiness probe in it is an object of its own.
func (t tally) variable(name string, v any) any {
	s, ok := v.(string)
	if !ok || !envAllowed(name) {
		return t.mask(kindEnv)
	}
	var probe map[string]any
	if strings.Contains(s, `"httpHeaders"`) && json.Unmarshal([]byte(s), &probe) == nil {
		if raw, err := json.Marshal(t.object(probe)); err == nil {
			return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(raw))
		}
	}
	return t.text(s)
}

// arguments copies a command line; the word behind a flag that is named like a secret goes.
func (t tally) arguments(v any) any {
	list, ok := v.([]any)
	if !ok {
		return t.value(v)
	}
	out := make([]any, len(list))
	behind := plain
	for i, e := range list {
		s, ok := e.(string)
		switch {
		case ok && (behind == weak || behind == strong || behind == header) && !strings.HasPrefix(s, "-") && s != "":
			out[i] = t.mask(kindValue)
		default:
			out[i] = t.value(e)
		}
		behind = plain
		if ok && strings.HasPrefix(s, "-") && !strings.Contains(s, "=") {
			behind = classify(strings.TrimLeft(s, "-"))
		}
	}
	return out
}

// headers masks header values in every form that routes and probes have: name to value (VirtualService, Knative Ingress), name to match, a list
// of name and value (HTTPRoute, probes, Envoy). name is that of the header that v belongs to, "" above it.
func (t tally) headers(name string, v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			m, ok := v[i].(map[string]any)
			if own := pairName(m); ok && own != "" {
				out[i] = t.pair(own, m)
			} else {
				out[i] = t.headers(name, v[i])
			}
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			m, isMap := x.(map[string]any)
			switch {
			case k == "remove":
				out[k] = clone(x)
			case k == "header" && isMap && pairName(m) != "": // Envoy: {"header": {"key": "", "value": ""}, "append": true}
				out[k] = t.pair(pairName(m), m)
			case k == "request" || k == "response" || k == "set" || k == "add":
				out[k] = t.headers("", x)
			case name != "": // exact, prefix, regex
				out[k] = t.headerText(name, x)
			default:
				out[k] = t.headers(k, x)
			}
		}
		return out
	case string:
		if name == "" {
			return t.text(v)
		}
		return t.headerText(name, v)
	}
	return v
}

// pairName is the header's name in a map that is one header; "" when it is not.
func pairName(m map[string]any) string {
	for _, k := range []string{"name", "key"} {
		if n, ok := m[k].(string); ok {
			return n
		}
	}
	return ""
}

// pair masks whatever stands beside the name of one header.
func (t tally) pair(name string, m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, x := range m {
		switch k {
		case "name", "key", "type":
			out[k] = t.value(x)
		default:
			out[k] = t.headerText(name, x)
		}
	}
	return out
}

// headerText is the value of one header. What is no text, such as "present: true", is no secret.
func (t tally) headerText(name string, v any) any {
	switch v := v.(type) {
	case string:
		if v == "" || headerAllowed(name) {
			return t.text(v)
		}
		return t.mask(kindRoute)
	case map[string]any, []any:
		if !headerAllowed(name) {
			return t.all(v, kindRoute)
		}
	}
	return t.value(v)
}
