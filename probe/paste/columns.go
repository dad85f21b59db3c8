// columns.go: where the API has what the columns of a table show.
package paste

import (
	"strconv"
	"strings"

	"probe/hops"
)

// spread writes the columns of a row where the API has them.
func spread(o *hops.Object, row map[string]any) {
	spec, status := map[string]any{}, map[string]any{}
	cell := func(name string) string {
		s := str(row[name])
		if s == "<none>" || s == "<unknown>" || s == "<unset>" {
			return ""
		}
		return s
	}
	put := func(m map[string]any, field, col string) {
		if v := cell(col); v != "" {
			m[field] = v
		}
	}
	switch o.Kind {
	case "InferenceService":
		put(status, "url", "URL")
		ready(status, cell("READY"), "", "")
		traffic(status, cell)
	case "Service":
		if strings.HasPrefix(o.APIVersion, "serving.knative.dev") {
			knative(status, cell, put)
		} else {
			service(spec, status, cell, put)
		}
	case "Configuration", "Route", "Revision", "Ingress", "PodAutoscaler", "ServerlessService", "Certificate":
		knative(status, cell, put)
		put(status, "serviceName", "SERVICENAME")
		put(status, "privateServiceName", "PRIVATESERVICENAME")
		put(spec, "mode", "MODE")
		if o.Kind == "Ingress" && strings.HasPrefix(o.APIVersion, "networking.k8s.io") {
			put(spec, "ingressClassName", "CLASS")
		}
	case "Deployment":
		deployment(spec, status, cell)
	case "ReplicaSet":
		number(spec, "replicas", cell("DESIRED"))
		number(status, "replicas", cell("CURRENT"))
		number(status, "readyReplicas", cell("READY"))
	case "Pod":
		put(status, "podIP", "IP")
		put(spec, "nodeName", "NODE")
	case "Endpoints", "EndpointSlice":
		addresses(o, cell("ENDPOINTS"), cell("PORTS"))
		return
	default:
		spreadOther(o.Kind, spec, status, cell, put)
	}
	if len(spec) > 0 {
		o.Tree["spec"] = spec
	}
	if len(status) > 0 {
		o.Tree["status"] = status
	}
}

// spreadOther writes the columns of kinds that are no workload.
func spreadOther(kindName string, spec, status map[string]any, cell func(string) string, put func(map[string]any, string, string)) {
	switch kindName {
	case "PersistentVolumeClaim", "Namespace":
		put(status, "phase", "STATUS")
		put(spec, "storageClassName", "STORAGECLASS")
		put(spec, "volumeName", "VOLUME")
	case "Node":
		first, rest, _ := strings.Cut(cell("STATUS"), ",")
		ready(status, map[string]string{"Ready": "True", "NotReady": "False"}[first], "", "")
		if strings.Contains(rest, "SchedulingDisabled") {
			spec["unschedulable"] = true
		}
	case "VirtualService":
		words(spec, "hosts", cell("HOSTS"))
		words(spec, "gateways", cell("GATEWAYS"))
	case "HTTPRoute":
		words(spec, "hostnames", cell("HOSTNAMES"))
	case "DestinationRule":
		put(spec, "host", "HOST")
	case "Gateway":
		put(spec, "gatewayClassName", "CLASS")
		ready(status, cell("PROGRAMMED"), "Programmed", "")
	case "PeerAuthentication":
		if m := cell("MODE"); m != "" {
			spec["mtls"] = map[string]any{"mode": m}
		}
	case "AuthorizationPolicy":
		put(spec, "action", "ACTION")
	case "ServingRuntime", "ClusterServingRuntime":
		if d := cell("DISABLED"); d != "" {
			spec["disabled"] = d == "true"
		}
		if m := cell("MODELTYPE"); m != "" {
			spec["supportedModelFormats"] = []any{map[string]any{"name": m}}
		}
	}
}

// ready writes the Ready condition that a column shows.
func ready(status map[string]any, truth, kind, reason string) {
	if truth == "" {
		return
	}
	if kind == "" {
		kind = "Ready"
	}
	c := map[string]any{"type": kind, "status": truth}
	if reason != "" {
		c["reason"] = reason
	}
	status["conditions"] = []any{c}
}

// knative writes the columns that Knative's kinds share.
func knative(status map[string]any, cell func(string) string, put func(map[string]any, string, string)) {
	put(status, "url", "URL")
	if d := cell("DOMAIN"); d != "" {
		status["url"] = "http://" + d
	}
	put(status, "latestCreatedRevisionName", "LATESTCREATED")
	put(status, "latestReadyRevisionName", "LATESTREADY")
	number(status, "actualReplicas", cell("ACTUAL REPLICAS"))
	number(status, "desiredReplicas", cell("DESIRED REPLICAS"))
	number(status, "desiredScale", cell("DESIREDSCALE"))
	number(status, "actualScale", cell("ACTUALSCALE"))
	ready(status, cell("READY"), "", cell("REASON"))
}

