//go:build live

package scenarios

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"probe/hops"
	"probe/probe"
)

// podManifest is the pod that probes the sample from inside.
const podManifest = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe-in-pod", "namespace": %q},
 "spec": {"serviceAccountName": "probe", "restartPolicy": "Never", "containers": [{"name": "probe", "image": %q, "imagePullPolicy": "Never",
 "args": ["--isvc", %q, "-n", %q, "-o", "json"]}]}}`

// TestLiveInPod runs the same binary in a pod, from an image that holds nothing else, with the rights that it prints itself.
func TestLiveInPod(t *testing.T) {
	ctx := liveContext(t, 8*time.Minute)
	k, err := newKube(liveConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	binary, image := buildImage(ctx, t)
	rights := command(ctx, t, binary, "rbac", "-n", sample.Namespace, "--all")
	sp, err := k.open(ctx, prefix+"in-pod", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanUpWithin)
		defer cancel()
		if err := sp.close(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, manifest := range [][]byte{rights, fmt.Appendf(nil, podManifest, sample.Namespace, image, sample.Name, sample.Namespace)} {
		docs, err := documents(manifest)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range docs {
			if err := sp.applyOne(ctx, o, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	code, out := outcome(ctx, t, k)
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	checkInPod(t, out)
}

// buildImage builds the binary, and an image from nothing around it, and copies the image into the node.
func buildImage(ctx context.Context, t *testing.T) (binary, image string) {
	t.Helper()
	dir := t.TempDir()
	binary = filepath.Join(dir, "probe")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "../cmd/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build.Args, err, out)
	}
	raw, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	image = fmt.Sprintf("dev.local/probe:%x", sha256.Sum256(raw))[:len("dev.local/probe:")+12]
	dockerfile := "FROM scratch\nCOPY probe /probe\nUSER 65534\nENTRYPOINT [\"/probe\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	command(ctx, t, "docker", "build", "-q", "-t", image, dir)
	t.Cleanup(func() { exec.Command("docker", "rmi", image).Run() }) // of this host; the node keeps its copy
	command(ctx, t, "../kind/load", image)
	return binary, image
}

// command runs a command and gives its standard output.
func command(ctx context.Context, t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var errs bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", c.Args, err, out, errs.Bytes())
	}
	return out
}

// outcome waits for the pod's end and gives its exit code and what it printed.
func outcome(ctx context.Context, t *testing.T, k *kube) (int64, []byte) {
	t.Helper()
	at := Object{APIVersion: "v1", Kind: "Pod", Namespace: sample.Namespace, Name: "probe-in-pod"}
	for {
		pod, _, err := k.get(ctx, at, "")
		if err != nil {
			t.Fatal(err)
		}
		statuses, _, _ := unstructured.NestedSlice(pod.Object, "status", "containerStatuses")
		for _, s := range statuses {
			code, ended, _ := unstructured.NestedInt64(s.(map[string]any), "state", "terminated", "exitCode")
			if !ended {
				continue
			}
			log, err := k.disco.RESTClient().Get().AbsPath("/api/v1/namespaces", sample.Namespace, "pods", at.Name, "log").DoRaw(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return code, log
		}
		if !probe.Pause(ctx, time.Second) {
			t.Fatalf("the pod did not end: %v", pod.Object["status"])
		}
	}
}

// checkInPod checks that every hop was passed, and that all that was dialled was dialled from the pod.
func checkInPod(t *testing.T, out []byte) {
	t.Helper()
	var got struct {
		Verdict struct{ State hops.State }
		Hops    []struct{ ID, State, How, Vantage string }
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if got.Verdict.State != hops.OK || len(got.Hops) < 8 {
		t.Errorf("state %s with %d hops:\n%s", got.Verdict.State, len(got.Hops), out)
	}
	dialled := 0
	for _, h := range got.Hops {
		if h.State != string(hops.RowOK) && h.State != string(hops.RowInferred) {
			t.Errorf("hop %s is %s", h.ID, h.State)
		}
		if h.How == string(hops.Dialled) {
			dialled++
			if h.Vantage != string(hops.InPod) {
				t.Errorf("hop %s was dialled from %q", h.ID, h.Vantage)
			}
		}
	}
	if dialled < 4 {
		t.Errorf("%d hops were dialled:\n%s", dialled, out)
	}
}
