// origin.go: tells whose log a line is of by the words that one program alone writes, and which lines look like trouble.
package paste

import (
	"strings"

	"probe/hops"
)

// told says whose log a line is of when the line itself tells. who is what is known from outside.
func told(text string, who *origin) (origin, bool) {
	o := *who
	if text == "" {
		return o, false
	}
	switch text[0] {
	case '{':
		return toldJSON(text, o)
	case '[':
		if accessLike(text) {
			return gateway(o), true
		}
	case '2':
		if len(text) > 27 && text[10] == 'T' {
			if stamp, rest, ok := strings.Cut(text, " "); ok && len(stamp) < 40 && strings.HasPrefix(rest, "{") { // kubectl logs --timestamps
				return toldJSON(rest, o)
			}
			return toldTabs(text, o)
		}
	}
	if o.container != "" || o.source != hops.ContainerLogs {
		return o, false
	}
	switch {
	case strings.Contains(text, "initializer-entrypoint:") || strings.Contains(text, "storage.initializer ") || strings.Contains(text, `"/storage-initializer/scripts`) ||
		strings.Contains(text, "Initializing, args: ") || strings.Contains(text, `kserve_storage.py", line`) || strings.Contains(text, `storage/storage.py", line`) ||
		strings.Contains(text, `kfserving/storage.py", line`) || strings.HasPrefix(text, "INFO:root:Copying contents of") || strings.Contains(text, "[storage.py:"):
		o.container = "storage-initializer"
	case strings.HasPrefix(text, "aggressive probe error") || strings.HasPrefix(text, "timed out waiting for the condition, aggressive"):
		o.container = "queue-proxy"
	case strings.Contains(text, "Uvicorn running on") || strings.Contains(text, "[kserve]") || strings.Contains(text, "Registering model:") ||
		strings.Contains(text, "kfserver:") || strings.Contains(text, "uvicorn.error") || strings.Contains(text, "model_server.py"):
		o.container = "kserve-container"
	default:
		return o, false
	}
	return o, true
}

// accessLike says whether a line has the beginning of Envoy's default access log, without parsing it: [time] "METHOD path protocol" status.
func accessLike(text string) bool {
	head := text[:min(len(text), 48)]
	_, rest, ok := strings.Cut(head, `] "`)
	if !ok || len(text) < 80 || text[1] != '2' && text[1] != '1' {
		return false
	}
	method, _, ok := strings.Cut(rest, " ")
	return ok && strings.ToUpper(method) == method
}

// gateway is the origin of access log lines: what stands before them names the pod, if anything.
func gateway(o origin) origin {
	o.source = hops.AccessLogs
	if o.container == "" {
		o.container = "istio-proxy"
	}
	return o
}

// toldJSON knows the loggers of Knative, KServe and Istio (field "logger" or "scope").
func toldJSON(text string, o origin) (origin, bool) {
	if strings.Contains(text, `"response_code"`) && strings.Contains(text, `"response_flags"`) {
		return gateway(o), true
	}
	_, rest, ok := strings.Cut(text, `"logger":`)
	logger := ""
	if ok {
		logger, _, _ = strings.Cut(strings.TrimLeft(rest, ` "`), `"`)
	}
	root, _, _ := strings.Cut(logger, ".")
	switch {
	case root == "queueproxy":
		o.source, o.container = hops.ContainerLogs, "queue-proxy"
	case root == "activator", root == "autoscaler", root == "webhook", root == "controller":
		o.source, o.container = hops.SystemLogs, root
	case root == "istiocontroller", strings.HasPrefix(root, "net-istio"), root == "istio-ingress-controller":
		o.source, o.container = hops.SystemLogs, "controller"
	case root == "v1beta1Controllers", root == "v1alpha1Controllers", root == "InferenceService", strings.HasPrefix(root, "kfserving"), root == "entrypoint",
		root == "setup", root == "controller-runtime", strings.HasPrefix(root, "inferenceservice-"), root == "VirtualServiceReconciler",
		strings.HasSuffix(root, "Reconciler"), strings.HasPrefix(root, "pod-mutator"), strings.Contains(text, `"controller":"inferenceservice"`),
		strings.Contains(text, `"controllerGroup":"serving.kserve.io"`):
		o.source, o.container = hops.SystemLogs, "manager"
	case strings.Contains(text, `"scope":`) && strings.Contains(text, `"level":`):
		o.source, o.container = hops.SystemLogs, "discovery"
	case strings.Contains(text, `"knative.dev/controller"`), strings.Contains(text, `"knative.dev/kind"`):
		o.source, o.container = hops.SystemLogs, "controller"
	default:
		return o, false
	}
	return o, true
}

// toldTabs knows lines of the form "TIME<tab>LEVEL<tab>SCOPE<tab>...": istiod, istio-proxy, and controllers that log as text.
func toldTabs(text string, o origin) (origin, bool) {
	w := strings.SplitN(text, "\t", 5)
	if len(w) < 3 {
		return o, false
	}
	switch scope := w[2]; {
	case strings.HasPrefix(scope, "envoy"), scope == "sds", scope == "xdsproxy", scope == "Readiness":
		if o.source == hops.ContainerLogs && o.container == "" {
			o.container = "istio-proxy"
		}
	case scope == "ads", scope == "delta", scope == "validationController", scope == "validationServer", scope == "model", scope == "klog":
		o.source, o.container = hops.SystemLogs, "discovery"
	case strings.HasPrefix(scope, "v1beta1Controllers"), strings.HasPrefix(scope, "InferenceService"), strings.HasPrefix(scope, "controller-runtime"),
		strings.HasPrefix(scope, "setup"), scope == "Reconciler error", strings.Contains(text, `"controller": "inferenceservice"`):
		o.source, o.container = hops.SystemLogs, "manager"
	default:
		return o, false
	}
	return o, true
}

// tellingWords are pieces of words that stand in lines about trouble, in lower case. Each begins with two letters that are rare together, so that
// one pass over a line finds them.
func tellingWords() []string {
	return []string{"error", "fail", "denied", "exception", "refused", "timeout", "timed out", "traceback", "panic", "fatal", "warn", "unable", "cannot",
		"invalid", "forbidden", "unauthorized", "not found", "no such", "killed", "oom", "unhealthy", "reset by peer", "no space", "abort", "does not exist",
		"unavailable", "exceeded", "rejected", "unexpected", "not ready", "no healthy", "certificate", "segmentation", "cuda", "missing", "no model",
		"mismatch", "permission", "credential", "exit", "websocket", "\" 40", "\" 42", "\" 50", " 503 ", " 502 ", " 504 ", " 500 ", " 404 ", " 403 ",
		"shutting down", "back-off", "could not", "unsupported", "register", "running on"}
}

// tells finds telling words: a bit for each pair of letters that one of them begins with.
type tells struct {
	first [1 << 16]bool
	words map[[2]byte][]string
}

func newTells() *tells {
	t := &tells{words: map[[2]byte][]string{}}
	for _, w := range tellingWords() {
		t.first[int(w[0])<<8|int(w[1])] = true
		k := [2]byte{w[0], w[1]}
		t.words[k] = append(t.words[k], w)
	}
	return t
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// match says whether a line holds a telling word, whatever its case.
func (t *tells) match(s string) bool {
	for i := 0; i+1 < len(s); i++ {
		a, b := lower(s[i]), lower(s[i+1])
		if !t.first[int(a)<<8|int(b)] {
			continue
		}
		for _, w := range t.words[[2]byte{a, b}] {
			if len(s)-i >= len(w) && strings.EqualFold(s[i:i+len(w)], w) {
				return true
			}
		}
	}
	return false
}
