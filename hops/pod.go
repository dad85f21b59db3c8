// pod.go: what can keep a pod from being admitted, scheduled and started, and the specs that never become a pod.
package hops

func podRules() []Rule {
	return append(placementRules(), specRules()...)
}

// startSymptoms are the symptoms that every fault explains which keeps the pods of a revision from starting.
func startSymptoms(more ...string) []string {
	return append([]string{"progress-deadline-exceeded", "revision-missing-waiting", "no-healthy-backends", "stale-ready-status",
		"canary-bad-revision", "scale-from-zero-timeout", "readiness-probe-failing", "container-port-refused", "kserve-virtualservice-missing",
		"transformer-predictor-unreachable", "explainer-not-ready-or-unreachable"}, more...)
}

// placementRules are about pods: created, scheduled, with image, configuration and volumes.
func placementRules() []Rule {
	return []Rule{
		{
			ID: "unschedulable-resources", Hop: Pod,
			Title:    "no node has room for the pod",
			Means:    "The scheduler finds no node that fits: not enough free CPU, memory or GPUs for what the pod requests, a taint that it does not tolerate, or a node selector that matches nothing. On an update the new revision needs room beside the old one. After the progress deadline the pod is deleted and only the event is left.",
			Fix:      "see what is free with `kubectl describe nodes`; lower resources.requests in spec.{component} of inferenceservice {isvc} (-n {ns}), add nodes, or add the toleration or node selector (Knative needs kubernetes.podspec-tolerations or -nodeselector in ConfigMap config-features)",
			Looks:    Looks{Status: "Revision ResourcesAvailable=False Unschedulable '0/N nodes are available: ...'; pod PodScheduled=False; event FailedScheduling", Client: "404 for a new service, 503 or 504 for one that scales up"},
			Needs:    saidSources(),
			Explains: startSymptoms("activator-queue-full"),
			Match:    settled(AnyOf(unscheduled(noRoom), told(fault{Says: noRoom, Events: "FailedScheduling|NotTriggerScaleUp", Over: scheduled}))),
		},
		{
			ID: "quota-exceeded", Hop: Pod,
			Title:    "a ResourceQuota or LimitRange of the namespace refuses the pod",
			Means:    "The namespace's quota is used up, or it demands requests and limits of every container, also of queue-proxy, storage-initializer and istio-proxy, which the InferenceService does not set. No pod is created.",
			Fix:      "see `kubectl describe resourcequota,limitrange -n {ns}`; raise the quota, or set what it asks for: queue-sidecar-*-request/-limit in ConfigMap config-deployment (knative-serving), storageInitializer in inferenceservice-config (kserve), resources in spec.{component}, or a LimitRange with defaults",
			Looks:    Looks{Status: "ReplicaSet event FailedCreate '... is forbidden: exceeded quota' or 'failed quota: x: must specify ...'; Revision ResourcesAvailable=False FailedCreate", Client: "404 or 503"},
			Needs:    saidSources(),
			Explains: startSymptoms("activator-queue-full"),
			Match:    told(fault{Says: Re(`(exceeded|failed) quota: |(maximum|minimum) \S+ usage per (Container|Pod)|max limit to request ratio per`).Match, Events: "FailedCreate|InternalError|CreationFailed|ReconcileFailed|FailedUpdate"}),
		},
		{
			ID: "pod-security-denied", Hop: Pod,
			Title:    "a pod security policy of the cluster refuses the pod",
			Means:    "Pod Security admission, OpenShift's security context constraints or a policy engine such as Kyverno or Gatekeeper finds something in the pod's containers that the namespace does not allow. No pod is created.",
			Fix:      "set what the message asks for in the securityContext of the named container (in spec.{component} or in the ServingRuntime); for containers that you do not write: secure-pod-defaults in ConfigMap config-features (knative-serving) and a current KServe for storage-initializer; or loosen the label pod-security.kubernetes.io/enforce of namespace {ns}",
			Looks:    Looks{Status: "ReplicaSet event FailedCreate '... violates PodSecurity \"restricted:latest\"'; Revision FailedCreate; isvc ReconcileFailed 'dry run failed ...'", Client: "404 or 503"},
			Needs:    saidSources(),
			Explains: startSymptoms(),
			Match:    told(fault{Says: Re(`violates PodSecurity|unable to validate against any (security context constraint|pod security policy)|PodSecurityPolicy: |admission webhook "(validat\S*kyverno\S*|validation\.gatekeeper\.sh|\S*kubewarden\S*)" denied`).Match, Events: "FailedCreate|InternalError|CreationFailed|ReconcileFailed"}),
		},
		{
			ID: "image-pull-backoff", Hop: Pod,
			Title:    "the node cannot pull an image of the pod",
			Means:    "The kubelet gets an error from the registry: no such image or tag, no rights, a rate limit, or no way there. It tries again with growing pauses; Knative says nothing before the progress deadline.",
			Fix:      "try the image by hand on a node; correct its name or tag, or add imagePullSecrets to the service account of spec.{component} (-n {ns})",
			Looks:    Looks{Status: "pod ImagePullBackOff or ErrImagePull; Revision ResourcesAvailable=False ErrImagePull only after the deadline", Client: "404, 503 or 504"},
			Needs:    saidSources(),
			Explains: startSymptoms("storage-initializer-failed"),
			Match: settled(AnyOf(fixBy(pullFix, OnContainer(Pod, imageMissing)), told(fault{Reason: imageReasons, Events: "Failed|BackOff|InspectFailed|ErrImageNeverPull", Over: imagesThere, Model: true, Fix: pullFix,
				Says: Re(`(?i)failed to pull image|back-off pulling image|\b(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull)\b|failed to (inspect|apply default) image|couldn't parse image`).Match}))),
		},
		{
			ID: "create-container-config-error", Hop: Pod,
			Title:    "a Secret, ConfigMap or security setting that a container names is not there or contradicts itself",
			Means:    "The kubelet cannot put the container's configuration together: an environment variable or volume names a Secret, ConfigMap or key that does not exist in the namespace, or runAsNonRoot meets an image that runs as root.",
			Fix:      "create the object or key that the message names in namespace {ns}, or correct the reference in spec.{component} of inferenceservice {isvc} or in the ServingRuntime; for runAsNonRoot set runAsUser",
			Looks:    Looks{Status: "pod CreateContainerConfigError 'secret \"x\" not found'; Revision Unknown until the deadline; event Failed or FailedMount", Client: "404, 503 or 504"},
			Needs:    saidSources(),
			Explains: startSymptoms("storage-initializer-failed", "pvc-not-bound"),
			Match: settled(AnyOf(OnContainer(Pod, configMissing), told(fault{Reason: "CreateContainerConfigError", Events: "Failed|FailedMount", Over: imagesThere, Model: true,
				Says: Re(`\b(secret|configmap) "[^"]+" not found|couldn't find key \S+ in |non-existent (secret|config) key|runAsNonRoot and image`).Match}))),
		},
		{
			ID: "pvc-not-bound", Hop: Pod,
			Title:    "a volume claim of the pod is missing, unbound or cannot be mounted",
			Means:    "The pod waits for a PersistentVolumeClaim: there is none of that name in the namespace, no volume is bound to it, its volume lives in another zone, or another node still holds it (ReadWriteOnce).",
			Fix:      "see `kubectl get pvc -n {ns}`; create or bind the claim in this namespace, use ReadWriteMany or ReadOnlyMany for several nodes, and delete the pod that still holds a ReadWriteOnce volume",
			Looks:    Looks{Status: "event FailedScheduling 'persistentvolumeclaim \"x\" not found', FailedMount or FailedAttachVolume; Revision Unschedulable", Client: "404, 503 or 504"},
			Needs:    saidSources(Claims),
			Explains: startSymptoms(),
			Match: settled(AnyOf(unscheduled(noVolume), claimMissing, told(fault{Says: noVolume,
				Events: "FailedScheduling|FailedMount|FailedAttachVolume", Over: volumesThere}))),
		},
		{
			ID: "service-account-missing", Hop: Pod,
			Title:    "the service account that the InferenceService names does not exist in the namespace",
			Means:    "serviceAccountName names an account that is not in this namespace, so that no pod can be created. After the progress deadline only the ReplicaSet's events tell.",
			Fix:      "create the service account with its storage secret in namespace {ns}, or correct spec.{component}.serviceAccountName of inferenceservice {isvc}",
			Looks:    Looks{Status: "ReplicaSet event FailedCreate 'error looking up service account'; Deployment ReplicaFailure=True; Revision FailedCreate", Client: "404 or 503"},
			Needs:    saidSources(ServiceAccounts),
			Explains: startSymptoms(),
			Match: settled(AnyOf(accountMissing, told(fault{Says: Re(`error looking up service account|serviceaccount "[^"]+" not found`).Match,
				Events: "FailedCreate|InternalError|CreationFailed"}))),
		},
		{
			ID: "storage-secret-missing", Hop: Pod,
			Title:    "the storage secret, or the key in it that storage.key names, is missing",
			Means:    "The InferenceService uses storage.key; KServe's webhook looks it up in the secret storage-config of the same namespace while the pod is created, and refuses the pod when it is not there or not JSON.",
			Fix:      "create secret storage-config with that key in namespace {ns} (`kubectl get secret storage-config -n {ns}`), or use storageUri with a service account in spec.{component}.model of inferenceservice {isvc}",
			Looks:    Looks{Status: "ReplicaSet event FailedCreate 'can't read storage secret storage-config'; Revision FailedCreate, later only ProgressDeadlineExceeded", Client: "404 or 503"},
			Needs:    saidSources(),
			Explains: startSymptoms(),
			Match:    told(fault{Says: Re(`storage secret`).Match, Events: "FailedCreate|InternalError|CreationFailed"}),
		},
		{
			ID: "storage-initializer-not-injected", Hop: Pod,
			Title:    "the pod has no storage-initializer, so that the model is never downloaded",
			Means:    "KServe's pod webhook puts the storage-initializer in. It is not called for namespaces with the label control-plane, nor when its MutatingWebhookConfiguration is gone; the model server then finds no /mnt/models.",
			Fix:      "remove the label control-plane from namespace {ns} (`kubectl label namespace {ns} control-plane-`) or deploy in another one; check `kubectl get mutatingwebhookconfiguration inferenceservice.serving.kserve.io`; then delete {pod}",
			Looks:    Looks{Status: "pod with storage annotation and without init container; Revision ExitCode1", Client: "404, 503; or 404 for the model", Logs: "No such file or directory: '/mnt/models'; TF Serving: Could not find base path /mnt/models"},
			Needs:    []Source{Requests, Pods, Revisions, ContainerLogs, InferenceServices, Events},
			Explains: startSymptoms("container-crash-loop", "model-not-loaded", "model-not-ready"),
			Match:    settled(AnyOf(notInjected, modelFolderMissing)),
		},
		{
			ID: "node-pressure-eviction", Hop: Pod,
			Title:    "the node evicted the pod because it ran out of disk, memory or another resource",
			Means:    "The kubelet evicts pods under pressure. Often the model that was copied into an emptyDir fills the node's disk or passes the pod's ephemeral-storage limit.",
			Fix:      "request (and limit) ephemeral-storage in spec.{component} so that the pod lands where there is room, give the nodes more disk, or serve the model from a PVC or a modelcar image (oci://)",
			Looks:    Looks{Status: "pod Failed, reason Evicted 'The node was low on resource: ephemeral-storage'; event Evicted", Client: "502 or 503 for a while, again and again"},
			Needs:    []Source{Pods, Events, InferenceServices},
			Explains: startSymptoms("container-crash-loop", "draining-or-evicted"),
			Match:    evicted,
		},
	}
}

