// leftover.go: what a drill that died left behind is undone before the next one starts.
package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"probe/probe"
)

// BusyError says that another drill is at work on the cluster.
type BusyError struct{ Namespace string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another drill is at work in namespace %s of this cluster: wait until it has ended", e.Namespace)
}

// leftovers undoes and deletes the namespaces of drills that died. A drill is alive when it writes its note anew while we wait; clocks are not
// compared.
func (r *Runner) leftovers(ctx context.Context, k *kube) error {
	before, err := k.drills(ctx)
	if err != nil || len(before) == 0 {
		return err
	}
	r.say("%d namespaces of an earlier drill are there: looking whether it is still at work", len(before))
	if !probe.Pause(ctx, r.pace().alive) {
		return context.Cause(ctx)
	}
	now, err := k.drills(ctx)
	if err != nil {
		return err
	}
	for name, o := range now {
		if old, ok := before[name]; o.GetDeletionTimestamp() == nil && (!ok || old.GetAnnotations()[aliveNote] != o.GetAnnotations()[aliveNote]) {
			return &BusyError{Namespace: name}
		}
	}
	var errs []error
	for name := range now {
		s := &space{k: k, name: name, stop: func() {}}
		if s.changes, err = k.journal(ctx, name); err != nil {
			errs = append(errs, err)
			continue
		}
		r.say("%s: cleaning up what an earlier drill left, %d changes to undo", name, len(s.changes))
		ctx, cancel := context.WithTimeout(ctx, r.pace().cleanUp)
		errs = append(errs, s.close(ctx))
		cancel()
	}
	return errors.Join(errs...)
}

// drills are the namespaces of drills, by name.
func (k *kube) drills(ctx context.Context) (map[string]*unstructured.Unstructured, error) {
	list, err := k.dyn.Resource(namespaces).List(ctx, metav1.ListOptions{LabelSelector: drillLabel + "=true"})
	if err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	out := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		out[list.Items[i].GetName()] = &list.Items[i]
	}
	return out, nil
}

// journal reads what a namespace's drill has changed outside.
func (k *kube) journal(ctx context.Context, namespace string) ([]change, error) {
	o, err := k.dyn.Resource(configMaps).Namespace(namespace).Get(ctx, journalName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %w", namespace, err)
	}
	text, _, _ := unstructured.NestedString(o.Object, "data", journalKey)
	var out []change
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s cannot be read (%w): undo by hand what it lists, then delete it", namespace, journalName, err)
	}
	return out, nil
}
