// attributes.go: names and values of span attributes: those of the semantic conventions where they have one, probe.* where they do not.
package tracing

import (
	"net"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.38.0"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"probe/hops"
)

// Names that the semantic conventions do not have.
const (
	keyService       attribute.Key = "kserve.inferenceservice.name"
	keyNamespace     attribute.Key = "kserve.inferenceservice.namespace" // k8s.namespace.name is that of the span's own object
	keyComponent     attribute.Key = "kserve.component"
	keyRevision      attribute.Key = "knative.revision.name"
	keyHop           attribute.Key = "probe.hop"
	keyHow           attribute.Key = "probe.hop.how"
	keyHopState      attribute.Key = "probe.hop.state"
	keyWhy           attribute.Key = "probe.hop.why"
	keyStep          attribute.Key = "probe.step"
	keyDoor          attribute.Key = "probe.door"
	keyWeight        attribute.Key = "probe.revision.weight" // percent of the component's traffic
	keyObject        attribute.Key = "probe.object"
	keyAsked         attribute.Key = "probe.asked"
	keyVantage       attribute.Key = "probe.vantage"
	keyTarget        attribute.Key = "probe.target"
	keyAttempt       attribute.Key = "probe.attempt"
	keyJudged        attribute.Key = "probe.judged"
	keyColdStart     attribute.Key = "probe.cold_start"
	keyState         attribute.Key = "probe.state"
	keyRule          attribute.Key = "probe.rule"
	keySummary       attribute.Key = "probe.summary"
	keyMode          attribute.Key = "probe.mode"
	keyAsleep        attribute.Key = "probe.asleep"
	keyReads         attribute.Key = "probe.reads"
	keyOffset        attribute.Key = "probe.phase.offset_us"   // microseconds since the request's start
	keyDuration      attribute.Key = "probe.phase.duration_us" // microseconds
	keySeverity      attribute.Key = "probe.finding.severity"
	keyConfidence    attribute.Key = "probe.finding.confidence"
	keyFix           attribute.Key = "probe.finding.fix"
	keyEvidence      attribute.Key = "probe.evidence.source"
	keyEvidenceRef   attribute.Key = "probe.evidence.ref"
	keyEvidenceField attribute.Key = "probe.evidence.field"
	keyEvidenceValue attribute.Key = "probe.evidence.value"
	keyEvidenceAt    attribute.Key = "probe.evidence.at" // RFC 3339; the event itself lies inside its span
	keyWhat          attribute.Key = "probe.what"
	keyNotCheckedWhy attribute.Key = "probe.why"
)

// maxText bounds one attribute value, in bytes: a log line fits, a dump does not.
const maxText = 2048

// clean makes a text fit to leave the process: redacted first, since a cut secret is not recognised any more; then valid UTF-8, without which
// protobuf refuses the whole export; then cut.
func (o Options) clean(s string) string {
	if o.Redact != nil {
		s = o.Redact(s)
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	cut := maxText - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// attributes collects attributes and leaves out those without a value.
type attributes struct {
	opt  Options
	list []*commonpb.KeyValue
}

func (a *attributes) add(k attribute.Key, v *commonpb.AnyValue) {
	a.list = append(a.list, &commonpb.KeyValue{Key: string(k), Value: v})
}

func (a *attributes) str(k attribute.Key, v string) {
	if v != "" {
		a.add(k, &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: a.opt.clean(v)}})
	}
}

func (a *attributes) num(k attribute.Key, v int64) {
	a.add(k, &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}})
}

func (a *attributes) positive(k attribute.Key, v int) {
	if v > 0 {
		a.num(k, int64(v))
	}
}

// set notes something that is true; what is false goes without saying.
func (a *attributes) set(k attribute.Key, v bool) {
	if v {
		a.add(k, &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}})
	}
}

// header is an array of one, as the semantic conventions want response headers.
func (a *attributes) header(name, v string) {
	one := &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: a.opt.clean(v)}}
	list := &commonpb.ArrayValue{Values: []*commonpb.AnyValue{one}}
	a.add(attribute.Key("http.response.header."+name), &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: list}})
}

func (a *attributes) service(ref hops.Ref) {
	a.str(keyService, ref.Name)
	a.str(keyNamespace, ref.Namespace)
}

// place says which service and which step of its path a span is about.
func (a *attributes) place(ref hops.Ref, s hops.Step) {
	a.service(ref)
	a.str(keyHop, string(s.Hop))
	a.str(keyStep, s.ID())
	a.str(keyDoor, string(s.Door))
	a.str(keyComponent, s.Component)
	a.str(keyRevision, s.Revision)
	a.positive(keyWeight, s.Weight)
}