// traffic writes the share columns of an InferenceService, of KServe and of KFServing.
func traffic(status map[string]any, cell func(string) string) {
	var list []any
	add := func(col, revision, tag string) {
		n, err := strconv.Atoi(cell(col))
		if err != nil {
			return
		}
		t := map[string]any{"percent": int64(n)}
		if rev := cell(revision); rev != "" {
			t["revisionName"] = rev
		}
		if tag == "latest" {
			t["latestRevision"] = true
		}
		list = append(list, t)
	}
	add("LATEST", "LATESTREADYREVISION", "latest")
	add("PREV", "PREVROLLEDOUTREVISION", "")
	predictor := map[string]any{}
	if list != nil {
		predictor["traffic"] = list
	}
	if rev := cell("LATESTREADYREVISION"); rev != "" {
		predictor["latestReadyRevision"] = rev
	}
	if rev := cell("PREVROLLEDOUTREVISION"); rev != "" {
		predictor["previousRolledoutRevision"] = rev
	}
	if len(predictor) > 0 {
		status["components"] = map[string]any{"predictor": predictor}
	}
	number(status, "traffic", cell("DEFAULT TRAFFIC"))
	number(status, "canaryTraffic", cell("CANARY TRAFFIC"))
}

func deployment(spec, status map[string]any, cell func(string) string) {
	up, all, counted := strings.Cut(cell("READY"), "/")
	if counted {
		number(status, "readyReplicas", up)
		number(spec, "replicas", all)
	} else {
		number(spec, "replicas", cell("DESIRED"))
		number(status, "replicas", cell("CURRENT"))
	}
	number(status, "updatedReplicas", cell("UP-TO-DATE"))
	number(status, "availableReplicas", cell("AVAILABLE"))
}

func service(spec, status map[string]any, cell func(string) string, put func(map[string]any, string, string)) {
	put(spec, "type", "TYPE")
	ip := cell("CLUSTER-IP")
	if ip == "None" || ip != "" {
		spec["clusterIP"] = ip
	}
	ext := cell("EXTERNAL-IP")
	switch {
	case ext == "" || ext == "<pending>":
		if ext != "" {
			status["loadBalancer"] = map[string]any{}
		}
	case cell("TYPE") == "ExternalName":
		spec["externalName"] = ext
	default:
		field := "hostname"
		if strings.Trim(ext, "0123456789.,") == "" || strings.Contains(ext, ":") {
			field = "ip"
		}
		first, _, _ := strings.Cut(ext, ",")
		status["loadBalancer"] = map[string]any{"ingress": []any{map[string]any{field: first}}}
	}
	var ports []any
	for one := range strings.SplitSeq(cell("PORT(S)"), ",") {
		pair, proto, ok := strings.Cut(one, "/")
		if !ok {
			continue
		}
		num, node, _ := strings.Cut(pair, ":")
		m := map[string]any{"protocol": proto}
		number(m, "port", num)
		number(m, "nodePort", node)
		ports = append(ports, m)
	}
	if ports != nil {
		spec["ports"] = ports
	}
}

// addresses writes the ready addresses of Endpoints or an EndpointSlice, with "+ 2 more..." left as unknown.
func addresses(o *hops.Object, list, ports string) {
	endpoints, portList := []any{}, []any{}
	seen := map[string]bool{}
	list, _, _ = strings.Cut(list, " + ")
	addPort := func(s string) {
		if n, err := strconv.Atoi(s); err == nil && !seen[s] {
			seen[s] = true
			portList = append(portList, map[string]any{"port": int64(n)})
		}
	}
	for a := range strings.SplitSeq(list, ",") {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		ip := a
		if i := strings.LastIndexByte(a, ':'); i > 0 && strings.Count(a, ":") == 1 {
			ip = a[:i]
			addPort(a[i+1:])
		}
		endpoints = append(endpoints, map[string]any{"addresses": []any{ip}, "conditions": map[string]any{"ready": true}})
	}
	for s := range strings.SplitSeq(ports, ",") {
		addPort(s)
	}
	o.Tree["endpoints"], o.Tree["ports"] = endpoints, portList
	if o.Kind == "Endpoints" {
		o.Kind, o.APIVersion = "EndpointSlice", "discovery.k8s.io/v1"
		o.Tree["kind"], o.Tree["apiVersion"] = o.Kind, o.APIVersion
		o.Tree["metadata"].(map[string]any)["labels"] = map[string]any{"kubernetes.io/service-name": o.Name}
	}
}

// number writes a cell that is a whole number.
func number(m map[string]any, field, s string) {
	if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil {
		m[field] = int64(n)
	}
}

// words writes a cell that Kubernetes prints as a list: ["a","b"] or [a b].
func words(m map[string]any, field, s string) {
	s = strings.Trim(s, "[]")
	var out []any
	for w := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == ' ' || r == '"' }) {
		out = append(out, w)
	}
	if out != nil {
		m[field] = out
	}
}
