// errors.go: why there is nothing to probe. Each is a type of its own, and its text ends in the way out.
package read

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"probe/hops"
)

// NoClusterError says that no API server answered, or that it knows nobody by these credentials.
type NoClusterError struct {
	Host    string
	Context string // of the kubeconfig; "" when unknown
	Err     error
}

func (e *NoClusterError) Error() string {
	of, way := "", "check the kubeconfig, --context, and that the cluster runs"
	if e.Context != "" {
		of = fmt.Sprintf(" (context %q)", e.Context)
	}
	if apierrors.IsUnauthorized(e.Err) {
		return fmt.Sprintf("the cluster at %s%s does not accept these credentials: log in again, or choose another --context", e.Host, of)
	}
	return fmt.Sprintf("no cluster answers at %s%s: %s; %s", e.Host, of, why(e.Err), way)
}

func (e *NoClusterError) Unwrap() error { return e.Err }

// NoNamespaceError says that the namespace does not exist.
type NoNamespaceError struct {
	Ref  hops.Ref
	Near []string // services of that name elsewhere, as namespace/name
}

func (e *NoNamespaceError) Error() string {
	return fmt.Sprintf("namespace %s does not exist%s", e.Ref.Namespace, meant(e.Near, "give another with -n; `kubectl get namespaces` lists them"))
}

// NotFoundError says that the namespace holds no such service.
type NotFoundError struct {
	Ref  hops.Ref
	Near []string // names in the namespace, and namespace/name for the same name elsewhere
	// NamespaceUnknown says that we were not allowed to see whether the namespace exists.
	NamespaceUnknown bool
}

func (e *NotFoundError) Error() string {
	sure := ""
	if e.NamespaceUnknown {
		sure = ", if that namespace exists at all"
	}
	return fmt.Sprintf("inferenceservice %s does not exist in namespace %s%s%s", e.Ref.Name, e.Ref.Namespace, sure,
		meant(e.Near, "`kubectl get inferenceservices -A` lists them"))
}

func meant(near []string, otherwise string) string {
	if len(near) == 0 {
		return ": " + otherwise
	}
	return ": did you mean " + strings.Join(near, ", ") + "?"
}

// NoKServeError says that the cluster has no InferenceServices at all.
type NoKServeError struct{ Host string }

func (e *NoKServeError) Error() string {
	return fmt.Sprintf("KServe is not installed: the cluster at %s does not know inferenceservices.serving.kserve.io; install KServe or choose another --context", e.Host)
}

// ForbiddenError says that we may not read the service itself.
type ForbiddenError struct {
	What string // "inferenceservice demo/echo"
	Err  error
}

func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("%s: %s; ask whoever runs the cluster for that right", e.What, why(e.Err))
}

func (e *ForbiddenError) Unwrap() error { return e.Err }

// cannot sorts the error of the one read without which there is nothing to probe.
func (c *Cluster) cannot(what string, err error) error {
	var missing *notInstalledError
	var refused apierrors.APIStatus
	switch {
	case errors.As(err, &missing):
		return &NoKServeError{Host: c.host}
	case apierrors.IsForbidden(err):
		return &ForbiddenError{What: what, Err: err}
	case apierrors.IsUnauthorized(err), !errors.As(err, &refused) && !badAnswer(err):
		return &NoClusterError{Host: c.host, Context: c.opts.Context, Err: err}
	}
	return fmt.Errorf("%s cannot be read; try again: %w", what, err)
}

// badAnswer tells an API server that answers strangely from one that does not answer.
func badAnswer(err error) bool {
	var form *formError
	return errors.As(err, &form)
}
