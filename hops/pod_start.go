// pod_start.go: what pods themselves, and the specs that they are made from, show of a start that fails.
package hops

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// settled applies settle to what a matcher finds.
func settled(m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match { return settle(v, m(v)) }
}

// fixBy chooses the fix by the words of the first evidence.
func fixBy(fix func(string) string, m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		out := m(v)
		for i := range out {
			out[i].Fix = fix(out[i].Evidence[0].Value)
		}
		return out
	}
}

// The scheduler's words, of this year and of others (k8s.io/kubernetes/pkg/scheduler/framework/plugins, cluster-autoscaler's NotTriggerScaleUp).
var (
	roomWords = regexp.MustCompile(`(?i)insufficient |untolerated taint|had taint|node\(s\) didn't match|didn't match (pod|node)|too many pods|were unschedulable|no nodes available to schedule|no nodes are available that match|failed to fit in any node|free ports|didn't trigger scale-up|no node (in|has) `)
	claimWord = regexp.MustCompile(`(?i)persistentvolumeclaim|volume node affinity conflict|no volume zone match|available persistent volumes to bind|max volume count|multi-attach error|attachvolume|mountvolume|unable to attach or mount volumes|already exclusively attached`)
	otherKind = regexp.MustCompile(`(?i)(secret|configmap) "|non-existent (secret|config)|failed to sync (secret|configmap) cache|not registered|unmounted volumes=\[kube-api-access`)
)

// noRoom tells a message about nodes that are full or do not fit. Where a volume binds the pod to some nodes, those that are tainted are no news.
func noRoom(message string) bool { return roomWords.MatchString(message) && !noVolume(message) }

// noVolume tells a message about a volume claim. When the nodes that could mount it are short of resources, the volume is not the cause.
func noVolume(message string) bool {
	return claimWord.MatchString(message) && !otherKind.MatchString(message) && !strings.Contains(message, "Insufficient")
}

// provisioning is how long an autoscaler may take to bring a node before its promise counts for nothing.
const provisioning = 10 * time.Minute

// unscheduled finds pods that the scheduler has not placed, for the reasons asked for. While an autoscaler brings a node that is worth a note.
func unscheduled(reason func(string) bool) func(*View) []Match {
	return func(v *View) []Match {
		var out []Match
		coming := map[string]bool{}
		for _, e := range v.Events() {
			coming[e.About.Name] = coming[e.About.Name] || e.Reason == "TriggeredScaleUp" && v.Age(e.Last) < provisioning
		}
		for _, p := range v.Pods() {
			if p.Deleted() || !p.Scheduled.False() || !reason(p.Scheduled.Message) {
				continue
			}
			m := Match{Step: v.StepOf(Pod, p.Object), Evidence: []Evidence{ConditionEvidence(p.Object, p.Scheduled)}, Pod: p.Name, Summary: Clip("pod "+p.Name+" finds no node: "+p.Scheduled.Message, 300)}
			if coming[p.Name] {
				m.Severity = Note
			}
			out = append(out, m)
		}
		return out
	}
}

// scheduled, imagesThere and volumesThere say that a pod got past the fault that an event told of.
func scheduled(p PodState) bool { return p.Scheduled.True() || len(p.Containers) > 0 }

func imagesThere(p PodState) bool {
	return len(p.Containers) > 0 && !slices.ContainsFunc(p.Containers, func(c ContainerState) bool { return c.Waiting != "" && c.Waiting != "CrashLoopBackOff" })
}

func volumesThere(p PodState) bool {
	return slices.ContainsFunc(p.Containers, func(c ContainerState) bool { return c.Started || len(c.Exits()) > 0 })
}

// imageReasons are the reasons for which a container waits for its image (k8s.io/kubernetes/pkg/kubelet/images/types.go).
const imageReasons = "ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable|SignatureValidationFailed"

func imageMissing(_ *View, p PodState, c ContainerState) (field, value string, ok bool) {
	return waiting(p, c, imageReasons)
}

func configMissing(_ *View, p PodState, c ContainerState) (field, value string, ok bool) {
	return waiting(p, c, "CreateContainerConfigError")
}

func waiting(p PodState, c ContainerState, reasons string) (field, value string, ok bool) {
	if c.Waiting == "" || !oneOf(c.Waiting, reasons) || p.Deleted() {
		return "", "", false
	}
	if c.Message != "" {
		return "state.waiting.message", c.Message, true
	}
	return "state.waiting.reason", c.Waiting, true
}

