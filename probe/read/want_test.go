package read

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"probe/hops"
)

func obj(apiVersion, kind, namespace, name string, more map[string]any) map[string]any {
	o := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"namespace": namespace, "name": name}}
	for k, v := range more {
		o[k] = v
	}
	return o
}

// pod makes a pod of the service with one status a container: "name running|waiting|crashed|done restarts".
func pod(name, created string, ready bool, containers ...string) map[string]any {
	var statuses []any
	for _, c := range containers {
		f := strings.Fields(c)
		restarts := 0.0
		_, _ = fmt.Sscan(f[2], &restarts)
		s := map[string]any{"name": f[0], "restartCount": restarts}
		switch f[1] {
		case "running":
			s["state"] = map[string]any{"running": map[string]any{"startedAt": created}}
		case "done":
			s["state"] = map[string]any{"terminated": map[string]any{"exitCode": 0.0}}
		case "crashed":
			s["state"] = map[string]any{"waiting": map[string]any{"reason": "CrashLoopBackOff"}}
			s["lastState"] = map[string]any{"terminated": map[string]any{"exitCode": 1.0}}
		default:
			s["state"] = map[string]any{"waiting": map[string]any{"reason": "PodInitializing"}}
		}
		statuses = append(statuses, s)
	}
	conditions := []any{map[string]any{"type": "Ready", "status": map[bool]string{true: "True", false: "False"}[ready]}}
	return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": "models", "name": name, "creationTimestamp": created,
		"labels": map[string]any{ownerLabel: "healthy-http"}}, "status": map[string]any{"containerStatuses": statuses, "conditions": conditions}}
}

func factsWith(pods ...map[string]any) hops.Facts {
	s := hops.Snapshot{Full: []hops.Source{hops.Pods}}
	info, _ := hops.Info(hops.Pods)
	for _, p := range pods {
		s.Objects = append(s.Objects, object(info, "v1", p))
	}
	gate := func(name string) hops.Target {
		return hops.Target{Kind: "service", Namespace: "istio-system", Name: name, Port: 80}
	}
	flow := hops.Flow{Ref: ref, Doors: []hops.DoorState{{Door: hops.Outside, Host: "healthy-http.models.example.com", Gateway: gate("istio-ingressgateway")},
		{Door: hops.ClusterLocal, Host: "healthy-http.models.svc.cluster.local", Gateway: gate("knative-local-gateway")}},
		Components: []hops.ComponentState{{Name: hops.Predictor, Host: "tagged.example.org"}}}
	return hops.Facts{Ref: ref, Flow: flow, Snapshots: []hops.Snapshot{s}}
}

func TestContainerLogs(t *testing.T) {
	stamp := "2026-11-22T16:00:00.123456789Z "
	long := strings.Repeat(stamp+strings.Repeat("x", 3000)+"\n", 199) + stamp + "the last word\n"
	a := newAPI()
	a.logs = map[string]string{
		"p-new/kserve-container/previous":    stamp + "Traceback\n" + stamp + "no time stamp follows\nbare line\n",
		"p-new/storage-initializer":          stamp + "Successfully copied\n",
		"p-old/kserve-container":             strings.Repeat(stamp+"INFO: ok\n", 300),
		"p-old/queue-proxy":                  long,
		"p-old/queue-proxy/previous":         "",
		"p-new/storage-initializer/previous": "unable to retrieve container logs for containerd://7d2f",
	}
	facts := factsWith(pod("p-old", "2026-11-22T15:00:00Z", true, "kserve-container running 0", "queue-proxy running 0", "sidecar running 0"),
		pod("p-new", "2026-11-22T15:59:00Z", false, "storage-initializer done 1", "kserve-container crashed 3", "queue-proxy waiting 0"))
	s := a.start(t, Options{}).Want(t.Context(), facts, []hops.Source{hops.ContainerLogs})
	count := map[string]int{}
	last := map[string]hops.Line{}
	for _, l := range s.Lines {
		key := fmt.Sprintf("%s/%s previous=%v", l.Pod, l.Container, l.Previous)
		count[key]++
		last[key] = l
	}
	want := map[string]int{"p-new/kserve-container previous=true": 3, "p-new/storage-initializer previous=false": 1,
		"p-old/kserve-container previous=false": 200, "p-old/queue-proxy previous=false": 40}
	if fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v\ngaps %+v", count, want, s.Gaps)
	}
	if l := last["p-new/kserve-container previous=true"]; l.Text != "bare line" || l.Number != 3 || !l.Time.IsZero() {
		t.Errorf("a line without a time: %+v", l)
	}
	if l := last["p-old/queue-proxy previous=false"]; l.Text != "the last word" || l.Time.Nanosecond() != 123456789 {
		t.Errorf("the end of a long log: %+v", l)
	}
	if len(s.Gaps) != 1 || s.Gaps[0].What != "log of pod models/p-new, container storage-initializer, its last run" || s.Gaps[0].Why != "the node no longer has it" {
		t.Errorf("a log that is lost must be a gap: %+v", s.Gaps)
	}
	if slices.Contains(s.Full, hops.ContainerLogs) {
		t.Error("cut logs prove no absence")
	}
}

