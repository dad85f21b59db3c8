// store.go: the samples and credentials that settings name, read when they are asked for and kept for a while.
package settings

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	keep       = 10 * time.Minute // a value is read again after that
	keepNo     = time.Minute      // as is an answer that there is none
	tryAgain   = 10 * time.Second // where nothing is known and the API server did not answer; also the least before Refresh reads again
	tryKnown   = 30 * time.Second // where a value is known and the API server did not answer
	readTime   = 5 * time.Second  // of one read
	readsAhead = 8                // reads at one time that nobody waits for
	maxEntries = 20_000           // a sample and credentials for 10,000 services
	maxHeld    = 64 << 20         // bytes of values and what keeps them
	entryBytes = 512              // what keeps one
)

// API reads ConfigMaps and Secrets, each by its name; it needs the right to get those and no other. client-go's CoreV1Interface is one.
type API interface {
	corev1client.ConfigMapsGetter
	corev1client.SecretsGetter
}

// Store keeps samples and credentials. A value that was read once goes on being used while the API server is away; it is given up when the object,
// the key or the right to read it is gone. It is safe for concurrent use, and never writes a value anywhere.
type Store struct {
	api API
	now func() time.Time

	ctx   context.Context // of the reads
	stop  context.CancelFunc
	reads sync.WaitGroup
	ahead chan struct{}

	mu      sync.Mutex
	entries *lru[key, *entry]
}

// key names one value.
type key struct {
	kind      string // ConfigMap or Secret
	namespace string
	Object
}

// String names the object, as in "ConfigMap demo/iris-sample".
func (k key) String() string { return fmt.Sprintf("%s %s/%s", k.kind, k.namespace, k.Name) }

// value is what was made of a key of an object.
type value struct {
	data   []byte
	header http.Header
}

// entry is what is known of a key. Either value or err holds, neither before the first read.
type entry struct {
	value   *value
	err     error
	until   time.Time     // when to read again
	read    time.Time     // when the last read was over
	reading chan struct{} // closed when the read under way is over; nil when there is none
}

// NewStore makes a store over a cluster. Close ends it.
func NewStore(api API, now func() time.Time) *Store {
	s := &Store{api: api, now: now, ahead: make(chan struct{}, readsAhead), entries: newLRU[key, *entry](maxEntries, maxHeld)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Close ends the reads that are under way, and waits for their end.
func (s *Store) Close() {
	s.stop()
	s.reads.Wait()
}

// Sample gives the data of a request. The bytes are not to be changed.
func (s *Store) Sample(ctx context.Context, namespace string, o Object) ([]byte, error) {
	v, err := s.get(ctx, key{configMap, namespace, o})
	if err != nil {
		return nil, err
	}
	return v.data, nil
}

// Header gives the credentials of a request, as a header of the caller's own.
func (s *Store) Header(ctx context.Context, namespace string, o Object) (http.Header, error) {
	v, err := s.get(ctx, key{secret, namespace, o})
	if err != nil {
		return nil, err
	}
	return v.header.Clone(), nil
}

// Refresh reads again what the settings of a service in a namespace name, and waits for it: for a probe that failed, maybe since a credential was
// renewed. What was read in the last 10 s is not.
func (s *Store) Refresh(ctx context.Context, namespace string, set Settings) {
	var wait []chan struct{}
	s.mu.Lock()
	for _, k := range []key{{configMap, namespace, set.Sample}, {secret, namespace, set.Credentials}} {
		if k.Object == (Object{}) {
			continue
		}
		e := s.entry(k)
		if e.reading == nil && (e.read.IsZero() || s.now().Sub(e.read) >= tryAgain) {
			s.start(k, e, false)
		}
		if e.reading != nil {
			wait = append(wait, e.reading)
		}
	}
	s.mu.Unlock()
	for _, done := range wait {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// get gives what is known, and reads first where nothing is. What is old is given while it is read again.
func (s *Store) get(ctx context.Context, k key) (*value, error) {
	s.mu.Lock()
	e := s.entry(k)
	if !s.now().Before(e.until) && e.reading == nil {
		s.start(k, e, e.value != nil)
	}
	v, err, reading := e.value, e.err, e.reading
	s.mu.Unlock()
	if v != nil || reading == nil {
		return v, err
	}
	select {
	case <-reading:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w while it was read", k, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.value, e.err
}

// entry finds an entry or makes one. The caller holds the lock.
func (s *Store) entry(k key) *entry {
	e, ok := s.entries.get(k)
	if !ok {
		e = &entry{}
		s.entries.put(k, e, entryBytes)
	}
	return e
}

// start begins the one read of an entry. One that nobody waits for is left for the next time when there are many. The read is nobody's own: a probe
// that is cut short must not fail the others that wait. The caller holds the lock.
func (s *Store) start(k key, e *entry, ahead bool) {
	if ahead {
		select {
		case s.ahead <- struct{}{}:
		default:
			return
		}
	}
	e.reading = make(chan struct{})
	s.reads.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, readTime)
		defer cancel()
		v, err := read(ctx, s.api, k)
		if ahead {
			<-s.ahead
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settle(k, e, v, err)
		close(e.reading)
		e.reading = nil
	})
}

// settle keeps what a read came to. The caller holds the lock.
func (s *Store) settle(k key, e *entry, v *value, err error) {
	e.read = s.now()
	switch {
	case err == nil:
		e.value, e.err, e.until = v, nil, e.read.Add(keep)
	case !away(err):
		e.value, e.err, e.until = nil, err, e.read.Add(keepNo)
	case e.value != nil:
		e.until = e.read.Add(tryKnown)
	default:
		e.err, e.until = err, e.read.Add(tryAgain)
	}
	s.entries.put(k, e, entryBytes+e.value.size())
}

func (v *value) size() (n int64) {
	if v == nil {
		return 0
	}
	for name, values := range v.header {
		n += int64(len(name) + len(values[0]))
	}
	return n + int64(cap(v.data))
}
