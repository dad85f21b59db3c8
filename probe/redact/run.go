// run.go: a copy of a Run, and of its parts, without secrets.
package redact

import (
	"slices"
	"strings"

	"probe/hops"
)

// Run copies a run without its secrets and says what was taken out, a kind a line: "environment values: 12".
func Run(run *hops.Run) (*hops.Run, []string) {
	if run == nil {
		return nil, nil
	}
	t := tally{}
	out := *run
	out.Flow = t.flow(run.Flow)
	out.Snapshots = each(run.Snapshots, t.snapshot)
	out.Observations = each(run.Observations, t.observation)
	out.Spans = each(run.Spans, t.span)
	out.Verdict = t.verdict(run.Verdict)
	out.Warnings = each(run.Warnings, t.text)
	return &out, t.lines()
}

// Line copies one log line without its secrets. A private key that spans lines is only told by Run, which sees the lines beside it.
func Line(l hops.Line) hops.Line { return tally(nil).logLine(l) }

// Observation copies what a request saw without its secrets.
func Observation(o hops.Observation) hops.Observation { return tally(nil).observation(o) }

func each[T any](in []T, f func(T) T) []T {
	if in == nil {
		return nil
	}
	out := make([]T, len(in))
	for i := range in {
		out[i] = f(in[i])
	}
	return out
}

func (t tally) snapshot(s hops.Snapshot) hops.Snapshot {
	s.Objects = each(s.Objects, func(o hops.Object) hops.Object {
		if o.Kind == "Secret" && o.Tree != nil && o.Tree["kind"] == nil { // a list's items may leave their kind out
			o.Tree = withKind(o.Tree, o.Kind)
		}
		o.Tree = t.object(o.Tree)
		return o
	})
	s.Events = each(s.Events, func(e hops.Event) hops.Event {
		e.Message = t.text(e.Message)
		return e
	})
	s.Lines = t.logLines(s.Lines)
	s.Full = slices.Clone(s.Full)
	s.Gaps = each(s.Gaps, func(g hops.Gap) hops.Gap {
		g.What, g.Why, g.Err = t.text(g.What), t.text(g.Why), t.text(g.Err)
		return g
	})
	return s
}

func withKind(tree map[string]any, kind string) map[string]any {
	out := make(map[string]any, len(tree)+1)
	for k, v := range tree {
		out[k] = v
	}
	out["kind"] = kind
	return out
}

func (t tally) logLine(l hops.Line) hops.Line {
	l.Text = t.text(l.Text)
	return l
}

// logLines also masks private keys that a log prints a line at a time, each log by itself.
func (t tally) logLines(in []hops.Line) []hops.Line {
	type log struct {
		source               hops.Source
		namespace, pod, name string
		previous             bool
	}
	inKey := map[log]bool{}
	return each(in, func(l hops.Line) hops.Line {
		if l.Text == Mask {
			return l
		}
		id := log{l.Source, l.Namespace, l.Pod, l.Container, l.Previous}
		begins := strings.Contains(l.Text, "PRIVATE KEY-----") && strings.Contains(l.Text, "-----BEGIN")
		ends := strings.Contains(l.Text, "-----END") && strings.LastIndex(l.Text, "-----END") > strings.LastIndex(l.Text, "-----BEGIN")
		if inKey[id] && !ends {
			l.Text = t.mask(kindPrivateKey)
			return l
		}
		if inKey[id] { // what stands before the end mark is still the key
			l.Text = t.mask(kindPrivateKey) + l.Text[strings.LastIndex(l.Text, "-----END"):]
		}
		if begins || ends {
			inKey[id] = begins && !ends
		}
		return t.logLine(l)
	})
}

func (t tally) observation(o hops.Observation) hops.Observation {
	path, _, hasQuery := strings.Cut(o.Path, "?")
	if hasQuery {
		t.add(kindQuery)
	}
	o.Path = t.text(path)
	o.Target, o.Host, o.Err, o.From = t.text(o.Target), t.text(o.Host), t.text(o.Err), t.text(o.From)
	o.Header = t.pairs(o.Header, func(name string) bool { c := classify(name); return c == header || c == strong || c == weak })
	o.Body = t.body(o)
	return o
}

// pairs copies a map; the values of names that are secret are masked, the others read as text.
func (t tally) pairs(in map[string]string, secret func(name string) bool) map[string]string {
	if in == nil {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		if secret(k) && v != "" {
			v = t.mask(kindHeader)
		}
		out[k] = t.text(v)
	}
	return out
}

