// hint.go: what the words around a paste tell about it: the command line before it, the name of its file.
package paste

import (
	"path"
	"regexp"
	"strings"
)

// hint is what the surroundings tell of the text that follows. Empty fields are unknown.
type hint struct {
	tool      string // kubectl, istioctl, curl, httpie, wget, python, grpcurl, port-forward
	verb      string // get, describe, logs ...
	kinds     []string
	name      string // of the object asked for, when it is one
	named     bool   // names, files or pipes narrow what was asked for: a list is not whole
	namespace string
	all       bool // every namespace
	selector  string
	pod       string
	container string
	previous  bool
	strict    bool // a log and nothing else
	clientish bool // from the caller's side
	used      bool // something was read under it
	call      call // of a request
}

// call is what a command line tells of the request it sends.
type call struct {
	method, url, host  string
	secret, knock, raw bool // raw: only the body is printed
}

var (
	prompt = regexp.MustCompile(`^\s*(?:(?:\([^)\s]+\)\s*)?(?:\[?[\w.-]+@[\w.-]+[^$#%>❯➜]{0,80}[$#%>❯]|[$%❯➜λ»]|PS [^>]{0,120}>|[A-Z]:\\[^>]{0,120}>|➜\s+\S+|\+{1,3}|!)\s*)((?:\S.*)?)$`)
	// A shell's "#" prompt also starts comments: it counts only before a command that is known.
	rootPrompt = regexp.MustCompile(`^\s*#\s+(\S.*)$`)
	prose      = regexp.MustCompile("(?:^|[\\s`\"'(*:])((?:kubectl|istioctl) [^`\"]+)")
)

// commandOf gives the command on a line. prompted is true when a shell prompt stands before it.
func commandOf(t string) (cmd string, prompted, ok bool) {
	if t == "" || len(t) > 8<<10 {
		return "", false, false
	}
	trimmed := strings.TrimSpace(t)
	if knownCommand(trimmed) {
		return trimmed, false, true
	}
	switch c := trimmed; {
	case c == "":
		return "", false, false
	case c[0] == '#':
		if m := rootPrompt.FindStringSubmatch(t); m != nil && knownCommand(m[1]) {
			return m[1], true, true
		}
		return "", false, false
	case c[0] == '$', c[0] == '%', c[0] == '+', c[0] == '!', c[0] == 'P', c[0] >= 0x80, c[0] == '(', c[0] == '[', len(c) > 2 && c[1] == ':',
		strings.IndexByte(c[:min(len(c), 60)], '@') > 0:
		m := prompt.FindStringSubmatch(t)
		if m == nil {
			return "", false, false
		}
		rest := strings.TrimSpace(m[1])
		if knownCommand(rest) || c[0] == '$' && rest != "" && !strings.HasPrefix(c, "${") {
			return rest, true, true
		}
		if strings.IndexByte(c[:min(len(c), 60)], '@') > 0 && (strings.Contains(c, "$ ") || strings.HasSuffix(c, "$")) {
			return rest, true, true
		}
	}
	return "", false, false
}

// knownCommand says whether a text starts with a command that tells something.
func knownCommand(s string) bool {
	w := skipWords(s)
	if len(w) < 2 {
		return false
	}
	rest := w
	first, rest, _ := strings.Cut(rest, " ")
	second, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	switch path.Base(first) {
	case "kubectl", "oc", "k", "microk8s.kubectl", "kubectl.exe", "k3s", "minikube":
		switch second {
		case "get", "describe", "logs", "log", "apply", "create", "delete", "exec", "port-forward", "run", "top", "edit", "patch", "config", "events",
			"kubectl", "wait", "rollout", "scale", "label", "annotate", "version", "cluster-info", "api-resources", "explain", "replace":
			return true
		}
		return strings.HasPrefix(second, "-") && first != "k"
	case "curl", "curl.exe", "wget", "grpcurl", "stern":
		return second != "" && second != "command" && !strings.HasSuffix(first, ":") && callLike(rest)
	case "http", "https":
		return strings.Contains(rest, "/") && !strings.Contains(second, ",") && strings.ContainsAny(second, "/:PGD")
	case "istioctl":
		return second != ""
	case "python", "python3", "kfp", "helm", "kn", "hey":
		return strings.HasSuffix(second, ".py") || second == "-m" || second == "-c" || second == "service" || strings.HasPrefix(second, "-")
	}
	return false
}

