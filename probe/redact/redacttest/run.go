// Package redacttest holds a Run with a secret in every place where one can be. Whatever sends a Run somewhere tests with it that the secret
// does not go along.
//
// run.go: the run.
package redacttest

import (
	"fmt"
	"time"

	"probe/hops"
)

// Canary is the secret. It is no credential of anything.
const Canary = "CANARY5ecretZx81yQ"

// Encoded is Canary as a Secret holds it.
const Encoded = "Q0FOQVJZNWVjcmV0Wng4MXlR"

// Run gives a run that holds Canary in headers, variables, arguments, payloads, queries, annotations, logs, events, Secrets and the verdict.
func Run() *hops.Run {
	at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	step := hops.Step{Hop: hops.IngressGateway, Door: hops.Outside}
	return &hops.Run{
		Ref: hops.Ref{Namespace: "models", Name: "iris"}, Started: at, Ended: at.Add(2 * time.Second), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		Flow: hops.Flow{
			Ref:     hops.Ref{Namespace: "models", Name: "iris"},
			Doors:   []hops.DoorState{{Door: hops.Outside, URL: "http://caller:" + Canary + "@iris.models.example.com/?token=" + Canary, Host: "iris.models.example.com"}},
			Steps:   []hops.Step{step},
			Entries: []hops.Entry{{Step: step, Header: map[string]string{"Authorization": "Bearer " + Canary, "Knative-Serving-Revision": "iris-predictor-00001"}}},
			Unknown: []string{"no host in https://x.example.com/a?sig=" + Canary},
		},
		Snapshots:    []hops.Snapshot{{Time: at, Objects: objects(), Events: events(at), Lines: lines(at), Gaps: gaps()}},
		Observations: observations(step, at),
		Spans: []hops.Span{{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7", Service: "istio", Name: "GET /x?key=" + Canary, Start: at,
			Tags: map[string]string{"http.url": "http://h/x?a=" + Canary, "url.query": Canary, "http.request.header.x-user": Canary, "authorization": Canary}}},
		Verdict:  verdict(step, at),
		Warnings: []string{`collector: Post "http://u:` + Canary + `@otel:4318/v1/traces?api_key=` + Canary + `": connection refused`},
	}
}

func object(s hops.Source, apiVersion, kind, name string, rest map[string]any) hops.Object {
	tree := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{
		"name": name, "namespace": "models",
		"labels": map[string]any{"serving.kserve.io/inferenceservice": "iris"},
		"annotations": map[string]any{
			"kubectl.kubernetes.io/last-applied-configuration": `{"spec":{"env":[{"name":"X","value":"` + Canary + `"}]}}`,
			"example.com/callback":                             "https://hooks.example.com/x?code=" + Canary,
			"example.com/api-token":                            Canary,
		},
		"managedFields": []any{map[string]any{"manager": "kubectl", "fieldsV1": map[string]any{"v:" + Canary: map[string]any{}}}},
	}}
	for k, v := range rest {
		tree[k] = v
	}
	return hops.Object{Source: s, APIVersion: apiVersion, Kind: kind, Namespace: "models", Name: name, Tree: tree}
}

