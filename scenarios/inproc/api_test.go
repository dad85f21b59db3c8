package inproc

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"probe/hops"
)

var isvcs = schema.GroupVersionResource{Group: "serving.kserve.io", Version: "v1beta1", Resource: "inferenceservices"}

// isvc is an InferenceService with the least that counts.
func isvc(namespace, name, team, uri string) map[string]any {
	return map[string]any{"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
		"metadata": map[string]any{"namespace": namespace, "name": name, "generation": 1, "labels": map[string]any{"team": team}},
		"spec":     map[string]any{"predictor": map[string]any{"storageUri": uri}}}
}

// cluster starts an API server with services named svc-0 and on, in the namespaces a and b by turns.
func cluster(t *testing.T, n int) *API {
	t.Helper()
	var s hops.Snapshot
	for i := range n {
		ns, name := string("ab"[i%2]), fmt.Sprintf("svc-%d", i)
		tree := isvc(ns, name, ns, "s3://x")
		s.Objects = append(s.Objects, hops.Object{Source: hops.InferenceServices, Kind: "InferenceService", Namespace: ns, Name: name, Tree: tree})
	}
	a, err := NewAPI(&s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func dynamicFor(t *testing.T, a *API) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(a.Config())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestListInPages(t *testing.T) {
	a := cluster(t, 7)
	c := dynamicFor(t, a)
	for _, test := range []struct {
		name, namespace, labels, fields string
		limit                           int64
		want                            string
		pages                           int
	}{
		{"all at once", "", "", "", 0, "a/svc-0 a/svc-2 a/svc-4 a/svc-6 b/svc-1 b/svc-3 b/svc-5", 1},
		{"in pages of three", "", "", "", 3, "a/svc-0 a/svc-2 a/svc-4 a/svc-6 b/svc-1 b/svc-3 b/svc-5", 3},
		{"a namespace in pages", "b", "", "", 2, "b/svc-1 b/svc-3 b/svc-5", 2},
		{"by label", "", "team=b", "", 0, "b/svc-1 b/svc-3 b/svc-5", 1},
		{"by name", "", "", "metadata.name=svc-4", 0, "a/svc-4", 1},
		{"nothing", "c", "", "", 0, "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := metav1.ListOptions{LabelSelector: test.labels, FieldSelector: test.fields, Limit: test.limit}
			var got []string
			pages := 0
			for {
				l, err := c.Resource(isvcs).Namespace(test.namespace).List(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				pages++
				for _, i := range l.Items {
					got = append(got, i.GetNamespace()+"/"+i.GetName())
				}
				if o.Continue = l.GetContinue(); o.Continue == "" {
					break
				}
			}
			if s := strings.Join(got, " "); s != test.want || pages != test.pages {
				t.Errorf("%d pages: %s; want %d: %s", pages, s, test.pages, test.want)
			}
		})
	}
}

// next waits for the next event of a watch that is no bookmark.
func next(t *testing.T, w watch.Interface) string {
	t.Helper()
	select {
	case e, ok := <-w.ResultChan():
		if !ok {
			return "closed"
		}
		if s, ok := e.Object.(*metav1.Status); ok {
			return fmt.Sprintf("%s %d", e.Type, s.Code)
		}
		o := e.Object.(*unstructured.Unstructured)
		return fmt.Sprintf("%s %s/%s %s g%d", e.Type, o.GetNamespace(), o.GetName(), o.GetResourceVersion(), o.GetGeneration())
	case <-time.After(10 * time.Second):
		t.Fatal("the watch says nothing")
		return ""
	}
}

func TestWatch(t *testing.T) {
	a := cluster(t, 2) // versions 1 and 2
	c := dynamicFor(t, a).Resource(isvcs)
	open := func(o metav1.ListOptions, namespace string) watch.Interface {
		w, err := c.Namespace(namespace).Watch(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
		return w
	}
	all, team := open(metav1.ListOptions{ResourceVersion: "2"}, ""), open(metav1.ListOptions{ResourceVersion: "2", LabelSelector: "team=x"}, "")
	fresh, other := open(metav1.ListOptions{}, "a"), open(metav1.ListOptions{ResourceVersion: "2"}, "b")
	for _, o := range []map[string]any{isvc("a", "svc-0", "x", "s3://x"), isvc("a", "svc-0", "x", "s3://y"), isvc("a", "svc-0", "a", "s3://y")} {
		if err := a.Set(o); err != nil {
			t.Fatal(err)
		}
	}
	gone := hops.ObjectRef{Source: hops.InferenceServices, Namespace: "a", Name: "svc-0"}
	if !a.Delete(gone) || a.Delete(gone) {
		t.Error("Delete says whether there was one")
	}
	if err := a.Set(isvc("b", "new", "x", "s3://z")); err != nil {
		t.Fatal(err)
	}
	old := open(metav1.ListOptions{ResourceVersion: "5"}, "")
	for _, test := range []struct {
		name string
		w    watch.Interface
		want []string
	}{
		{"all", all, []string{"MODIFIED a/svc-0 3 g1", "MODIFIED a/svc-0 4 g2", "MODIFIED a/svc-0 5 g2", "DELETED a/svc-0 6 g2", "ADDED b/new 7 g1"}},
		{"by label", team, []string{"ADDED a/svc-0 3 g1", "MODIFIED a/svc-0 4 g2", "DELETED a/svc-0 5 g2", "ADDED b/new 7 g1"}},
		{"from nothing", fresh, []string{"ADDED a/svc-0 1 g1", "MODIFIED a/svc-0 3 g1", "MODIFIED a/svc-0 4 g2", "MODIFIED a/svc-0 5 g2",
			"DELETED a/svc-0 6 g2"}},
		{"another namespace", other, []string{"ADDED b/new 7 g1"}},
		{"from a version of the past", old, []string{"DELETED a/svc-0 6 g2", "ADDED b/new 7 g1"}},
	} {
		for _, want := range test.want {
			if got := next(t, test.w); got != want {
				t.Errorf("%s: %s, want %s", test.name, got, want)
			}
		}
	}
	a.Compact()
	if got := next(t, open(metav1.ListOptions{ResourceVersion: "5"}, "")); got != "ERROR 410" {
		t.Errorf("from before the compaction: %s", got)
	}
	a.CutWatches()
	if got := next(t, all); got != "closed" {
		t.Errorf("a watch that was cut: %s", got)
	}
}

// client-go's own informer lists in pages, follows, and comes back after all that can happen to it.
func TestInformer(t *testing.T) {
	a := cluster(t, 5)
	f := dynamicinformer.NewDynamicSharedInformerFactory(dynamicFor(t, a), 0)
	inf := f.ForResource(isvcs).Informer()
	seen := make(chan string, 100)
	inf.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { seen <- "add " + o.(*unstructured.Unstructured).GetName() },
		DeleteFunc: func(o any) { k, _ := cache.DeletionHandlingMetaNamespaceKeyFunc(o); seen <- "delete " + k },
	})
	ctx, cancel := context.WithCancel(t.Context())
	inf.SetWatchErrorHandler(func(*cache.Reflector, error) {}) // it is cut on purpose
	f.Start(ctx.Done())
	defer f.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), inf.HasSynced) {
		t.Fatal("not synced")
	}
	for range 5 {
		<-seen
	}
	a.Set(isvc("a", "later", "a", "s3://x"))
	if got := <-seen; got != "add later" {
		t.Error(got)
	}
	a.Refuse(http.StatusServiceUnavailable)
	a.Delete(hops.ObjectRef{Source: hops.InferenceServices, Namespace: "a", Name: "svc-0"})
	a.Compact()
	a.Refuse(0)
	select {
	case got := <-seen:
		if got != "delete a/svc-0" {
			t.Error(got)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("never told of the deletion; requests: %v", a.Requests())
	}
}