// TestContainerLogsOfOwnNames wants the log of a model's container whatever its name: by the pod's specification, as hops resolves it, and by the
// flow where the pod's own is not known.
func TestContainerLogsOfOwnNames(t *testing.T) {
	with := func(p map[string]any, component string, containers ...any) map[string]any {
		p["metadata"].(map[string]any)["labels"].(map[string]any)["component"] = component
		p["spec"] = map[string]any{"containers": containers}
		return p
	}
	named := func(name string, port float64) map[string]any {
		return map[string]any{"name": name, "ports": []any{map[string]any{"containerPort": port}}}
	}
	predictor := with(pod("p", "2026-11-22T15:00:00Z", true, "istio-proxy running 0", "helper running 0", "vllm running 0", "queue-proxy running 0"),
		"predictor", map[string]any{"name": "helper"}, named("istio-proxy", 15090), named("vllm", 8080), named("queue-proxy", 8012))
	transformer := with(pod("t", "2026-11-22T15:00:00Z", false, "features crashed 1", "vllm running 0"), "transformer", named("features", 8080),
		named("vllm", 0))
	usual := with(pod("u", "2026-11-22T15:00:00Z", true, "kserve-container running 0", "helper running 0"), "predictor", named("kserve-container", 8080),
		named("helper", 9000))
	bare := pod("b", "2026-11-22T15:00:00Z", true, "vllm running 0", "helper running 0")
	statuses := bare["status"].(map[string]any)
	nameless := map[string]any{"state": map[string]any{"running": map[string]any{}}}
	statuses["containerStatuses"] = append(statuses["containerStatuses"].([]any), nameless)
	byPods := func(p ...map[string]any) hops.Facts {
		f := factsWith(p...)
		f.Flow = hops.Resolve(&f.Snapshots[0], ref)
		return f
	}
	byFlow := func(p map[string]any, components ...hops.ComponentState) hops.Facts {
		f := factsWith(p)
		f.Flow.Components = components
		return f
	}
	vllm, features := hops.ComponentState{Name: hops.Predictor, Container: "vllm"}, hops.ComponentState{Name: hops.Transformer, Container: "features"}
	for _, tc := range []struct {
		name  string
		facts hops.Facts
		want  string
	}{
		{"by the pod", byPods(predictor), "p/queue-proxy p/vllm"},
		{"the usual name", byPods(usual), "u/kserve-container"},
		{"both revisions", byPods(usual, predictor), "p/queue-proxy p/vllm u/kserve-container"},
		{"by the flow", byFlow(bare, hops.ComponentState{Name: hops.Transformer}, vllm), "b/vllm"},
		{"nobody knows", factsWith(bare), ""},
		{"another component's", byFlow(transformer, vllm, features), "t/features/previous"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI()
			a.logs = map[string]string{}
			all := "p/istio-proxy p/helper p/vllm p/queue-proxy t/features t/features/previous t/vllm u/kserve-container u/helper b/vllm b/helper b/"
			for _, key := range strings.Fields(all) {
				a.logs[key] = "x\n"
			}
			var got []string
			for _, l := range a.start(t, Options{}).Want(t.Context(), tc.facts, []hops.Source{hops.ContainerLogs}).Lines {
				key := l.Pod + "/" + l.Container
				if l.Previous {
					key += "/previous"
				}
				got = append(got, key)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}

func TestContainerLogsBounds(t *testing.T) {
	a := newAPI()
	a.logs = map[string]string{}
	var pods []map[string]any
	for i := range 9 {
		name := fmt.Sprintf("p%d", i)
		pods = append(pods, pod(name, fmt.Sprintf("2026-11-22T15:0%d:00Z", i), i%2 == 0, "kserve-container running 1", "queue-proxy running 0"))
		for _, k := range []string{"/kserve-container", "/kserve-container/previous", "/queue-proxy"} {
			a.logs[name+k] = "x\n"
		}
	}
	s := a.start(t, Options{}).Want(t.Context(), factsWith(pods...), []hops.Source{hops.ContainerLogs})
	if n := a.count(); n != maxLogReads {
		t.Errorf("got %d reads, want %d", n, maxLogReads)
	}
	first := a.paths
	for _, p := range []string{"p7", "p5", "p3", "p1", "p8", "p6"} { // unready and newest first
		if !slices.ContainsFunc(first, func(path string) bool {
			return strings.Contains(path, "/"+p+"/log") && strings.Contains(path, "kserve-container")
		}) {
			t.Errorf("the log of %s was not read", p)
		}
	}
	if len(s.Gaps) != 6 {
		t.Errorf("got %d gaps, want one for each log left out: %+v", len(s.Gaps), s.Gaps)
	}
}

func TestContainerLogsThatCannotBe(t *testing.T) {
	waiting := pod("p", "2026-11-22T15:00:00Z", false, "kserve-container waiting 0")
	for _, tc := range []struct {
		name  string
		facts hops.Facts
		full  bool
		gap   string
	}{
		{"nothing ran yet", factsWith(waiting), true, ""},
		{"there are no pods", factsWith(), true, ""},
		{"pods unknown", hops.Facts{Ref: ref}, false, "the service's pods are not known"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI()
			s := a.start(t, Options{}).Want(t.Context(), tc.facts, []hops.Source{hops.ContainerLogs})
			gap := ""
			for _, g := range s.Gaps {
				gap += g.Why
			}
			if slices.Contains(s.Full, hops.ContainerLogs) != tc.full || gap != tc.gap || a.count() != 0 {
				t.Errorf("full %v, gap %q, %d reads", s.Full, gap, a.count())
			}
		})
	}
}

func TestAccessLogs(t *testing.T) {
	line := func(code, authority, cluster, id string) string {
		return fmt.Sprintf(`2026-11-22T16:00:00Z [2026-11-22T16:00:00.000Z] "GET /v1/models HTTP/1.1" %s NR route_not_found - "-" 0 0 0 - "10.0.0.1" "curl/8" "%s" "%s" "-" %s - 10.0.0.1:8080 10.0.0.1:1 - -`,
			code, id, authority, cluster) + "\n"
	}
	facts := factsWith()
	facts.Observations = []hops.Observation{{Header: map[string]string{"x-request-id": "our-own"}}}
	cases := []struct {
		name, line string
		keep       bool
	}{
		{"outside host", line("404", "healthy-http.models.example.com", "-", "a"), true},
		{"with port", line("404", "tagged.example.org:8080", "-", "a"), true},
		{"after the rewrite", line("200", "healthy-http-predictor.models.svc.cluster.local", "-", "a"), true},
		{"by cluster", line("503", "10.0.0.1", "outbound|80||healthy-http-predictor-00001.models.svc.cluster.local", "a"), true},
		{"our id", line("404", "nobody.example.com", "-", "our-own"), true},
		{"another service", line("200", "iris.models.example.com", "outbound|80||iris-predictor-00001.models.svc.cluster.local", "a"), false},
		{"a namesake elsewhere", line("200", "healthy-http-predictor.other.svc.cluster.local", "-", "a"), false},
		{"not an access log", "2026-11-22T16:00:00Z info healthy-http.models.example.com\n", false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(service(t)...)
			a.logs = map[string]string{"ingress-a/istio-proxy": tc.line, "ingress-0/istio-proxy": ""} // a log without naming the container is refused
			s := a.start(t, Options{}).Want(t.Context(), facts, []hops.Source{hops.AccessLogs})
			if got := len(s.Lines) > 0; got != tc.keep {
				t.Errorf("kept: %v, want %v; gaps %+v", got, tc.keep, s.Gaps)
			}
			if !tc.keep && len(s.Gaps) != 2 || slices.Contains(s.Full, hops.AccessLogs) {
				t.Errorf("silence must be a gap for each gateway: full %v, gaps %+v", s.Full, s.Gaps)
			}
		})
	}
}

func TestSystemLogs(t *testing.T) {
	container := map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "manager"}}}}
	a := newAPI(obj("v1", "Pod", "kserve", "kserve-controller-manager-1", container), obj("v1", "Pod", "knative-serving", "activator-1", container),
		obj("v1", "Pod", "knative-serving", "controller-1", container))
	a.refuse = nil
	a.logs = map[string]string{
		"kserve-controller-manager-1/manager": `2026-11-22T16:00:00Z {"level":"info","msg":"reconcile models/healthy-http"}` + "\n" +
			`2026-11-22T16:00:00Z {"level":"info","msg":"reconcile other/iris"}` + "\n" + `2026-11-22T16:00:00Z {"level":"error","msg":"webhook"}` + "\n",
		"controller-1/manager": `2026-11-22T16:00:00Z {"severity":"INFO","message":"other/iris"}` + "\n",
		"activator-1/manager":  "2026-11-22T16:00:00Z E1122 16:00:00.1 leader lost\n2026-11-22T16:00:00Z 2026-11-22\twarn\tx\n",
	}
	s := a.start(t, Options{}).Want(t.Context(), factsWith(), []hops.Source{hops.SystemLogs, hops.SystemPods})
	var got []string
	for _, l := range s.Lines {
		got = append(got, l.Pod+" "+fmt.Sprint(l.Number))
	}
	if want := []string{"activator-1 1", "activator-1 2", "kserve-controller-manager-1 1", "kserve-controller-manager-1 3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	silent := slices.ContainsFunc(s.Gaps, func(g hops.Gap) bool {
		return g.What == "log of pod knative-serving/controller-1, container manager" && g.Why == "its last 200 lines do not speak of models/healthy-http"
	})
	if !silent || slices.Contains(s.Full, hops.SystemLogs) || !slices.Contains(s.Full, hops.SystemPods) {
		t.Errorf("full %v, gaps %+v", s.Full, s.Gaps)
	}
	if n := a.count(); n != 6 {
		t.Errorf("got %d reads, want 3 lists of pods, shared, and 3 logs:\n%s", n, strings.Join(a.paths, "\n"))
	}
}