var (
	pullDenied  = regexp.MustCompile(`(?i)unauthorized|authentication required|authorization failed|access denied|\bdenied\b|\b40[13]\b|no basic auth credentials|forbidden`)
	pullUnknown = regexp.MustCompile(`(?i)manifest unknown|not found|name unknown|no such image|\b404\b|does not exist|no matching manifest|invalidimagename|couldn't parse image`)
	pullLimited = regexp.MustCompile(`(?i)toomanyrequests|too many requests|rate limit|\b429\b|pull QPS`)
	pullNoWay   = regexp.MustCompile(`(?i)no such host|i/o timeout|connection refused|network is unreachable|x509|tls:|deadline exceeded|failed to do request|server misbehaving`)
)

// pullFix says what to do about a registry's answer. Registries word it differently; containerd and CRI-O quote them.
func pullFix(message string) string {
	switch {
	case pullLimited.MatchString(message):
		return "the registry limits pulls: log in with an imagePullSecret on the service account of spec.{component} (-n {ns}), or copy the image to a registry of your own"
	case pullNoWay.MatchString(message):
		return "the node cannot reach the registry: check its name, DNS, proxy and certificates on the node, or use a registry that the nodes can reach; the image is named in `kubectl describe pod -n {ns} {pod}`"
	case pullUnknown.MatchString(message):
		return "the registry has no such image or tag for this node's architecture: correct the image in spec.{component} of inferenceservice {isvc} (-n {ns}), in the ServingRuntime, or (for storage-initializer) in ClusterStorageContainer default and ConfigMap inferenceservice-config. A private image looks the same when no imagePullSecret is set"
	case pullDenied.MatchString(message):
		return "the registry refuses: put an imagePullSecret for it on the service account of spec.{component} (-n {ns}), or under spec.{component}.imagePullSecrets of inferenceservice {isvc}"
	}
	return ""
}

// storageURI is one model address in the spec of an InferenceService.
type storageURI struct {
	Component, Value string
	Path             []string
}

// storageURIs lists them: under model, under a framework's name (older), and the list form storageUris.
func storageURIs(o *Object) []storageURI {
	var out []storageURI
	for _, component := range []string{Predictor, Transformer, Explainer} {
		kinds, _ := o.Get("spec", component).(map[string]any)
		for kind := range kinds {
			if uri := o.Str("spec", component, kind, "storageUri"); uri != "" {
				out = append(out, storageURI{component, uri, []string{"spec", component, kind, "storageUri"}})
			}
		}
		for _, u := range o.List("spec", component, "storageUris") {
			out = append(out, storageURI{component, text(u["uri"]), []string{"spec", component, "storageUris", "uri"}})
		}
	}
	slices.SortFunc(out, func(a, b storageURI) int { return strings.Compare(a.Component+a.Value, b.Component+b.Value) })
	return out
}

// claimMissing finds pvc:// addresses whose claim is not in the namespace, or has lost its volume.
func claimMissing(v *View) []Match {
	svc, claims := v.Service(), v.Objects(Claims)
	absent, full := v.Absent(Claims)
	var out []Match
	for _, u := range storageURIs(svc) {
		rest, ok := strings.CutPrefix(u.Value, "pvc://")
		name, _, _ := strings.Cut(rest, "/")
		if !ok || name == "" {
			continue
		}
		m := Match{Step: complete(v, Step{Hop: Pod, Component: u.Component}, ""), Evidence: []Evidence{FieldEvidence(svc, u.Value, u.Path...)},
			Summary: "persistentvolumeclaim " + name + " of " + u.Value + " does not exist in the namespace"}
		at := slices.IndexFunc(claims, func(o *Object) bool { return o.Name == name })
		switch {
		case at < 0 && full:
			m.Evidence = append(m.Evidence, absent)
		case at >= 0 && claims[at].Str("status", "phase") == "Lost":
			m.Evidence = append(m.Evidence, FieldEvidence(claims[at], "Lost", "status", "phase"))
			m.Summary = "persistentvolumeclaim " + name + " has lost its volume"
		default:
			continue
		}
		out = append(out, m)
	}
	return out
}

