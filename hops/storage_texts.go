// storage_texts.go: what the storage-initializer said, wherever that still stands, and which fault its words mean.
package hops

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// storageText is what one run of the storage-initializer said, oldest line first.
type storageText struct {
	step           Step
	pod, container string
	lines          []Evidence
}

// storageSources are what storageTexts reads.
func storageSources(more ...Source) []Source {
	return append([]Source{Pods, InferenceServices, Revisions, ContainerLogs, Events}, more...)
}

// storageTexts collects them, the most reliable first: termination messages in pods, the InferenceService's last failure, conditions of the
// revision, logs. What a later success contradicts is left out.
func storageTexts(v *View) []storageText {
	out := podTexts(v)
	out = append(out, failureText(v)...)
	out = append(out, revisionTexts(v)...)
	out = append(out, logTexts(v)...)
	return slices.DeleteFunc(out, func(t storageText) bool { return superseded(v, t.step) })
}

// initFails says whether the storage-initializer of a pod fails: it ended with an error, waits to be restarted, or tries again after an error.
func initFails(c ContainerState) bool {
	switch {
	case !c.Init || c.Hop() != StorageInitializer:
		return false
	case c.Exit != nil:
		return c.Exit.Code != 0 || c.Exit.CodeUnknown && c.Exit.Reason != "Completed"
	case c.Waiting == "CrashLoopBackOff":
		return true
	}
	return c.Last != nil && (c.Last.Code != 0 || c.Last.CodeUnknown)
}

// podTexts reads termination messages; KServe sets terminationMessagePolicy FallbackToLogsOnError, so that they are the end of the log.
func podTexts(v *View) []storageText {
	var out []storageText
	for _, p := range v.Pods() {
		for _, c := range p.Containers {
			if !initFails(c) {
				continue
			}
			for _, e := range c.Exits() {
				if e.Message == "" {
					continue
				}
				out = append(out, storageText{v.StepOf(StorageInitializer, p.Object), p.Name, c.Name, cut(PodEvidence(p, c, "terminated.message", e.Message))})
				break // the last run is the one that counts
			}
		}
	}
	return out
}

// cut makes a piece of evidence of every line of a text.
func cut(e Evidence) []Evidence {
	var out []Evidence
	for line := range strings.Lines(e.Value) {
		if e.Value = strings.TrimSpace(line); e.Value != "" {
			out = append(out, e)
		}
	}
	return out
}

// storageSigns tell the storage-initializer's words from those of a model server: its loggers and modules (kserve_storage, kserve.storage,
// kfserving's storage.py) and the client libraries that it alone uses.
var storageSigns = Re(`storage\.initializer |initializer-entrypoint|kserve_storage|storage_errors|kserve/storage|kfserving/storage|\bstorage(\.py)?:\d+|Storage\.download|Initializing, args: (\(?src_uri|\[)|Storage initialization failed|Copying contents of |botocore|google\.(api_core|cloud|auth)|minio\.error|/mnt/pvc`)

// failureText reads modelStatus.lastFailureInfo. It never clears: it counts while the model is said to be blocked, or while nothing is up.
func failureText(v *View) []storageText {
	svc := v.Service()
	message := svc.Str("status", "modelStatus", "lastFailureInfo", "message")
	s := complete(v, Step{Hop: StorageInitializer, Component: Predictor}, "")
	up := mended(v, s, "", time.Time{}, func(Event) bool { return false })
	if message == "" || !storageSigns.Match(message) || up || loadedAgain(v) {
		return nil
	}
	return []storageText{{step: s, lines: cut(FieldEvidence(svc, message, "status", "modelStatus", "lastFailureInfo", "message"))}}
}

// loadedAgain says whether the InferenceService is past a failure to load: it is ready or up to date, and its model status does not say blocked.
func loadedAgain(v *View) bool {
	svc := v.Service()
	state, moved := svc.Str("status", "modelStatus", "states", "targetModelState"), svc.Str("status", "modelStatus", "transitionStatus")
	return state != "FailedToLoad" && moved != "BlockedByFailedLoad" && (moved == "UpToDate" || svc.Ready())
}

// revisionTexts reads conditions of revisions that quote the initializer.
func revisionTexts(v *View) []storageText {
	var out []storageText
	for _, o := range v.Objects(Revisions) {
		for _, c := range o.Conditions() {
			if c.Type == "ContainerHealthy" && c.False() && storageSigns.Match(c.Message) {
				out = append(out, storageText{step: v.StepOf(StorageInitializer, o), lines: cut(ConditionEvidence(o, c))})
			}
		}
	}
	return out
}

// storageDone are the last words of a download that succeeded (kserve_storage.py, storage.py).
var storageDone = Re(`Successfully copied |Model downloaded in `)

