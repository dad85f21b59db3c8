// workload.go: pods and their containers in the short form that rules read, from full objects and from table rows alike.
package hops

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Labels that tell what a pod belongs to (knative.dev/serving/pkg/apis/serving/register.go, kserve/pkg/constants/constants.go; the old one is
// KFServing's), and which of a revision's Services a slice is of (knative.dev/serving/pkg/networking/constants.go).
const (
	labelServiceType = "networking.internal.knative.dev/serviceType"
	labelService     = "serving.kserve.io/inferenceservice"
	labelOldSvc      = "serving.kubeflow.org/inferenceservice"
	labelComponent   = "component"
	labelRevision    = "serving.knative.dev/revision"
)

// PodState is one pod.
type PodState struct {
	*Object
	Component  string
	Revision   string
	Phase      string
	Reason     string // of the pod itself: Evicted
	Message    string
	Ready      bool
	Scheduled  Condition        // the PodScheduled condition; its zero value when unknown
	Containers []ContainerState // init containers first, in the order of the pod
}

// ContainerState is one container of a pod.
type ContainerState struct {
	Name     string // "" when a table row does not tell
	Init     bool
	Model    bool // the model's by the pod's specification, whatever its name
	Ready    bool
	Restarts int
	Waiting  string // reason
	Message  string // of waiting
	Running  time.Time
	Started  bool  // running now
	Exit     *Exit // the container is terminated now
	Last     *Exit // how it ended before
}

// Exit is how a container ended.
type Exit struct {
	Code     int
	Reason   string
	Message  string
	Finished time.Time
	// CodeUnknown is true for a table row that shows only a reason.
	CodeUnknown bool
}

// Exits lists how the container ended, the present end first.
func (c ContainerState) Exits() []*Exit {
	var out []*Exit
	for _, e := range []*Exit{c.Exit, c.Last} {
		if e != nil {
			out = append(out, e)
		}
	}
	return out
}

// IsModel says whether this is the container of the model server or of the user's code: by the names KServe, KFServing and Knative give it, or by the
// pod's specification.
func (c ContainerState) IsModel() bool {
	return !c.Init && (c.Model || c.Name == "" || oneOf(c.Name, modelContainers))
}

// besides are containers that platforms put beside the model's: KServe, Knative, Istio, Linkerd, OpenShift AI, Vault, log shippers.
const besides = "queue-proxy|agent|kserve-agent|modelcar|istio-proxy|istio-validation|linkerd-proxy|kube-rbac-proxy|oauth-proxy|vault-agent|" +
	"cloud-sql-proxy|fluent-bit|fluentd|filebeat|otc-container|datadog-agent"

// modelOf is the name of the model's container among those of a specification: one of the usual names; else the only one that no platform puts there;
// of several the first that has a port, as Knative demands of the one that takes requests. "" when there is none.
func modelOf(containers []map[string]any) string {
	name, open := "", false
	for _, c := range containers {
		own, ports := text(c["name"]), len(maps(c["ports"])) > 0
		switch {
		case oneOf(own, modelContainers):
			return own
		case oneOf(own, besides) || strings.HasSuffix(own, "-sidecar"):
		case name == "", ports && !open:
			name, open = own, ports
		}
	}
	return name
}

// isModelIn says whether a container of a specification is the model's.
func isModelIn(containers []map[string]any, name string) bool {
	return ContainerState{Name: name, Model: name == modelOf(containers)}.IsModel()
}

// modelNamed says whether a log or an event that names a container speaks of the model's; "" may be it.
func (v *View) modelNamed(name string) bool {
	return ContainerState{Name: name}.IsModel() || slices.ContainsFunc(v.Flow().Components, func(c ComponentState) bool { return c.Container == name })
}

// Hop is where a fault of this container belongs.
func (c ContainerState) Hop() Hop {
	switch {
	case c.Init && (c.Name == "storage-initializer" || c.Name == ""):
		return StorageInitializer
	case c.Name == "queue-proxy":
		return QueueProxy
	case c.IsModel():
		return Container
	}
	return Pod
}

func parsePod(o *Object) PodState {
	p := PodState{Object: o, Phase: o.Str("status", "phase"), Reason: o.Str("status", "reason"), Message: o.Str("status", "message"),
		Component: ComponentOf(o), Revision: RevisionOf(o)}
	if c, ok := o.Condition("PodScheduled"); ok {
		p.Scheduled = c
	}
	c, _ := o.Condition("Ready")
	p.Ready = c.True()
	model := modelOf(o.List("spec", "containers"))
	for _, s := range o.List("status", "initContainerStatuses") {
		p.Containers = append(p.Containers, parseContainer(s, true))
	}
	for _, s := range o.List("status", "containerStatuses") {
		c := parseContainer(s, false)
		c.Model = c.Name != "" && c.Name == model
		p.Containers = append(p.Containers, c)
	}
	if row, ok := o.Get("row").(map[string]any); ok {
		p.readRow(row)
	}
	return p
}

func parseContainer(s map[string]any, init bool) ContainerState {
	c := ContainerState{Name: text(s["name"]), Init: init, Restarts: number(s["restartCount"]), Ready: text(s["ready"]) == "true",
		Waiting: text(dig(s, "state", "waiting", "reason")), Message: text(dig(s, "state", "waiting", "message")),
		Exit: parseExit(dig(s, "state", "terminated")), Last: parseExit(dig(s, "lastState", "terminated"))}
	if r, ok := dig(s, "state", "running").(map[string]any); ok {
		c.Started, c.Running = true, when(r["startedAt"])
	}
	return c
}

// Reasons that say that nobody saw how a container ended: its node or the runtime went away under it, and exit code and message that come with
// them are not the process's (containerd: internal/cri/server/restart.go, code 255; k8s.io/kubernetes/pkg/kubelet/container/runtime.go, code 137).
const (
	lostByRuntime = "Unknown"
	lostByKubelet = "ContainerStatusUnknown"
)

// parseExit reads an end; nil also for one that nobody saw.
func parseExit(v any) *Exit {
	m, ok := v.(map[string]any)
	if reason := text(m["reason"]); !ok || reason == lostByRuntime || reason == lostByKubelet {
		return nil
	}
	return &Exit{Code: number(m["exitCode"]), Reason: text(m["reason"]), Message: text(m["message"]), Finished: when(m["finishedAt"]),
		CodeUnknown: m["exitCode"] == nil}
}

// readRow reads the columns of `kubectl get pods`: READY, STATUS, RESTARTS (printers of k8s.io/kubernetes/pkg/printers/internalversion).
func (p *PodState) readRow(row map[string]any) {
	up, all, counted := strings.Cut(text(row["READY"]), "/")
	n, _ := strconv.Atoi(up)
	m, _ := strconv.Atoi(all)
	status := text(row["STATUS"])
	restarts, _ := strconv.Atoi(strings.Fields(text(row["RESTARTS"]) + " 0")[0])
	p.Ready = p.Ready || counted && m > 0 && n == m && status == "Running"
	c := ContainerState{Restarts: restarts, Ready: p.Ready}
	if rest, ok := strings.CutPrefix(status, "Init:"); ok {
		c.Init, status = true, rest
	}
	switch status {
	case "", lostByRuntime, lostByKubelet:
		return
	case "Running":
		p.Phase, c.Started = "Running", true
	case "Pending", "Succeeded", "Failed":
		p.Phase = status
		return
	case "Terminating":
		p.Tree["metadata"].(map[string]any)["deletionTimestamp"] = "unknown"
		return
	case "Evicted":
		p.Phase, p.Reason = "Failed", "Evicted"
		return
	case "Error", "OOMKilled", "Completed", "ContainerCannotRun", "StartError", "DeadlineExceeded":
		c.Exit = &Exit{Reason: status, CodeUnknown: true}
		if status == "OOMKilled" {
			c.Exit.Code, c.Exit.CodeUnknown = 137, false
		}
	default:
		if code, ok := strings.CutPrefix(status, "ExitCode:"); ok {
			n, _ := strconv.Atoi(code)
			c.Exit = &Exit{Code: n}
		} else if strings.Contains(status, "/") { // Init:0/1
			c.Started = true
		} else {
			c.Waiting = status
		}
	}
	p.Containers = append(p.Containers, c)
}

var (
	componentName = regexp.MustCompile(`-(predictor|transformer|explainer)(-default|-canary)?(-|$)`)
	revisionName  = regexp.MustCompile(`^([a-z0-9.-]+-(?:predictor|transformer|explainer)(?:-default|-canary)?-(?:[0-9]{5}|[a-z0-9]{5}))(?:-deployment|-private|-cache|$)`)
)

// ComponentOf tells a component by label, else by the names that KServe and KFServing give.
func ComponentOf(o *Object) string {
	switch c := o.Label(labelComponent); c {
	case Predictor, Transformer, Explainer:
		return c
	}
	return ComponentInName(o.Name)
}

// ComponentInName tells a component by the name of one of its objects; "" when it does not say.
func ComponentInName(name string) string {
	if m := componentName.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}

// RevisionOf tells a revision by label, else by name.
func RevisionOf(o *Object) string {
	if o.Source == Revisions || o.Source == PodAutoscalers || o.Source == ServerlessServices {
		return o.Name
	}
	if r := o.Label(labelRevision); r != "" {
		return r
	}
	return RevisionInName(o.Name)
}

// RevisionInName tells a revision by the name of one of its Deployments, ReplicaSets or pods; "" when it does not say.
func RevisionInName(name string) string {
	if m := revisionName.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}
