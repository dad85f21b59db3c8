// request.go: one read: its path, its pages, the API version that the cluster has.
package read

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	segment "k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"probe/hops"
)

const (
	pageSize = 500
	maxPages = 10 // of one list; a longer one is cut and does not prove absence
	// A refusal with Retry-After is tried again as often as this, within the deadline of the read.
	maxRetries = 2
)

// query narrows a list; the zero value is the whole list.
type query struct {
	labels string
	fields string
	pages  int
}

func named(name string) query { return query{fields: "metadata.name=" + name} }

// notInstalledError says that no version that we know of the resource is served.
type notInstalledError struct{ resource string }

func (e *notInstalledError) Error() string { return "the cluster does not know " + e.resource }

// cutError says that a list was longer than we read.
type cutError struct{ read int }

func (e *cutError) Error() string { return fmt.Sprintf("only the first %d were read", e.read) }

// formError says that an answer was not what the API promises.
type formError struct{ err error }

func (e *formError) Error() string { return "the answer could not be read: " + e.err.Error() }
func (e *formError) Unwrap() error { return e.err }

// request prepares a GET of an absolute path. Names come from users and objects: none may leave its segment of the path.
func (c *Cluster) request(params url.Values, path ...string) (*rest.Request, error) {
	for _, p := range path {
		if wrong := segment.IsValidPathSegmentName(p); len(wrong) > 0 {
			return nil, fmt.Errorf("%q is not a name: %s", p, strings.Join(wrong, ", "))
		}
	}
	r := c.client.Get().AbsPath(path...).MaxRetries(maxRetries)
	for k, vs := range params {
		for _, v := range vs {
			r.Param(k, v)
		}
	}
	return r, nil
}

// bounded gives one read its deadline, and keeps client-go from writing to the terminal.
func (c *Cluster) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(klog.NewContext(ctx, logr.Discard()), c.opts.ReadTimeout)
}

// get reads one path whole.
func (c *Cluster) get(ctx context.Context, params url.Values, path ...string) ([]byte, error) {
	r, err := c.request(params, path...)
	if err != nil {
		return nil, err
	}
	c.meter.begin()
	defer c.meter.end()
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	res := r.Do(ctx)
	if err := res.Error(); err != nil {
		return nil, blame(ctx, err)
	}
	return res.Raw()
}

// stream reads at most limit bytes of one path.
func (c *Cluster) stream(ctx context.Context, limit int64, params url.Values, path ...string) ([]byte, error) {
	r, err := c.request(params, path...)
	if err != nil {
		return nil, err
	}
	c.meter.begin()
	defer c.meter.end()
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	body, err := r.Stream(ctx)
	if err != nil {
		return nil, blame(ctx, err)
	}
	defer body.Close() // nothing is left to do about an error: the bytes are here
	raw, err := io.ReadAll(io.LimitReader(body, limit))
	if err != nil {
		return nil, blame(ctx, err)
	}
	return raw, nil
}

// blame names the deadline when it was the cause: client-go gives the last refusal instead when it waited to try again.
func blame(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) && !apierrors.IsTooManyRequests(err) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// unknownResource tells "no such resource" from "no such object": only the latter names an object.
func unknownResource(err error) bool {
	var s apierrors.APIStatus
	return errors.As(err, &s) && s.Status().Code == 404 && (s.Status().Details == nil || s.Status().Details.Name == "")
}

// path of a resource, or of one object of it.
func path(info hops.SourceInfo, version, namespace, name string) []string {
	p := []string{"api", version}
	if info.Group != "" {
		p = []string{"apis", info.Group, version}
	}
	if namespace != "" {
		p = append(p, "namespaces", namespace)
	}
	p = append(p, info.Resource)
	if name != "" {
		p = append(p, name)
	}
	return p
}

