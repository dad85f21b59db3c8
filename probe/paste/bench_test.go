// bench_test.go: 10 MB of logs and tables, 10 MB of YAML and of JSON, and the heap that reading them takes.
package paste

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const tenMB = 10 << 20

func BenchmarkLogsAndTables(b *testing.B) { reading(b, logsAndTables(tenMB)) }
func BenchmarkYAML(b *testing.B)          { reading(b, yamlList(tenMB)) }
func BenchmarkJSON(b *testing.B)          { reading(b, jsonList(tenMB)) }

// BenchmarkLibraryYAML is what the quick way of quickyaml.go is measured against.
func BenchmarkLibraryYAML(b *testing.B) {
	text := podYAML(0, 0)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := libraryYAML(text); err != nil {
			b.Fatal(err)
		}
	}
}

// reading reads a text and reports the highest heap seen on the way.
func reading(b *testing.B, text string) {
	b.SetBytes(int64(len(text)))
	var peak uint64
	for b.Loop() {
		r, top := withHeap(func() Result {
			r, err := Read(b.Context(), Input{Files: []File{{Name: "paste", Reader: strings.NewReader(text)}}})
			if err != nil {
				b.Fatal(err)
			}
			return r
		})
		if len(r.Snapshot.Objects)+len(r.Snapshot.Lines) == 0 {
			b.Fatal("nothing was read")
		}
		peak = max(peak, top)
	}
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
}

// withHeap runs f and gives the highest heap above what was in use before, sampled every millisecond.
func withHeap(f func() Result) (Result, uint64) {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		var m runtime.MemStats
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapAlloc))
			}
		}
	}()
	r := f()
	close(done)
	<-stopped
	runtime.ReadMemStats(&now)
	top := max(peak.Load(), now.HeapAlloc)
	return r, top - min(top, before.HeapAlloc)
}

// TestMemoryIsBounded holds the promise of 150 MB for inputs that are longer than what is kept.
func TestMemoryIsBounded(t *testing.T) {
	for name, text := range map[string]string{"log": logsAndTables(3 * tenMB), "yaml": yamlList(2 * tenMB), "table": table10(2 * tenMB),
		"one line": strings.Repeat("x", 2*tenMB), "one json line": "[" + strings.Repeat(`{"a":1},`, 2<<20)} {
		t.Run(name, func(t *testing.T) {
			_, top := withHeap(func() Result {
				r, err := Read(t.Context(), Input{Files: []File{{Name: "paste", Reader: strings.NewReader(text)}}})
				if err != nil {
					t.Fatal(err)
				}
				return r
			})
			t.Logf("%d MiB of heap for %d MiB", top>>20, len(text)>>20)
			if top > slack*150<<20 {
				t.Errorf("reading %d MiB took %d MiB of heap", len(text)>>20, top>>20)
			}
		})
	}
}

// logsAndTables alternates sections of a model server's log, an activator's JSON log, an access log and a table of pods.
func logsAndTables(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "$ kubectl logs iris-predictor-00001-deployment-7b-%05d -c kserve-container\n", i)
		for j := range 3000 {
			fmt.Fprintf(&b, "2026-11-22 10:%02d:%02d.123 uvicorn.access INFO:     10.244.0.%d:0 1 - \"POST /v1/models/iris%%3Apredict HTTP/1.1\" 200 OK\n", j/60%60, j%60, j%250)
		}
		fmt.Fprintf(&b, "$ kubectl logs -n knative-serving activator-5f-%05d\n", i)
		for j := range 2000 {
			fmt.Fprintf(&b, `{"severity":"INFO","timestamp":"2026-11-22T10:00:%02d.000000000Z","logger":"activator","caller":"handler/handler.go:%d","message":"proxied","commit":"abcdef","knative.dev/key":"demo/iris-predictor-00001"}`+"\n", j%60, j)
		}
		fmt.Fprintf(&b, "$ kubectl logs -n istio-system istio-ingressgateway-5f-%05d\n", i)
		for j := range 1500 {
			fmt.Fprintf(&b, `[2026-11-22T10:00:%02d.000Z] "POST /v1/models/iris:predict HTTP/1.1" 200 - via_upstream - "-" 17 708 75 75 "10.244.0.1" "curl/7.88.1" "ce0eee9a" "iris-predictor.demo.svc.cluster.local" "10.244.0.35:8081" outbound|80||knative-local-gateway.istio-system.svc.cluster.local 10.244.0.34:40286 10.244.0.34:8080 10.244.0.1:%d - -`+"\n", j%60, j)
		}
		b.WriteString("$ kubectl get pods -A\n")
		writeTable(&b, 2000, i)
	}
	return b.String()
}

func table10(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		writeTable(&b, 20000, i)
	}
	return b.String()
}

func writeTable(w io.Writer, rows, seed int) {
	fmt.Fprintf(w, "NAMESPACE   NAME                                                    READY   STATUS    RESTARTS   AGE\n")
	for j := range rows {
		fmt.Fprintf(w, "demo        model-%05d-predictor-00001-deployment-7b9d5c-%05d      2/2     Running   0          %dh\n", j, seed, j%90+1)
	}
	fmt.Fprintln(w)
}

