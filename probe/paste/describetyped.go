// describetyped.go: the descriptions that kubectl lays out by hand, one function a kind (k8s.io/kubectl/pkg/describe/describe.go).
package paste

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"probe/hops"
)

// describedKind tells the kind of a description that does not say it: by its sections, else by the command above it.
func (p *parser) describedKind(root *node) (kind, bool) {
	name := ""
	has := func(keys ...string) bool {
		for _, k := range keys {
			if root.kid(k) == nil {
				return false
			}
		}
		return true
	}
	switch {
	case has("Node") && (has("Containers") || has("Init Containers") || has("QoS Class")), has("Containers") && !has("Pod Template"), has("Init Containers"):
		name = "pods"
	case has("StrategyType"), has("NewReplicaSet"), has("OldReplicaSets"):
		name = "deployments"
	case has("Pods Status"), has("Replicas", "Pod Template"):
		name = "replicasets"
	case has("Session Affinity"), has("Type", "IP"), has("Type", "Endpoints"):
		name = "services"
	case has("StorageClass"), has("VolumeMode"):
		name = "pvc"
	case has("Mountable secrets"):
		name = "sa"
	case has("Taints"), has("Roles", "Addresses"):
		name = "nodes"
	case has("AddressType"):
		name = "endpointslices"
	case has("Subsets"):
		name = "endpoints"
	case has("Data"):
		name = "cm"
	}
	if name != "" {
		return p.kinds.find(name)
	}
	if len(p.hint.kinds) == 1 && p.hint.verb == "describe" {
		k, ok := p.kinds.find(p.hint.kinds[0])
		return k, ok && (!strings.Contains(k.api, ".") || strings.HasSuffix(k.api, "k8s.io/v1"))
	}
	return kind{}, false
}

// typedObject makes the object of a description that is laid out by hand.
func (p *parser) typedObject(k kind, root *node) hops.Object {
	meta := map[string]any{"name": root.line("Name")}
	if ns := root.line("Namespace"); ns != "" {
		meta["namespace"] = ns
	}
	if l := pairs(root.kid("Labels"), "="); l != nil {
		meta["labels"] = l
	}
	if a := pairs(root.kid("Annotations"), ":"); a != nil {
		meta["annotations"] = a
	}
	if t := stamp(root.get("CreationTimestamp")); t != "" {
		meta["creationTimestamp"] = t
	}
	o := hops.Object{APIVersion: k.api, Kind: k.kind, Name: str(meta["name"]), Namespace: str(meta["namespace"]), Tree: map[string]any{"metadata": meta}}
	spec, status := map[string]any{}, map[string]any{}
	switch k.kind {
	case "Pod":
		describedPod(root, meta, spec, status)
	case "Deployment", "ReplicaSet":
		describedReplicas(root, spec, status)
	case "Service":
		describedService(root, spec, status)
	case "PersistentVolumeClaim":
		put(status, "phase", root.get("Status"))
		put(spec, "storageClassName", root.get("StorageClass"))
		put(spec, "volumeName", root.get("Volume"))
	case "Namespace":
		put(status, "phase", root.get("Status"))
	case "Node":
		if strings.HasPrefix(root.get("Unschedulable"), "true") {
			spec["unschedulable"] = true
		}
		conditionRows(root.kid("Conditions"), status)
	case "ResourceQuota":
		quota(root, status)
	case "Endpoints":
		describedEndpoints(root, o.Tree)
	}
	if len(spec) > 0 {
		o.Tree["spec"] = spec
	}
	if len(status) > 0 {
		o.Tree["status"] = status
	}
	return o
}

func put(m map[string]any, field, v string) {
	if v != "" {
		m[field] = v
	}
}

// stamp turns the times that describe prints into RFC 3339; "" when it is none.
func stamp(s string) string {
	for _, form := range []string{time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 -0700", time.RFC3339} {
		if t, err := time.Parse(form, strings.TrimSpace(s)); err == nil {
			return t.UTC().Format(time.RFC3339)
		}
	}
	return ""
}

func describedPod(root *node, meta, spec, status map[string]any) {
	phase := root.get("Status")
	if strings.HasPrefix(phase, "Terminating") {
		meta["deletionTimestamp"] = "unknown"
	} else {
		put(status, "phase", phase)
	}
	put(status, "reason", root.get("Reason"))
	put(status, "message", root.get("Message"))
	put(status, "podIP", root.get("IP"))
	put(status, "startTime", stamp(root.get("Start Time")))
	put(spec, "serviceAccountName", root.get("Service Account"))
	if node, _, _ := strings.Cut(root.get("Node"), "/"); node != "" {
		spec["nodeName"] = node
	}
	if owner := root.get("Controlled By"); owner != "" {
		if k, name, ok := strings.Cut(owner, "/"); ok {
			meta["ownerReferences"] = []any{map[string]any{"kind": k, "name": name, "controller": true}}
		}
	}
	for _, part := range []struct{ section, spec, status string }{{"Init Containers", "initContainers", "initContainerStatuses"},
		{"Containers", "containers", "containerStatuses"}} {
		section := root.kid(part.section)
		if section == nil {
			continue
		}
		var specs, statuses []any
		for _, c := range section.kids {
			sp, st := describedContainer(c)
			specs, statuses = append(specs, sp), append(statuses, st)
		}
		spec[part.spec] = specs
		if len(statuses) > 0 {
			status[part.status] = statuses
		}
	}
	conditionRows(root.kid("Conditions"), status)
}

