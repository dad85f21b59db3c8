// object.go: one read of a ConfigMap or Secret, what is made of it, and why it cannot be had.
package settings

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"probe/probe/redact"
)

const (
	configMap = "ConfigMap"
	secret    = "Secret"

	maxSample      = 1 << 20 // bytes; more does not fit into a ConfigMap either
	maxCredentials = 16 << 10
	maxNamed       = 10 // keys that an error lists
)

// awayError says that nothing was learnt: the API server did not answer, or knows nobody by the agent's token.
type awayError struct {
	key key
	err error
}

func (e *awayError) Error() string {
	if apierrors.IsUnauthorized(e.err) {
		return fmt.Sprintf("%s: the API server does not accept the agent's token; it is tried again", e.key)
	}
	return fmt.Sprintf("%s: the API server gives no answer: %s; it is tried again", e.key, clipTo(redact.String(e.err.Error()), 2*maxShown))
}

func (e *awayError) Unwrap() error { return e.err }

func away(err error) bool {
	_, ok := errors.AsType[*awayError](err)
	return ok
}

// read reads one value.
func read(ctx context.Context, api API, k key) (*value, error) {
	data, err := fetch(ctx, api, k)
	if err != nil {
		return nil, k.cannot(err)
	}
	raw, ok := data[k.Key]
	if !ok {
		return nil, fmt.Errorf("%s has no key %s; it has: %s", k, k.Key, keysOf(data))
	}
	if k.kind == secret {
		header, err := credentials(raw)
		if err != nil {
			return nil, fmt.Errorf("%s, key %s: %w", k, k.Key, err)
		}
		return &value{header: header}, nil
	}
	if len(raw) > maxSample {
		return nil, fmt.Errorf("%s, key %s: %d bytes; a sample may have %d", k, k.Key, len(raw), maxSample)
	}
	return &value{data: raw}, nil
}

// fetch gets the object's values by key, copied, so that one value does not hold the whole object.
func fetch(ctx context.Context, api API, k key) (map[string][]byte, error) {
	if k.kind == secret {
		o, err := api.Secrets(k.namespace).Get(ctx, k.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return o.Data, nil
	}
	o, err := api.ConfigMaps(k.namespace).Get(ctx, k.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(o.Data)+len(o.BinaryData))
	for name, text := range o.Data {
		out[name] = []byte(text)
	}
	maps.Copy(out, o.BinaryData)
	return out, nil
}

// cannot says why an object was not read, and what to do.
func (k key) cannot(err error) error {
	setting, rights := "sample", "`probe agent --manifests` prints"
	if k.kind == secret {
		setting, rights = "credentials", "`probe agent --manifests --secret "+k.Name+"` prints"
	}
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s does not exist: create it, or correct %s%s", k, Prefix, setting)
	case apierrors.IsForbidden(err):
		resource := strings.ToLower(k.kind) + "s"
		return fmt.Errorf("%s: the agent may not get %s in namespace %s; %s a Role that lets it", k, resource, k.namespace, rights)
	}
	return &awayError{k, err}
}

func keysOf(data map[string][]byte) string {
	names := slices.Sorted(maps.Keys(data))
	if len(names) == 0 {
		return "none"
	}
	if more := len(names) - maxNamed; more > 0 {
		return strings.Join(names[:maxNamed], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// credentials reads the value of a Secret: `Name: value`, or the value of Authorization, or a bare token, as those of service accounts are. Its
// errors quote nothing.
func credentials(raw []byte) (http.Header, error) {
	text := strings.TrimSpace(string(raw))
	switch {
	case text == "":
		return nil, errors.New("it is empty; it must hold the value of the Authorization header, or one line `Name: value`")
	case len(text) > maxCredentials:
		return nil, fmt.Errorf("%d bytes; credentials may have %d", len(text), maxCredentials)
	case strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
		return nil, errors.New("it must hold one line, without control characters")
	}
	name, rest, isLine := strings.Cut(text, ":")
	if !isLine || !isToken(name) {
		if !strings.ContainsAny(text, " \t") {
			text = "Bearer " + text
		}
		return http.Header{"Authorization": {text}}, nil
	}
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return nil, errors.New("there is no value behind the header's name")
	}
	name = http.CanonicalHeaderKey(name)
	if slices.Contains(notCredentials(), name) {
		return nil, fmt.Errorf("the header %s belongs to the connection or to probe itself and carries no credentials; give another", name)
	}
	return http.Header{name: {rest}}, nil
}

// notCredentials are the headers that probe or net/http write.
func notCredentials() []string {
	return []string{"Host", "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Content-Length", "Te", "Trailer", "Upgrade",
		"Content-Type", "User-Agent", "Traceparent", "X-Client-Trace-Id", "K-Network-Probe", "K-Network-Hash"}
}

// isToken says whether a text can be a header's name (RFC 9110, 5.6.2).
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	})
}
