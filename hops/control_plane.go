// control_plane.go: what can go wrong at the hop control-plane: webhooks, KServe's controller and its configuration, Knative and Istio themselves.
package hops

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
)

func controlPlaneRules() []Rule {
	return []Rule{
		{
			ID: "webhook-unavailable", Hop: ControlPlane,
			Title: "an admission webhook does not answer, so the API server refuses objects",
			Means: "KServe's, Knative's and Istio's webhooks must answer before an object is stored. When their pod, Service or certificate is missing, nothing is created: the InferenceService itself, or its pods.",
			Fix:   "the message names the webhook and its Service: bring that pod up (`kubectl get pods -n kserve`, -n knative-serving, -n istio-system), see its Certificate and the caBundle (`kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations`), and that the API server may reach its port; right after an installation wait a minute and apply again",
			Looks: Looks{
				Status: "nothing stored; or event FailedCreate on the ReplicaSet, Revision ResourcesAvailable=False FailedCreate",
				Client: "500 InternalError: failed calling webhook \"...\": no endpoints available / connection refused / context deadline exceeded / x509",
				Logs:   "x509: certificate signed by unknown authority; no endpoints available for service \"kserve-webhook-server-service\"",
			},
			Needs:    append(saidSources(ClientLog, SystemLogs), ReplicaSets, Webhooks),
			Explains: startSymptoms("kserve-controller-slow", "reconcile-virtualservice-failed", "storage-initializer-not-injected"),
			Match:    webhookDown,
		},
		{
			ID: "knative-not-installed", Hop: ControlPlane,
			Title: "the service asks for Knative mode and the cluster has no Knative Serving",
			Means: "KServe is told to deploy by Knative (annotation, or defaultDeploymentMode) and the kind Service of serving.knative.dev does not exist. It creates nothing.",
			Fix:   "install Knative Serving, or use Standard mode: `kubectl annotate inferenceservice {isvc} -n {ns} serving.kserve.io/deploymentMode=Standard` (RawDeployment before KServe 0.16), or defaultDeploymentMode in inferenceservice-config; restart kserve-controller-manager after an installation",
			Looks: Looks{
				Status: "no conditions; event ServerlessModeRejected, or InternalError 'no matches for kind \"Service\" in version \"serving.knative.dev/v1\"'",
				Client: "no URL to call",
				Logs:   "the resolved deployment mode ... is Knative, but Knative Serving is not available",
			},
			Needs:    []Source{Events, SystemLogs, CustomResources, InferenceServices, KnativeServices},
			Explains: []string{"kserve-controller-slow", "kserve-virtualservice-missing", "wrong-host-no-route"},
			Match:    noKnative,
		},
		{
			ID: "invalid-kserve-config", Hop: ControlPlane,
			Title: "KServe's ConfigMap inferenceservice-config is not valid",
			Means: "The controller reads its configuration on every reconcile. With broken JSON or without a key that it needs it does nothing for any service, and may not start at all.",
			Fix:   "repair `kubectl edit cm inferenceservice-config -n kserve` (each key holds JSON; compare with the release's), then `kubectl rollout restart deploy/kserve-controller-manager -n kserve`",
			Looks: Looks{
				Status: "no status on any InferenceService",
				Client: "no URL to call",
				Logs:   "invalid ingress config - ingressGateway is required; unable to parse ... config json; invalid deployment mode",
			},
			Needs:    []Source{SystemConfigMaps, SystemLogs, Events},
			Explains: []string{"kserve-controller-slow", "kserve-virtualservice-missing", "wrong-host-no-route"},
			Match:    badConfig,
		},
		{
			ID: "kserve-controller-slow", Hop: ControlPlane,
			Title: "KServe's controller has not got to this service",
			Means: "The InferenceService has no status for its newest specification although nothing refused it. The controller is down, or cannot keep up: a tiny CPU limit, thousands of objects, a slow API server. It is no fault of the service.",
			Fix:   "`kubectl get deploy kserve-controller-manager -n kserve` and its log: bring it up, or raise the CPU limit of its container; then wait, do not edit the InferenceService",
			Looks: Looks{
				Status: "no status, or observedGeneration behind generation, for more than 30 s",
				Client: "no URL to call",
				Logs:   "kserve-controller-manager: reconcile lines seconds apart",
			},
			Needs:    []Source{InferenceServices, Events, SystemDeployments, SystemPods},
			Explains: []string{"kserve-virtualservice-missing", "wrong-host-no-route"},
			Match:    controllerBehind,
		},
		{
			ID: "knative-controller-down", Hop: ControlPlane,
			Title: "Knative's controller is down: what runs goes on, nothing new is made and nothing that moves is followed",
			Means: "The controller of Knative Serving makes Configurations, Revisions, Deployments and routes, and keeps the endpoints of revisions. Without it a new or changed service gets no pods and no route, and a service whose pods are replaced loses its endpoints. Nothing is wrong with the service.",
			Fix:   "`kubectl get deploy,pods -n knative-serving -l app=controller` and `kubectl logs -n knative-serving deploy/controller`: bring it up; once it runs it waits up to a minute for the leases of its predecessor",
			Looks: Looks{
				Status: "new Knative Services without status; changed ones with observedGeneration behind; existing ones Ready=True",
				Client: "existing services 200 until their pods are replaced, then 503; a new one 404 with an empty body",
			},
			Needs: []Source{SystemDeployments, SystemPods, KnativeServices, Configurations, Routes, Revisions, EndpointSlices, Pods},
			Explains: []string{"stale-endpoints", "revision-missing-waiting", "kserve-virtualservice-missing", "wrong-host-no-route", "no-healthy-backends",
				"route-target-missing"},
			Match: knativeControllerDown,
		},
		{
			ID: "istiod-down", Hop: ControlPlane,
			Title: "istiod is down: the gateways keep what they had and learn nothing new",
			Means: "Istio's control plane hands routes to the gateways. Without it hosts from before go on answering, and new or changed ones do not arrive. Nothing is wrong with the service.",
			Fix:   "`kubectl get deploy,pods -n istio-system -l app=istiod`: bring istiod up; routes arrive some twenty seconds later",
			Looks: Looks{
				Status: "new kingress Uninitialized, existing ones True",
				Client: "existing hosts 200, a new host 404 with an empty body",
				Logs:   "prober: unexpected status code: want 200, got 404; no endpoints available for service \"istiod\"",
			},
			Needs: []Source{SystemDeployments, SystemPods, SystemLogs, Events, KnativeIngresses, Requests},
			Explains: []string{"ingress-probe-failing", "wrong-host-no-route", "kserve-virtualservice-missing", "webhook-unavailable",
				"reconcile-virtualservice-failed"},
			Match: istiodDown,
		},
	}
}