// callLike says whether the words behind curl look like its arguments rather than prose.
func callLike(rest string) bool {
	return strings.Contains(rest, "/") || strings.Contains(rest, " -") || strings.HasPrefix(rest, "-") || strings.Contains(rest, "$") || strings.Contains(rest, ":") || strings.Contains(rest, ".")
}

// skipWords takes sudo, assignments and the like off the front.
func skipWords(s string) string {
	for range 4 {
		w, rest, ok := strings.Cut(s, " ")
		if !ok || w != "sudo" && w != "time" && w != "watch" && w != "!" && (strings.IndexByte(w, '=') <= 0 || strings.HasPrefix(w, "-")) {
			return strings.TrimPrefix(s, "!")
		}
		s = strings.TrimLeft(rest, " ")
	}
	return s
}

// parseCommand reads a command line.
func (p *parser) parseCommand(cmd string) hint {
	words, piped := shellWords(skipWords(cmd))
	if len(words) == 0 {
		return hint{}
	}
	if len(words) > 2 && (words[0] == "minikube" || words[0] == "k3s") && words[1] == "kubectl" {
		words = words[1:]
		if words[1] == "--" {
			words = append([]string{"kubectl"}, words[2:]...)
		}
	}
	h := hint{named: piped}
	switch path.Base(strings.TrimSuffix(words[0], ".exe")) {
	case "kubectl", "oc", "k", "microk8s.kubectl":
		h.tool = "kubectl"
		h.kubectl(p, words[1:])
	case "istioctl":
		h.tool, h.verb = "istioctl", words[min(1, len(words)-1)]
	case "stern":
		h.tool, h.verb = "kubectl", "logs"
	case "curl", "hey":
		h.tool, h.clientish = "curl", true
		h.call = curlCall(words[1:])
	case "http", "https":
		h.tool, h.clientish = "httpie", true
		h.call = httpieCall(words)
	case "wget":
		h.tool, h.clientish = "wget", true
		h.call = curlCall(words[1:])
	case "grpcurl":
		h.tool, h.clientish = "grpcurl", true
	case "python", "python3", "kfp":
		h.tool, h.clientish = "python", true
	}
	return h
}

// kubectl reads the arguments of kubectl.
func (h *hint) kubectl(p *parser, words []string) {
	var args []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w == "--" {
			h.inner(p, words[i+1:])
			break
		}
		if !strings.HasPrefix(w, "-") {
			args = append(args, w)
			continue
		}
		flag, value, joined := strings.Cut(w, "=")
		if !joined && takesValue(flag) && i+1 < len(words) {
			i++
			value = words[i]
		} else if !joined && len(w) > 2 && w[1] != '-' && strings.IndexByte("nlco", w[1]) >= 0 {
			flag, value = w[:2], w[2:]
		}
		h.flag(flag, value)
	}
	if len(args) == 0 {
		return
	}
	h.verb = args[0]
	switch h.verb {
	case "get", "describe", "delete", "edit", "patch", "annotate", "label", "wait":
		h.resources(p, args[1:])
	case "logs", "log":
		h.verb = "logs"
		h.logTarget(p, args[1:])
	case "exec", "port-forward":
		if h.verb == "port-forward" {
			h.tool = "port-forward"
		}
		h.logTarget(p, args[1:])
	case "events":
		h.kinds = []string{"events"}
	}
}

func (h *hint) flag(flag, value string) {
	if strings.HasPrefix(value, "$") || strings.HasPrefix(value, "<") {
		value = "" // a variable or a placeholder
	}
	switch flag {
	case "-n", "--namespace":
		h.namespace = value
	case "-A", "--all-namespaces":
		h.all = true
	case "-l", "--selector":
		h.selector, h.named = value, true
	case "--field-selector", "-f", "--filename":
		h.named = true
	case "-c", "--container":
		h.container = value
	case "-p", "--previous":
		h.previous = true
	}
}

// takesValue lists the flags of kubectl whose value is the next word.
func takesValue(flag string) bool {
	switch flag {
	case "-n", "--namespace", "-l", "--selector", "--field-selector", "-c", "--container", "-o", "--output", "--context", "--kubeconfig", "--tail",
		"--since", "--since-time", "--sort-by", "-L", "--label-columns", "--cluster", "--user", "--as", "--limit-bytes", "-s", "--server", "--token":
		return true
	}
	return false
}

