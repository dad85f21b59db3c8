// container_run.go: what keeps a model server from running as it should: its command, the GPU.
package hops

import "strings"

// execWords are those of runc, containerd, Docker, the kernel and shells for a command that cannot be executed.
var execWords = Re(`(?i)exec format error|exec user process caused|executable file not found|exec: \\?"[^"]*\\?": (stat |permission denied|is a directory|no such file)|(exec|stat) [\w./-]+: (no such file or directory|permission denied)|cannot execute( binary file|: required file)|^(/bin/)?(ba|da)?sh: .*not found$|: command not found|can't open file '[^']*'|Could not find or load main class|Unable to access jarfile|bad interpreter`)

// gpuWords are those of CUDA, ROCm, PyTorch, TensorFlow, vLLM and NVIDIA's container runtime. Servers that run on a CPU say at their start that they
// found no driver: such lines are not among them.
var gpuWords = Re(`(?i)\b(CUDA|HIP) (error|driver error|out of memory|driver initialization failed|driver version is insufficient|failure \d+)|` +
	`CUDA_ERROR_(OUT_OF_MEMORY|LAUNCH|ILLEGAL|INVALID_DEVICE|SYSTEM|UNSUPPORTED)|cudaError[A-Z]\w+|cuda\.OutOfMemoryError|` +
	`RuntimeError: .*(NVIDIA driver|cudaGetDeviceCount|CUDA unknown error|CUDA initialization)|no kernel image is available for execution|CUBLAS_STATUS_(ALLOC|NOT|EXEC|INTERNAL)|cuDNN error|NCCL (error|WARN Cuda failure)|ncclUnhandled|` +
	`nvidia-container-cli|nvml error|torch not compiled with CUDA|deserialize object on a CUDA device|No GPU found|failed to infer device type|` +
	`PTX was compiled with an unsupported|device-side assert|only supported on GPUs with compute capability|` +
	`no available memory for the cache blocks|less than desired GPU memory utilization|tokens that can be stored in KV cache|could not select device driver`)

// badImage are the exit codes of shells and runtimes for a command that is not executable, not found, or not started.
func badImage(x *Exit) bool {
	return x.Reason == "StartError" || x.Reason == "ContainerCannotRun" || x.Code == 126 || x.Code == 127
}

// notExecuted tells containers whose end says that their command could not be executed.
func notExecuted(_ *View, e ended) (field, value string, ok bool) {
	if line := lineWith(execWords, e.exit.Message); line != "" {
		return e.field + ".message", line, true
	}
	if e.up || !badImage(e.exit) || gpuWords.Match(e.exit.Message) {
		return "", "", false
	}
	if line := lastLine(e.exit.Message); line != "" {
		return e.field + ".message", line, true
	}
	return e.field + ".reason", e.exit.Reason, e.exit.Reason != ""
}

// notStarted tells containers that wait because the runtime could not start their command.
func notStarted(v *View, p PodState, c ContainerState) (field, value string, ok bool) {
	if field, value, ok = waitsWith(execWords)(v, p, c); ok {
		return field, value, ok
	}
	return "state.waiting.reason", c.Waiting, c.IsModel() && c.Waiting == "RunContainerError" && c.Message == "" && !p.Deleted()
}

// waitsWith tells containers of the model that cannot be created or started for a reason that the runtime gives.
func waitsWith(words Pattern) func(*View, PodState, ContainerState) (field, value string, ok bool) {
	return func(v *View, p PodState, c ContainerState) (field, value string, ok bool) {
		matters := !p.Deleted() && (p.Revision == "" || v.matters(p.Revision))
		return "state.waiting.message", c.Message, c.IsModel() && c.Waiting != "" && c.Message != "" && words.Match(c.Message) && matters
	}
}

// endedWith tells containers whose last words match.
func endedWith(words Pattern) func(*View, ended) (field, value string, ok bool) {
	return func(_ *View, e ended) (field, value string, ok bool) {
		line := lineWith(words, e.exit.Message)
		return e.field + ".message", line, line != ""
	}
}

// lineWith is the last line of a text that matches.
func lineWith(words Pattern, s string) string {
	found := ""
	for l := range strings.Lines(s) {
		if words.Match(strings.TrimSpace(l)) {
			found = strings.TrimSpace(l)
		}
	}
	return found
}