// specRules are about InferenceServices that KServe or Knative refuse to turn into anything.
func specRules() []Rule {
	return []Rule{
		{
			ID: "knative-feature-flag-denied", Hop: Pod,
			Title:    "Knative refuses a pod field that needs a feature flag",
			Means:    "Knative's webhook admits node selectors, tolerations, affinity, volume claims, init containers and others only when a key of ConfigMap config-features allows them. KServe cannot create the Knative Service, so that there is no revision and no pod.",
			Fix:      "allow the field that the message names: `kubectl patch configmap config-features -n knative-serving --type merge -p '{\"data\":{\"kubernetes.podspec-<field>\":\"enabled\"}}'`, or remove it from spec.{component} of inferenceservice {isvc}",
			Looks:    Looks{Status: "isvc PredictorReady=False ReconcileFailed (older: event InternalError) '... validation failed: must not set the field(s): spec.template.spec.nodeSelector'", Client: "404"},
			Needs:    saidSources(),
			Explains: startSymptoms("kserve-controller-slow"),
			Match:    told(fault{Says: Re(`must not set the field\(s\): .*spec\.|(volume|claim|write|propagation) support is disabled, but found`).Match, Events: "InternalError|ReconcileFailed|UpdateFailed|CreationFailed", Fix: featureFix}),
		},
		{
			ID: "no-supporting-runtime", Hop: Pod,
			Title:    "no serving runtime supports the model's format",
			Means:    "No ServingRuntime or ClusterServingRuntime with autoSelect fits the model format, its version and the protocol, or the one that is named does not. KServe creates nothing.",
			Fix:      "see `kubectl get clusterservingruntimes,servingruntimes -n {ns}`; install KServe's runtimes, correct spec.predictor.model.modelFormat or protocolVersion of inferenceservice {isvc}, or name one in spec.predictor.model.runtime",
			Looks:    Looks{Status: "isvc modelStatus InvalidSpec, lastFailureInfo.reason NoSupportingRuntime; event InternalError 'no runtime found to support predictor ...'; no URL", Client: "404"},
			Needs:    saidSources(),
			Explains: startSymptoms("kserve-controller-slow"),
			Match: settled(AnyOf(invalidSpec("NoSupportingRuntime"), told(fault{Reason: "NoSupportingRuntime", Past: specAccepted, Events: "InternalError|ReconcileFailed",
				Says: Re(`no runtime found to support|(?i)specified runtime .*does not support|no runtime found to support specified framework`).Match}))),
		},
		{
			ID: "runtime-not-recognized", Hop: Pod,
			Title:    "the serving runtime that the InferenceService names does not exist or is disabled",
			Means:    "spec.predictor.model.runtime names neither a ServingRuntime of the namespace nor a ClusterServingRuntime, or one that is disabled. KServe creates nothing and leaves every condition Unknown.",
			Fix:      "see `kubectl get clusterservingruntimes,servingruntimes -n {ns}` and correct spec.predictor.model.runtime of inferenceservice {isvc}, or remove it to let KServe choose",
			Looks:    Looks{Status: "isvc modelStatus InvalidSpec, lastFailureInfo.reason RuntimeNotRecognized or RuntimeDisabled; event InternalError 'No ServingRuntimes or ClusterServingRuntimes with the name: x'", Client: "404"},
			Needs:    saidSources(),
			Explains: startSymptoms("kserve-controller-slow"),
			Match: settled(AnyOf(invalidSpec("RuntimeNotRecognized|RuntimeDisabled"), told(fault{Reason: "RuntimeNotRecognized|RuntimeDisabled", Past: specAccepted, Events: "InternalError|ReconcileFailed",
				Says: Re(`(?i)No ServingRuntimes or ClusterServingRuntimes with the name|specified runtime (\S+ )?is disabled`).Match}))),
		},
		{
			ID: "invalid-predictor-spec", Hop: Pod,
			Title:    "the predictor's spec and its serving runtime do not make a pod",
			Means:    "The runtime has no container named kserve-container, a placeholder in its template cannot be filled in, the worker and GPU numbers contradict each other, or Knative's webhook refuses the pod that would come of it. Nothing is created; a revision from before serves on.",
			Fix:      "read the message; name the runtime's container kserve-container, correct the placeholder ({{.Name}}, {{.Labels.x}}, {{.Annotations.x}}), or the field that the message names (`kubectl edit inferenceservice {isvc} -n {ns}`): a request above its limit, where KServe sets a limit of its own (resource in ConfigMap inferenceservice-config), wants a limit beside it",
			Looks:    Looks{Status: "isvc modelStatus InvalidSpec, lastFailureInfo.reason InvalidPredictorSpec; PredictorReady=False ReconcileFailed '... validation.webhook.serving.knative.dev denied the request: ... dry run failed'; event InternalError", Client: "404; after a change the old answers"},
			Needs:    saidSources(),
			Explains: startSymptoms("kserve-controller-slow"),
			Match: settled(AnyOf(invalidSpec("InvalidPredictorSpec|InvalidWorkerSpecNotSet|InvalidGPUAllocation"), told(fault{Reason: "InvalidPredictorSpec|InvalidWorkerSpecNotSet|InvalidGPUAllocation", Past: specAccepted,
				Events: "InternalError|ReconcileFailed", Says: Re(`no container configuration found in selected serving runtime|failed to replace placeholders in serving runtime|[Ee]xactly one of \[.*\] must be specified in PredictorSpec`).Match}),
				told(fault{Past: ready, Events: "InternalError|ReconcileFailed", Says: Re(`validation\.webhook\.serving\.knative\.dev"? denied the request.*(dry run failed with Pod \S+ is invalid|validation failed: (invalid value|missing field|expected ))`).Match}))),
		},
	}
}
