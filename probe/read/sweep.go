// sweep.go: the services of a namespace or of the whole cluster, by name and status.
package read

import (
	"context"
	"errors"

	"probe/hops"
)

// maxSweepPages bounds a sweep to 20000 services.
const maxSweepPages = 40

// List gives every InferenceService of a namespace, or of all with "": metadata and status only, so each object is partial. A list that was cut
// comes with an error besides what was read.
func (c *Cluster) List(ctx context.Context, namespace string) ([]hops.Object, error) {
	info, _ := hops.Info(hops.InferenceServices)
	list, err := c.list(ctx, info, namespace, query{pages: maxSweepPages})
	var missing *notInstalledError
	if errors.As(err, &missing) {
		info.Group = oldGroup
		if old, oldErr := c.list(ctx, info, namespace, query{pages: maxSweepPages}); !errors.As(oldErr, &missing) {
			list, err = old, oldErr
		}
	}
	for i := range list {
		delete(list[i].Tree, "spec")
		list[i].Partial = true
	}
	var cut *cutError
	if err != nil && !errors.As(err, &cut) {
		return nil, c.cannot(where(info, namespace), err)
	}
	return list, err
}
