// fixtures_test.go: runs as they come out of a probe of a real service.
package report

import (
	"time"

	"probe/hops"
)

var start = time.Date(2026, 3, 4, 12, 4, 0, 0, time.UTC)

const (
	isvcHost  = "iris.models.example.com"
	localHost = "iris.models.svc.cluster.local"
	rev1      = "iris-predictor-00001"
	rev2      = "iris-predictor-00002"
)

func gateway(name string) hops.ObjectRef {
	return hops.ObjectRef{Source: hops.Services, Kind: "Service", Namespace: "istio-system", Name: name}
}

func podRef(rev string) hops.ObjectRef {
	return hops.ObjectRef{Source: hops.Pods, Kind: "Pod", Namespace: "models", Name: rev + "-deployment-7b7c56899b-qgx87"}
}

// The steps of one service, outermost first.
func steps(rev string, weight int) []hops.Step {
	vs := func(name string) hops.ObjectRef {
		return hops.ObjectRef{Source: hops.VirtualServices, Kind: "VirtualService", Namespace: "models", Name: name}
	}
	pod := podRef(rev)
	return []hops.Step{
		{Hop: hops.Client, Door: hops.Outside},
		{Hop: hops.IngressGateway, Door: hops.Outside, Object: gateway("istio-ingressgateway")},
		{Hop: hops.LocalGateway, Door: hops.ClusterLocal, Object: gateway("knative-local-gateway")},
		{Hop: hops.KServeRoute, Object: vs("iris")},
		{Hop: hops.KnativeRoute, Component: hops.Predictor, Object: vs("iris-predictor-ingress")},
		{Hop: hops.Revision, Component: hops.Predictor, Revision: rev, Weight: weight, Object: hops.ObjectRef{Source: hops.Revisions, Kind: "Revision", Name: rev}},
		{Hop: hops.Activator, Component: hops.Predictor, Revision: rev, Weight: weight, Object: gateway("activator-service")},
		{Hop: hops.QueueProxy, Component: hops.Predictor, Revision: rev, Weight: weight, Object: pod},
		{Hop: hops.Container, Component: hops.Predictor, Revision: rev, Weight: weight, Object: pod},
	}
}

func request(s hops.Step, vantage hops.Vantage, host string, status int, body string, ms float64) hops.Observation {
	took := time.Duration(ms * float64(time.Millisecond))
	return hops.Observation{Step: s, Asked: hops.RealRequest, Vantage: vantage, Method: "POST", Host: host, Path: "/v1/models/iris:predict", Start: start, Took: took, Status: status,
		Outcome: hops.Answered, Body: body, Header: map[string]string{"server": "istio-envoy"},
		Phases: hops.Phases{Connect: 300 * time.Microsecond, Wait: took - 500*time.Microsecond, Body: 200 * time.Microsecond}}
}

func knock(s hops.Step, host string, ms float64) hops.Observation {
	o := request(s, hops.PortForward, host, 200, "", ms)
	o.Asked, o.Method, o.Path, o.Header["k-network-hash"] = hops.Knock, "GET", "/", "0a1b2c"
	return o
}

func row(s hops.Step, state hops.RowState, how hops.How, observation int, why string) hops.Row {
	return hops.Row{Step: s, State: state, How: how, Observation: observation, Why: why}
}

func base() *hops.Run {
	return &hops.Run{Ref: hops.Ref{Namespace: "models", Name: "iris"}, Started: start, Ended: start.Add(480 * time.Millisecond), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		Reads: 26, ReadTook: 62 * time.Millisecond}
}

func healthy() *hops.Run {
	run, s := base(), steps(rev1, 100)
	run.Observations = []hops.Observation{request(s[1], hops.PortForward, isvcHost, 200, `{"predictions":[1]}`, 8.9), request(s[2], hops.PortForward, localHost, 200, `{"predictions":[1]}`, 7.4),
		knock(s[7], "", 1.2)}
	passed := "the request at the ingress gateway passed it"
	run.Verdict = hops.Verdict{State: hops.OK, Summary: "iris answers", Rows: []hops.Row{
		row(s[0], hops.RowNotChecked, hops.Unseen, -1, "a port-forward goes around name resolution and load balancer"),
		row(s[1], hops.RowOK, hops.Dialled, 0, "200"), row(s[2], hops.RowOK, hops.Dialled, 1, "200"),
		row(s[3], hops.RowInferred, hops.Inferred, -1, passed), row(s[4], hops.RowInferred, hops.Inferred, -1, passed), row(s[5], hops.RowInferred, hops.Inferred, -1, passed),
		row(s[6], hops.RowNotChecked, hops.Unseen, -1, "not in the path: requests go straight to the pods"),
		row(s[7], hops.RowOK, hops.Dialled, 2, "200"), row(s[8], hops.RowInferred, hops.Inferred, -1, passed)}}
	return run
}