// TestWantBySource asks for one source each and names what comes of it.
func TestWantBySource(t *testing.T) {
	hosts := func(h ...any) map[string]any { return map[string]any{"spec": map[string]any{"hosts": h}} }
	about := func(kind, name string) map[string]any {
		return map[string]any{"involvedObject": map[string]any{"kind": kind, "name": name, "namespace": "models"}, "reason": "R", "message": name}
	}
	api := func() *api {
		return newAPI(
			obj("v1", "Event", "models", "1", about("Pod", "healthy-http-predictor-00001-x")), obj("v1", "Event", "models", "2", about("Pod", "other-predictor")),
			obj("v1", "Event", "models", "3", about("PersistentVolumeClaim", "disk")),
			obj("networking.istio.io/v1", "VirtualService", "evil", "thief", hosts("healthy-http.models.example.com")),
			obj("networking.istio.io/v1", "VirtualService", "evil", "wild", hosts("*.models.example.com")),
			obj("networking.istio.io/v1", "VirtualService", "evil", "other", hosts("shop.example.com")),
			obj("v1", "ConfigMap", "knative-serving", "config-domain", nil), obj("v1", "ConfigMap", "kserve", "inferenceservice-config", nil),
			obj("v1", "ConfigMap", "kserve", "somebody-elses", nil), obj("v1", "Namespace", "", "models", nil), obj("v1", "Namespace", "", "other", nil),
			obj("v1", "Node", "", "n1", map[string]any{"status": map[string]any{"images": []any{"x"}, "phase": "y"}}),
			obj("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", "m", nil),
			obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "v", nil),
			obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "services.serving.knative.dev", nil),
			obj("security.istio.io/v1", "AuthorizationPolicy", "istio-system", "deny", nil), obj("security.istio.io/v1", "AuthorizationPolicy", "models", "own", nil),
			obj("networking.istio.io/v1", "Gateway", "knative-serving", "knative-local-gateway", nil),
			obj("networking.istio.io/v1", "Gateway", "gateways", "of-a-route", nil), obj("networking.istio.io/v1", "Gateway", "kserve", "nobodys", nil))
	}
	cases := []struct {
		source hops.Source
		want   string
		reads  int
	}{
		{hops.Events, "R/disk R/healthy-http-predictor-00001-x", 1},
		{hops.AllVirtualServices, "virtualservice/thief virtualservice/wild", 1},
		{hops.SystemConfigMaps, "configmap/config-domain configmap/inferenceservice-config", 10},
		{hops.Namespaces, "namespace/models", 1},
		{hops.Nodes, "node/n1", 1},
		{hops.Webhooks, "mutatingwebhookconfiguration/m mutatingwebhookconfiguration/v", 2},
		{hops.CustomResources, "crd/services.serving.knative.dev", 5},
		{hops.AuthPolicies, "authorizationpolicy/own", 1},
		{hops.SystemAuthPolicies, "authorizationpolicy/deny", 2},
		{hops.IstioGateways, "gateway/of-a-route gateway/knative-local-gateway", 3}, // istio-system, knative-serving, and where a route names one
		{hops.Analysis, "", 0},
		{hops.Requests, "", 0},
	}
	for _, tc := range cases {
		t.Run(string(tc.source), func(t *testing.T) {
			a := api()
			route := obj("networking.istio.io/v1", "VirtualService", "models", "healthy-http", map[string]any{"spec": map[string]any{"gateways": []any{"mesh", "gateways/of-a-route"}}})
			facts := factsWith()
			info, _ := hops.Info(hops.VirtualServices)
			facts.Snapshots[0].Objects = append(facts.Snapshots[0].Objects, object(info, "networking.istio.io/v1", route))
			s := a.start(t, Options{}).Want(t.Context(), facts, []hops.Source{tc.source, tc.source})
			var got []string
			for _, o := range s.Objects {
				got = append(got, o.Ref().String())
				if o.Source != tc.source || o.Has("status", "images") {
					t.Errorf("%s is of source %s: %v", o.Name, o.Source, o.Tree)
				}
			}
			for _, e := range s.Events {
				got = append(got, e.Reason+"/"+e.Message)
			}
			if strings.Join(got, " ") != tc.want || a.count() != tc.reads {
				t.Errorf("got %v in %d reads, want %s in %d; gaps %+v", got, a.count(), tc.want, tc.reads, s.Gaps)
			}
			if slices.Contains(s.Full, tc.source) != (tc.reads > 0) {
				t.Errorf("full: %v", s.Full)
			}
		})
	}
}