func objects() []hops.Object {
	list := func(v ...any) []any { return v }
	pair := func(name string) map[string]any { return map[string]any{"name": name, "value": Canary} }
	container := map[string]any{
		"name": "kserve-container", "image": "docker.io/kserve/sklearnserver@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"env": list(pair("DB_PASS"), pair("AWS_SECRET_ACCESS_KEY"), pair("LOOKS_HARMLESS"), map[string]any{"name": "PORT", "value": "8080"},
			map[string]any{"name": "SERVING_READINESS_PROBE", "value": `{"httpGet":{"path":"/","httpHeaders":[{"name":"X-Key","value":"` + Canary + `"}]}}`},
			map[string]any{"name": "FROM", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "storage-config", "key": "password"}}}),
		"args": list("--model_name=iris", "--token="+Canary, "--api-key", Canary, "curl -u me:"+Canary+" https://a:"+Canary+"@h/x",
			"curl -H 'Authorization: Bearer "+Canary+"' http://h/y"),
		"command":        list("sh", "-c", "export HF_TOKEN="+Canary+"; serve --hf-token "+Canary+" --port 8080"),
		"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/", "httpHeaders": list(pair("X-Probe-Key"))}},
	}
	spec := map[string]any{"containers": list(container)}
	return []hops.Object{
		object(hops.InferenceServices, "serving.kserve.io/v1beta1", "InferenceService", "iris", map[string]any{
			"spec":   map[string]any{"predictor": map[string]any{"model": map[string]any{"storageUri": "https://acct:" + Canary + "@acct.blob.core.windows.net/c/m?sv=2022&sig=" + Canary}}},
			"status": map[string]any{"conditions": list(map[string]any{"type": "Ready", "status": "False", "reason": "Failed", "message": "Bearer " + Canary + " was refused"})},
		}),
		object(hops.Pods, "v1", "Pod", "iris-predictor-00001-deployment-abc", map[string]any{"spec": spec}),
		object(hops.Deployments, "apps/v1", "Deployment", "iris-predictor-00001-deployment", map[string]any{
			"spec": map[string]any{"template": map[string]any{"spec": spec}}}),
		object("", "v1", "Secret", "storage-config", map[string]any{"data": map[string]any{"s3": Encoded}, "stringData": map[string]any{"plain": Canary}}),
		object(hops.SystemConfigMaps, "v1", "ConfigMap", "inferenceservice-config", map[string]any{"data": map[string]any{
			"logger": `{"url": "http://u:` + Canary + `@sink/", "password": "` + Canary + `"}`, "password": Canary}}),
		object(hops.VirtualServices, "networking.istio.io/v1", "VirtualService", "iris", map[string]any{"spec": map[string]any{"http": list(map[string]any{
			"match": list(map[string]any{"headers": map[string]any{"x-tenant-key": map[string]any{"exact": Canary}, "K-Network-Hash": map[string]any{"exact": "override"}}}),
			"headers": map[string]any{"request": map[string]any{"set": map[string]any{"X-Upstream-Auth": Canary, "Host": "iris-predictor.models.svc.cluster.local"},
				"add": map[string]any{"name": Canary}}, "response": map[string]any{"add": map[string]any{"X-Key": Canary}}}})}}),
		object(hops.HTTPRoutes, "gateway.networking.k8s.io/v1", "HTTPRoute", "iris", map[string]any{"spec": map[string]any{"rules": list(map[string]any{
			"matches": list(map[string]any{"headers": list(pair("x-tenant-key"))}),
			"filters": list(map[string]any{"type": "RequestHeaderModifier", "requestHeaderModifier": map[string]any{"set": list(pair("X-Upstream-Auth"))}})})}}),
		object(hops.KnativeIngresses, "networking.internal.knative.dev/v1alpha1", "Ingress", "iris-predictor", map[string]any{"spec": map[string]any{"rules": list(
			map[string]any{"http": map[string]any{"paths": list(map[string]any{"appendHeaders": map[string]any{"X-Key": Canary, "K-Original-Host": "h"}})}})}}),
		object(hops.EnvoyFilters, "networking.istio.io/v1alpha3", "EnvoyFilter", "auth", map[string]any{"spec": map[string]any{"patch": map[string]any{
			"request_headers_to_add": list(map[string]any{"header": map[string]any{"key": "x-key", "value": Canary}})}}}),
		object(hops.AuthPolicies, "security.istio.io/v1", "AuthorizationPolicy", "keys", map[string]any{"spec": map[string]any{"rules": list(map[string]any{
			"when": list(map[string]any{"key": "request.headers[x-api-key]", "values": list(Canary)})})}}),
	}
}

func events(at time.Time) []hops.Event {
	about := hops.ObjectRef{Source: hops.Pods, Kind: "Pod", Namespace: "models", Name: "iris-predictor-00001-deployment-abc"}
	var out []hops.Event
	for _, m := range []string{
		"Failed to pull image: unexpected status: Bearer " + Canary,
		`Readiness probe failed: Get "http://10.0.0.1:8080/ready?api_key=` + Canary + `": dial tcp 10.0.0.1:8080: connect: connection refused`,
		"Error: password=" + Canary + " rejected for user s3",
	} {
		out = append(out, hops.Event{Type: "Warning", Reason: "Failed", Message: m, About: about, Namespace: "models", Count: 1, First: at, Last: at})
	}
	return out
}

