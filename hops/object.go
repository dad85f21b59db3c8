// object.go: one Kubernetes object as a tree, with readers that never panic on a field that is missing or of another type.
package hops

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Object is one Kubernetes object as it was read or pasted. The tree form carries every API version and group that a cluster or a paste may
// have, KFServing's included; use Decode for the typed form.
type Object struct {
	Source     Source         `json:"source"`
	APIVersion string         `json:"apiVersion,omitempty"`
	Kind       string         `json:"kind"`
	Namespace  string         `json:"namespace,omitempty"`
	Name       string         `json:"name"`
	Tree       map[string]any `json:"tree"`
	// Partial is true when fields that are not in Tree are unknown, not absent: a row of a table, a cut paste.
	Partial bool `json:"partial,omitempty"`
}

// ObjectRef names an object in the words of kubectl.
type ObjectRef struct {
	Source    Source `json:"source,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// String is what a user types behind `kubectl get`: "pod/x".
func (r ObjectRef) String() string {
	if r.Name == "" {
		return ""
	}
	if info, ok := Info(r.Source); ok && info.Short != "" {
		return info.Short + "/" + r.Name
	}
	return strings.ToLower(r.Kind) + "/" + r.Name
}

// Ref names the object.
func (o *Object) Ref() ObjectRef {
	if o == nil {
		return ObjectRef{}
	}
	return ObjectRef{Source: o.Source, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// Decode fills a typed object, such as *servingv1.Route, from the tree. Unknown fields are ignored.
func (o *Object) Decode(into any) error {
	raw, err := json.Marshal(o.Tree)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("%s %s/%s: not of the expected form: %w", o.Kind, o.Namespace, o.Name, err)
	}
	return nil
}

// Get walks the tree by map keys; nil when anything on the way is missing.
func (o *Object) Get(path ...string) any {
	if o == nil {
		return nil
	}
	return dig(o.Tree, path...)
}

// Str reads a string field; "" when it is missing.
func (o *Object) Str(path ...string) string { return text(o.Get(path...)) }

// Int reads a whole number; 0 when it is missing.
func (o *Object) Int(path ...string) int { return number(o.Get(path...)) }

// Map reads a map of strings such as labels.
func (o *Object) Map(path ...string) map[string]string {
	m, _ := o.Get(path...).(map[string]any)
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = text(v)
	}
	return out
}

// List reads a list of maps; entries of other types are left out.
func (o *Object) List(path ...string) []map[string]any { return maps(o.Get(path...)) }

// Has says whether the field is there at all.
func (o *Object) Has(path ...string) bool { return o.Get(path...) != nil }

// Label reads one label.
func (o *Object) Label(key string) string { return o.Str("metadata", "labels", key) }

// Annotation reads one annotation.
func (o *Object) Annotation(key string) string { return o.Str("metadata", "annotations", key) }

// Created is metadata.creationTimestamp; zero when it is unknown.
func (o *Object) Created() time.Time { return when(o.Get("metadata", "creationTimestamp")) }

// Deleted says whether the object is on its way out.
func (o *Object) Deleted() bool { return o.Has("metadata", "deletionTimestamp") }

// Condition is one entry of status.conditions, of any kind of object.
type Condition struct {
	Type, Status, Reason, Message string
	Since                         time.Time
}

// True, False and Unknown compare the status; a condition that is missing is none of them.
func (c Condition) True() bool    { return c.Status == "True" }
func (c Condition) False() bool   { return c.Status == "False" }
func (c Condition) Unknown() bool { return c.Status == "Unknown" }

// Conditions reads status.conditions, in the order in which they stand, and the READY and REASON columns of a table row.
func (o *Object) Conditions() []Condition {
	var out []Condition
	for _, c := range o.List("status", "conditions") {
		out = append(out, Condition{text(c["type"]), text(c["status"]), text(c["reason"]), text(c["message"]), when(c["lastTransitionTime"])})
	}
	if ready := o.Str("row", "READY"); ready == "True" || ready == "False" || ready == "Unknown" { // a table of `kubectl get` shows no others
		out = append(out, Condition{Type: "Ready", Status: ready, Reason: o.Str("row", "REASON")})
	}
	return out
}

// Condition reads one condition; ok is false when the object has none of that type.
func (o *Object) Condition(kind string) (Condition, bool) {
	for _, c := range o.Conditions() {
		if c.Type == kind {
			return c, true
		}
	}
	return Condition{}, false
}

// Ready says whether the object's Ready condition is True.
func (o *Object) Ready() bool {
	c, _ := o.Condition("Ready")
	return c.True()
}

// dig walks nested maps.
func dig(tree any, path ...string) any {
	for _, p := range path {
		m, ok := tree.(map[string]any)
		if !ok {
			return nil
		}
		tree = m[p]
	}
	return tree
}

// text gives strings as they are and scalars in their JSON form.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return ""
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int64:
		return strconv.FormatInt(v, 10)
	case int:
		return strconv.Itoa(v)
	case json.Number:
		return v.String()
	}
	return ""
}

// number gives whole numbers of any decoder's type; a string of digits counts.
func number(v any) int {
	switch v := v.(type) {
	case float64:
		return int(v)
	case int64:
		return int(v)
	case int:
		return v
	}
	n, err := strconv.Atoi(text(v))
	if err != nil {
		return 0
	}
	return n
}

// maps gives the entries of a list that are maps.
func maps(v any) []map[string]any {
	list, _ := v.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// when reads an RFC 3339 time, with or without fractions; zero for anything else.
func when(v any) time.Time {
	t, err := time.Parse(time.RFC3339, text(v))
	if err != nil {
		return time.Time{}
	}
	return t
}
