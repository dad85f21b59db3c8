// watch.go: lists in pages, and watches, as an API server does them.
package inproc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"probe/hops"
)

// bookmarkEvery is how often a watch that asked for bookmarks gets one; an API server sends them about once a minute.
const bookmarkEvery = 20 * time.Second

// maxWatch ends a watch that named no end of its own, as an API server does after half an hour or more.
const maxWatch = 30 * time.Minute

// chosen gives the filter of the request's selectors. Fields other than the name and the namespace are not looked at.
func chosen(r *http.Request) (func(*entry) bool, error) {
	q := r.URL.Query()
	byLabel, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		return nil, err
	}
	byField, err := fields.ParseSelector(q.Get("fieldSelector"))
	if err != nil {
		return nil, err
	}
	name, named := byField.RequiresExactMatch("metadata.name")
	space, spaced := byField.RequiresExactMatch("metadata.namespace")
	return func(e *entry) bool {
		ns, n, _ := strings.Cut(e.key, "/")
		return (!named || n == name) && (!spaced || ns == space) && (byLabel.Empty() || byLabel.Matches(e.labelSet()))
	}, nil
}

// list answers one page of a list. Its version is that of the first page; what changed since is told by a watch from there.
func (a *API) list(w http.ResponseWriter, r *http.Request, info hops.SourceInfo, namespace string) {
	take, err := chosen(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	after, first, err := uncontinue(q.Get("continue"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	found, version, more := a.store.page(resource(info), namespace, after, limit, take)
	if after != "" {
		version = first
	}
	meta := map[string]any{"resourceVersion": strconv.FormatUint(version, 10)}
	if more != "" {
		meta["continue"] = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", version, more))
	}
	items := make([]json.RawMessage, len(found))
	for i, e := range found {
		items[i] = e.json()
	}
	answer(w, http.StatusOK, map[string]any{"apiVersion": apiVersion(info), "kind": info.Kind + "List", "metadata": meta, "items": items})
}

// uncontinue reads a continue token of ours.
func uncontinue(token string) (after string, version uint64, err error) {
	if token == "" {
		return "", 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		_, err = fmt.Sscanf(string(raw), "%d %s", &version, &after)
	}
	if err != nil {
		return "", 0, fmt.Errorf("continue key is not valid: %w", err)
	}
	return after, version, nil
}

// watch streams the changes after a version, and all that is there first when none, or 0, is named.
func (a *API) watch(w http.ResponseWriter, r *http.Request, info hops.SourceInfo, namespace string) {
	take, err := chosen(r)
	q := r.URL.Query()
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	case q.Get("sendInitialEvents") == "true": // clients then list first, as with servers without WatchList
		refuse(w, http.StatusUnprocessableEntity, "Invalid", "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
		return
	}
	end := maxWatch
	if s, err := strconv.Atoi(q.Get("timeoutSeconds")); err == nil && s > 0 {
		end = min(end, time.Duration(s)*time.Second)
	}
	version, _ := strconv.ParseUint(q.Get("resourceVersion"), 10, 64)
	st := &stream{w: w, out: json.NewEncoder(w), info: info, inside: func(e *entry) bool {
		return e != nil && (namespace == "" || strings.HasPrefix(e.key, namespace+"/")) && take(e)
	}}
	if version == 0 {
		found, now, _ := a.store.page(resource(info), namespace, "", 0, take)
		version = now
		for _, e := range found {
			st.send("ADDED", e.json())
		}
	}
	a.follow(r, st, version, end, q.Get("allowWatchBookmarks") == "true")
}

// follow sends changes until the client goes, the time is up, or all watches are cut.
func (a *API) follow(r *http.Request, st *stream, version uint64, end time.Duration, bookmarks bool) {
	done := time.NewTimer(end)
	defer done.Stop()
	tick := time.NewTicker(bookmarkEvery)
	defer tick.Stop()
	cut := a.cutting()
	for {
		changes, latest, next, ok := a.store.since(resource(st.info), version)
		if !ok {
			st.expired(version)
			return
		}
		for _, c := range changes {
			st.change(c)
		}
		version = latest
		if st.flush() != nil {
			return
		}
		select {
		case <-next:
		case <-tick.C:
			if bookmarks {
				st.bookmark(version)
			}
		case <-cut:
			return
		case <-done.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// stream is one watch's answer. After an error everything else is dropped.
type stream struct {
	w      http.ResponseWriter
	out    *json.Encoder
	info   hops.SourceInfo
	inside func(*entry) bool
	begun  bool
	err    error
}

func (s *stream) send(kind string, object any) {
	s.begin()
	if s.err == nil {
		s.err = s.out.Encode(map[string]any{"type": kind, "object": object})
	}
}

func (s *stream) begin() {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/json")
		s.w.WriteHeader(http.StatusOK)
	}
}

// change tells what a change is for those who see only what the selectors take.
func (s *stream) change(c change) {
	was, is := s.inside(c.was), s.inside(c.is)
	switch {
	case was && is:
		s.send("MODIFIED", c.is.json())
	case is:
		s.send("ADDED", c.is.json())
	case was: // the last state, with the version of the deletion
		tree := c.was.tree()
		tree["metadata"].(map[string]any)["resourceVersion"] = strconv.FormatUint(c.version, 10)
		s.send("DELETED", tree)
	}
}

func (s *stream) bookmark(version uint64) {
	s.send("BOOKMARK", map[string]any{"apiVersion": apiVersion(s.info), "kind": s.info.Kind,
		"metadata": map[string]any{"resourceVersion": strconv.FormatUint(version, 10)}})
}

// expired is told in the stream, with 200: so does an API server when its cache no longer reaches back.
func (s *stream) expired(version uint64) {
	s.send("ERROR", map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Expired", "code": http.StatusGone,
		"message": fmt.Sprintf("too old resource version: %d", version)})
	s.flush()
}

func (s *stream) flush() error {
	s.begin()
	if s.err == nil {
		s.err = http.NewResponseController(s.w).Flush()
	}
	return s.err
}