// describedContainer reads one container: its spec and its status.
func describedContainer(c *node) (spec, status map[string]any) {
	spec, status = map[string]any{"name": c.key}, map[string]any{"name": c.key}
	put(spec, "image", c.get("Image"))
	put(status, "image", c.get("Image"))
	for _, field := range []struct{ key, field string }{{"Command", "command"}, {"Args", "args"}} {
		if n := c.kid(field.key); n != nil {
			var list []any
			for _, w := range n.words {
				list = append(list, w)
			}
			for _, k := range n.kids { // an argument that reads like a key
				list = append(list, strings.TrimSpace(k.key+": "+k.value))
			}
			spec[field.field] = list
		}
	}
	if ports := containerPorts(c); ports != nil {
		spec["ports"] = ports
	}
	resources := map[string]any{}
	for _, key := range []string{"Limits", "Requests"} {
		if n := c.kid(key); n != nil {
			m := map[string]any{}
			for _, k := range n.kids {
				m[k.key] = k.value
			}
			resources[strings.ToLower(key)] = m
		}
	}
	if len(resources) > 0 {
		spec["resources"] = resources
	}
	if n := c.kid("State"); n != nil {
		status["state"] = containerState(n)
	}
	if n := c.kid("Last State"); n != nil && n.value != "<none>" {
		status["lastState"] = containerState(n)
	}
	if v := c.get("Ready"); v != "" {
		status["ready"] = v == "True"
	}
	number(status, "restartCount", c.get("Restart Count"))
	if r := c.get("Readiness"); r != "" {
		spec["readinessProbe"] = probeOf(r)
	}
	if r := c.get("Liveness"); r != "" {
		spec["livenessProbe"] = probeOf(r)
	}
	return spec, status
}

// containerPorts reads "8080/TCP, 9091/TCP".
func containerPorts(c *node) []any {
	v := c.get("Port")
	if v == "" {
		v = c.get("Ports")
	}
	var out []any
	for one := range strings.SplitSeq(v, ",") {
		num, proto, ok := strings.Cut(strings.TrimSpace(one), "/")
		n, err := strconv.Atoi(num)
		if !ok || err != nil {
			continue
		}
		out = append(out, map[string]any{"containerPort": int64(n), "protocol": proto})
	}
	return out
}

// containerState reads "State: Waiting" with the keys below it.
func containerState(n *node) map[string]any {
	m := map[string]any{}
	put(m, "reason", n.get("Reason"))
	put(m, "message", n.get("Message"))
	switch n.value {
	case "Waiting":
		return map[string]any{"waiting": m}
	case "Running":
		put(m, "startedAt", stamp(n.get("Started")))
		return map[string]any{"running": m}
	case "Terminated":
		put(m, "startedAt", stamp(n.get("Started")))
		put(m, "finishedAt", stamp(n.get("Finished")))
		number(m, "exitCode", n.get("Exit Code"))
		number(m, "signal", n.get("Signal"))
		return map[string]any{"terminated": m}
	}
	return map[string]any{}
}

var probeURL = regexp.MustCompile(`^(http-get|tcp-socket|grpc) (?:<pod>:(\d+)|(?:(https?)://)?([^:/\s]*):(\d+)([^\s]*))`)

// probeOf reads "http-get http://:8012/ delay=0s timeout=1s period=10s #success=1 #failure=3".
func probeOf(s string) map[string]any {
	out := map[string]any{}
	if m := probeURL.FindStringSubmatch(s); m != nil {
		target := map[string]any{}
		number(target, "port", m[2]+m[5])
		put(target, "path", m[6])
		put(target, "scheme", strings.ToUpper(m[3]))
		out[map[string]string{"http-get": "httpGet", "tcp-socket": "tcpSocket", "grpc": "grpc"}[m[1]]] = target
	} else if strings.HasPrefix(s, "exec ") {
		out["exec"] = map[string]any{}
	}
	for w := range strings.FieldsSeq(s) {
		k, v, _ := strings.Cut(w, "=")
		field := map[string]string{"delay": "initialDelaySeconds", "timeout": "timeoutSeconds", "period": "periodSeconds", "#success": "successThreshold",
			"#failure": "failureThreshold"}[k]
		if field != "" {
			number(out, field, strings.TrimSuffix(v, "s"))
		}
	}
	return out
}