func yamlList(n int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nitems:\n")
	for i := 0; b.Len() < n; i++ {
		item := podYAML(i, 2)
		b.WriteString("- " + strings.TrimPrefix(item, "  "))
	}
	b.WriteString("kind: List\nmetadata:\n  resourceVersion: \"\"\n")
	return b.String()
}

// podYAML is a pod as kubectl prints it, with managedFields, indented.
func podYAML(i, indent int) string {
	pad := strings.Repeat(" ", indent)
	text := fmt.Sprintf(podTemplate, i, i%50, i, i, i, i)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return pad + strings.Join(lines, "\n"+pad) + "\n"
}

const podTemplate = `apiVersion: v1
kind: Pod
metadata:
  annotations:
    autoscaling.knative.dev/class: kpa.autoscaling.knative.dev
    internal.serving.kserve.io/storage-initializer-sourceuri: s3://models/iris/
  creationTimestamp: "2026-11-22T15:20:13Z"
  generateName: model-%d-predictor-00001-deployment-78f797b94c-
  labels:
    app: model-%d-predictor-00001
    component: predictor
    pod-template-hash: 78f797b94c
    serving.kserve.io/inferenceservice: model-%d
  managedFields:
  - apiVersion: v1
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata:
        f:annotations:
          .: {}
          f:autoscaling.knative.dev/class: {}
        f:labels:
          .: {}
          f:app: {}
      f:spec:
        f:containers:
          k:{"name":"kserve-container"}:
            .: {}
            f:args: {}
            f:image: {}
    manager: kube-controller-manager
    operation: Update
    time: "2026-11-22T15:20:13Z"
  name: model-%d-predictor-00001-deployment-78f797b94c-22fxs
  namespace: models
  ownerReferences:
  - apiVersion: apps/v1
    blockOwnerDeletion: true
    controller: true
    kind: ReplicaSet
    name: model-%d-predictor-00001-deployment-78f797b94c
    uid: 1d99dd2f-0873-45ce-8b2d-30742f65cc5a
  resourceVersion: "24960"
  uid: d9aa85a8-3989-4977-94e6-%012d
spec:
  containers:
  - args:
    - --model_name=iris
    - --model_dir=/mnt/models
    env:
    - name: PORT
      value: "8080"
    - name: K_REVISION
      value: model-predictor-00001
    image: dev.local/sklearnserver:lab
    imagePullPolicy: IfNotPresent
    name: kserve-container
    ports:
    - containerPort: 8080
      name: user-port
      protocol: TCP
    resources:
      limits:
        cpu: "1"
        memory: 2Gi
    volumeMounts:
    - mountPath: /mnt/models
      name: kserve-provision-location
      readOnly: true
  - env:
    - name: SERVING_NAMESPACE
      value: models
    - name: SERVING_READINESS_PROBE
      value: '{"tcpSocket":{"port":8080,"host":"127.0.0.1"},"successThreshold":1}'
    image: dev.local/kn-queue:v0.48.1
    name: queue-proxy
    readinessProbe:
      failureThreshold: 3
      httpGet:
        httpHeaders:
        - name: K-Network-Probe
          value: queue
        path: /
        port: 8012
        scheme: HTTP
status:
  conditions:
  - lastProbeTime: null
    lastTransitionTime: "2026-11-22T15:20:15Z"
    status: "True"
    type: Initialized
  - lastProbeTime: null
    lastTransitionTime: "2026-11-22T15:20:13Z"
    message: 'containers with unready status: [kserve-container queue-proxy]'
    reason: ContainersNotReady
    status: "False"
    type: Ready
  containerStatuses:
  - containerID: containerd://74b40c0d91cd1be968defce5ea224ab4c55250d3735329b3ebab1b4c07b1ffba
    image: dev.local/sklearnserver:lab
    lastState:
      terminated:
        exitCode: 137
        finishedAt: "2026-11-22T15:20:20Z"
        reason: OOMKilled
        startedAt: "2026-11-22T15:20:18Z"
    name: kserve-container
    ready: false
    restartCount: 3
    started: false
    state:
      waiting:
        message: back-off 40s restarting failed container=kserve-container
        reason: CrashLoopBackOff
  hostIP: 172.18.0.3
  phase: Running
  podIP: 10.244.0.151
  qosClass: Burstable
  startTime: "2026-11-22T15:20:13Z"
`

func jsonList(n int) string {
	tree, err := libraryYAML(podYAML(1, 0))
	if err != nil {
		panic(err)
	}
	one, err := json.MarshalIndent(tree, "        ", "    ")
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	b.WriteString("{\n    \"apiVersion\": \"v1\",\n    \"items\": [\n")
	for i := 0; b.Len() < n; i++ {
		if i > 0 {
			b.WriteString(",\n")
		}
		b.WriteString("        " + strings.ReplaceAll(string(one), "model-1-", fmt.Sprintf("model-%d-", i)))
	}
	b.WriteString("\n    ],\n    \"kind\": \"List\"\n}\n")
	return b.String()
}