func lines(at time.Time) []hops.Line {
	texts := []string{
		"INFO headers: {'authorization': 'Bearer " + Canary + "', 'host': 'iris'}",
		"Authorization: Basic " + Encoded + " " + Canary,
		"> Cookie: session=" + Canary + "; other=" + Canary,
		"set-cookie: authservice=" + Canary + "; Path=/",
		`{"level":"debug","msg":"login","password":"` + Canary + `","token": "` + Canary + `"}`,
		`"{\"client_secret\":\"` + Canary + `\"}"`,
		"AWS_SECRET_ACCESS_KEY=" + Canary,
		"downloading https://b.s3.amazonaws.com/m?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F&X-Amz-Signature=" + Canary,
		"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ" + Canary + "." + Canary,
		"loading with hf_" + Canary + Canary,
		"git clone https://ghp_" + Canary + Canary + "@github.com/x/y",
		`payload: {"instances": [[6.8, "` + Canary + `]"]], "parameters": {}}`,
		`{"inputs":[{"name":"x","data":["` + Canary + `"]}]}`,
		"-----BEGIN RSA PRIVATE KEY-----",
		"MIIEpAIBAAKCAQEA" + Canary,
		Canary + "-----END RSA PRIVATE KEY-----",
		"all is well after the key",
	}
	out := make([]hops.Line, len(texts))
	for i, s := range texts {
		out[i] = hops.Line{Source: hops.ContainerLogs, Namespace: "models", Pod: "iris-predictor-00001-deployment-abc", Container: "kserve-container",
			Time: at.Add(time.Duration(i) * time.Millisecond), Text: s, Number: i + 1}
	}
	return append(out, hops.Line{Source: hops.AccessLogs, Namespace: "istio-system", Pod: "istio-ingressgateway-x", Container: "istio-proxy", Number: 1, Text: fmt.Sprintf(
		`[2026-03-04T12:00:00.000Z] "GET /v1/models/iris?access_token=%s HTTP/1.1" 404 NR route_not_found - "-" 0 0 0 - "10.0.0.9" "curl/8" "a-b" "iris.models.example.com" "-" - - 10.0.0.1:8080 10.0.0.9:1 - -`, Canary)})
}

func gaps() []hops.Gap {
	return []hops.Gap{{Source: hops.SystemPods, What: "pods in istio-system", Why: "unauthorized: Bearer " + Canary, Err: `Get "https://api:6443/x?token=` + Canary + `": Unauthorized`}}
}

func observations(step hops.Step, at time.Time) []hops.Observation {
	return []hops.Observation{
		{Step: step, Asked: hops.RealRequest, Vantage: hops.Network, Target: "https://me:" + Canary + "@gw:443", Method: "POST", Scheme: "https", Host: "iris.models.example.com",
			Path: "/v1/models/iris:predict?key=" + Canary, Start: at, Took: time.Millisecond, Status: 302, Outcome: hops.Answered, Credentials: true, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
			Header: map[string]string{"location": "/dex/auth?state=" + Canary, "set-cookie": "s=" + Canary, "server": "istio-envoy"}, Body: `{"detail":"bad","input":"` + Canary + `"}`},
		{Step: step, Asked: hops.RealRequest, Vantage: hops.Network, Method: "POST", Path: "/v1/models/iris:predict", Start: at, Status: 200, Outcome: hops.Answered,
			Body: `{"predictions": ["` + Canary + `"]}`},
		{Step: step, Asked: hops.RealRequest, Vantage: hops.Network, Method: "POST", Path: "/generate", Start: at, Status: 200, Outcome: hops.Answered, Body: "dear " + Canary},
		{Step: step, Asked: hops.RealRequest, Vantage: hops.Network, Method: "GET", Path: "/", Start: at, Outcome: hops.DNSFailed,
			Err: `Get "https://u:` + Canary + `@h.example.com/?k=` + Canary + `": dial tcp: lookup h.example.com: no such host`},
	}
}

func verdict(step hops.Step, at time.Time) hops.Verdict {
	finding := hops.Finding{ID: "storage-credentials", Step: step, Severity: hops.Error, Confidence: hops.Certain, Summary: "the store refused Bearer " + Canary,
		Fix: "look at https://u:" + Canary + "@h/?x=" + Canary, Evidence: []hops.Evidence{
			{Source: hops.FromLine, Ref: "log pod/x storage-initializer:3", Value: "token=" + Canary, At: at},
			{Source: hops.FromObject, Ref: "pod/x", Field: "spec.containers[kserve-container].env[DB_PASS].value", Value: Canary},
			{Source: hops.FromObject, Ref: "virtualservice/iris", Field: "spec.http.headers.request.set.X-Upstream-Auth", Value: Canary},
			{Source: hops.FromObject, Ref: "secret/storage-config", Field: "data.s3", Value: Encoded},
			{Source: hops.FromObservation, Ref: "request outside/ingress-gateway", Field: "location", Value: "/dex/auth?state=" + Canary},
		}}
	return hops.Verdict{State: hops.Failed, Step: step, Summary: finding.Summary, Findings: []hops.Finding{finding}, Hidden: []hops.Finding{finding},
		Rows:       []hops.Row{{Step: step, State: hops.RowFailed, How: hops.Dialled, Why: "302 /dex/auth?state=" + Canary}},
		NotChecked: []hops.NotChecked{{What: "pods", Why: "401 for Bearer " + Canary, Rules: []string{"oom-killed"}}},
		Notes:      []string{"password: " + Canary}}
}