// conditionRows reads "Type  Status [Reason]" lines; a node's have two times between.
func conditionRows(n *node, status map[string]any) {
	if n == nil {
		return
	}
	var list []any
	for _, row := range n.words {
		w := strings.Fields(row)
		if len(w) < 2 || w[0] == "Type" || strings.HasPrefix(w[0], "--") || !truthCell.MatchString(w[1]) {
			continue
		}
		c := map[string]any{"type": w[0], "status": w[1]}
		if len(w) == 3 {
			c["reason"] = w[2]
		} else if parts := splitGaps(strings.TrimSpace(row)); len(parts) > 2 && !strings.Contains(parts[2], ",") {
			c["reason"] = parts[2]
		} else if len(parts) > 5 {
			c["reason"], c["message"] = parts[4], parts[5]
		}
		list = append(list, c)
	}
	if list != nil {
		status["conditions"] = list
	}
}

var replicaCount = regexp.MustCompile(`(\d+) (desired|updated|total|available|unavailable|current|Running|Waiting|Succeeded|Failed)`)

// describedReplicas reads "1 desired | 1 updated | 1 total | 0 available | 1 unavailable", and "1 current / 1 desired".
func describedReplicas(root *node, spec, status map[string]any) {
	for _, m := range replicaCount.FindAllStringSubmatch(root.get("Replicas"), -1) {
		switch m[2] {
		case "desired":
			number(spec, "replicas", m[1])
		case "total", "current":
			number(status, "replicas", m[1])
		default:
			number(status, m[2]+"Replicas", m[1])
		}
	}
	conditionRows(root.kid("Conditions"), status)
	if t := root.kid("Pod Template"); t != nil {
		pod := map[string]any{}
		describedPod(t, map[string]any{}, pod, map[string]any{})
		meta := map[string]any{}
		if l := pairs(t.kid("Labels"), "="); l != nil {
			meta["labels"] = l
		}
		spec["template"] = map[string]any{"metadata": meta, "spec": pod}
	}
}

func describedService(root *node, spec, status map[string]any) {
	put(spec, "type", root.get("Type"))
	put(spec, "clusterIP", root.get("IP"))
	put(spec, "externalName", root.get("External Name"))
	if s := pairs(root.kid("Selector"), "="); s != nil {
		m := map[string]any{}
		for pair := range strings.SplitSeq(root.get("Selector"), ",") {
			if k, v, ok := strings.Cut(pair, "="); ok {
				m[k] = v
			}
		}
		spec["selector"] = m
	}
	if lb := root.get("LoadBalancer Ingress"); lb != "" {
		field := "hostname"
		if strings.Trim(lb, "0123456789.") == "" {
			field = "ip"
		}
		status["loadBalancer"] = map[string]any{"ingress": []any{map[string]any{field: lb}}}
	}
	var ports []any
	for _, n := range root.kids {
		switch n.key {
		case "Port":
			m := map[string]any{}
			name, num, named := strings.Cut(n.value, " ")
			if !named {
				name, num = "", n.value
			}
			if name != "" && name != "<unset>" {
				m["name"] = name
			}
			port, proto, _ := strings.Cut(strings.TrimSpace(num), "/")
			number(m, "port", port)
			put(m, "protocol", proto)
			ports = append(ports, m)
		case "TargetPort":
			if len(ports) > 0 {
				target, _, _ := strings.Cut(n.value, "/")
				m := ports[len(ports)-1].(map[string]any)
				put(m, "targetPort", target)
				number(m, "targetPort", target)
			}
		}
	}
	if ports != nil {
		spec["ports"] = ports
	}
}

// describedEndpoints reads the addresses below "Subsets:".
func describedEndpoints(root *node, tree map[string]any) {
	subset := map[string]any{}
	for key, field := range map[string]string{"Addresses": "addresses", "NotReadyAddresses": "notReadyAddresses"} {
		var list []any
		for ip := range strings.SplitSeq(root.get("Subsets", key), ",") {
			if ip = strings.TrimSpace(ip); ip != "" {
				list = append(list, map[string]any{"ip": ip})
			}
		}
		subset[field] = list
	}
	tree["subsets"] = []any{subset}
}

// quota reads the table Resource, Used, Hard.
func quota(root *node, status map[string]any) {
	used, hard := map[string]any{}, map[string]any{}
	for _, r := range root.words {
		w := strings.Fields(r)
		if len(w) == 3 && w[0] != "Resource" && !strings.HasPrefix(w[0], "--") && w[2][0] >= '0' && w[2][0] <= '9' {
			used[w[0]], hard[w[0]] = w[1], w[2]
		}
	}
	if len(hard) > 0 {
		status["used"], status["hard"] = used, hard
	}
}
