// tree.go: from the API server's JSON to hops.Object, without what nobody reads.
package read

import (
	"probe/hops"
)

// object makes an object of a tree. Items of a list of a built-in kind do not say what they are.
func object(info hops.SourceInfo, version string, tree map[string]any) hops.Object {
	if tree == nil {
		tree = map[string]any{}
	}
	if _, told := tree["kind"].(string); !told {
		tree["kind"] = info.Kind
	}
	if _, told := tree["apiVersion"].(string); !told {
		tree["apiVersion"] = version
		if info.Group != "" {
			tree["apiVersion"] = info.Group + "/" + version
		}
	}
	o := hops.Object{Source: info.Source, Tree: tree}
	o.APIVersion, o.Kind = o.Str("apiVersion"), o.Str("kind")
	o.Namespace, o.Name = o.Str("metadata", "namespace"), o.Str("metadata", "name")
	trim(&o)
	return o
}

// trim drops what is bulk, and what repeats a manifest with the secrets that its author may have left in it.
func trim(o *hops.Object) {
	if m, ok := o.Get("metadata").(map[string]any); ok {
		delete(m, "managedFields")
	}
	if a, ok := o.Get("metadata", "annotations").(map[string]any); ok {
		delete(a, "kubectl.kubernetes.io/last-applied-configuration")
	}
	switch o.Source {
	case hops.Nodes: // names of every image on the node: half of the object
		if s, ok := o.Get("status").(map[string]any); ok {
			delete(s, "images")
		}
	case hops.CustomResources: // megabytes of schema
		for _, v := range o.List("spec", "versions") {
			delete(v, "schema")
		}
	}
}

// words names a resource as kubectl knows it; the group is left out where nobody would look for another.
func words(info hops.SourceInfo) string {
	switch info.Group {
	case "", "apps", "discovery.k8s.io", "networking.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io":
		return info.Resource
	}
	return info.Resource + "." + info.Group
}

// product names what brings a group of resources.
func product(group string) string {
	switch group {
	case "serving.knative.dev", "autoscaling.internal.knative.dev", "networking.internal.knative.dev":
		return "Knative Serving"
	case "networking.istio.io", "security.istio.io":
		return "Istio"
	case "gateway.networking.k8s.io":
		return "Gateway API"
	case "serving.kserve.io", "serving.kubeflow.org":
		return "KServe"
	}
	return group
}