// body keeps error texts and what servers say of themselves. What a model answered to a POST is the caller's own: of it only the beginning stays
// that tells who wrote it (hops.WroteIt).
func (t tally) body(o hops.Observation) string {
	if o.Body == "" || o.Status < 200 || o.Status > 299 || o.Method == "GET" || o.Method == "HEAD" || o.Asked == hops.Knock {
		return t.text(o.Body)
	}
	t.add(kindPayload)
	body := strings.TrimSpace(o.Body)
	for _, field := range []string{"error", "detail", "predictions", "name", "model_name"} {
		if strings.HasPrefix(body, `{"`+field+`"`) {
			return `{"` + field + `":"` + Mask + `"}`
		}
	}
	return Mask
}

func (t tally) span(s hops.Span) hops.Span {
	s.Name = t.text(s.Name)
	s.Tags = t.pairs(s.Tags, func(name string) bool {
		for _, p := range []string{"http.request.header.", "http.response.header."} {
			if h, ok := strings.CutPrefix(name, p); ok {
				return !headerAllowed(h)
			}
		}
		c := classify(name)
		return c == header || c == strong || c == weak || name == "url.query" || strings.HasSuffix(name, "request.body") || strings.HasSuffix(name, "response.body")
	})
	return s
}

func (t tally) flow(f hops.Flow) hops.Flow {
	f.Doors = each(f.Doors, func(d hops.DoorState) hops.DoorState {
		d.URL, d.Closed = t.text(d.URL), t.text(d.Closed)
		return d
	})
	f.Entries = each(f.Entries, func(e hops.Entry) hops.Entry {
		notRouting := func(name string) bool { return !headerAllowed(name) }
		e.Header, e.Knocking = t.pairs(e.Header, notRouting), t.pairs(e.Knocking, notRouting)
		return e
	})
	f.Components, f.Steps = slices.Clone(f.Components), slices.Clone(f.Steps)
	f.Unknown = each(f.Unknown, t.text)
	return f
}

func (t tally) verdict(v hops.Verdict) hops.Verdict {
	v.Summary = t.text(v.Summary)
	v.Findings, v.Hidden = each(v.Findings, t.finding), each(v.Hidden, t.finding)
	v.Rows = each(v.Rows, func(r hops.Row) hops.Row {
		r.Why = t.text(r.Why)
		return r
	})
	v.NotChecked = each(v.NotChecked, func(n hops.NotChecked) hops.NotChecked {
		n.What, n.Why = t.text(n.What), t.text(n.Why)
		n.Rules = slices.Clone(n.Rules)
		return n
	})
	v.Notes = each(v.Notes, t.text)
	return v
}

func (t tally) finding(f hops.Finding) hops.Finding {
	f.Summary, f.Fix = t.text(f.Summary), t.text(f.Fix)
	f.Evidence = each(f.Evidence, t.evidence)
	f.Explains = slices.Clone(f.Explains)
	return f
}

// evidence quotes a field of an object, so the field's path decides as it does in the object itself.
func (t tally) evidence(e hops.Evidence) hops.Evidence {
	e.Ref = t.text(e.Ref)
	switch {
	case e.Value == "":
	case e.Source == hops.FromObject && strings.HasPrefix(e.Ref, "secret/") && (strings.HasPrefix(e.Field, "data") || strings.HasPrefix(e.Field, "stringData")):
		e.Value = t.mask(kindSecret)
	case e.Source == hops.FromObject && variableIn(e.Field) != "" && !envAllowed(variableIn(e.Field)):
		e.Value = t.mask(kindEnv)
	case e.Source == hops.FromObject && headerIn(e.Field) != "" && !headerAllowed(headerIn(e.Field)):
		e.Value = t.mask(kindRoute)
	default:
		e.Value = t.text(e.Value)
	}
	return e
}

// variableIn is the name of the variable in a path such as "spec.containers[x].env[NAME].value" or "env.NAME".
func variableIn(field string) string { return nameIn(field, "env") }

// headerIn is the name of the header in a path such as "http.headers.request.set.NAME".
func headerIn(field string) string {
	for _, of := range []string{"headers.request.set", "headers.request.add", "headers.response.set", "headers.response.add", "headers", "appendHeaders", "httpHeaders"} {
		if n := nameIn(field, of); n != "" {
			return n
		}
	}
	return ""
}

// nameIn is the name behind a part of a path, in brackets or behind a dot.
func nameIn(field, part string) string {
	i := strings.Index(field, part)
	if i < 0 || i > 0 && alnum(field[i-1]) {
		return ""
	}
	rest := field[i+len(part):]
	if name, ok := strings.CutPrefix(rest, "["); ok {
		name, _, _ = strings.Cut(name, "]")
		return name
	}
	if name, ok := strings.CutPrefix(rest, "."); ok {
		return strings.TrimSuffix(name, ".value")
	}
	return ""
}
