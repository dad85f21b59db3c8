// model_server.go: what the model server answers when the model is not there or the request is not what it takes.
package hops

import (
	"slices"
	"strings"
)

func modelServerRules() []Rule {
	return append(modelRules(), callerRules()...)
}

// modelRules are about the model in a server that is up.
func modelRules() []Rule {
	return []Rule{
		{
			ID: "model-not-ready", Hop: Container,
			Title: "the model server is up and the model is not ready",
			Means: "The server answers, and says that the model is still being loaded or could not be loaded: a file is missing or broken, a worker died, the model waits for memory or a GPU.",
			Fix:   "read what the server says about the model: `kubectl logs -n {ns} {pod} -c {container}`; check what lies under the storageUri of {isvc} against what the runtime expects (Triton: config.pbtxt and a version folder; TF Serving: a version folder), and ask again when it is just loading",
			Looks: Looks{
				Status: "pod 1/2, or 2/2 and Ready=True",
				Client: "503 {\"error\":\"Model with name x is not ready.\"}; Triton 'is not at ready state'; TorchServe 'has no worker to serve inference request'",
				Logs:   "Triton: UNAVAILABLE in the table of models; TorchServe: Backend worker process died",
			},
			Needs:    []Source{Requests, ContainerLogs, Pods, Revisions},
			Explains: startSymptoms("transformer-predictor-unreachable", "explainer-not-ready-or-unreachable"),
			Match:    FirstOf(onReply("model-not-ready", nil), Sure(Likely, unready(onServerLine(unreadyWords)))),
		},
		{
			ID: "model-not-loaded", Hop: Container,
			Title: "the model server runs without a model, although everything says Ready",
			Means: "The server came up, found no model file that it knows (empty folder, other extension, sub-folder), and serves nothing. Its health checks succeed all the same.",
			Fix:   "list what was fetched: `kubectl exec -n {ns} {pod} -c {container} -- ls -R /mnt/models`; give the file an extension that the runtime knows (sklearn: .joblib, .pkl, .pickle; xgboost: .bst, .json, .ubj; lightgbm: .bst; TF Serving: a version folder), or correct storageUri in spec.{component} of inferenceservice {isvc}",
			Looks: Looks{
				Status: "everything True, modelStatus Loaded",
				Client: "404 {\"error\":\"Model with name x does not exist.\"} for every model; GET /v1/models gives {\"models\":[]}",
				Logs:   "failed to locate model file for model x under dir /mnt/models; TF Serving: No versions of servable x found under base path",
			},
			Needs:    []Source{Requests, ContainerLogs, Pods, Revisions, Deployments},
			Explains: []string{"model-name-mismatch"},
			Match:    AnyOf(emptyList, startedEmpty, rightName),
		},
	}
}