// accountMissing finds service accounts that the spec names and the namespace lacks.
func accountMissing(v *View) []Match {
	svc := v.Service()
	have := v.Objects(ServiceAccounts)
	absent, full := v.Absent(ServiceAccounts)
	var out []Match
	for _, component := range []string{Predictor, Transformer, Explainer} {
		name := svc.Str("spec", component, "serviceAccountName")
		if name == "" || !full || slices.ContainsFunc(have, func(o *Object) bool { return o.Name == name }) {
			continue
		}
		out = append(out, Match{Step: complete(v, Step{Hop: Pod, Component: component}, ""), Summary: "service account " + name + " of the " + component + " does not exist in the namespace",
			Evidence: []Evidence{FieldEvidence(svc, name, "spec", component, "serviceAccountName"), absent}})
	}
	return out
}

// invalidSpec finds the reasons for which KServe makes nothing of the spec. lastFailureInfo never clears; the transition status tells whether
// it still holds.
func invalidSpec(reasons string) func(*View) []Match {
	return func(v *View) []Match {
		svc := v.Service()
		info := []string{"status", "modelStatus", "lastFailureInfo"}
		reason, message := svc.Str(append(info, "reason")...), svc.Str(append(info, "message")...)
		if reason == "" || !oneOf(reason, reasons) || specAccepted(v) {
			return nil
		}
		e := FieldEvidence(svc, reason, "status", "modelStatus", "lastFailureInfo", "reason")
		return []Match{{Step: Step{Hop: Pod, Component: Predictor, Object: svc.Ref()}, Evidence: []Evidence{e}, Summary: Clip(reason+": "+message, 300)}}
	}
}

// specAccepted says whether KServe has since made something of the spec.
func specAccepted(v *View) bool {
	s := v.Service().Str("status", "modelStatus", "transitionStatus")
	return s != "" && s != "InvalidSpec"
}

// ready says whether the service is: what was refused was then taken back.
func ready(v *View) bool { return v.Service().Ready() }

var deniedField = regexp.MustCompile(`must not set the field\(s\): ([^,\s]+)`)

// featureFix names the key of config-features that admits the field (knative.dev/serving/pkg/apis/config/features.go).
func featureFix(message string) string {
	key := ""
	if m := deniedField.FindStringSubmatch(message); m != nil {
		field := m[1][strings.LastIndex(m[1], ".")+1:]
		field, _, _ = strings.Cut(field, "[")
		key = "kubernetes.podspec-" + strings.ToLower(field)
		if field == "initContainers" {
			key = "kubernetes.podspec-init-containers"
		}
	}
	for words, k := range map[string]string{"Persistent volume claim": "persistent-volume-claim", "Persistent volume write": "persistent-volume-write",
		"EmptyDir volume": "volumes-emptydir", "HostPath volume": "volumes-hostpath", "CSI volume": "volumes-csi", "Image volume": "volumes-image",
		"Volume Mount Propagation": "volumes-mount-propagation"} {
		if strings.Contains(message, words+" support is disabled") {
			key = "kubernetes.podspec-" + k
		}
	}
	if key == "" {
		return ""
	}
	return "allow it: `kubectl patch configmap config-features -n knative-serving --type merge -p '{\"data\":{\"" + key + "\":\"enabled\"}}'`, or remove the field from spec.{component} of inferenceservice {isvc} (-n {ns}) and from its ServingRuntime"
}

// sourceAnnotations hold the model's address for the webhook that puts the storage-initializer in (kserve and KFServing, pkg/constants).
func sourceAnnotations() []string {
	return []string{"internal.serving.kserve.io/storage-initializer-sourceuri", "internal.serving.kubeflow.org/storage-initializer-sourceuri"}
}

// notInjected finds pods that carry a model's address and no init container to fetch it. Volume claims and images are mounted without one,
// and so are models of a local cache.
func notInjected(v *View) []Match {
	var out []Match
	for _, p := range v.Pods() {
		if p.Partial || p.Deleted() || len(p.List("spec", "containers")) == 0 || p.Label("internal.serving.kserve.io/localmodel") != "" || hasInitializer(p) {
			continue
		}
		for _, key := range sourceAnnotations() {
			uri := p.Annotation(key)
			if uri == "" || strings.HasPrefix(uri, "pvc://") || strings.HasPrefix(uri, "oci") {
				continue
			}
			m := Match{Step: v.StepOf(Pod, p.Object), Evidence: []Evidence{FieldEvidence(p.Object, uri, "metadata", "annotations", key)}, Pod: p.Name,
				Summary: "pod " + p.Name + " has no storage-initializer, so that nothing fetches " + uri}
			other := slices.ContainsFunc(v.Pods(), func(o PodState) bool { return o.Ready && o.Name != p.Name && o.Revision == p.Revision })
			if !other && doorFails(v) { // that this one is ready does not help: a server may be without a model
				m.Severity = Error
			}
			out = append(out, m)
		}
	}
	return out
}

