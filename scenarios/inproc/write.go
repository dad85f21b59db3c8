// write.go: what clients may write: events and leases, with the conflicts of an API server.
package inproc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"probe/hops"
)

// maxBody bounds what a client may send, as an API server does.
const maxBody = 3 << 20

// refused is an answer that is no success.
type refused struct {
	code            int
	reason, message string
}

func (r *refused) Error() string { return r.message }

// write serves POST, PUT, PATCH (merge) and DELETE of one object.
func (a *API) write(w http.ResponseWriter, r *http.Request, c call) {
	if !slices.Contains([]string{"events", "leases", "tokenreviews", "subjectaccessreviews"}, c.info.Resource) || c.sub != "" {
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "the recording is read only")
		return
	}
	body, err := sent(w, r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", "the body is no object: "+err.Error())
		return
	}
	if c.info.Group == "authentication.k8s.io" || c.info.Group == "authorization.k8s.io" {
		a.review(w, c.info.Kind, body)
		return
	}
	code := http.StatusOK
	if r.Method == http.MethodPost {
		c.name, code = a.name(body), http.StatusCreated
	}
	tree, err := a.store.write(resource(c.info), c.namespace+"/"+c.name, func(was *entry) (map[string]any, error) {
		return written(r.Method, c, was, body)
	})
	var no *refused
	switch {
	case errors.As(err, &no) && no.code == http.StatusNotFound:
		notFound(w, c)
	case errors.As(err, &no):
		refuse(w, no.code, no.reason, no.message)
	case err != nil:
		refuse(w, http.StatusInternalServerError, "InternalError", err.Error())
	case r.Method == http.MethodDelete:
		answer(w, code, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Success"})
	default:
		answer(w, code, tree)
	}
}

// sent reads the body: JSON, or the protobuf that typed clients prefer for Kubernetes' own kinds.
func sent(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || len(raw) == 0 && r.Method == http.MethodDelete {
		return nil, err
	}
	if r.Header.Get("Content-Type") != runtime.ContentTypeProtobuf {
		var body map[string]any
		err := json.Unmarshal(raw, &body)
		return body, err
	}
	o, kind, err := codecs().UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		return nil, err
	}
	body, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	body["apiVersion"], body["kind"] = kind.GroupVersion().String(), kind.Kind
	return body, nil
}

// codecs know the kinds that can be written.
var codecs = sync.OnceValue(func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, coordination.AddToScheme, authentication.AddToScheme, authorization.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	return serializer.NewCodecFactory(scheme)
})

// name is the object's own, or one made of its generateName.
func (a *API) name(body map[string]any) string {
	o := hops.Object{Tree: body}
	if name := o.Str("metadata", "name"); name != "" {
		return name
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renamed++
	return fmt.Sprintf("%s%05d", o.Str("metadata", "generateName"), a.renamed)
}

// written gives what takes the place of an object; nil deletes it.
func written(method string, c call, was *entry, body map[string]any) (map[string]any, error) {
	if method == http.MethodPost {
		if was != nil {
			return nil, &refused{http.StatusConflict, "AlreadyExists", fmt.Sprintf("%s %q already exists", c.info.Resource, c.name)}
		}
		meta, _ := body["metadata"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
			body["metadata"] = meta
		}
		meta["name"], meta["namespace"] = c.name, c.namespace
		meta["uid"] = uidOf(c.namespace + "/" + c.name)
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
		return body, nil
	}
	if was == nil {
		return nil, &refused{http.StatusNotFound, "NotFound", ""}
	}
	old, next := hops.Object{Tree: was.tree()}, hops.Object{Tree: body}
	asked, present := next.Str("metadata", "resourceVersion"), old.Str("metadata", "resourceVersion")
	if method == http.MethodDelete {
		asked = next.Str("preconditions", "resourceVersion")
	}
	if asked != "" && asked != present {
		return nil, &refused{http.StatusConflict, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on %s %q: the object has been modified", c.info.Resource, c.name)}
	}
	switch method {
	case http.MethodDelete:
		return nil, nil
	case http.MethodPatch:
		return merge(old.Tree, body), nil
	}
	return body, nil
}

// merge is a JSON merge patch (RFC 7386). A strategic merge patch of an Event says the same, since Events hold no lists that are merged.
func merge(into, patch map[string]any) map[string]any {
	if into == nil {
		into = map[string]any{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(into, k)
		case map[string]any:
			inner, _ := into[k].(map[string]any)
			into[k] = merge(inner, v)
		default:
			into[k] = v
		}
	}
	return into
}