// callerRules are about requests that the service cannot serve: nothing is wrong with the service.
func callerRules() []Rule {
	return []Rule{
		{
			ID: "model-name-mismatch", Hop: Container,
			Title: "the service works; the request asks for a model of another name",
			Means: "The server was reached and knows no model of the name in the path. The name is that of --model_name, of the model's folder or configuration (TorchServe, Triton), or of the class of a custom server; not always that of the InferenceService.",
			Fix:   "ask the server which models it has (GET /v1/models, /v2/models, or POST /v2/repository/index), and put that name into the path of the request, or set --model_name in spec.{component} of inferenceservice {isvc} (-n {ns}); when the name is right, the model failed to load: read the start of the log of {container}",
			Looks: Looks{
				Status: "everything True",
				Client: "404 {\"error\":\"Model with name x does not exist.\"}; TF Serving 'Servable not found for request: Latest(x)'; Triton 'Request for unknown model'",
				Logs:   "access line of the model server with 404",
			},
			Needs: []Source{Requests, Pods, Revisions, Deployments},
			Match: otherName,
		},
		{
			ID: "path-colon-encoded", Hop: Container,
			Title: "the service works; the colon of :predict arrives percent-encoded",
			Means: "A client, proxy or gateway in front wrote %3A for the colon in the path, and the server takes 'x:predict' for the model's name.",
			Fix:   "stop whatever encodes the path between the caller and {isvc} (a setting of the proxy or of the HTTP library), or use the V2 path /v2/models/NAME/infer, which has no colon",
			Looks: Looks{
				Status: "everything True",
				Client: "404 {\"error\":\"Model with name x:predict does not exist.\"} for a POST; the same request from inside the cluster is answered",
				Logs:   "gateway access log: POST /v1/models/x%3Apredict",
			},
			Needs: []Source{Requests, AccessLogs, ContainerLogs},
			Match: FirstOf(
				onReply("path-colon-encoded", func(_ *Observation, r reply) string {
					return "the service works; the path of the request is wrong: its colon came percent-encoded"
				}),
				quiet(Sure(Likely, warn(onPath("POST", encodedVerb)))),
				quiet(Sure(Likely, warn(OnLine(Container, ContainerLogs, modelContainers, verbInName)))),
				quiet(Sure(Likely, warn(OnLine(Container, ContainerLogs, modelContainers, twiceEncoded)))),
			),
		},
		{
			ID: "wrong-http-method", Hop: Container,
			Title: "the service works; the request has the wrong HTTP method",
			Means: "A predict path takes POST with a body. A GET (a browser, a health check) on it makes the server read 'x:predict' as the model's name, or answer 405.",
			Fix:   "send POST with a body to the predict path of {isvc}: curl -X POST -H 'Content-Type: application/json' -d @input.json; for a health check GET /v1/models/NAME or /v2/models/NAME/ready",
			Looks: Looks{
				Status: "everything True",
				Client: "405, or 404 {\"error\":\"Model with name x:predict does not exist.\"} for a GET",
				Logs:   "\"GET /v1/models/x%3Apredict HTTP/1.1\" 404",
			},
			Needs:    []Source{Requests, AccessLogs, ContainerLogs},
			Explains: []string{"path-colon-encoded"},
			Match: FirstOf(
				onReply("wrong-http-method", func(o *Observation, _ reply) string {
					return "the service works; the method of the request is wrong: " + strings.TrimSpace(o.Method+" "+o.Path)
				}),
				quiet(Sure(Likely, warn(onPath("GET|HEAD", anyVerb)))),
				quiet(Sure(Likely, warn(OnLine(Container, ContainerLogs, modelContainers, gotVerb)))),
			),
		},
		{
			ID: "payload-invalid", Hop: Container,
			Title: "the service works; the body of the request does not fit",
			Means: "The model server refused the body: not the protocol's form (V1 instances, V2 inputs), not JSON, another content type, or another shape than the model was trained with. KServe's servers answer that with 400, 422, and also with 500.",
			Fix:   "send the documented form: V1 {\"instances\": [[...], ...]}, V2 {\"inputs\": [{\"name\", \"shape\", \"datatype\", \"data\"}]}, with Content-Type: application/json and the number of features that the model of {isvc} takes",
			Looks: Looks{
				Status: "everything True",
				Client: "400 {\"error\":\"Expected \\\"instances\\\" to be a list\"}, 422, or 500 {\"error\":\"X has 3 features, but SVC is expecting 4 features as input.\"}",
				Logs:   "traceback of the model server for that request",
			},
			Needs: []Source{Requests, ContainerLogs, Pods, Revisions},
			Match: FirstOf(
				onReply("payload-invalid", func(_ *Observation, r reply) string {
					if r.text == "" {
						return "the service works; the body of the request does not fit"
					}
					return "the service works; the body of the request does not fit: " + Clip(r.text, 200)
				}),
				Sure(Likely, warn(onServerLine(payloadLines))),
			),
		},
		{
			ID: "protocol-version-mismatch", Hop: Container,
			Title: "the service works; the request speaks another protocol than the model server",
			Means: "The server has no such path or method: a V2 path on a server that serves V1 only (or the other way round), gRPC on an HTTP server, or an OpenAI path without its prefix.",
			Fix:   "use the paths that the runtime of {isvc} serves: V1 /v1/models/NAME:predict, V2 /v2/models/NAME/infer, OpenAI /openai/v1/...; or set spec.{component}.model.protocolVersion (v1, v2, grpc-v2) and a runtime that serves it (`kubectl get clusterservingruntimes`)",
			Looks: Looks{
				Status: "everything True",
				Client: "404 {\"detail\":\"Not Found\"}, 501, TF Serving 400 'Malformed request: POST /v2/...', gRPC UNIMPLEMENTED",
			},
			Needs: []Source{Requests, ClientLog},
			Match: FirstOf(
				onReply("protocol-version-mismatch", func(o *Observation, r reply) string {
					return "the service works; the model server does not serve what the request asks for: " + Clip(strings.TrimSpace(o.Method+" "+o.Path+" "+r.text), 160)
				}),
				Sure(Likely, OnLine(Container, ClientLog, "", Re(`(?i)UNIMPLEMENTED.*(unknown (service|method)|method not found|method not implemented)`))),
			),
		},
	}
}

