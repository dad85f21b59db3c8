// request.go: what goes out: the request line, the headers, and the ids that make gateways and Knative record it.
package dial

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"probe/hops"
)

// knockPath is what Knative's own ingress prober asks for (knative.dev/networking/pkg/http/header, HealthCheckPath).
const knockPath = "/healthz"

func (r *Request) method() string {
	switch {
	case r.Asked == hops.Knock:
		return http.MethodGet
	case r.GRPC:
		return http.MethodPost
	case r.Method != "":
		return r.Method
	case len(r.Body) > 0:
		return http.MethodPost
	}
	return http.MethodGet
}

func (r *Request) path() string {
	switch {
	case r.Asked == hops.Knock:
		return knockPath
	case r.Path == "":
		return "/"
	}
	return r.Path
}

func (r *Request) scheme() string {
	if r.Entry.Scheme == "" {
		return "http"
	}
	return r.Entry.Scheme
}

// host is the Host header; an entry without one is reached by the name of its target.
func (r *Request) host() string {
	if r.Entry.Host == "" {
		return r.Entry.Target.Name
	}
	return r.Entry.Host
}

// build makes the HTTP request. A knock never carries anything of the caller's.
func (r *Request) build(ctx context.Context, agent string) (*http.Request, error) {
	path := r.path()
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") {
		return nil, fmt.Errorf("path %q must begin with a slash and hold neither ? nor #", path)
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, fmt.Errorf("path %q cannot be sent: escape it as in a URL", path)
	}
	u.Scheme, u.Host = r.scheme(), r.host()
	var body *bytes.Reader
	if r.Asked != hops.Knock {
		u.RawQuery = r.Query
		body = bytes.NewReader(r.payload())
	}
	req, err := newRequest(ctx, r.method(), body)
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = u, u.Host
	r.headers(req.Header, agent)
	return req, nil
}

func newRequest(ctx context.Context, method string, body *bytes.Reader) (*http.Request, error) {
	if body == nil || body.Len() == 0 {
		return http.NewRequestWithContext(ctx, method, "http://unused/", nil)
	}
	return http.NewRequestWithContext(ctx, method, "http://unused/", body)
}

// headers fills h: the caller's first, so that routing and trace headers of our own win.
func (r *Request) headers(h http.Header, agent string) {
	knock := r.Asked == hops.Knock
	if !knock {
		for name, values := range r.Header {
			if !slices.Contains(connectionHeaders(), strings.ToLower(name)) {
				h[http.CanonicalHeaderKey(name)] = slices.Clone(values)
			}
		}
		if len(r.Body) > 0 && h.Get("Content-Type") == "" {
			h.Set("Content-Type", "application/json")
		}
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", agent)
	}
	for name, value := range r.Entry.Header {
		h.Set(name, value)
	}
	if knock {
		h.Set("K-Network-Probe", "probe")
		h.Set("K-Network-Hash", "override")
		for name, value := range r.Entry.Knocking {
			h.Set(name, value)
		}
	}
	if r.GRPC && !knock {
		grpcHeaders(h)
	}
	switch {
	case r.TraceID == "" || r.SpanID == "":
	case r.Unrecorded:
		h.Set("Traceparent", "00-"+r.TraceID+"-"+r.SpanID+"-00")
	default:
		h.Set("Traceparent", "00-"+r.TraceID+"-"+r.SpanID+"-01")
		h.Set("X-Client-Trace-Id", r.TraceID) // without it Envoy records by its own random sampling, whatever traceparent's flag says
	}
}

// connectionHeaders are those that belong to a connection or are net/http's own to write.
func connectionHeaders() []string {
	return []string{"host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "te", "trailer", "upgrade"}
}

// secretsOf lists the values of the caller's headers that an answer or an error may repeat: whole, and the parts of credentials and cookies.
func secretsOf(r Request) []string {
	if r.Asked == hops.Knock {
		return nil
	}
	harmless := []string{"accept", "accept-encoding", "accept-language", "content-type", "user-agent", "traceparent", "x-request-id"}
	var out []string
	add := func(v string) {
		if len(v) >= 6 && !slices.Contains(out, v) { // shorter ones would tear holes into every text
			out = append(out, v)
		}
	}
	for name, values := range r.Header {
		if slices.Contains(harmless, strings.ToLower(name)) {
			continue
		}
		for _, v := range values {
			add(v)
			for _, part := range strings.FieldsFunc(v, func(c rune) bool { return strings.ContainsRune(" ,;\"", c) }) {
				add(part)
				if _, value, ok := strings.Cut(part, "="); ok {
					add(value)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) }) // a whole value goes before its parts
	return slices.DeleteFunc(out, func(v string) bool { return v == "Bearer" || v == "Digest" })
}