// callFailed is how the API server reports a webhook that did not answer (k8s.io/apiserver/pkg/admission/plugin/webhook); one that denied says
// "denied the request" instead.
var callFailed = Re(`(?i)failed calling (admission )?webhook|failed to call (admission )?webhook|conversion webhook for .* failed`)

// webhookDown finds it in conditions and events of the service, in what a caller got, and in the controllers' logs.
func webhookDown(v *View) []Match {
	out := told(fault{Hop: ControlPlane, Says: callFailed.Match, Events: ""})(v)
	for _, o := range v.Objects(ReplicaSets) {
		for _, c := range o.Conditions() {
			if failing(c) && callFailed.Match(c.Message) {
				out = append(out, Match{Step: v.StepOf(ControlPlane, o), Evidence: []Evidence{ConditionEvidence(o, c)}, Summary: Clip(c.Message, 300)})
			}
		}
	}
	stored := v.Service() != nil
	for _, l := range slices.Concat(v.Lines(ClientLog), v.Lines(SystemLogs)) {
		if !callFailed.Match(l.Text) || l.Source == SystemLogs && !strings.Contains(l.Text, v.Ref().Name) {
			continue
		}
		m := Match{Step: Step{Hop: ControlPlane}, Evidence: []Evidence{LineEvidence(l)}, Summary: Clip(l.Text, 300)}
		if l.Source == SystemLogs || stored && v.Service().Ready() {
			m.Confidence = Possible // a moment after a rollout it is normal
		}
		out = append(out, m)
	}
	for i := range out { // all components meet the same webhook
		out[i].Step = Step{Hop: ControlPlane}
	}
	out = latest(merge(out), 3)
	for _, o := range v.Objects(Webhooks) {
		for _, w := range o.List("webhooks") {
			name := text(w["name"])
			if len(out) > 0 && name != "" && strings.Contains(out[0].Summary, `"`+name+`"`) && text(dig(w, "clientConfig", "caBundle")) == "" {
				out[0].Evidence = append(out[0].Evidence, FieldEvidence(o, name, "webhooks", "name"))
			}
		}
	}
	return out
}