// logTexts reads logs that are the initializer's by the container's name, or by their words when a paste does not name the container.
func logTexts(v *View) []storageText {
	type run struct {
		pod      string
		previous bool
	}
	var order []run
	runs := map[run]*storageText{}
	done := map[run]bool{}
	for _, l := range v.Lines(ContainerLogs) {
		named := strings.HasPrefix(l.Container, "storage-initializer")
		key := run{l.Pod, l.Previous}
		if !named && (l.Container != "" || runs[key] == nil && !(hasAny(l.Text, "torage", "otocore", "google", "minio", "src_uri", "Copying", "/mnt/pvc") && storageSigns.Match(l.Text))) {
			continue
		}
		if runs[key] == nil {
			order = append(order, key)
			s := v.StepOfName(StorageInitializer, ObjectRef{Source: Pods, Kind: "Pod", Namespace: l.Namespace, Name: l.Pod})
			if s.Component == "" {
				s = complete(v, s, "")
			}
			runs[key] = &storageText{step: s, pod: l.Pod, container: l.Container}
		}
		runs[key].lines = append(runs[key].lines, LineEvidence(l))
		done[key] = done[key] || storageDone.Match(l.Text)
	}
	var out []storageText
	for _, key := range order {
		t := runs[key]
		if !done[key] && !initDone(v, key.pod) && !mended(v, t.step, key.pod, t.lines[len(t.lines)-1].At, ranContainers) {
			out = append(out, *t)
		}
	}
	return out
}

// hasAny is a quick look before an expression is asked: logs are long.
func hasAny(s string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
}

// initDone says whether a pod is known to have got past its storage-initializer.
func initDone(v *View, pod string) bool {
	for _, p := range v.Pods() {
		if p.Name != pod || pod == "" {
			continue
		}
		for _, c := range p.Containers {
			if c.Init && c.Hop() == StorageInitializer && c.Exit != nil && c.Exit.Code == 0 && !c.Exit.CodeUnknown {
				return true
			}
		}
		return p.Ready
	}
	return false
}

// storageWords is one row of the table of words: which fault they mean, and how sure that is.
type storageWords struct {
	id   string
	says *regexp.Regexp
	sure Confidence
}

// httpStatus matches a status code where the client libraries put it, and not in a time or an address.
func httpStatus(codes string) string {
	return `(\((` + codes + `)\)|\[(` + codes + `)\]|status(_| )code:? (` + codes + `)\b|\b(` + codes + `) (client error|server error|GET|POST|HEAD|not found|unauthorized|forbidden|too many requests|internal server|service unavailable|bad gateway)|error(:| code:?) (` + codes + `)\b)`
}

// storageTable is asked from the top: the more special words stand first. It matches single lines, whatever their case.
func storageTable() []storageWords {
	row := func(id string, sure Confidence, says string) storageWords {
		return storageWords{id, regexp.MustCompile(`(?i)` + says), sure}
	}
	return []storageWords{
		row("huggingface-token-or-limit", Certain, `gated ?repo|cannot access gated|access to model \S+ is restricted|HuggingFace authentication failed|set HF_TOKEN`),
		row("huggingface-token-or-limit", Certain, `(hugging ?face|\bhf\.co|HfHub).*(unauthorized|too many requests|rate limit|invalid (user token|username or password))`),
		row("huggingface-token-or-limit", Certain, httpStatus(`401|403|429`)+`.*(hugging ?face|\bhf\.co)|(hugging ?face|\bhf\.co).*`+httpStatus(`401|403|429`)),
		row("huggingface-token-or-limit", Likely, `private or gated repo|huggingface_hub\S*\.(HfHubHTTPError|RepositoryNotFoundError): (401|403|429)`),
		row("pvc-path-missing", Certain, `cannot locate source uri \S* for PVC|cannot recognize storage type for /mnt/pvc|local path \S*/mnt/pvc\S* does not exist|no such file or directory: '?/mnt/pvc`),
		row("storage-uri-unsupported", Certain, `cannot recognize storage type for|StorageURI not supported|storageUri \[\S*\] is not supported|invalid hugging ?face uri format|hugging ?face (model name|repository owner) cannot be empty`),
		row("storage-uri-unsupported", Likely, `No module named '?(huggingface_hub|krbcontext|hdfs|azure|dulwich|google|boto3|minio)`),
		row("storage-wrong-content", Certain, `did not respond with (any of following )?'Content-Type'|no filename contained in uri|failed to unpack archive|not a gzip file|not a zip file|badzipfile|tarfile\.\w*error|file could not be opened successfully`),
		row("storage-download-slow", Certain, `read timed out|read timeout|readtimeout`),
		row("storage-bad-endpoint", Certain, `wrong_version_number|eof occurred in violation|unexpected_eof|record layer failure|gave http response to https|server requires https|http request was sent to https|\b(400|bad request)\b.*https port`),
		row("storage-tls-untrusted", Certain, `certificate_verify_failed|certificate verify failed|self[- ]signed certificate|local issuer certificate|hostname mismatch|certificate (has expired|is not valid)|ssl validation failed|sslerror|failed to find ca bundle|x509:`),
		row("storage-object-missing", Likely, `anonymous credentials cannot be refreshed`),
		row("storage-credentials", Certain, `unable to locate credentials|NoCredentials|partial credentials|InvalidAccessKeyId|access key id you provided does not exist|SignatureDoesNotMatch|signature we calculated|Expired ?Token|token .*has expired|InvalidToken|security token .*invalid|invalid aws credentials`),
		row("storage-credentials", Certain, `AccessDenied|access denied|access is denied|\bforbidden\b|`+httpStatus(`401|403`)+`|unauthorized|not authorized|does not have \S+ (access|permission)|permission '?\S+'? denied on`),
		row("storage-credentials", Certain, `DefaultCredentialsError|could not automatically determine credentials|default credentials were not found|invalid_grant|RefreshError|AuthenticationFailed|AuthorizationPermissionMismatch|AuthorizationFailure|NoAuthenticationInformation|PublicAccessNotPermitted|ClientAuthenticationError|CredentialUnavailable|failed to retrieve a token|server failed to authenticate|kinit:|kerberos`),
		row("storage-credentials", Likely, `authentication failed|http access denied|169\.254\.169\.254|metadata\.google\.internal`),
		row("storage-server-error", Certain, `SlowDown|reduce your request rate|InternalError|InternalServerError|internal server error|ServiceUnavailable|service unavailable|server ?busy|bad gateway|gateway time-?out|too many 5\d\d|`+httpStatus(`5\d\d`)),
		row("storage-server-error", Likely, `connection broken: |incompleteread|contenttooshort`),
		row("storage-bad-endpoint", Certain, `invalid ?endpoint|hostname cannot be empty|string index out of range|could not connect to the endpoint url|EndpointConnectionError|name or service not known|nameresolutionerror|no such host|temporary failure in name resolution|getaddrinfo failed|failed to resolve|unknown host|invalid port|no host supplied`),
		row("storage-bad-endpoint", Certain, `connection refused|newconnectionerror|no route to host|network is unreachable|connect ?timeout|connection to \S+ timed out|connection timed out|connection aborted|connection reset|couldn't connect to '?https?:|cannot send a request|serviceresponseerror|servicerequesterror`),
		row("storage-bad-endpoint", Likely, `failed to connect to \S+ endpoint|max retries exceeded|PermanentRedirect|must be addressed using the specified endpoint|AuthorizationHeaderMalformed|IllegalLocationConstraint|\(301\)|moved permanently|s3 error \[400\]|\(400\)|the region '.*' is wrong`),
		row("storage-object-missing", Likely, `\(404\) when calling the HeadBucket`),
		row("storage-object-missing", Certain, `no model found in|no ?such ?(key|bucket|object|container)|BlobNotFound|not[ _]?found|does not exist|no such file or directory|`+httpStatus(`404`)),
	}
}

