// space.go: the throw-away namespace of one scenario, and in it the journal of what was changed outside, so that a drill that died can be undone.
package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"probe/probe"
)

// How a drill's namespaces are known: by a label, and by an annotation that a living drill writes anew again and again.
const (
	drillLabel = "probe.drill"
	aliveNote  = "probe.drill/alive"
	aliveEvery = 10 * time.Second
	prefix     = "drill-"
)

// The journal is a ConfigMap of the namespace with one key.
const (
	journalName = "drill-undo"
	journalKey  = "changes"
)

// space is the namespace of one scenario.
type space struct {
	k       *kube
	name    string
	changes []change
	stop    context.CancelFunc
	beats   sync.WaitGroup
}

// change is an object outside the namespace as it was before the scenario touched it.
type change struct {
	Object
	// Before is nil for an object that was not there.
	Before *unstructured.Unstructured `json:"before,omitempty"`
}

var (
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	pods       = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

// open makes the namespace. It must not exist.
func (k *kube) open(ctx context.Context, name string, labels map[string]string) (*space, error) {
	all := map[string]any{drillLabel: "true"}
	for l, v := range labels {
		all[l] = v
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
		"name": name, "labels": all, "annotations": map[string]any{aliveNote: time.Now().Format(time.RFC3339)}}}}
	if _, err := k.dyn.Resource(namespaces).Create(ctx, o, metav1.CreateOptions{FieldManager: manager}); err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	s := &space{k: k, name: name}
	beat, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.beats.Go(func() {
		for probe.Pause(beat, aliveEvery) {
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, aliveNote, time.Now().Format(time.RFC3339))
			// A beat that is lost is made good by the next one.
			_, _ = k.dyn.Resource(namespaces).Patch(beat, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
		}
	})
	return s, nil
}

