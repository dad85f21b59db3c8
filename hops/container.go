// container.go: what can go wrong with the model server as a process: how it ends, who ends it, what it lacks to run.
package hops

import "slices"

func containerRules() []Rule {
	return slices.Concat(endRules(), startRules(), modelServerRules())
}

// modelSymptoms are what a model server that is not up brings about.
func modelSymptoms(more ...string) []string {
	return startSymptoms(append([]string{"model-not-ready", "transformer-predictor-unreachable", "explainer-not-ready-or-unreachable"}, more...)...)
}

// endSources are what the rules on the end of a container read.
func endSources(more ...Source) []Source {
	return append([]Source{Pods, Revisions, Requests, Events, Configurations, KnativeServices, InferenceServices}, more...)
}

// endRules are about containers that end.
func endRules() []Rule {
	return []Rule{
		{
			ID: "oom-killed", Hop: Container,
			Title: "the kernel killed the model server for using more memory than its limit",
			Means: "The container reached its memory limit (or the node ran out) and was killed with SIGKILL. Nothing is logged at that moment. While it loads the model it never gets ready; while it predicts, the caller gets 502 or 503 and the container restarts.",
			Fix:   "raise resources.limits.memory of {container} in the spec.{component} of inferenceservice {isvc} (-n {ns}), or make the model or the batch smaller",
			Looks: Looks{
				Status: "Revision ContainerHealthy=False ExitCode137; modelStatus.lastFailureInfo exitCode 137; pod OOMKilled",
				Client: "502 EOF or 503 while it predicts; 503 or 504 while it starts",
				Logs:   "cut short, no last line; gunicorn: Worker was sent SIGKILL! Perhaps out of memory?",
			},
			Needs:    []Source{Pods, Revisions, Requests, Events, InferenceServices, ContainerLogs},
			Explains: modelSymptoms("container-crash-loop"),
			Match: FirstOf(
				onEnd(oomKilled),
				quiet(Sure(Likely, OnLine(Container, ContainerLogs, modelContainers, oomWords))),
				Sure(Likely, When(noProbeKill, onRevisionEnd(func(code, _ string) bool { return code == "137" }))),
				Sure(Likely, When(noProbeKill, onLastFailure(func(code, _ string) bool { return code == "137" }))),
			),
		},
		{
			ID: "liveness-killed", Hop: Container,
			Title: "the kubelet restarts the model server because its liveness probe fails",
			Means: "The probe did not get its answer in time, so the container was ended and started again (exit code 137 with reason Error, not OOMKilled; 143 or 0 when the server stops in time). Too tight a probe, a wrong path or port, a start that takes longer than the probe allows, or a long prediction that blocks the server's event loop.",
			Fix:   "give livenessProbe of {container} in spec.{component} of inferenceservice {isvc} (-n {ns}) or in its ServingRuntime more time (timeoutSeconds, failureThreshold; initialDelaySeconds or a startupProbe for a slow start), correct its path and port, or leave it out; more memory does not help",
			Looks: Looks{
				Status: "events Killing 'Container kserve-container failed liveness probe, will be restarted' and Unhealthy 'Liveness probe failed: ...'; lastState.terminated exitCode 137 reason Error; Revision ExitCode137 possible",
				Client: "now and then an empty reply, 502 or 503",
				Logs:   "cut short, or a shutdown that nobody asked for",
			},
			Needs:    []Source{Pods, Revisions, Events, Requests, InferenceServices},
			Explains: modelSymptoms("container-crash-loop", "container-exits-clean"),
			Match:    AnyOf(killedByProbe, Sure(Likely, onEnd(killedFromOutside))),
		},
		{
			ID: "container-crash-loop", Hop: Container,
			Title: "the model server starts and exits again and again",
			Means: "The process in the container ends with an error. Its last words tell why: a missing module, a model file made by another version, a bad argument. Exit code 139 is a crash in native code, 132 an instruction that the CPU does not have.",
			Fix:   "read `kubectl logs -n {ns} {pod} -c {container} --previous`; match the runtime's version with the one that made the model (spec.{component}.model.runtimeVersion), or correct the arguments",
			Looks: Looks{
				Status: "Revision ContainerHealthy=False ExitCode1 'Container failed with: ...'; isvc ModelLoadFailed; pod CrashLoopBackOff",
				Client: "503 or 504; on an update the old revision goes on answering",
				Logs:   "traceback of the model server",
			},
			Needs:    endSources(ContainerLogs),
			Explains: modelSymptoms(),
			Match: fixedBy(crashFix, FirstOf(
				AnyOf(withLog(onEnd(crashed)), backsOff, onRevisionEnd(func(code, _ string) bool { return code != "0" && code != "137" })),
				onCopiedEnd(func(words string) bool { return !cleanWords.Match(words) }),
				Sure(Likely, onLastFailure(func(code, words string) bool { return code != "0" && code != "137" && words != "" })),
				quiet(Sure(Likely, lastWords)),
				Sure(Likely, backOffEvents),
				Sure(Possible, onLastFailure(func(code, words string) bool { return code != "0" && code != "137" && words == "" })),
			)),
		},
		{
			ID: "container-exits-clean", Hop: Container,
			Title: "the container's command ends without an error, and a server must not end",
			Means: "The process exits with code 0 and is started again and again: the command does its work and returns, or it starts the server in the background.",
			Fix:   "let the command of {container} in spec.{component} of inferenceservice {isvc} (-n {ns}) run the server in the foreground, as process 1",
			Looks: Looks{
				Status: "Revision ContainerHealthy=False ExitCode0 'Container failed with: container exited with no error'; pod Completed, then CrashLoopBackOff",
				Client: "503 or 504",
				Logs:   "nothing wrong, it just ends",
			},
			Needs:    []Source{Pods, Revisions, Requests, Configurations, KnativeServices, InferenceServices},
			Explains: modelSymptoms(),
			Match: FirstOf(
				AnyOf(onEnd(exitedClean), onRevisionEnd(func(code, _ string) bool { return code == "0" })),
				onCopiedEnd(cleanWords.Match),
			),
		},
	}
}

