// change.go: what a test or a load run does to the API server from behind: objects that change, watches that end, an API server that refuses.
package inproc

import (
	"fmt"
	"maps"
	"net/http"

	"probe/hops"
)

// Object gives the present state of an object, a copy. Of Ref, Source, Namespace and Name count. ok is false when there is none.
func (a *API) Object(ref hops.ObjectRef) (o hops.Object, ok bool) {
	info, _ := hops.Info(ref.Source)
	e := a.store.get(resource(info), ref.Namespace+"/"+ref.Name)
	if e == nil {
		return o, false
	}
	o = hops.Object{Source: ref.Source, Kind: info.Kind, Namespace: ref.Namespace, Name: ref.Name, Tree: e.tree()}
	o.APIVersion = o.Str("apiVersion")
	return o, true
}

// Set creates or replaces an object; watches tell of it. Its Tree holds what the API server gives, with metadata.name and metadata.namespace;
// metadata.resourceVersion is set, and metadata.generation goes up when the spec is another. The source is found by the tree's apiVersion and
// kind: any kind that hops knows, Leases and Secrets.
func (a *API) Set(tree map[string]any) error {
	o := hops.Object{Tree: tree}
	info, ok := row(o.Str("apiVersion"), o.Str("kind"))
	if !ok || o.Str("metadata", "name") == "" {
		return fmt.Errorf("the in-process API server: %q %q is no object that it knows", o.Str("apiVersion"), o.Str("kind"))
	}
	key := o.Str("metadata", "namespace") + "/" + o.Str("metadata", "name")
	_, err := a.store.write(resource(info), key, func(was *entry) (map[string]any, error) {
		next := maps.Clone(tree)
		next["metadata"] = maps.Clone(tree["metadata"].(map[string]any))
		generation(was, next)
		return next, nil
	})
	return err
}

// row finds a resource by what stands in an object.
func row(apiVersion, kind string) (hops.SourceInfo, bool) {
	if info, ok := hops.Info(hops.SourceOf(apiVersion, kind)); ok {
		return info, true
	}
	for _, i := range more() {
		if i.Kind == kind {
			return i, true
		}
	}
	return hops.SourceInfo{}, false
}

// Delete removes an object; watches tell of it. It says whether there was one.
func (a *API) Delete(ref hops.ObjectRef) bool {
	info, _ := hops.Info(ref.Source)
	there := false
	a.store.write(resource(info), ref.Namespace+"/"+ref.Name, func(was *entry) (map[string]any, error) {
		there = was != nil
		return nil, nil
	}) // no error: nothing is encoded
	return there
}

// Events lists the events that there are, the recorded ones and those that clients wrote, by namespace and name. hops.ParseEvent reads one.
func (a *API) Events() []hops.Object {
	info, _ := hops.Info(hops.Events)
	found, _, _ := a.store.page(resource(info), "", "", 0, func(*entry) bool { return true })
	out := make([]hops.Object, len(found))
	for i, e := range found {
		o := hops.Object{Source: hops.Events, Kind: info.Kind, Tree: e.tree()}
		o.APIVersion, o.Namespace, o.Name = o.Str("apiVersion"), o.Str("metadata", "namespace"), o.Str("metadata", "name")
		out[i] = o
	}
	return out
}

// Requests counts what clients asked for, by "verb resource": "list pods", "watch inferenceservices", "get pods/log".
func (a *API) Requests() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.counts)
}

// AllowToken makes TokenReviews know a token; SubjectAccessReviews of its user are allowed if may is true.
func (a *API) AllowToken(token, user string, may bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[token] = caller{user, may}
}

// Refuse gives every request this HTTP status until Refuse(0), and ends the watches: 401 is an expired token, 503 a server that is not up.
func (a *API) Refuse(status int) {
	a.mu.Lock()
	a.refusal = status
	a.mu.Unlock()
	a.CutWatches()
}

// CutWatches ends the watches that are under way, as a load balancer between does.
func (a *API) CutWatches() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.cut)
	a.cut = make(chan struct{})
}

// Compact forgets the changes so far: a watch from before now is answered 410 Gone, and must list anew.
func (a *API) Compact() { a.store.compact() }

func (a *API) cutting() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cut
}

// review answers a TokenReview or a SubjectAccessReview.
func (a *API) review(w http.ResponseWriter, kind string, tree map[string]any) {
	o := hops.Object{Tree: tree}
	a.mu.Lock()
	status := map[string]any{"allowed": false}
	if kind == "TokenReview" {
		status = map[string]any{"authenticated": false, "error": "token is not known"}
		if c, ok := a.tokens[o.Str("spec", "token")]; ok {
			status = map[string]any{"authenticated": true, "user": map[string]any{"username": c.user, "groups": []string{"system:authenticated"}}}
		}
	} else {
		for _, c := range a.tokens {
			if c.may && c.user == o.Str("spec", "user") {
				status = map[string]any{"allowed": true}
			}
		}
	}
	a.mu.Unlock()
	tree["status"] = status
	answer(w, http.StatusCreated, tree)
}
