// object.go: what is kept of an InferenceService, and how two of its versions are compared.
package watch

import (
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Prefix is that of the annotations which are kept.
const Prefix = "probe/"

// object is an InferenceService as it is decoded: what is not kept never leaves the decoder, so that a list of ten thousand costs little.
type object struct {
	metav1.TypeMeta
	metav1.ObjectMeta // name, namespace, uid, resourceVersion, creationTimestamp; of the annotations ours, without their prefix
	digest            uint64
}

// objectList is a list of them.
type objectList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []object `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (o *object) DeepCopyObject() runtime.Object {
	out := *o
	out.ObjectMeta = *o.ObjectMeta.DeepCopy()
	return &out
}

// DeepCopyObject implements runtime.Object.
func (l *objectList) DeepCopyObject() runtime.Object {
	out := &objectList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy(), Items: make([]object, len(l.Items))}
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*object)
	}
	return out
}

// wire is the part of an object that is looked at.
type wire struct {
	metav1.TypeMeta
	Metadata struct {
		Name              string
		Namespace         string
		UID               types.UID
		ResourceVersion   string
		Generation        int64
		CreationTimestamp metav1.Time
		Annotations       map[string]string
	}
	Status json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *object) UnmarshalJSON(raw []byte) error {
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	m := w.Metadata
	*o = object{TypeMeta: w.TypeMeta, digest: digest(m.Generation, w.Status),
		ObjectMeta: metav1.ObjectMeta{Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
			CreationTimestamp: m.CreationTimestamp}}
	for k, v := range m.Annotations {
		name, ours := strings.CutPrefix(k, Prefix)
		if !ours {
			continue
		}
		if o.Annotations == nil {
			o.Annotations = map[string]string{}
		}
		o.Annotations[name] = v
	}
	return nil
}

// status is what tells where requests go and whether they may (kserve/pkg/apis/serving/v1beta1/inference_service_status.go). KFServing's v1alpha2 has
// the conditions and the URL.
type status struct {
	URL        string
	Conditions []struct{ Type, Status string }
	Address    struct{ URL string }
	Components map[string]struct {
		URL                 string
		LatestReadyRevision string
		Traffic             []struct {
			RevisionName   string
			LatestRevision bool
			Percent        int64
			Tag            string
		}
	}
}

// digest sums up what may change the path of requests. Times and messages are left out: controllers write them anew without news. A status of another
// form counts whole.
func digest(generation int64, raw json.RawMessage) uint64 {
	h := newSum().number(uint64(generation))
	var s status
	if len(raw) == 0 {
		return uint64(h)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return uint64(h.text(string(raw)))
	}
	h = h.text(s.URL).text(s.Address.URL)
	var unordered uint64 // controllers do not promise an order of conditions and components
	for _, c := range s.Conditions {
		unordered += uint64(newSum().text(c.Type).text(c.Status))
	}
	for name, c := range s.Components {
		one := newSum().text(name).text(c.URL).text(c.LatestReadyRevision)
		for _, t := range c.Traffic {
			latest := uint64(0)
			if t.LatestRevision {
				latest = 1
			}
			one = one.text(t.RevisionName).text(t.Tag).number(uint64(t.Percent)).number(latest)
		}
		unordered += uint64(one)
	}
	return uint64(h.number(unordered))
}

// sum is a running FNV-1a hash of 64 bits.
type sum uint64

func newSum() sum { return 14695981039346656037 }

func (h sum) byte(b byte) sum { return (h ^ sum(b)) * 1099511628211 }

// text adds a string and its end.
func (h sum) text(s string) sum {
	for i := range len(s) {
		h = h.byte(s[i])
	}
	return h.byte(0)
}

func (h sum) number(n uint64) sum {
	for range 8 {
		h, n = h.byte(byte(n)), n>>8
	}
	return h
}
