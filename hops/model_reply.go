// model_reply.go: what an answer of a model server means, whichever server wrote it.
package hops

import (
	"encoding/json"
	"regexp"
	"strings"
)

// reply is what an answer means.
type reply struct {
	id   string // of the rule; "" when it tells nothing of the kind
	sure Confidence
	// text are the server's own words, without the JSON or HTML around them.
	text string
	// model is the name that the server looked for and did not find.
	model string
}

var (
	// noModel are the words of KServe and KFServing, Triton, TF Serving, TorchServe, vLLM, MLServer (kserve/python/kserve/errors.py;
	// triton core/src/model_repository_manager; tensorflow_serving/model_servers; pytorch/serve ModelNotFoundException; vllm/entrypoints/openai;
	// mlserver/errors.py).
	noModel = regexp.MustCompile(`(?i)model with name '?(\S+?)'? (?:does not exist|is not found|not found)|request for unknown model: '([^']+)' is not found|` +
		"servable not found for request: \\w+\\(([^),]+)|the model [`']([^`']+)[`'] (?:does not exist|was not found|not found)|\\bmodel not found: ([^\\s\"]+)|" +
		`\bmodel '?([\w./-]+)'?(?: with version \S+)? (?:was |is )?not found`)
	// verb is what follows the colon of a V1 path.
	verb       = regexp.MustCompile(`(?i)(?::|%(?:25)*3a)(?:predict|explain|classify|regress|infer)\b`)
	verbInName = Re(`(?i)model with name '?\S+(?::|%(?:25)*3a)(predict|explain)'? (does not exist|not found)`)
	// encodedVerb is a path whose colon is encoded, anyVerb one with a verb however it is written.
	encodedVerb = Re(`(?i)%(25)*3a(predict|explain|classify|regress)`)
	anyVerb     = Re(`(?i)(:|%(25)*3a)(predict|explain|classify|regress)`)
	// twiceEncoded are access lines of a POST whose colon was encoded once more than uvicorn does it: the server saw a literal %3A.
	twiceEncoded = Re(`(?i)"POST \S+%25(25)*3a(predict|explain)\S* HTTP/[\d.]+" 40[045]\b|\b40[045] POST \S+%25(25)*3a(predict|explain)`)
	// gotVerb are access lines of uvicorn, which always writes %3A, and of tornado.
	gotVerb = Re(`(?i)"(GET|HEAD) \S+(:|%3a)(predict|explain)\S* HTTP/[\d.]+" 40[045]\b|\b40[045] (GET|HEAD) \S+(:|%3a)(predict|explain)`)

	unreadyWords = Re(`(?i)models? with names? '?\S+?'? (is|are) not ready|\bmodel '?\S+'? is not ready|is not at ready state|has no available versions|has no worker to serve|` +
		`server is not ready|\| *UNAVAILABLE:? |backend worker process died|worker died`)
	// A readiness answer with a 503 or 400 (V2 /ready; KFServing wrote "False").
	readyFalse = Re(`(?i)"ready"\s*:\s*"?false`)

	malformed   = regexp.MustCompile(`Malformed request: ([A-Z]+) (\S+)`) // TF Serving, for any path or method that it does not know
	wrongMethod = Re(`(?i)^method not allowed$|requested method is not allowed|405: Method Not Allowed|The method is not allowed for the requested URL`)
	unknownPath = Re(`(?i)^not found$|^404: Not Found$|Requested resource is not found|requested URL was not found on the server|does not support (the )?(Completions?|Chat Completions?|Embeddings?|Rerank) API|^unsupported protocol `)
	unknownCall = Re(`(?i)unknown (service|method)|method not found|not implemented|unimplemented`)

	// payloadWords tell a body that does not fit, whatever the status: numpy, scikit-learn, xgboost, lightgbm, PyTorch, TensorFlow, Triton, KServe.
	payloadWords = Re(`(?i)\bhas \d+ features?, but|expected 2D array|cannot reshape|could not convert string|setting an array element with a sequence|inhomogeneous shape|` +
		`feature_names mismatch|feature names (should|must|unseen|seen)|number of (features|columns) (in data|does not)|did not have the following fields|shape mismatch|` +
		`size mismatch|shapes cannot be multiplied|unexpected (inference )?(input|shape)|expected \d+ (inputs|dimensions)|input data-type is|expected "?(instances|inputs)"? |unrecognized request format|` +
		`must be \d+-dimensional|dimension mismatch|incompatible with|invalid (input|rank|dimensions)|expected (scalar|dtype|float|input)|missing '?(inputs|instances)|^'(instances|inputs)'$|` +
		`KeyError ?: ?'|field required|failed to (parse|process) |JSON parse error|json decode|maximum context length|invalid payload|serving signature|got an unexpected keyword argument`)
	// userError are kinds of errors that a body can bring about in the server's code; others are the server's own.
	userError = Re(`^(InferenceError|InvalidInput|ValueError|TypeError|KeyError|IndexError|AttributeError|RuntimeError|DataConversionWarning|XGBoostError|LightGBMError|(\w+\.)*\w*ValidationError) ?: `)
	ownError  = Re(`(?i)(FileNotFound|ModuleNotFound|Permission|Memory|NotImplemented|Import|OS|Timeout|Connect(ion)?|System)\w*Error|worker died|no such file|out of memory|could not find (predictor|explainer)`)
	// payloadLines are those of a server's log that speak of one request; the same kinds of errors at the start are of another sort.
	payloadLines = Re(`(?i)\bhas \d+ features?, but \w+ is expecting|expected 2D array, got|expected "(instances|inputs)" to be a list|unrecognized request format: |kserve\.errors\.(InvalidInput|InferenceError)|unexpected inference input|unexpected shape for input|feature_names mismatch`)

	predictPath = Re(`(?i)(:|%3a)(predict|explain|classify|regress)$|/(infer|generate|generate_stream|predictions/.*|invocations|predict|completions|embeddings|rerank|score)$`)
	// serverPage begins an error as servers write them: JSON, or tornado's page (KFServing).
	serverPage = Re(`^\s*(\{|<html><title>\d{3}: )`)
	htmlTitle  = regexp.MustCompile(`(?is)<title>\s*(.*?)\s*</title>`)
	titleCode  = regexp.MustCompile(`^(?:Error )?\d{3}:? `)
	// What KServe's client writes of an answer that it did not like (kserve/python/kserve/inference_client.py).
	wrapped = regexp.MustCompile(`(?s)^(?:HTTPStatusError : )?(.*?),? '(\d{3}) [^']*' for url '([^']*)'`)
)

