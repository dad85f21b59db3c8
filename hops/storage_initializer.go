// storage_initializer.go: what can go wrong while the model is fetched, before the model server's container starts.
package hops

func storageRules() []Rule {
	table := storageTable()
	return append(storageStoreRules(table), storageRunRules(table)...)
}

// storageSymptoms are the symptoms that every fault explains for which the model is not fetched.
func storageSymptoms(more ...string) []string {
	return append(startSymptoms("storage-initializer-failed", "model-not-ready"), more...)
}

// storageStoreRules are about what the store answers: each is told by the initializer's words.
func storageStoreRules(table []storageWords) []Rule {
	return []Rule{
		{
			ID: "storage-object-missing", Hop: StorageInitializer,
			Title:    "there is no model at the storage address",
			Means:    "The store answers, but the bucket, the file or anything under the prefix does not exist. Google's 'Anonymous credentials cannot be refreshed' on a public bucket mostly means the same; some S3 gateways also say 404 for a wrong key.",
			Fix:      "list the address with the same credentials (aws s3 ls, gsutil ls, curl -I) and correct storageUri in spec.{component} of inferenceservice {isvc} (-n {ns}); an S3 address is a prefix: end it with /. If the object is there, check the credentials of the service account",
			Looks:    Looks{Status: "pod Init:Error or Init:CrashLoopBackOff; isvc modelStatus BlockedByFailedLoad, lastFailureInfo ModelLoadFailed; Revision only PodInitializing", Client: "404, 503 or 504", Logs: "No model found in ...; resource '...' not found; does not exist; NoSuchKey; 404"},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    storageTold(table, "storage-object-missing"),
		},
		{
			ID: "storage-wrong-content", Hop: StorageInitializer,
			Title:    "the storage address does not give a model file",
			Means:    "The address answers, but with a login page, a directory listing or another type than a file to download, or the archive cannot be unpacked.",
			Fix:      "give the direct address of the file in storageUri of inferenceservice {isvc} (-n {ns}); let the server send application/octet-stream, zip or tar; for a site that wants a login, put its headers into a secret of type https-host on the service account",
			Looks:    Looks{Status: "pod Init:Error; lastFailureInfo ModelLoadFailed", Client: "404, 503 or 504", Logs: "did not respond with 'Content-Type': 'application/octet-stream'; No filename contained in URI; Failed to unpack archive file"},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    storageTold(table, "storage-wrong-content"),
		},
		{
			ID: "storage-server-error", Hop: StorageInitializer,
			Title:    "the store answers with an error of its own",
			Means:    "The store was reached and says 5xx, asks to slow down, or breaks the transfer off. The storage-initializer tries again with growing pauses.",
			Fix:      "look at the store's own health and limits and wait: nothing needs to change in the InferenceService; delete {pod} (-n {ns}) to try at once",
			Looks:    Looks{Status: "pod Init:Error; lastFailureInfo ModelLoadFailed", Client: "404, 503 or 504", Logs: "failed with status code 500; SlowDown; InternalError; ServiceUnavailable"},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    storageTold(table, "storage-server-error"),
		},
		{
			ID: "storage-credentials", Hop: StorageInitializer,
			Title:    "the store refuses the credentials, or there are none",
			Means:    "The storage-initializer has no credentials, wrong or expired ones, or its identity may not read the model. Credentials come from a secret on the service account of the InferenceService, not of the caller.",
			Fix:      "attach the storage secret to the service account and set spec.{component}.serviceAccountName of inferenceservice {isvc} (-n {ns}); an S3 secret needs the annotations serving.kserve.io/s3-endpoint, s3-usehttps, s3-region; with cloud identities check the role's binding. The line '... error for <uri>: ...' in `kubectl logs -n {ns} {pod} -c storage-initializer --previous` is the store's own answer",
			Looks:    Looks{Status: "pod Init:CrashLoopBackOff; lastFailureInfo ModelLoadFailed", Client: "404, 503 or 504", Logs: "Unable to locate credentials; AccessDenied; InvalidAccessKeyId; SignatureDoesNotMatch; S3 error [403]: Forbidden; does not have storage.objects.list access"},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    storageTold(table, "storage-credentials"),
		},
		{
			ID: "storage-bad-endpoint", Hop: StorageInitializer,
			Title:    "the store cannot be reached at the configured endpoint",
			Means:    "The endpoint's name does not resolve, nothing listens there, it has a wrong form, the wrong region, or http and https are mixed up.",
			Fix:      "correct the annotations of the storage secret (-n {ns}): serving.kserve.io/s3-endpoint as host:port without scheme, s3-usehttps \"0\" for plain http, s3-region; name a Service of another namespace in full (NAME.NAMESPACE.svc.cluster.local); then try it from a pod of the namespace",
			Looks:    Looks{Status: "pod Init:CrashLoopBackOff; lastFailureInfo ModelLoadFailed", Client: "404, 503 or 504", Logs: "Could not connect to the endpoint URL; Invalid endpoint; Name or service not known; Connection refused; WRONG_VERSION_NUMBER"},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    storageTold(table, "storage-bad-endpoint"),
		},
		{
			ID: "storage-tls-untrusted", Hop: StorageInitializer,
			Title:    "the store's TLS certificate is not trusted",
			Means:    "The endpoint has a certificate that is self-signed, of a private authority, expired or for another name.",
			Fix:      "give the authority's certificate as a ConfigMap: annotation serving.kserve.io/s3-cabundle-configmap on the storage secret (-n {ns}), or caBundleConfigMapName in inferenceservice-config; or set serving.kserve.io/s3-verifyssl \"0\" where the version honours it",
			Looks:    Looks{Status: "pod Init:CrashLoopBackOff; lastFailureInfo ModelLoadFailed", Client: "404, 503 or 504", Logs: "CERTIFICATE_VERIFY_FAILED; unable to get local issuer certificate; Failed to find ca bundle file"},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    storageTold(table, "storage-tls-untrusted"),
		},
		{
			ID: "pvc-path-missing", Hop: StorageInitializer,
			Title:    "the path does not exist on the volume",
			Means:    "The claim is bound and mounted, but has no such folder or file.",
			Fix:      "list the claim's content from a pod that mounts it, and correct pvc://CLAIM/PATH in storageUri of inferenceservice {isvc} (-n {ns})",
			Looks:    Looks{Status: "pod Init:Error; lastFailureInfo ModelLoadFailed", Client: "404, 503 or 504", Logs: "Cannot locate source uri ... for PVC; Cannot recognize storage type for /mnt/pvc/..."},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    storageTold(table, "pvc-path-missing"),
		},
	}
}