func oomKilled() *hops.Run {
	run, s := base(), steps(rev1, 100)
	run.Observations = []hops.Observation{request(s[1], hops.PortForward, isvcHost, 503, "no healthy upstream", 4.1), request(s[1], hops.PortForward, isvcHost, 503, "no healthy upstream", 3.8),
		request(s[2], hops.PortForward, localHost, 503, "no healthy upstream", 3.2)}
	refused := hops.Observation{Step: s[8], Asked: hops.RealRequest, Vantage: hops.PortForward, Method: "POST", Path: "/v1/models/iris:predict", Start: start, Took: 12 * time.Millisecond,
		Outcome: hops.Refused, Err: "dial tcp 127.0.0.1:8080: connect: connection refused"}
	run.Observations = append(run.Observations, refused)
	pod := podRef(rev1)
	at := s[8]
	run.Verdict = hops.Verdict{State: hops.Failed, Step: at, Summary: "container kserve-container of pod " + pod.Name + " was killed for using more memory than its limit of 256Mi",
		Rows: []hops.Row{
			row(s[0], hops.RowNotChecked, hops.Unseen, -1, "a port-forward goes around name resolution and load balancer"),
			row(s[1], hops.RowInferred, hops.Inferred, -1, "the request that failed passed it"), row(s[2], hops.RowInferred, hops.Inferred, -1, "the request that failed passed it"),
			row(s[3], hops.RowInferred, hops.Inferred, -1, "the request that failed passed it"), row(s[4], hops.RowInferred, hops.Inferred, -1, "the request that failed passed it"),
			row(s[5], hops.RowInferred, hops.Inferred, -1, "the request that failed passed it"),
			row(s[6], hops.RowNotChecked, hops.Unseen, -1, "not in the path: requests go straight to the pods"),
			row(s[7], hops.RowNotChecked, hops.Unseen, -1, "no way in: the pod has no ready container"),
			row(s[8], hops.RowFailed, hops.Dialled, 3, "connection-refused")},
		Findings: []hops.Finding{
			{ID: "oom-killed", Step: at, Severity: hops.Error, Confidence: hops.Certain,
				Summary: "container kserve-container of pod " + pod.Name + " was killed for using more memory than its limit of 256Mi",
				Evidence: []hops.Evidence{
					{Source: hops.FromObject, Ref: pod.String(), Field: "status.containerStatuses[kserve-container].lastState.terminated.reason", Value: "OOMKilled", At: start.Add(-40 * time.Second)},
					{Source: hops.FromEvent, Ref: pod.String(), Field: "BackOff", Value: "Back-off restarting failed container kserve-container", At: start.Add(-12 * time.Second)},
					{Source: hops.FromLine, Ref: "log " + pod.String() + " kserve-container (previous):41", Value: "\x1b[32mINFO\x1b[0m:     Loading model\tfrom /mnt/models"},
					{Source: hops.FromObservation, Ref: "request outside/ingress-gateway", Field: "body", Value: "no healthy upstream", At: start}},
				Fix:      "raise spec.predictor.model.resources.limits.memory above what the model needs:\nkubectl -n models edit isvc iris",
				Explains: []string{"container-crash-loop", "no-healthy-backends"}, Expires: start.Add(10 * time.Second)},
			{ID: "stale-ready-status", Step: hops.Step{Hop: hops.ControlPlane, Object: hops.ObjectRef{Source: hops.InferenceServices, Name: "iris"}}, Severity: hops.Warning, Confidence: hops.Likely,
				Summary:  "iris says Ready, but does not answer",
				Evidence: []hops.Evidence{{Source: hops.FromObject, Ref: "isvc/iris", Field: "status.conditions[Ready]", Value: "True"}, {Source: hops.FromAbsence, Ref: "endpointslices", Value: "endpointslices"}},
				Fix:      "trust the request, not the condition"}},
		Hidden: []hops.Finding{{ID: "no-healthy-backends", Step: s[5], Severity: hops.Error, Confidence: hops.Certain, Summary: "no pod of the revision is ready",
			Evidence: []hops.Evidence{{Source: hops.FromObservation, Ref: "request outside/ingress-gateway", Field: "body", Value: "no healthy upstream"}}, Fix: "look at the pods"}},
		NotChecked: []hops.NotChecked{
			{What: "pods in istio-system", Why: "forbidden for user jane", Rules: []string{"istiod-down", "local-gateway-missing"}},
			{What: "configmaps in knative-serving", Why: "forbidden for user jane", Rules: []string{"domain-cluster-local-default"}},
			{What: "nodes", Why: "forbidden for user jane", Rules: []string{"node-pressure-eviction"}}, {What: "webhooks", Why: "forbidden for user jane", Rules: []string{"webhook-unavailable"}},
			{What: "gateways", Why: "forbidden for user jane", Rules: []string{"gateway-object-missing"}},
			{What: "name resolution", Why: "a port-forward goes around it", Rules: []string{"dns-failure"}}},
		Notes: []string{"the trace may split at the transformer"}}
	run.Warnings = []string{"collector 127.0.0.1:4318 did not answer: connection refused"}
	return run
}