func TestWantKeepsTheBound(t *testing.T) {
	a := newAPI()
	var all []hops.Source
	for _, i := range hops.Known() {
		all = append(all, i.Source)
	}
	s := a.start(t, Options{MaxReads: 20}).Want(t.Context(), factsWith(), all)
	if n := a.count(); n > 20 || n < 15 {
		t.Errorf("got %d reads, want about, and at most, 20", n)
	}
	left := 0
	for _, g := range s.Gaps {
		if g.Why == "left out: one run makes at most 20 further reads" {
			left++
			if slices.Contains(s.Full, g.Source) {
				t.Errorf("%s was left out and is called full", g.Source)
			}
		}
	}
	if left == 0 {
		t.Error("what was left out is not said")
	}
}

func TestWantRunsSideBySide(t *testing.T) {
	a := newAPI()
	a.barrier = 8
	wants := []hops.Source{hops.Events, hops.ReplicaSets, hops.NetworkPolicies, hops.ResourceQuotas, hops.ServiceAccounts, hops.Claims, hops.AuthPolicies, hops.Nodes}
	start := time.Now()
	s := a.start(t, Options{ReadTimeout: 2 * time.Second}).Want(t.Context(), factsWith(), wants)
	if len(s.Gaps) > 0 {
		t.Errorf("not all of them were under way at once after %v: %+v", time.Since(start), s.Gaps)
	}
}

func TestUserAgentAndNoSecretPaths(t *testing.T) {
	a := newAPI(service(t)...)
	agents := map[string]bool{}
	a.special = func(_ http.ResponseWriter, r *http.Request) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		agents[r.UserAgent()] = true
		return false
	}
	c := a.start(t, Options{Version: "v1.2.3", MaxReads: 1000})
	if _, err := c.First(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	var all []hops.Source
	for _, i := range hops.Known() {
		all = append(all, i.Source)
	}
	c.Want(t.Context(), factsWith(), all)
	if len(agents) != 1 || !agents["probe/v1.2.3"] {
		t.Errorf("user agents: %v", agents)
	}
	for _, q := range a.seen {
		if q.resource == "secrets" || q.verb != "get" && q.verb != "list" {
			t.Errorf("asked for %+v", q)
		}
	}
}