func TestLeases(t *testing.T) {
	a := cluster(t, 0)
	c, err := kubernetes.NewForConfig(a.Config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, leases := t.Context(), c.CoordinationV1().Leases("probe")
	holder := "agent-0"
	first := &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: "probe-agent-0"}, Spec: coordination.LeaseSpec{HolderIdentity: &holder}}
	made, err := leases.Create(ctx, first, metav1.CreateOptions{})
	if err != nil || made.UID == "" || made.ResourceVersion != "1" {
		t.Fatal(made, err)
	}
	if _, err := leases.Create(ctx, made, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Error("created twice:", err)
	}
	old := made.DeepCopy()
	other := "agent-1"
	made.Spec.HolderIdentity = &other
	if _, err := leases.Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := leases.Update(ctx, old, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Error("an update of an old version:", err)
	}
	if l, err := leases.List(ctx, metav1.ListOptions{}); err != nil || len(l.Items) != 1 || *l.Items[0].Spec.HolderIdentity != "agent-1" {
		t.Error(l, err)
	}
	stale := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &old.ResourceVersion}}
	if err := leases.Delete(ctx, "probe-agent-0", stale); !apierrors.IsConflict(err) {
		t.Error("deleted an old version:", err)
	}
	if err := leases.Delete(ctx, "probe-agent-0", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := leases.Get(ctx, "probe-agent-0", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

func TestEvents(t *testing.T) {
	a := cluster(t, 1)
	c, err := kubernetes.NewForConfig(a.Config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, events := t.Context(), c.CoreV1().Events("a")
	e := &core.Event{ObjectMeta: metav1.ObjectMeta{GenerateName: "svc-0."}, Reason: "ProbeFailed", Type: "Warning", Count: 1, Message: "no answer",
		InvolvedObject: core.ObjectReference{Kind: "InferenceService", APIVersion: "serving.kserve.io/v1beta1", Namespace: "a", Name: "svc-0"}}
	made, err := events.Create(ctx, e, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.Patch(ctx, made.Name, types.StrategicMergePatchType, []byte(`{"count":2}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	kept := a.Events()
	if len(kept) != 1 {
		t.Fatal(kept)
	}
	got := hops.ParseEvent(&kept[0])
	if got.Reason != "ProbeFailed" || got.Count != 2 || got.About.Name != "svc-0" || got.About.Source != hops.InferenceServices {
		t.Errorf("%+v", got)
	}
	if n := a.Requests(); n["create events"] != 1 || n["patch events"] != 1 {
		t.Error(n)
	}
}

func TestReviewsAndRefusals(t *testing.T) {
	a := cluster(t, 1)
	a.AllowToken("good", "mia", true)
	a.AllowToken("meek", "tom", false)
	c, err := kubernetes.NewForConfig(a.Config())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for token, want := range map[string]string{"good": "true mia true", "meek": "true tom false", "bad": "false - false"} {
		ask := &authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: token}}
		r, err := c.AuthenticationV1().TokenReviews().Create(ctx, ask, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		right := &authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{User: r.Status.User.Username}}
		may, err := c.AuthorizationV1().SubjectAccessReviews().Create(ctx, right, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(r.Status.Authenticated, " ", cmp.Or(r.Status.User.Username, "-"), " ", may.Status.Allowed); got != want {
			t.Errorf("token %s: %s, want %s", token, got, want)
		}
	}
	a.Refuse(http.StatusUnauthorized)
	if _, err := dynamicFor(t, a).Resource(isvcs).List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Error(err)
	}
	a.Refuse(0)
	err = dynamicFor(t, a).Resource(isvcs).Namespace("a").Delete(ctx, "svc-0", metav1.DeleteOptions{})
	if !apierrors.IsMethodNotSupported(err) {
		t.Error("services are read only:", err)
	}
}

// What a caller handed over stays as it was.
func TestObjectsAreCopies(t *testing.T) {
	a := cluster(t, 0)
	o := isvc("a", "one", "x", "s3://x")
	if err := a.Set(o); err != nil {
		t.Fatal(err)
	}
	ref := hops.ObjectRef{Source: hops.InferenceServices, Namespace: "a", Name: "one"}
	got, ok := a.Object(ref)
	if !ok || o["metadata"].(map[string]any)["resourceVersion"] != nil || got.Str("metadata", "resourceVersion") != "1" {
		t.Fatal(got, ok, o)
	}
	got.Tree["spec"] = nil
	if again, _ := a.Object(ref); !again.Has("spec") {
		t.Error("a change of a copy is seen by others")
	}
	if err := a.Set(map[string]any{"kind": "Unheard", "apiVersion": "v9"}); err == nil {
		t.Error("an object of no known kind is taken")
	}
}