// object names the Kubernetes object of a hop, by the convention's own key where its kind has one.
func (a *attributes) object(ref hops.Ref, s hops.Step) {
	o := s.Object
	namespace := o.Namespace
	if o.Name == "" || namespace == "" {
		namespace = ref.Namespace
	}
	a.str(semconv.K8SNamespaceNameKey, namespace)
	a.str(keyObject, o.String())
	keys := map[string]attribute.Key{"pod": semconv.K8SPodNameKey, "deployment": semconv.K8SDeploymentNameKey,
		"replicaset": semconv.K8SReplicaSetNameKey, "node": semconv.K8SNodeNameKey, "job": semconv.K8SJobNameKey,
		"resourcequota": semconv.K8SResourceQuotaNameKey}
	if k, ok := keys[strings.ToLower(o.Kind)]; ok {
		a.str(k, o.Name)
	}
	if s.Hop == hops.QueueProxy {
		a.str(semconv.K8SContainerNameKey, "queue-proxy")
	}
}

// target reads "pod NAMESPACE/NAME:PORT" and "service NAMESPACE/NAME:PORT", the forms of hops.Target.
func (a *attributes) target(ref hops.Ref, target string) {
	a.str(keyTarget, target)
	kind, rest, _ := strings.Cut(target, " ")
	namespace, name, found := strings.Cut(rest, "/")
	if !found {
		a.str(semconv.K8SNamespaceNameKey, ref.Namespace)
		return
	}
	a.str(semconv.K8SNamespaceNameKey, namespace)
	if name, _, _ = strings.Cut(name, ":"); kind == "pod" {
		a.str(semconv.K8SPodNameKey, name)
	}
}

// request describes an HTTP client span.
func (a *attributes) request(o *hops.Observation) {
	a.str(semconv.HTTPRequestMethodKey, o.Method)
	scheme := o.Scheme
	if scheme == "" {
		scheme = "http"
	}
	path, _, _ := strings.Cut(o.Path, "?")
	if o.Host != "" {
		a.str(semconv.URLFullKey, scheme+"://"+o.Host+path)
		host, port := split(o.Host, map[string]int{"http": 80, "https": 443}[scheme])
		a.str(semconv.ServerAddressKey, host)
		a.positive(semconv.ServerPortKey, port)
	}
	a.str(semconv.URLSchemeKey, scheme)
	a.str(semconv.URLPathKey, path)
	if o.Peer != "" {
		host, port := split(o.Peer, 0)
		a.str(semconv.NetworkPeerAddressKey, host)
		a.positive(semconv.NetworkPeerPortKey, port)
	}
	if name, version, ok := strings.Cut(o.Proto, "/"); ok {
		a.str(semconv.NetworkProtocolNameKey, strings.ToLower(name))
		a.str(semconv.NetworkProtocolVersionKey, strings.TrimSuffix(version, ".0"))
	}
	a.positive(semconv.HTTPResponseStatusCodeKey, o.Status)
	if o.Outcome == hops.Answered {
		a.num(semconv.HTTPResponseBodySizeKey, o.BodyBytes)
	}
	if o.GRPCStatus >= 0 && (o.GRPCStatus > 0 || strings.HasPrefix(o.Header["content-type"], "application/grpc")) {
		a.str(semconv.RPCSystemKey, "grpc")
		a.num(semconv.RPCGRPCStatusCodeKey, int64(o.GRPCStatus))
	}
	a.str(semconv.ErrorTypeKey, errorType(o))
}

// split takes host and port apart; the port is def when there is none.
func split(hostport string, def int) (host string, port int) {
	h, p, err := net.SplitHostPort(hostport)
	if err != nil {
		return strings.Trim(hostport, "[]"), def
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		return h, def
	}
	return h, n
}

// errorType is what an HTTP client span has as error.type: the outcome when no whole answer came, else the status of a failed one.
func errorType(o *hops.Observation) string {
	switch {
	case o.Outcome != hops.Answered && o.Outcome != "":
		return string(o.Outcome)
	case o.Status >= 400:
		return strconv.Itoa(o.Status)
	case o.GRPCStatus > 0:
		return strconv.Itoa(o.GRPCStatus)
	}
	return ""
}

// resource describes the program that the spans come from. Its spans are not made by OpenTelemetry's SDK, which has to be said.
func (o Options) resource() []*commonpb.KeyValue {
	a := attributes{opt: o}
	a.str(semconv.ServiceNameKey, serviceName)
	a.str(semconv.ServiceVersionKey, o.Version)
	a.str(semconv.TelemetrySDKNameKey, scopeName)
	a.str(semconv.TelemetrySDKLanguageKey, "go")
	a.str(semconv.TelemetrySDKVersionKey, o.Version)
	return a.list
}