// at reads a resource in the newest version that both the cluster and the row know. Only a cluster without the newest costs a second read.
func (c *Cluster) at(ctx context.Context, info hops.SourceInfo, namespace, name string, params url.Values) (raw []byte, version string, err error) {
	key := schema.GroupResource{Group: info.Group, Resource: info.Resource}
	c.mu.Lock()
	version = c.version[key]
	c.mu.Unlock()
	if version == "" {
		version = info.Versions[0]
	}
	raw, err = c.get(ctx, params, path(info, version, namespace, name)...)
	if !unknownResource(err) {
		return raw, version, err
	}
	for _, v := range c.others(ctx, info, version) {
		if raw, err = c.get(ctx, params, path(info, v, namespace, name)...); !unknownResource(err) {
			c.mu.Lock()
			c.version[key] = v
			c.mu.Unlock()
			return raw, v, err
		}
	}
	return nil, version, &notInstalledError{key.String()}
}

// others lists the further versions of the row that the group offers. The question is asked once a group, and not at all when the row knows
// one version only; a cluster that does not answer it is tried version by version.
func (c *Cluster) others(ctx context.Context, info hops.SourceInfo, tried string) []string {
	rest := slices.DeleteFunc(slices.Clone(info.Versions), func(v string) bool { return v == tried })
	if len(rest) == 0 {
		return nil
	}
	offered, err := c.groupVersions(ctx, info.Group)
	if err != nil {
		return rest
	}
	return slices.DeleteFunc(rest, func(v string) bool { return !slices.Contains(offered, v) })
}

// groupVersions asks which versions of a group are served; none when the group is not there. Every authenticated user may ask
// (ClusterRole system:discovery).
func (c *Cluster) groupVersions(ctx context.Context, group string) ([]string, error) {
	c.mu.Lock()
	asked := c.offered
	c.mu.Unlock()
	return asked.do(ctx, group, func(ctx context.Context) ([]string, error) {
		raw, err := c.get(ctx, nil, "apis", group)
		if unknownResource(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var answer struct{ Versions []struct{ Version string } }
		if err := json.Unmarshal(raw, &answer); err != nil {
			return nil, &formError{err}
		}
		var out []string
		for _, v := range answer.Versions {
			out = append(out, v.Version)
		}
		return out, nil
	})
}

// list reads every page of a list. With a *cutError what was read comes along.
func (c *Cluster) list(ctx context.Context, info hops.SourceInfo, namespace string, q query) ([]hops.Object, error) {
	var out []hops.Object
	params := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if q.labels != "" {
		params.Set("labelSelector", q.labels)
	}
	if q.fields != "" {
		params.Set("fieldSelector", q.fields)
	}
	bound := q.pages
	if bound == 0 {
		bound = maxPages
	}
	for page, restarted := 0, false; page < bound; page++ {
		raw, version, err := c.at(ctx, info, namespace, "", params)
		if apierrors.IsResourceExpired(err) && !restarted { // the continue token has aged: once more from the start
			params.Del("continue")
			out, page, restarted = nil, -1, true
			continue
		}
		if err != nil {
			return nil, err
		}
		next, items, err := parseList(raw)
		if err != nil {
			return nil, &formError{err}
		}
		for _, tree := range items {
			out = append(out, object(info, version, tree))
		}
		if next == "" {
			return out, nil
		}
		params.Set("continue", next)
	}
	return out, &cutError{len(out)}
}

// one reads an object by its name.
func (c *Cluster) one(ctx context.Context, info hops.SourceInfo, namespace, name string) (hops.Object, error) {
	raw, version, err := c.at(ctx, info, namespace, name, nil)
	if err != nil {
		return hops.Object{}, err
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return hops.Object{}, &formError{err}
	}
	return object(info, version, tree), nil
}

func parseList(raw []byte) (next string, items []map[string]any, err error) {
	var l struct {
		Metadata struct{ Continue string }
		Items    []map[string]any
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&l); err != nil {
		return "", nil, err
	}
	return l.Metadata.Continue, l.Items, nil
}