// startRules are about containers that cannot run at all, or not as they should.
func startRules() []Rule {
	return []Rule{
		{
			ID: "image-wrong-arch-or-command", Hop: Container,
			Title: "the container's command cannot be executed",
			Means: "The image was pulled and its process could not be started: the image is for another CPU architecture, or the command, its interpreter or its script is not in the image or not executable.",
			Fix:   "build the image of {container} for the nodes' architecture (`kubectl get nodes -L kubernetes.io/arch`), or correct command and args of {container} in spec.{component} of inferenceservice {isvc} (-n {ns}) or its ServingRuntime",
			Looks: Looks{
				Status: "pod RunContainerError, CreateContainerError or CrashLoopBackOff; exit code 126, 127 or 128 (StartError, ContainerCannotRun)",
				Client: "503 or 504",
				Logs:   "exec /usr/bin/python3: exec format error; exec: \"serve\": executable file not found in $PATH",
			},
			Needs:    endSources(ContainerLogs),
			Explains: modelSymptoms("container-crash-loop"),
			Match: FirstOf(
				AnyOf(onEnd(notExecuted), OnContainer(Container, notStarted)),
				Sure(Likely, onRevisionEnd(func(code, words string) bool { return execWords.Match(words) || code == "126" || code == "127" })),
				Sure(Likely, onCopiedEnd(execWords.Match)),
				Sure(Likely, onLastFailure(func(_, words string) bool { return execWords.Match(words) })),
				Sure(Likely, failedEvents(execWords)),
				Sure(Likely, onServerLine(execWords)),
			),
		},
		{
			ID: "gpu-runtime-error", Hop: Container,
			Title: "the model server cannot use the GPU as it needs",
			Means: "No GPU is in the container, its driver does not fit the image's CUDA version, or the GPU's memory is full. It shows at the start as a crash, or later as failed predictions.",
			Fix:   "request a GPU in resources.limits (nvidia.com/gpu: 1) of {container} in spec.{component} of inferenceservice {isvc} (-n {ns}), match the image's CUDA version with the node's driver (`nvidia-smi`), and when its memory is full make model, batch or context smaller (vLLM: --gpu-memory-utilization, --max-model-len)",
			Looks: Looks{
				Status: "Revision ExitCode1, or Ready and requests fail; RunContainerError with nvidia-container-cli",
				Client: "500 with CUDA in the error, 503",
				Logs:   "CUDA error: ..., CUDA out of memory, no CUDA-capable device is detected, Failed to infer device type",
			},
			Needs:    endSources(ContainerLogs),
			Explains: modelSymptoms("container-crash-loop", "image-wrong-arch-or-command", "payload-invalid"),
			Match: FirstOf(
				AnyOf(onEnd(endedWith(gpuWords)), OnContainer(Container, waitsWith(gpuWords)),
					onRevisionEnd(func(_, words string) bool { return gpuWords.Match(words) }), onReply("gpu-runtime-error", nil)),
				onCopiedEnd(gpuWords.Match),
				onLastFailure(func(_, words string) bool { return gpuWords.Match(words) }),
				Sure(Likely, failedEvents(gpuWords)),
				Sure(Likely, onServerLine(gpuWords)),
			),
		},
		{
			ID: "binds-loopback-only", Hop: Container,
			Title: "the model server listens on 127.0.0.1 only",
			Means: "In Standard mode requests come to the pod's own address, where nobody listens. In Knative mode queue-proxy sits in the same pod and the loopback is enough.",
			Fix:   "let the server of {container} in spec.{component} of inferenceservice {isvc} (-n {ns}) listen on 0.0.0.0 (uvicorn --host 0.0.0.0, gunicorn -b 0.0.0.0:8080, TorchServe inference_address=http://0.0.0.0:8080)",
			Looks: Looks{
				Status: "Standard mode: pod not ready, 'Readiness probe failed: ... connect: connection refused'; ready when the probe runs inside the container",
				Client: "connection refused at the Service, 503 from the gateway; a port-forward works",
				Logs:   "Uvicorn running on http://127.0.0.1:8080",
			},
			Needs:    []Source{ContainerLogs, Pods, Requests, Events},
			Explains: modelSymptoms(),
			Match:    FirstOf(AnyOf(saysLoopback, refusesKubelet), answersOnLoopback),
		},
	}
}