// rawStorageLine is logged before an error is classified by substrings, and holds the store's own words
// (kserve/python/storage/kserve_storage/storage_errors.py, raise_storage_error): it is asked first.
var rawStorageLine = regexp.MustCompile(`\b[A-Z]\w+ error for \S+: (.*)`)

// storageCause is the fault that one text means.
type storageCause struct {
	id   string
	sure Confidence
	text storageText
	said Evidence
	raw  bool
}

// causeOf tells which fault a text means: by the store's own words, else by the last line that means anything. The initializer's INFO lines
// only repeat addresses.
func causeOf(table []storageWords, t storageText) (storageCause, bool) {
	for _, raw := range []bool{true, false} {
		for _, e := range slices.Backward(t.lines) {
			words := e.Value
			if m := rawStorageLine.FindStringSubmatch(words); raw && m == nil {
				continue
			} else if raw {
				words = words[strings.Index(words, m[0]):]
			}
			if strings.Contains(words, " INFO ") || strings.Contains(words, "Copying contents of") {
				continue
			}
			for _, row := range table {
				if row.says.MatchString(words) {
					return storageCause{row.id, row.sure, t, e, raw}, true
				}
			}
		}
	}
	return storageCause{}, false
}

// storageTold finds the places where the initializer's words mean the given fault. Of several texts about one place the store's own words
// win, then the order of storageTexts.
func storageTold(table []storageWords, id string) func(*View) []Match {
	return func(v *View) []Match {
		best := map[string]storageCause{}
		var all []storageCause
		for _, t := range storageTexts(v) {
			c, ok := causeOf(table, t)
			if !ok {
				continue
			}
			all = append(all, c)
			place := t.step.Component + "/" + t.step.Revision
			if have, seen := best[place]; !seen || c.raw && !have.raw {
				best[place] = c
			}
		}
		var out []Match
		for _, c := range all {
			if c.id == id && best[c.text.step.Component+"/"+c.text.step.Revision].id == id {
				out = append(out, Match{Step: c.text.step, Confidence: c.sure, Evidence: []Evidence{c.said}, Pod: c.text.pod, Container: "storage-initializer",
					Summary: Clip("the model cannot be fetched: "+afterLogger(c.said.Value), 300)})
			}
		}
		return settle(v, out)
	}
}

var loggerPrefix = regexp.MustCompile(`^.*?(Storage initialization failed: |Unexpected error during storage initialization: |\]\s)`)

// afterLogger cuts date, level and module from a log line, for display.
func afterLogger(s string) string { return loggerPrefix.ReplaceAllString(s, "") }