// readReply reads the answer to a real request. An answer that somebody in front wrote, and one that speaks of the way to another component, mean
// nothing here.
func readReply(o *Observation) reply {
	if o.Asked == Knock || o.Outcome != Answered || o.OK() || linkFault(o) != "" {
		return reply{}
	}
	r := reply{text: serverText(o), sure: Certain}
	status := o.Status
	if m := wrapped.FindStringSubmatch(r.text); m != nil {
		r.text, status = m[1], number(m[2])
	}
	r.model = firstGroup(noModel, r.text)
	switch {
	case r.text != "" && status >= 500 && gpuWords.Match(r.text):
		r.id = "gpu-runtime-error"
	case r.model != "" && verb.MatchString(r.model), malformed.MatchString(r.text):
		r.readLine(o)
	case r.model != "":
		r.id = "model-name-mismatch"
	case unreadyWords.Match(r.text), status >= 400 && readyFalse.Match(o.Body):
		r.id = "model-not-ready"
	case o.GRPCStatus > 0:
		r.readGRPC(o)
	default:
		r.readStatus(o, status)
	}
	return r
}

// readLine tells apart the ways in which a method or path is not understood.
func (r *reply) readLine(o *Observation) {
	method, path := o.Method, o.Path
	if m := malformed.FindStringSubmatch(r.text); m != nil {
		method, path = m[1], m[2]
	}
	switch {
	case method == "GET" || method == "HEAD":
		if r.id = "wrong-http-method"; r.model == "" && !anyVerb.Match(path) {
			r.id = "protocol-version-mismatch"
		}
	case r.model != "" || encodedVerb.Match(path):
		if r.id = "path-colon-encoded"; method == "" {
			r.sure = Likely
		}
	default:
		r.id = "protocol-version-mismatch"
	}
}

// readGRPC reads a gRPC status (google.golang.org/grpc/codes).
func (r *reply) readGRPC(o *Observation) {
	switch {
	case o.GRPCStatus == 3:
		r.id = "payload-invalid"
	case o.GRPCStatus == 12 && unknownCall.Match(r.text):
		r.id, r.sure = "protocol-version-mismatch", Likely
	}
}

// readStatus reads answers that only the status and the kind of the error tell.
func (r *reply) readStatus(o *Observation, status int) {
	writer := WroteIt(o)
	byServer := writer == ByModel || writer == Behind && (serverPage.Match(o.Body) || o.Body == "" && predictPath.Match(o.Path))
	refused := wrongMethod.Match(r.text) || status == 405 && byServer
	switch {
	case refused && encodedVerb.Match(o.Path) && o.Method != "GET" && o.Method != "HEAD": // read as the path of a model, which takes GET alone
		if r.id = "path-colon-encoded"; o.Method == "" {
			r.sure = Likely
		}
	case refused:
		r.id = "wrong-http-method"
	case status == 404 && encodedVerb.Match(o.Path) && byServer && o.Body != "":
		r.id, r.sure = "path-colon-encoded", Likely
	case (status == 404 || status == 400 || status == 501) && unknownPath.Match(r.text):
		r.id = "protocol-version-mismatch"
	case status == 400 || status == 413 || status == 415 || status == 422:
		if byServer {
			r.id = "payload-invalid"
		}
		if writer != ByModel && !payloadWords.Match(r.text) {
			r.sure = Likely
		}
	case status == 500 && byServer && r.text != "" && !ownError.Match(r.text):
		r.id = "payload-invalid"
		switch {
		case payloadWords.Match(r.text):
		case userError.Match(r.text), o.Header["server"] == "uvicorn":
			r.sure = Likely
		default:
			r.sure = Possible
		}
	}
}

// serverText takes the error's own words out of the forms in which servers write them.
func serverText(o *Observation) string {
	body := strings.TrimSpace(o.Body)
	if body == "" && o.GRPCStatus > 0 {
		return o.Header["grpc-message"]
	}
	var tree map[string]any
	if json.Unmarshal([]byte(body), &tree) == nil {
		for _, path := range [][]string{{"error"}, {"error", "message"}, {"message"}, {"detail"}, {"reason"}} {
			if s := text(dig(tree, path...)); s != "" {
				return s
			}
		}
		for _, d := range maps(tree["detail"]) { // FastAPI's list of what is wrong with the fields
			return text(d["msg"])
		}
		return ""
	}
	if m := htmlTitle.FindStringSubmatch(body); m != nil {
		if s := titleCode.ReplaceAllString(m[1], ""); s != "" {
			return s
		}
	}
	return body
}

// firstGroup is the first group that took part in a match.
func firstGroup(re *regexp.Regexp, s string) string {
	for i, g := range re.FindStringSubmatch(s) {
		if i > 0 && g != "" {
			return g
		}
	}
	return ""
}
