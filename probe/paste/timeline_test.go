package paste

import (
	"strings"
	"testing"
	"time"

	"probe/hops"
)

func TestTimeline(t *testing.T) {
	const text = `=== iris created 2026-03-01T10:00:00Z
T+   2.4 isvc/iris appears
T+   8.8 rev/iris-predictor-00001 cond Ready: Unknown reason=Deploying
T+   9.0 pod/iris-predictor-00001-deployment-6d-x2 container storage-initializer: terminated:Completed:exit0 restarts=0 ready=True
T+  30.0 pod/iris-predictor-00001-deployment-6d-x2 container kserve-container: terminated:Error:exit1:Traceback (most recent call last):
  File "server.py", line 1

KeyError: 60 restarts=2 ready=False last=Error/exit1
T+  31.0 event Warning Pod/iris-predictor-00001-deployment-6d-x2 BackOff x3: Back-off restarting failed container
T+  62.0 rev/iris-predictor-00001 cond Ready: False reason=ExitCode1 msg=Container failed with: KeyError: 60
T+  63.0 isvc/iris modelStatus: {"transitionStatus": "BlockedByFailedLoad"}
T+  64.0 pod/iris-predictor-00002-deployment-6d-x3 appears
T+  65.0 pod/iris-predictor-00002-deployment-6d-x3 disappears
`
	r, err := Read(t.Context(), Input{Files: []File{{Name: "timeline.txt", Reader: strings.NewReader(text)}}})
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]*hops.Object{}
	for i := range r.Snapshot.Objects {
		o := &r.Snapshot.Objects[i]
		have[o.Ref().String()] = o
	}
	if len(have) != 3 {
		t.Fatalf("objects: %v", have)
	}
	if c, _ := have["revision/iris-predictor-00001"].Condition("Ready"); c.Reason != "ExitCode1" || !c.False() || c.Message != "Container failed with: KeyError: 60" {
		t.Errorf("the last word on the revision counts: %+v", c)
	}
	pod := have["pod/iris-predictor-00001-deployment-6d-x2"].List("status", "containerStatuses")
	if o := (hops.Object{Tree: pod[0]}); len(pod) != 1 || o.Int("restartCount") != 2 || !strings.HasSuffix(o.Str("state", "terminated", "message"), "KeyError: 60") {
		t.Errorf("the container: %v", pod)
	}
	if have["isvc/iris"].Str("status", "modelStatus", "transitionStatus") != "BlockedByFailedLoad" {
		t.Errorf("the service: %v", have["isvc/iris"].Tree)
	}
	if len(r.Snapshot.Events) != 1 || r.Snapshot.Events[0].Count != 3 || !r.Snapshot.Events[0].Last.Equal(time.Date(2026, 3, 1, 10, 0, 31, 0, time.UTC)) {
		t.Errorf("events: %+v", r.Snapshot.Events)
	}
}