func asleep() *hops.Run {
	run, s := base(), steps(rev1, 100)
	run.Observations = []hops.Observation{knock(s[1], isvcHost, 1.9), knock(s[2], localHost, 1.5)}
	why := "asleep: nothing was sent, so as not to wake it"
	passed := "the knock at the ingress gateway passed it"
	run.Verdict = hops.Verdict{State: hops.OK, Asleep: true, Summary: "iris is asleep (scaled to zero); the route to it works, the container was not checked", Rows: []hops.Row{
		row(s[1], hops.RowOK, hops.Dialled, 0, "200"), row(s[2], hops.RowOK, hops.Dialled, 1, "200"), row(s[3], hops.RowInferred, hops.Inferred, -1, passed),
		row(s[4], hops.RowInferred, hops.Inferred, -1, passed), row(s[5], hops.RowInferred, hops.Inferred, -1, passed), row(s[6], hops.RowInferred, hops.Inferred, -1, passed),
		row(s[7], hops.RowNotChecked, hops.Unseen, -1, why), row(s[8], hops.RowNotChecked, hops.Unseen, -1, why)},
		Notes: []string{"--wake sends a real request and measures the cold start"}}
	return run
}

func noWayIn() *hops.Run {
	run, s := base(), steps(rev1, 100)
	no := hops.Observation{Step: s[1], Asked: hops.RealRequest, Vantage: hops.PortForward, Method: "GET", Host: isvcHost, Path: "/v1/models", Start: start, Outcome: hops.NoWay,
		Err: `pods "istio-ingressgateway-5d" is forbidden: User "jane" cannot create resource "pods/portforward" in API group "" in the namespace "istio-system"`}
	run.Observations = []hops.Observation{no}
	why := "no way in: " + no.Err
	run.Verdict = hops.Verdict{State: hops.Inconclusive, Summary: "could not tell whether iris answers", Rows: []hops.Row{
		row(s[1], hops.RowNotChecked, hops.Unseen, 0, why), row(s[3], hops.RowNotChecked, hops.Unseen, -1, why), row(s[8], hops.RowNotChecked, hops.Unseen, -1, why)},
		NotChecked: []hops.NotChecked{{What: "the outside door", Why: "no way in; give one with --address HOST:PORT"}}}
	return run
}

func badCanary() *hops.Run {
	run, a, b := base(), steps(rev1, 90), steps(rev2, 10)
	run.Observations = []hops.Observation{request(a[1], hops.PortForward, isvcHost, 200, `{"predictions":[1]}`, 9.3), request(a[5], hops.PortForward, "iris-predictor.models.svc.cluster.local", 200, "{}", 7),
		request(b[5], hops.PortForward, "iris-predictor.models.svc.cluster.local", 500, `{"error":"RuntimeError : bad weights"}`, 1240)}
	run.Verdict = hops.Verdict{State: hops.Degraded, Step: b[8], Summary: "revision iris-predictor-00002 takes 10% of the traffic and fails: 500", Rows: []hops.Row{
		row(a[1], hops.RowOK, hops.Dialled, 0, "200"), row(a[3], hops.RowInferred, hops.Inferred, -1, "the request at the ingress gateway passed it"), row(a[4], hops.RowInferred, hops.Inferred, -1, "the request at the ingress gateway passed it"),
		row(a[5], hops.RowOK, hops.Dialled, 1, "200"), row(a[8], hops.RowInferred, hops.Inferred, -1, "the request at the ingress gateway passed it"),
		row(b[5], hops.RowDegraded, hops.Dialled, 2, "500"), row(b[8], hops.RowFailed, hops.Inferred, 2, "500")},
		Findings: []hops.Finding{{ID: "canary-bad-revision", Step: b[8], Severity: hops.Error, Confidence: hops.Likely, Summary: "revision iris-predictor-00002 takes 10% of the traffic and fails: 500",
			Evidence: []hops.Evidence{{Source: hops.FromObservation, Ref: "request predictor/iris-predictor-00002/revision", Field: "status", Value: "500", At: start}},
			Fix:      "kubectl -n models patch isvc iris --type merge -p '{\"spec\":{\"predictor\":{\"canaryTrafficPercent\":0}}}'"}}}
	return run
}
