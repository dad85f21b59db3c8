// lru.go: a bounded map that lets go of what was not asked for the longest.
package settings

import "container/list"

// lru is not safe for concurrent use.
type lru[K comparable, V any] struct {
	most  int   // entries
	room  int64 // bytes
	bytes int64
	order *list.List // of *item, the last asked for in front
	at    map[K]*list.Element
}

type item[K comparable, V any] struct {
	key   K
	value V
	bytes int64
}

func newLRU[K comparable, V any](most int, room int64) *lru[K, V] {
	return &lru[K, V]{most: most, room: room, order: list.New(), at: map[K]*list.Element{}}
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	e, ok := l.at[k]
	if !ok {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*item[K, V]).value, true
}

// put keeps a value that takes so many bytes, and lets go of others until there is room. One that is too big for all the room is not kept.
func (l *lru[K, V]) put(k K, v V, bytes int64) {
	if e, ok := l.at[k]; ok {
		l.drop(e)
	}
	l.at[k] = l.order.PushFront(&item[K, V]{k, v, bytes})
	l.bytes += bytes
	for l.order.Len() > l.most || l.bytes > l.room {
		l.drop(l.order.Back())
	}
}

func (l *lru[K, V]) drop(e *list.Element) {
	i := l.order.Remove(e).(*item[K, V])
	delete(l.at, i.key)
	l.bytes -= i.bytes
}
