// cast.go: copies of a recorded service that are made anew each time somebody reads them: ten thousand cost little.
package inproc

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"probe/hops"
)

// mould is one recorded object with gaps where the service's name, namespace and uid stood.
type mould struct {
	info  hops.SourceInfo
	key   pattern
	names labels.Set // label values, in the form of patterns
	raw   pattern
}

// cast is the copy of a mould for one service.
type cast struct {
	*mould
	ref hops.Ref
}

func (c *cast) render() json.RawMessage { return json.RawMessage(c.raw.of(c.ref)) }

func (c *cast) labelSet() labels.Set {
	out := make(labels.Set, len(c.names))
	for k, v := range c.names {
		out[k] = parse(v).of(c.ref)
	}
	return out
}

// pattern is text with gaps. It is split once, for speed: literals at even places, at odd ones the name of what goes there.
type pattern []string

// The words that stand for a service's own. No recorded text holds them.
const (
	gapName      = "\x01name\x01"
	gapNamespace = "\x01namespace\x01"
	gapUID       = "\x01uid\x01"
)

func parse(text string) pattern { return strings.Split(text, "\x01") }

func (p pattern) of(ref hops.Ref) string {
	var b strings.Builder
	for i, part := range p {
		switch {
		case i%2 == 0:
			b.WriteString(part)
		case part == "name":
			b.WriteString(ref.Name)
		case part == "namespace":
			b.WriteString(ref.Namespace)
		default:
			b.WriteString(uidOf(ref.String()))
		}
	}
	return b.String()
}

// uidOf makes a uid of a name, the same each time.
func uidOf(name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	sum := h.Sum64()
	return fmt.Sprintf("%08x-%04x-4000-8000-%012x", uint32(sum>>32), uint16(sum>>16), sum&0xffffffffffff)
}

// gapped puts gaps into JSON text.
func gapped(text string, of hops.Ref, uid string) string {
	text = word(of.Name).ReplaceAllLiteralString(text, gapName)
	text = word(of.Namespace).ReplaceAllLiteralString(text, gapNamespace)
	if uid != "" {
		text = strings.ReplaceAll(text, uid, gapUID)
	}
	return text
}

func word(w string) *regexp.Regexp { return regexp.MustCompile(`\b` + regexp.QuoteMeta(w) + `\b`) }

// uidIn is the InferenceService's.
func uidIn(s *hops.Snapshot) string {
	for i := range s.Objects {
		if s.Objects[i].Source == hops.InferenceServices {
			return s.Objects[i].Str("metadata", "uid")
		}
	}
	return ""
}

// moulds makes one of each object of a recorded service.
func moulds(s *hops.Snapshot, of hops.Ref) ([]*mould, error) {
	uid := uidIn(s)
	var out []*mould
	for i := range s.Objects {
		o := &s.Objects[i]
		info, _ := hops.Info(o.Source)
		if o.Namespace != of.Namespace {
			continue // of the system: one for all
		}
		raw, err := json.Marshal(o.Tree)
		if err != nil {
			return nil, fmt.Errorf("%s of recording %s: %w", o.Ref(), of, err)
		}
		m := &mould{info: info, key: parse(gapped(o.Namespace+"/"+o.Name, of, uid)), names: labels.Set{}, raw: parse(gapped(string(raw), of, uid))}
		for k, v := range o.Map("metadata", "labels") {
			m.names[k] = gapped(v, of, uid)
		}
		out = append(out, m)
	}
	return out, nil
}