func hasInitializer(p PodState) bool {
	for _, c := range p.List("spec", "initContainers") {
		if strings.HasPrefix(text(c["name"]), "storage-initializer") || strings.HasPrefix(text(c["name"]), "modelcar") {
			return true
		}
	}
	return slices.ContainsFunc(p.Containers, func(c ContainerState) bool { return c.Init && c.Hop() == StorageInitializer })
}

var noModelFolder = Re(`No such file or directory: '/mnt/models/?'|Could not find base path /mnt/models |/mnt/models: no such file or directory`)

// modelFolderMissing finds model servers that say that the folder itself is not there: the storage-initializer makes it, even when it then fails.
func modelFolderMissing(v *View) []Match {
	injected := slices.ContainsFunc(v.Pods(), hasInitializer)
	found := OnContainer(Pod, func(_ *View, _ PodState, c ContainerState) (field, value string, ok bool) {
		for _, e := range c.Exits() {
			if c.IsModel() && noModelFolder.Match(e.Message) {
				return "terminated.message", e.Message, true
			}
		}
		return "", "", false
	})(v)
	found = append(found, OnCondition(Pod, Revisions, "ContainerHealthy", "False", "", noModelFolder)(v)...)
	for _, l := range v.Lines(ContainerLogs) {
		if !hasAny(l.Text, "/mnt/models") || !noModelFolder.Match(l.Text) {
			continue
		}
		s := v.StepOfName(Pod, ObjectRef{Source: Pods, Kind: "Pod", Namespace: l.Namespace, Name: l.Pod})
		if !mended(v, s, l.Pod, l.Time, ranContainers) {
			found = append(found, Match{Step: s, Evidence: []Evidence{LineEvidence(l)}, Pod: l.Pod, Container: l.Container})
		}
	}
	if injected {
		return nil
	}
	for i := range found {
		found[i].Confidence, found[i].Summary = Likely, "the model server finds no folder /mnt/models: nothing fetched the model"
	}
	return found
}

// recentEviction is how long an eviction is worth telling after a new pod took over, and how long an evicted pod speaks against a service
// that is ready.
const recentEviction = 10 * time.Minute

var evictionWords = Re(`(?i)low on resource|node had condition|pressure|exceeds the (total )?limit|usage of emptydir`)

// evicted finds pods that the kubelet evicted for want of a resource, and the events of those that are gone.
func evicted(v *View) []Match {
	var out []Match
	ready := v.Service().Ready()
	add := func(s Step, pod string, at time.Time, e Evidence) {
		m := Match{Step: s, Evidence: []Evidence{e}, Pod: pod, Summary: Clip("pod "+pod+" was evicted: "+e.Value, 300)}
		over := mended(v, s, pod, at, func(Event) bool { return false })
		switch {
		case (over || ready) && (at.IsZero() || v.Age(at) > recentEviction):
			return
		case over:
			m.Severity = Note
		}
		out = append(out, m)
	}
	for _, p := range v.Pods() {
		if p.Reason != "Evicted" {
			continue
		}
		e := FieldEvidence(p.Object, "Evicted", "status", "reason")
		if p.Message != "" {
			e = FieldEvidence(p.Object, p.Message, "status", "message")
		}
		e.At = lastChange(p.Object)
		add(v.StepOf(Pod, p.Object), p.Name, e.At, e)
	}
	for _, e := range latestFirst(v.Events()) {
		if e.Reason == "Evicted" && evictionWords.Match(e.Message) {
			add(v.StepOfName(Pod, e.About), e.About.Name, e.Last, EventEvidence(e))
		}
	}
	return settle(v, out)
}

// lastChange is the time of the last change of any condition.
func lastChange(o *Object) time.Time {
	var last time.Time
	for _, c := range o.Conditions() {
		if c.Since.After(last) {
			last = c.Since
		}
	}
	return last
}