// note writes down what an object outside the namespace is like before it is changed.
func (s *space) note(ctx context.Context, c change) error {
	s.changes = append(s.changes, c)
	raw, err := json.Marshal(s.changes)
	if err != nil {
		return err
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": journalName}, "data": map[string]any{journalKey: string(raw)}}}
	if _, err := s.k.dyn.Resource(configMaps).Namespace(s.name).Apply(ctx, journalName, o, metav1.ApplyOptions{FieldManager: manager, Force: true}); err != nil {
		return fmt.Errorf("journal of %s: %w; nothing was changed", s.name, err)
	}
	return nil
}

// do does one action of a scenario.
func (s *space) do(ctx context.Context, sc *Scenario, a Action, values map[string]string) error {
	switch {
	case a.Apply != "":
		return s.apply(ctx, sc.Name+"/"+a.Apply, values, sc.Shared)
	case a.Wait != "":
		d, err := time.ParseDuration(a.Wait)
		if err == nil && !probe.Pause(ctx, d) {
			err = context.Cause(ctx)
		}
		return err
	case a.Until != "":
		return s.until(ctx, a.Until)
	}
	at := *a.touches()
	before, r, err := s.k.get(ctx, at, s.name)
	if err != nil {
		return err
	}
	if before.GetNamespace() != s.name {
		if !sc.Shared {
			return fmt.Errorf("%s is not in the scenario's own namespace: the scenario must say `shared: true`", &at)
		}
		if err := s.note(ctx, change{Object: at, Before: bare(before)}); err != nil {
			return err
		}
	}
	if a.Delete != nil {
		err = r.Delete(ctx, at.Name, metav1.DeleteOptions{})
	} else {
		merge := map[string]any{}
		if a.Patch != nil {
			merge = a.Patch.Merge
		} else {
			merge["spec"] = map[string]any{"replicas": a.Scale.Replicas}
		}
		var raw []byte
		if raw, err = json.Marshal(merge); err == nil {
			_, err = r.Patch(ctx, at.Name, types.MergePatchType, raw, metav1.PatchOptions{FieldManager: manager})
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", &at, err)
	}
	return nil
}

// apply writes every document of a manifest.
func (s *space) apply(ctx context.Context, file string, values map[string]string, shared bool) error {
	raw, lacking, err := manifest(file, values)
	if err == nil && len(lacking) > 0 {
		err = fmt.Errorf("manifest %s: no value for %v", file, lacking)
	}
	if err != nil {
		return err
	}
	docs, err := documents(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, o := range docs {
		if o.GetNamespace() == "" {
			o.SetNamespace(s.name)
		}
		if err := s.applyOne(ctx, o, shared); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func (s *space) applyOne(ctx context.Context, o *unstructured.Unstructured, shared bool) error {
	gvk := o.GroupVersionKind()
	m, err := s.k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return fmt.Errorf("the cluster does not know %s: %w", gvk.Kind, err)
	}
	r := s.k.dyn.Resource(m.Resource).Namespace(o.GetNamespace())
	clustered := m.Scope.Name() != "namespace"
	if !clustered && o.GetNamespace() == s.name { // it goes with the namespace
		return s.k.apply(ctx, r, o)
	}
	at := Object{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
	if !shared {
		return fmt.Errorf("%s is not in the scenario's own namespace: the scenario must say `shared: true`", &at)
	}
	if clustered {
		o.SetNamespace("")
		at.Namespace = ""
	}
	before, client, err := s.k.get(ctx, at, at.Namespace)
	switch {
	case apierrors.IsNotFound(err):
		err = s.note(ctx, change{Object: at})
	case err == nil && at.Kind == "Secret":
		err = fmt.Errorf("%s exists and would have to be kept with what it holds: it is left alone", &at)
	case err == nil:
		err = s.note(ctx, change{Object: at, Before: bare(before)})
	}
	if err != nil {
		return err
	}
	return s.k.apply(ctx, client, o)
}

// until waits for something of the namespace.
func (s *space) until(ctx context.Context, what Until) error {
	ctx, cancel := context.WithTimeoutCause(ctx, untilWithin, fmt.Errorf("waited %s for %s in namespace %s", untilWithin, what, s.name))
	defer cancel()
	there := "none was seen"
	for {
		list, err := s.k.dyn.Resource(pods).Namespace(s.name).List(ctx, metav1.ListOptions{})
		if err == nil && (len(list.Items) == 0) == (what == NoPods) {
			return nil
		}
		if err == nil && len(list.Items) > 0 {
			there = standing(list.Items)
		}
		if !probe.Pause(ctx, time.Second) {
			return fmt.Errorf("%w: %s", context.Cause(ctx), there)
		}
	}
}

// standing says of pods how old they are and whether they are on their way out.
func standing(pods []unstructured.Unstructured) string {
	var out []string
	for _, p := range pods {
		phase, _, _ := unstructured.NestedString(p.Object, "status", "phase")
		words := fmt.Sprintf("pod %s, %s, made %s", p.GetName(), phase, p.GetCreationTimestamp().Format(time.TimeOnly))
		if d := p.GetDeletionTimestamp(); d != nil {
			words += ", to be gone by " + d.Format(time.TimeOnly)
		}
		out = append(out, words)
	}
	return strings.Join(out, "; ")
}

// undo puts back what lies outside the namespace, the last change first.
func (s *space) undo(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(s.changes) {
		if err := s.k.takeBack(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("putting back %s: %w", &c.Object, err))
		}
	}
	for _, c := range s.changes {
		if c.Kind == "Deployment" && len(errs) == 0 {
			errs = append(errs, s.k.available(ctx, c.Object)...)
		}
	}
	if len(errs) == 0 {
		s.changes = nil
	}
	return errors.Join(errs...)
}

// available waits until a Deployment that was put back has its pods again: whatever comes next would see it missing.
func (k *kube) available(ctx context.Context, at Object) []error {
	for {
		o, _, err := k.get(ctx, at, at.Namespace)
		if apierrors.IsNotFound(err) {
			return nil
		}
		said := ""
		if err == nil {
			want, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			have, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
			seen, managed, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
			if !managed || seen >= o.GetGeneration() && have >= want { // one without a status has no controller that would start pods
				return nil
			}
			said = fmt.Sprintf("%d of %d pods are available", have, want)
		}
		if !probe.Pause(ctx, time.Second) {
			return []error{errors.Join(fmt.Errorf("%s was put back and is not whole again: %s", &at, said), err)}
		}
	}
}

func (k *kube) takeBack(ctx context.Context, c change) error {
	gv, err := schema.ParseGroupVersion(c.APIVersion)
	if err != nil {
		return err
	}
	r, err := k.resource(gv.WithKind(c.Kind), c.Namespace)
	if err != nil {
		return err
	}
	if c.Before == nil {
		return ignoreMissing(r.Delete(ctx, c.Name, metav1.DeleteOptions{}))
	}
	return k.restore(ctx, r, c.Before)
}

// close takes the namespace away. The journal goes last, with the namespace, and only after everything in it was undone.
func (s *space) close(ctx context.Context) error {
	s.stop()
	s.beats.Wait()
	if err := s.undo(ctx); err != nil {
		return fmt.Errorf("%w; namespace %s stays, the next drill tries again", err, s.name)
	}
	return s.k.deleteNamespace(ctx, s.name)
}

// deleteNamespace deletes a namespace of a drill and waits until it is gone. It touches no other.
func (k *kube) deleteNamespace(ctx context.Context, name string) error {
	r := k.dyn.Resource(namespaces)
	now := int64(0)
	for i := 0; ; i++ {
		o, err := r.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err == nil && o.GetLabels()[drillLabel] != "true":
			return fmt.Errorf("namespace %s exists and is not of a drill: it is left alone; rename it or leave the scenario out", name)
		case err == nil && i == 0:
			err = ignoreMissing(r.Delete(ctx, name, metav1.DeleteOptions{}))
		case err == nil && i%5 == 3: // a drain of minutes would only hold the next one up
			err = k.dyn.Resource(pods).Namespace(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
		}
		if !probe.Pause(ctx, time.Second) {
			if err == nil {
				err = errors.New(holds(o))
			}
			return fmt.Errorf("namespace %s does not go away: %w", name, err)
		}
	}
}

// holds says what keeps a namespace from going away, as the cluster tells it.
func holds(o *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		if m["status"] == "True" {
			return fmt.Sprintf("%v: %v; the next drill tries again", m["type"], m["message"])
		}
	}
	return fmt.Sprintf("`kubectl get namespace %s -o yaml` says what holds it; the next drill tries again", o.GetName())
}
