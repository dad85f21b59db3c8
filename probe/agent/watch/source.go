// source.go: the list and the watch of one namespace, or of all.
package watch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"probe/probe"
)

const (
	resource = "inferenceservices"
	// pageSize keeps one answer to some megabytes.
	pageSize = 250
	// maxServices bounds what one agent holds: at under 1 KB each some 100 MB.
	maxServices = 100_000
	// pageTimeout is for one page of a list, watchTimeout for the start of a watch. A watch lasts as long as was asked for, and watchGrace longer.
	pageTimeout  = 30 * time.Second
	watchTimeout = time.Minute
	watchGrace   = 30 * time.Second
)

// source keeps the services of one namespace up to date.
type source struct {
	w         *Watcher
	namespace string // "" is all
	what      string // "inferenceservices in demo"
	backoff   backoff
	group     schema.GroupVersion // where the last list found the resource

	mu     sync.Mutex
	synced bool
	heard  time.Time
}

// run lists and watches until ctx ends. The reflector comes back when only a new list helps; errors were noted where they happened.
func (s *source) run(ctx context.Context) {
	// A resync does nothing here. With no period at all the reflector waits on a channel of its package's, which no test bubble can see through.
	r := cache.NewReflectorWithOptions(lister{s}, &object{}, store{s}, cache.ReflectorOptions{Name: s.what, ResyncPeriod: 24 * time.Hour})
	for ctx.Err() == nil {
		_ = r.ListAndWatchWithContext(ctx)
		if !probe.Pause(ctx, s.backoff.next()) {
			return
		}
	}
}

// good notes that the API server was heard.
func (s *source) good() {
	s.mu.Lock()
	s.heard = time.Now()
	s.mu.Unlock()
	s.w.faults.mended(s.what)
}

// bad notes that it was not. That a watch is too old is no fault.
func (s *source) bad(ctx context.Context, err error) {
	if ctx.Err() == nil && !expired(err) {
		s.w.faults.failed(s.what, why(err, resource+"."+groups[0].Group))
	}
}

func (s *source) request(gv schema.GroupVersion) *rest.Request {
	return s.w.client.Get().AbsPath("/apis", gv.Group, gv.Version).NamespaceIfScoped(s.namespace, s.namespace != "").Resource(resource).
		MaxRetries(0).Param("labelSelector", s.w.opts.Selector)
}

// lister is a source as client-go's reflector wants it.
type lister struct{ *source }