var (
	noKind    = Re(`(?i)no matches for kind "?Service"? in (version|group) "?serving\.knative\.dev|is Knative, but Knative Serving is not available|not possible to use (Knative|Serverless) deployment mode`)
	badWords  = Re(`(?i)invalid (ingress|deploy|storage ?initializer|credentials?|logger|agent|batcher|router|explainer|security|openshift|multinode|service|metrics|localmodel)[a-z ]*config|unable to parse \S+ config json|unable to unmarshal .*(config|inferenceservice-config)|invalid deployment mode\. Supported|configmaps? "inferenceservice-config" not found|fails to (create|get) .*config(map)?\b.*(invalid|unmarshal|not found)`)
	goodModes = regexp.MustCompile(`^(Knative|Standard|ModelMesh|Serverless|RawDeployment)$`)
)

// noKnative finds KServe's refusal, or that the kind does not exist.
func noKnative(v *View) []Match {
	refused := OnEvent(ControlPlane, "ServerlessModeRejected", Pattern{})(v)
	said := OnEvent(ControlPlane, "", noKind)(v)
	var lines []Match
	for _, l := range v.Lines(SystemLogs) {
		if noKind.Match(l.Text) {
			lines = append(lines, Match{Step: Step{Hop: ControlPlane}, Confidence: Likely, Evidence: []Evidence{LineEvidence(l)}})
		}
	}
	gone, whole := v.Absent(CustomResources)
	defined := slices.ContainsFunc(v.Objects(CustomResources), func(o *Object) bool { return o.Name == "services.serving.knative.dev" })
	there, isvc := len(v.Objects(KnativeServices)) > 0, v.Service()
	out := merge(append(append(refused, said...), latest(lines, 2)...))
	switch {
	case there || defined || isvc != nil && isvc.Ready():
		return nil
	case len(out) == 0 && whole && isvc != nil && v.Flow().Mode == Knative:
		out = []Match{{Evidence: []Evidence{gone}, Summary: "the cluster has no kind Service of serving.knative.dev"}}
	}
	for i := range out {
		out[i].Step = Step{Hop: ControlPlane}
	}
	return latest(merge(out), 3)
}

// badConfig finds what the controller says, and what it would say of the ConfigMap as it stands.
func badConfig(v *View) []Match {
	var out []Match
	for _, l := range v.Lines(SystemLogs) {
		if badWords.Match(l.Text) {
			out = append(out, Match{Evidence: []Evidence{LineEvidence(l)}, Summary: Clip(l.Text, 300)})
		}
	}
	out = append(out, OnEvent(ControlPlane, "", badWords)(v)...)
	for _, o := range v.Objects(SystemConfigMaps) {
		if o.Name == "inferenceservice-config" && !o.Partial && o.Has("data") {
			out = append(out, invalidKeys(o)...)
		}
	}
	for i := range out {
		out[i].Step = Step{Hop: ControlPlane}
	}
	return latest(merge(out), 3)
}

// invalidKeys checks what KServe checks (kserve/pkg/apis/serving/v1beta1/configmap.go).
func invalidKeys(o *Object) []Match {
	var out []Match
	bad := func(value, key, why string) {
		out = append(out, Match{Evidence: []Evidence{FieldEvidence(o, value, "data", key)}, Summary: "inferenceservice-config, " + key + ": " + why})
	}
	for key, raw := range o.Map("data") {
		var tree map[string]any
		if strings.HasPrefix(key, "_") || !slices.Contains([]string{"ingress", "deploy", "storageInitializer", "credentials"}, key) {
			continue
		}
		if err := json.Unmarshal([]byte(raw), &tree); err != nil {
			bad(strings.TrimSpace(strings.SplitN(raw, "\n", 2)[0]), key, "no valid JSON: "+err.Error())
			continue
		}
		switch mode := text(tree["defaultDeploymentMode"]); {
		case key == "deploy" && mode != "" && !goodModes.MatchString(mode):
			bad(mode, key, "defaultDeploymentMode "+mode+" does not exist")
		case key == "ingress" && text(tree["ingressGateway"]) == "" && text(tree["enableGatewayApi"]) != "true":
			bad(strings.TrimSpace(raw), key, "ingressGateway is required")
		}
	}
	return out
}

var kserveController = regexp.MustCompile(`^(kserve-controller-manager|kfserving-controller-manager)`)

// controllerGrace is how long KServe's controller may take to look at a new service.
const controllerGrace = 30 * time.Second