// onReply finds answers that mean one rule. What probe asked for of its own accord tells nothing about the caller's requests, and what was answered
// later at the same place is over.
func onReply(id string, summary func(*Observation, reply) string) func(*View) []Match {
	return func(v *View) []Match {
		seen := v.Observations()
		var out []Match
		for i := range seen {
			o := &seen[i]
			r := readReply(o)
			if r.id != id || o.Invented && callersOwn(id) || answeredLater(seen[i+1:], o) || id == "protocol-version-mismatch" && !v.speaks(o) {
				continue
			}
			m := Match{Step: v.behind(Container, o), Confidence: r.sure, Evidence: []Evidence{replyEvidence(o)}}
			if m.Summary = "the model server says: " + Clip(r.text, 200); summary != nil {
				m.Summary = summary(o, r)
			}
			out = append(out, m)
		}
		return latest(merge(out), 2)
	}
}

// speaks says whether a request's path is one of an inference protocol. Any other tells nothing of versions: it is wrong whatever the server speaks.
func (v *View) speaks(o *Observation) bool {
	path := o.Path
	for _, d := range v.Flow().Doors {
		path = strings.TrimPrefix(path, pathOf(d.URL))
	}
	return o.Path == "" || protocolPath.Match(path)
}

// callersOwn says whether a rule is about how the caller wrote the request line.
func callersOwn(id string) bool {
	return oneOf(id, "model-name-mismatch|path-colon-encoded|wrong-http-method|protocol-version-mismatch")
}

// answeredLater says whether the same place gave a good answer to a later request.
func answeredLater(later []Observation, o *Observation) bool {
	return slices.ContainsFunc(later, func(x Observation) bool {
		return x.Asked == RealRequest && x.OK() && x.Step.ID() == o.Step.ID() && x.Host == o.Host && !listsModels(&x)
	})
}

// replyEvidence quotes an answer: its body, or its status where it has none.
func replyEvidence(o *Observation) Evidence {
	if body := strings.TrimSpace(o.Body); body != "" {
		return RequestEvidence(o, "body", body)
	}
	return RequestEvidence(o, "status", text(float64(o.Status)))
}

// warn lowers to warnings: a line of a log tells that somebody sent such a request, not that everybody does.
func warn(m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		out := m(v)
		for i := range out {
			out[i].Severity = Warning
		}
		return out
	}
}

// unready drops what is said of pods that are ready.
func unready(m func(*View) []Match) func(*View) []Match {
	return func(v *View) []Match {
		pods := v.Pods()
		return slices.DeleteFunc(m(v), func(x Match) bool {
			return slices.ContainsFunc(pods, func(p PodState) bool { return p.Name == x.Pod && p.Ready })
		})
	}
}

// onPath finds requests in access logs by method and path that something behind the gateway refused.
func onPath(methods string, path Pattern) func(*View) []Match {
	return OnAccess(Container, func(_ *View, e AccessEntry) bool {
		return oneOf(e.Method, methods) && path.Match(e.Path) && (e.Code == 400 || e.Code == 404 || e.Code == 405) && !e.Made()
	})
}