// storageRunRules are about the initializer itself and the ways to the store.
func storageRunRules(table []storageWords) []Rule {
	return []Rule{
		{
			ID: "storage-uri-unsupported", Hop: StorageInitializer,
			Title:    "the storage address is of a kind that this KServe cannot fetch",
			Means:    "The scheme of storageUri is not one that the controller or the storage-initializer's image knows. The controller then creates nothing and says so in an event only; no condition tells.",
			Fix:      "use gs://, s3://, pvc://, hdfs://, https://, hf:// or oci:// in storageUri of inferenceservice {isvc} (-n {ns}), or add a ClusterStorageContainer that supports the scheme",
			Looks:    Looks{Status: "event InternalError 'StorageURI not supported: ...'; every condition Unknown; no child object", Client: "404", Logs: "Cannot recognize storage type for ..."},
			Needs:    saidSources(ContainerLogs),
			Explains: storageSymptoms("kserve-controller-slow"),
			Match: settled(AnyOf(storageTold(table, "storage-uri-unsupported"), schemeUnknown, told(fault{Hop: StorageInitializer, Events: "InternalError|ReconcileFailed",
				Says: Re(`(?i)StorageURI not supported|storageUri \[\S*\] is not supported`).Match}))),
		},
		{
			ID: "storage-istio-cni-no-network", Hop: StorageInitializer,
			Title:    "Istio redirects the storage-initializer's traffic to a sidecar that does not run yet",
			Means:    "With Istio's CNI plugin all traffic of the pod goes to istio-proxy, which starts after the init containers: the download is refused although the store is up and other pods reach it.",
			Fix:      "run the storage-initializer as user 1337 (current KServe does), exclude the store with the annotation traffic.sidecar.istio.io/excludeOutboundIPRanges or excludeOutboundPorts on inferenceservice {isvc} (-n {ns}), use native sidecars, or switch injection off with sidecar.istio.io/inject \"false\"",
			Looks:    Looks{Status: "pod Init:CrashLoopBackOff with istio-validation before storage-initializer", Client: "404, 503 or 504", Logs: "Connection refused to a store that other pods reach"},
			Needs:    storageSources(),
			Explains: storageSymptoms("storage-bad-endpoint"),
			Match:    beforeSidecar(table),
		},
		{
			ID: "storage-initializer-oom", Hop: StorageInitializer,
			Title:    "the kernel killed the storage-initializer for using more memory than its limit",
			Means:    "Large files, or many at once, do not fit into the storage-initializer's memory limit (1Gi by default). Its log is cut short.",
			Fix:      "raise memoryLimit under storageInitializer in ConfigMap inferenceservice-config (kserve), or resources.limits.memory of ClusterStorageContainer default; or serve the model from a PVC or a modelcar image (oci://)",
			Looks:    Looks{Status: "pod Init:OOMKilled, exit 137; KServe says nothing until Init:CrashLoopBackOff", Client: "404, 503 or 504", Logs: "cut short"},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    settled(FirstOf(OnContainer(StorageInitializer, initKilled), failedWith137)),
		},
		{
			ID: "storage-download-slow", Hop: StorageInitializer,
			Title:    "the model is still being fetched, or the store is too slow to answer",
			Means:    "The download takes long for the time that is allowed: Knative gives a revision 600 s to come up, a request its own timeout, and the storage-initializer's HTTP client 30 s to the first byte.",
			Fix:      "raise the annotation serving.knative.dev/progress-deadline on inferenceservice {isvc} (-n {ns}) for large models, keep a replica (minReplicas: 1), cache the model (PVC, modelcar, LocalModelCache), or mend the store",
			Looks:    Looks{Status: "pod Init:0/1 for minutes; modelStatus Loading; may end in ProgressDeadlineExceeded", Client: "503 or 504 until it is done", Logs: "Copying contents of ... without an end; Read timed out"},
			Needs:    storageSources(),
			Explains: storageSymptoms(),
			Match:    settled(AnyOf(storageTold(table, "storage-download-slow"), downloading)),
		},
		{
			ID: "huggingface-token-or-limit", Hop: StorageInitializer,
			Title:    "Hugging Face refuses the download: token missing, repository gated, or too many requests",
			Means:    "The repository is private or gated and the token is missing or has not accepted its terms, or the address is rate-limited. Without a token a repository that does not exist looks the same.",
			Fix:      "put HF_TOKEN into a secret and into env of spec.{component} (or the service account) of inferenceservice {isvc} (-n {ns}); accept the model's terms with that account; check the repository's name; for 429 wait or use a mirror or an S3 copy",
			Looks:    Looks{Status: "Init:CrashLoopBackOff or CrashLoopBackOff; lastFailureInfo ModelLoadFailed; Revision ExitCode1", Client: "404, 503 or 504", Logs: "GatedRepoError; 401 Client Error; 429 Too Many Requests; Set HF_TOKEN"},
			Needs:    storageSources(),
			Explains: storageSymptoms("container-crash-loop"),
			Match:    settled(AnyOf(storageTold(table, "huggingface-token-or-limit"), hubRefusesModel(table))),
		},
		{
			ID: "storage-initializer-failed", Hop: StorageInitializer,
			Title:    "the storage-initializer fails",
			Means:    "The model is not fetched. Its words fit no known cause, or they are gone: Knative deletes the pod after the progress deadline, and conditions never quote init containers.",
			Fix:      "read `kubectl logs -n {ns} {pod} -c storage-initializer --previous`; if the pod is gone, let inferenceservice {isvc} try again (change an annotation under spec.{component}) and read the log while it does",
			Looks:    Looks{Status: "pod Init:Error or Init:CrashLoopBackOff; event BackOff 'restarting failed container storage-initializer'; Revision PodInitializing", Client: "404, 503 or 504"},
			Needs:    saidSources(),
			Explains: startSymptoms("model-not-ready"),
			Match: settled(Sure(Likely, AnyOf(initCrashes, told(fault{Hop: StorageInitializer, Reason: "PodInitializing", Events: "BackOff", Over: initialized, Past: loadedAgain,
				Says: Re(`restarting failed container storage-initializer`).Match})))),
		},
	}
}