// controllerBehind finds an InferenceService that the controller has not looked at in its newest form. An error event says that it did.
func controllerBehind(v *View) []Match {
	up, known, why := systemWorkload(v, kserveController)
	refused := slices.ContainsFunc(v.Events(), func(e Event) bool {
		return e.Type == "Warning" && (e.About.Source == InferenceServices || e.About.Kind == "InferenceService")
	})
	var out []Match
	for _, o := range v.Objects(InferenceServices) {
		if o.Partial || o.Deleted() || refused || v.ServiceAge() < controllerGrace {
			continue
		}
		m := Match{Step: Step{Hop: ControlPlane, Object: o.Ref()}, Confidence: Likely}
		seen, wanted := o.Int("status", "observedGeneration"), o.Int("metadata", "generation")
		switch {
		case len(o.Conditions()) == 0 && !o.Has("status", "modelStatus", "lastFailureInfo") && o.Str("metadata", "creationTimestamp") != "":
			m.Evidence = []Evidence{FieldEvidence(o, o.Str("metadata", "creationTimestamp"), "metadata", "creationTimestamp")}
			m.Summary = "inferenceservice " + o.Name + " has no status: KServe's controller has not looked at it"
		case seen > 0 && wanted > seen: // for how long is not known
			m.Confidence, m.Severity = Possible, Warning
			m.Evidence = []Evidence{FieldEvidence(o, o.Str("status", "observedGeneration"), "status", "observedGeneration"), FieldEvidence(o, o.Str("metadata", "generation"), "metadata", "generation")}
			m.Summary = "the status of inferenceservice " + o.Name + " speaks of an older specification"
		default:
			continue
		}
		if known && !up {
			m.Confidence, m.Severity, m.Evidence = Certain, Error, append(m.Evidence, why[:min(len(why), 1)]...)
			m.Summary += ", and it is not running"
		}
		out = append(out, m)
	}
	return out
}

var knativeController = regexp.MustCompile(`^controller(-[0-9a-z]+-[0-9a-z]{5})?$`)

// knativeControllerDown finds it by its pods or Deployment. It hurts what it has not looked at yet, and services whose pods have moved.
func knativeControllerDown(v *View) []Match {
	up, known, why := systemWorkload(v, knativeController)
	if up || !known || v.Flow().Mode == Standard {
		return nil
	}
	m := Match{Step: Step{Hop: ControlPlane}, Severity: Warning, Evidence: why[:min(len(why), 2)]}
	for _, s := range []Source{KnativeServices, Configurations, Routes, Revisions} {
		for _, o := range v.Objects(s) {
			if seen := o.Int("status", "observedGeneration"); !o.Partial && o.Int("metadata", "generation") > seen && m.Severity == Warning {
				m.Severity = Error
				m.Summary = "Knative's controller is down and has not looked at " + o.Ref().String()
				m.Evidence = append(m.Evidence, FieldEvidence(o, o.Str("metadata", "generation"), "metadata", "generation"))
			}
		}
	}
	for _, stale := range staleEndpoints(v) {
		m.Severity, m.Summary = Error, "Knative's controller is down: "+stale.Summary
		m.Evidence = append(m.Evidence, stale.Evidence...)
	}
	return []Match{m}
}

var (
	istiodNames = regexp.MustCompile(`^(istiod|istio-pilot)`)
	istiodGone  = Re(`(?i)no endpoints available for service \\?"istiod`)
)

// istiodDown finds it by its pods or Deployment, or by its webhook that nobody answers. It hurts only what is new.
func istiodDown(v *View) []Match {
	up, known, why := systemWorkload(v, istiodNames)
	said := append(OnEvent(ControlPlane, "", istiodGone)(v), OnLine(ControlPlane, SystemLogs, "", istiodGone)(v)...)
	waits := slices.ContainsFunc(v.Objects(KnativeIngresses), func(o *Object) bool { return !o.Ready() && len(o.Conditions()) > 0 })
	unrouted := frontRequests(v, func(o *Observation) (Match, bool) {
		sure, _ := gatewayAnswered(o)
		return Match{Evidence: sawStatus(o)}, sure && o.Status == 404 && emptyAnswer(o)
	})
	m := Match{Step: Step{Hop: ControlPlane}, Severity: Warning}
	switch {
	case known && !up:
		m.Evidence = why[:min(len(why), 2)]
	case !known && len(said) > 0:
		m.Confidence, m.Evidence = Likely, latest(said, 2)[0].Evidence
	default:
		return nil
	}
	for _, u := range unrouted {
		m.Severity, m.Evidence = Error, append(m.Evidence, u.Evidence...)
	}
	if waits || len(said) > 0 {
		m.Severity = Error
	}
	return []Match{m}
}
