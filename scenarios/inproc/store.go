// store.go: what the API server holds: objects as JSON by resource, in the order of their names, and the latest changes, for watches.
package inproc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/labels"

	"probe/hops"
)

// maxChanges bounds the changes that are remembered: a watch from before them is told that its version is gone, as by etcd after a compaction.
const maxChanges = 4096

// entry is one object in one version. It is never changed.
type entry struct {
	key     string // "namespace/name", "/name" without a namespace
	version uint64
	labels  labels.Set
	raw     []byte
	of      *cast // instead of labels and raw: made when somebody asks
}

func (e *entry) json() json.RawMessage {
	if e.of != nil {
		return e.of.render()
	}
	return e.raw
}

func (e *entry) labelSet() labels.Set {
	if e.of != nil {
		return e.of.labelSet()
	}
	return e.labels
}

// shelf holds the objects of one resource.
type shelf struct {
	at   map[string]*entry
	keys []string // of at, in order
}

// change is one step from a version to the next. One of was and is may be nil.
type change struct {
	version  uint64
	resource string // "group/resource"
	was, is  *entry
}

// store is safe for use by several goroutines.
type store struct {
	mu      sync.RWMutex
	version uint64
	shelves map[string]*shelf
	changes []change
	gone    uint64        // the latest version that changes no longer reaches back to
	moved   chan struct{} // closed at the next change
}

func newStore() *store { return &store{shelves: map[string]*shelf{}, moved: make(chan struct{})} }

// latest is the version of the last change.
func (s *store) latest() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// load puts an entry in without a change: what was there before anybody watched.
func (s *store) load(resource string, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(resource, e)
}

func (s *store) put(resource string, e *entry) {
	at := s.shelves[resource]
	if at == nil {
		at = &shelf{at: map[string]*entry{}}
		s.shelves[resource] = at
	}
	if at.at[e.key] == nil {
		i, _ := slices.BinarySearch(at.keys, e.key)
		at.keys = slices.Insert(at.keys, i, e.key)
	}
	at.at[e.key] = e
}

func (s *store) get(resource, key string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.look(resource, key)
}

func (s *store) look(resource, key string) *entry {
	if at := s.shelves[resource]; at != nil {
		return at.at[key]
	}
	return nil
}

// write changes one object. The function gets the present entry, nil when there is none, and gives the tree that is to take its place, nil to delete
// it, or an error to leave it. The tree that was written is given back with its new version.
func (s *store) write(resource, key string, with func(was *entry) (map[string]any, error)) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.look(resource, key)
	tree, err := with(was)
	if err != nil || tree == nil && was == nil {
		return nil, err
	}
	s.version++
	c := change{version: s.version, resource: resource, was: was}
	if tree == nil {
		at := s.shelves[resource]
		i, _ := slices.BinarySearch(at.keys, key)
		at.keys = slices.Delete(at.keys, i, i+1)
		delete(at.at, key)
	} else {
		if c.is, err = newEntry(key, tree, s.version); err != nil {
			return nil, err
		}
		s.put(resource, c.is)
	}
	if s.changes = append(s.changes, c); len(s.changes) > maxChanges {
		s.gone, s.changes = s.changes[0].version, slices.Delete(s.changes, 0, 1)
	}
	close(s.moved)
	s.moved = make(chan struct{})
	return tree, nil
}

// newEntry encodes a tree, which then bears the version.
func newEntry(key string, tree map[string]any, version uint64) (*entry, error) {
	meta, _ := tree["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		tree["metadata"] = meta
	}
	meta["resourceVersion"] = strconv.FormatUint(version, 10)
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("object %s of the in-process API server: %w", key, err)
	}
	return &entry{key: key, version: version, labels: (&hops.Object{Tree: tree}).Map("metadata", "labels"), raw: raw}, nil
}

// compact forgets the changes.
func (s *store) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.changes = s.version, nil
}

// since gives the changes of a resource after a version, what the latest version is, and what is closed at the next change. ok is false when the
// version is too old to tell.
func (s *store) since(resource string, version uint64) (out []change, latest uint64, next <-chan struct{}, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if version < s.gone {
		return nil, s.version, s.moved, false
	}
	for _, c := range s.changes {
		if c.version > version && c.resource == resource {
			out = append(out, c)
		}
	}
	return out, s.version, s.moved, true
}

// page lists at most limit entries that the filter takes, after a key; 0 is no limit. more is the last key when there may be others behind it.
func (s *store) page(resource, namespace, after string, limit int, take func(*entry) bool) (out []*entry, version uint64, more string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	version = s.version
	at := s.shelves[resource]
	if at == nil {
		return nil, version, ""
	}
	from := 0
	prefix := ""
	if namespace != "" {
		prefix = namespace + "/"
		from, _ = slices.BinarySearch(at.keys, prefix)
	}
	if after != "" {
		i, found := slices.BinarySearch(at.keys, after)
		if found {
			i++
		}
		from = max(from, i)
	}
	for _, key := range at.keys[from:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if limit > 0 && len(out) == limit {
			return out, version, out[limit-1].key
		}
		if e := at.at[key]; take(e) {
			out = append(out, e)
		}
	}
	return out, version, ""
}

// tree decodes an entry.
func (e *entry) tree() map[string]any {
	var t map[string]any
	if json.Unmarshal(e.json(), &t) != nil {
		return nil // not reached: it was encoded here
	}
	return t
}

// generation carries metadata.generation on as the API server does: one more where the spec is another.
func generation(was *entry, tree map[string]any) {
	meta, _ := tree["metadata"].(map[string]any)
	if was == nil || meta == nil {
		return
	}
	old := hops.Object{Tree: was.tree()}
	n := old.Int("metadata", "generation")
	if n == 0 {
		return
	}
	var spec any
	if raw, err := json.Marshal(tree["spec"]); err != nil || json.Unmarshal(raw, &spec) != nil {
		return // newEntry tells
	}
	if !reflect.DeepEqual(old.Tree["spec"], spec) {
		n++
	}
	meta["generation"] = n
}