// List implements cache.ListerWatcher. The reflector calls ListWithContext.
func (l lister) List(o metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher. The reflector calls WatchWithContext.
func (l lister) Watch(o metav1.ListOptions) (apiwatch.Interface, error) {
	return l.WatchWithContext(context.Background(), o)
}

// ListWithContext implements cache.ListerWatcherWithContext. The options are not looked at: a list is always the newest state, read here page by
// page. With the reflector's own choice, resourceVersion 0, the API server ignores the page size and sends everything in one answer
// (k8s.io/apiserver/pkg/storage/cacher).
func (l lister) ListWithContext(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
	var missing error
	for _, gv := range groups {
		list, err := l.all(ctx, gv)
		switch {
		case err == nil:
			l.group = gv
			l.good()
			return list, nil
		case unknownResource(err):
			missing = &notInstalledError{resource + "." + groups[0].Group}
		case missing != nil && apierrors.IsForbidden(err): // the rights need not name a group that is not there
		default:
			l.bad(ctx, err)
			return nil, err
		}
	}
	l.bad(ctx, missing)
	return nil, missing
}

// all reads every page of a list. When the pages grow too old to go on it starts anew, once.
func (l lister) all(ctx context.Context, gv schema.GroupVersion) (*objectList, error) {
	out, restarted, next := &objectList{}, false, ""
	for {
		page, err := l.page(ctx, gv, next)
		if expired(err) && !restarted {
			out, restarted, next = &objectList{}, true, ""
			continue
		}
		if err != nil {
			return nil, err
		}
		out.ListMeta, out.Items = page.ListMeta, append(out.Items, page.Items...)
		if next, out.Continue, out.RemainingItemCount = page.Continue, "", nil; next == "" {
			return out, nil
		}
		if len(out.Items) >= maxServices {
			return nil, fmt.Errorf("there are more than %d; choose fewer by namespace or by selector", maxServices)
		}
	}
}

func (l lister) page(ctx context.Context, gv schema.GroupVersion, next string) (*objectList, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	r := l.request(gv).Param("limit", strconv.Itoa(pageSize))
	if next != "" {
		r = r.Param("continue", next)
	}
	page := &objectList{}
	if err := r.Do(quiet(ctx)).Into(page); err != nil {
		return nil, late(ctx, err)
	}
	return page, nil
}

// WatchWithContext implements cache.ListerWatcherWithContext. It asks again, ever more slowly, until the API server lets it watch: to come back would
// mean to list everything anew, which only a watch that is too old or a resource that is gone calls for.
func (l lister) WatchWithContext(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	for {
		w, err := l.open(ctx, o)
		if err == nil {
			l.good()
			return w, nil
		}
		l.bad(ctx, err)
		if expired(err) || unknownResource(err) || !probe.Pause(ctx, l.backoff.next()) {
			return nil, err
		}
	}
}

var errNoAnswer = fmt.Errorf("nothing was heard for %s: %w", watchTimeout, context.DeadlineExceeded)

// open opens one watch. It ends by itself some time after the API server should have ended it: a connection that died silently says nothing.
func (l lister) open(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	seconds := int64(300)
	if o.TimeoutSeconds != nil {
		seconds = *o.TimeoutSeconds
	}
	ctx, cancel := context.WithCancelCause(ctx)
	answer := time.AfterFunc(watchTimeout, func() { cancel(errNoAnswer) })
	w, err := l.request(l.group).Param("watch", "true").Param("resourceVersion", o.ResourceVersion).Param("allowWatchBookmarks", "true").
		Param("timeoutSeconds", strconv.FormatInt(seconds, 10)).Watch(quiet(ctx))
	if err == nil && !answer.Stop() {
		w.Stop()
		err = errNoAnswer
	}
	if err != nil {
		err = late(ctx, err)
		cancel(nil)
		return nil, err
	}
	end := time.AfterFunc(time.Duration(seconds)*time.Second+watchGrace, func() { cancel(nil) })
	heard := &heard{inner: w, events: make(chan apiwatch.Event), stopped: make(chan struct{}), free: func() { end.Stop(); cancel(nil) }}
	go heard.pass(func(err error) { l.bad(ctx, err) })
	return heard, nil
}

// heard passes a watch on and looks at its errors, whose text the reflector drops. (watch.Filter of apimachinery would leak its goroutine when it is
// stopped with an event in hand.)
type heard struct {
	inner   apiwatch.Interface
	events  chan apiwatch.Event
	stopped chan struct{}
	once    sync.Once
	free    func()
}

func (h *heard) pass(bad func(error)) {
	defer close(h.events)
	for e := range h.inner.ResultChan() {
		if e.Type == apiwatch.Error {
			bad(apierrors.FromObject(e.Object))
		}
		select {
		case h.events <- e:
		case <-h.stopped:
			return
		}
	}
}

// ResultChan implements watch.Interface.
func (h *heard) ResultChan() <-chan apiwatch.Event { return h.events }

// Stop implements watch.Interface.
func (h *heard) Stop() {
	h.once.Do(func() {
		close(h.stopped)
		h.inner.Stop()
		h.free()
	})
}

// late names the deadline when that was the cause: client-go may give another error instead.
func late(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// store is a source as the reflector writes to it.
type store struct{ *source }

// Add implements cache.ReflectorStore.
func (s store) Add(x any) error { return s.Update(x) }

// Update implements cache.ReflectorStore.
func (s store) Update(x any) error {
	s.w.changes.Lock()
	defer s.w.changes.Unlock()
	s.w.upsert(s.group, x.(*object))
	return nil
}

// Delete implements cache.ReflectorStore.
func (s store) Delete(x any) error {
	s.w.changes.Lock()
	defer s.w.changes.Unlock()
	s.w.delete(refOf(x.(*object)))
	return nil
}

// Replace implements cache.ReflectorStore: what the list lacks was deleted meanwhile.
func (s store) Replace(list []any, _ string) error {
	s.w.replace(s.namespace, s.group, list)
	s.mu.Lock()
	s.synced = true
	s.mu.Unlock()
	return nil
}

// Resync implements cache.ReflectorStore.
func (s store) Resync() error { return nil }

// UpdateResourceVersion implements cache.ResourceVersionUpdater: it is called for each event, bookmarks included.
func (s store) UpdateResourceVersion(string) { s.good() }