// resources reads what get and describe were asked for.
func (h *hint) resources(p *parser, args []string) {
	if len(args) == 0 {
		return
	}
	kinds, name, slashed := strings.Cut(args[0], "/")
	h.kinds = strings.Split(kinds, ",")
	names := args[1:]
	if slashed {
		names = append([]string{name}, names...)
	}
	h.named = h.named || len(names) > 0
	if len(names) == 1 {
		_, after, found := strings.Cut(names[0], "/")
		if !found {
			after = names[0]
		}
		if objectName.MatchString(after) {
			h.name = after
		}
	}
	if len(h.kinds) == 1 && h.name != "" {
		if k, ok := p.kinds.find(h.kinds[0]); ok && k.kind == "InferenceService" {
			p.mention(h.namespace, h.name, namedByCommand)
		}
	}
}

// logTarget reads whose log was asked for.
func (h *hint) logTarget(p *parser, args []string) {
	if len(args) == 0 {
		return
	}
	kind, name, slashed := strings.Cut(args[0], "/")
	if !slashed {
		kind, name = "pod", kind
	}
	if !objectName.MatchString(name) {
		return
	}
	h.kinds, h.name = []string{kind}, name
	if strings.HasPrefix(kind, "po") {
		h.pod = name
	}
	if h.verb == "logs" && len(args) > 1 && h.container == "" && objectName.MatchString(args[1]) {
		h.container = args[1]
	}
}

// inner reads the command that kubectl exec or run starts inside the cluster.
func (h *hint) inner(p *parser, words []string) {
	for i, w := range words {
		if b := path.Base(w); b == "curl" || b == "wget" {
			h.tool, h.clientish, h.call = "curl", true, curlCall(words[i+1:])
			return
		}
	}
}

// fileHint reads the name of a file: "logs-queue-proxy.txt", "x-predictor-00001_kserve-container.previous.log", "pods.yaml".
func (p *parser) fileHint(name string) hint {
	low := strings.ToLower(path.Base(strings.ReplaceAll(name, `\`, "/")))
	stem := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(low, ".txt"), ".log"), ".out"), ".json")
	var h hint
	if s, ok := strings.CutSuffix(stem, ".previous"); ok {
		stem, h.previous = s, true
	}
	if s, ok := strings.CutSuffix(stem, "-previous"); ok {
		stem, h.previous = s, true
	}
	switch {
	case strings.HasPrefix(stem, "logs-"), strings.HasPrefix(stem, "log-"), strings.HasPrefix(stem, "logs_"), strings.HasPrefix(stem, "log_"):
		_, rest, _ := strings.Cut(strings.ReplaceAll(stem, "_", "-"), "-")
		h.tool, h.verb, h.container, h.strict = "kubectl", "logs", containerIn(rest), true
	case strings.HasSuffix(low, ".log"):
		h.tool, h.verb, h.container = "kubectl", "logs", containerIn(stem)
		h.strict = h.container != ""
	case strings.HasPrefix(stem, "request"), strings.HasPrefix(stem, "client"), strings.HasPrefix(stem, "curl"):
		h.clientish = true
	default:
		word, _, _ := strings.Cut(strings.NewReplacer("describe-", "", "get-", "", "_", "-").Replace(strings.TrimSuffix(stem, ".yaml")), "-")
		word, _, _ = strings.Cut(word, ".")
		if k, ok := p.kinds.find(word); ok {
			h.kinds = []string{k.aliases[0]}
		}
	}
	if h.verb == "logs" {
		dir := path.Base(path.Dir(strings.ReplaceAll(name, `\`, "/")))
		if dir == "previous" {
			h.previous = true
		}
		if h.strict && podName.MatchString(dir) && strings.Contains(name, "/") {
			h.pod = dir
		}
	}
	return h
}

// containerIn finds the name of a container that is known in a file's name; a word that stands alone is taken as it is.
func containerIn(s string) string {
	for _, c := range knownContainers() {
		if s == c || strings.HasSuffix(s, "-"+c) || strings.HasSuffix(s, "_"+c) || strings.HasPrefix(s, c+"-") || strings.HasPrefix(s, c+".") {
			return c
		}
	}
	return ""
}

// knownContainers are those on and beside the request path (KServe, KFServing, Knative, Istio), longer names first.
func knownContainers() []string {
	return []string{"storage-initializer", "kserve-container", "kfserving-container", "user-container", "transformer-container", "worker-container",
		"queue-proxy", "istio-proxy", "istio-init", "istio-validation", "activator", "autoscaler", "net-istio-controller", "istio-ingressgateway",
		"controller", "manager", "discovery", "webhook", "agent", "modelcar"}
}

var (
	objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.:]{0,250}[a-z0-9])?$`)
	podName    = regexp.MustCompile(`^[a-z0-9][-a-z0-9.]*-[a-z0-9]{5}$|-deployment-`)
)
