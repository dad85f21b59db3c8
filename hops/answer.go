// answer.go: who wrote the answer that a client saw. It is decided by rule, not by guess.
package hops

import (
	"regexp"
	"strings"
)

// Writer is who wrote an answer.
type Writer string

// The writers. Behind means something behind the first gateway that left no mark of its own.
const (
	ByNobody      Writer = ""               // no answer came
	BeforeGateway Writer = "before-gateway" // a proxy, CDN or another controller in front of the gateway
	ByGateway     Writer = "gateway"        // the first gateway that the request met
	ByActivator   Writer = "activator"
	ByQueueProxy  Writer = "queue-proxy"
	ByModel       Writer = "model"
	Behind        Writer = "behind-gateway"
)

// FromEnvoy says whether an Envoy answered or passed the answer on.
func (o *Observation) FromEnvoy() bool {
	return o.Header["server"] == "istio-envoy" || o.Header["server"] == "envoy"
}

// Upstream says whether the answer came from behind the first gateway (x-envoy-upstream-service-time is set by Envoy's router only then).
func (o *Observation) Upstream() bool { return o.Header["x-envoy-upstream-service-time"] != "" }

// WroteIt tells who wrote the answer, by the headers that Envoy sets and by texts that only one component writes. At a step that is not behind
// a gateway the headers of Envoy are not expected.
func WroteIt(o *Observation) Writer {
	if o.Outcome != Answered || o.Status == 0 {
		return ByNobody
	}
	atGateway := o.Step.Hop == Client || o.Step.Hop == IngressGateway || o.Step.Hop == LocalGateway || o.Step.Hop == KServeRoute ||
		o.Step.Hop == KnativeRoute || o.Step.Hop == ""
	if atGateway && o.FromEnvoy() && !o.Upstream() {
		return ByGateway
	}
	if w := byText(o.words(), o.httpStatus()); w != "" {
		return w
	}
	if o.unready() || o.GRPCStatus > 0 && (!o.FromEnvoy() || o.Upstream()) && !envoyWords(o.words()) { // Knative's components write plain HTTP answers
		return ByModel
	}
	if o.Header["server"] == "uvicorn" {
		return ByModel
	}
	if o.Step.Hop == Client && o.Step.Door == ClusterLocal && !o.FromEnvoy() { // Standard mode: the Service leads to the pods
		return ByModel
	}
	if atGateway && !o.FromEnvoy() && o.Step.Hop != "" && (len(o.Header) > 0 || nginxPage(o) != "") {
		return notByEnvoy(o)
	}
	switch o.Step.Hop {
	case Container:
		return ByModel
	case Activator, QueueProxy, Revision:
		if o.Status < 500 || o.Status == 500 && o.Step.Hop == QueueProxy { // its own errors are 502, 503 and 504
			return ByModel
		}
	}
	return Behind
}

// ownPage is the foot of the error pages that nginx and what is built on it write themselves (nginx src/http/ngx_http_special_response.c).
var ownPage = regexp.MustCompile(`<center>((?:nginx|openresty|tengine)[^<]*)</center>`)

// nginxPage is the name under which an nginx signed its own error page; "" for any other answer.
func nginxPage(o *Observation) string { return firstGroup(ownPage, o.Body) }

// notByEnvoy tells who wrote an answer at a front door that bears no mark of Envoy. Where the gateway itself was dialled nothing can stand in front
// of it: it is of another kind, such as an ingress controller built on nginx.
func notByEnvoy(o *Observation) Writer {
	dialled := o.Step.Hop == IngressGateway && (o.Vantage == PortForward || o.Vantage == InPod)
	switch {
	case dialled && nginxPage(o) != "":
		return ByGateway
	case dialled:
		return Behind
	}
	return BeforeGateway
}

// byText knows the texts of Knative's data plane (knative.dev/serving/pkg/activator, pkg/queue, pkg/http/handler) and of KServe's server
// (kserve/python/kserve/errors.py).
func byText(body string, status int) Writer {
	switch {
	case strings.HasPrefix(body, "Error getting active endpoint"), body == "activator request timeout":
		return ByActivator
	case status == 504 && body == "request timeout", status == 502 && (strings.HasPrefix(body, "dial tcp 127.0.0.1:") || body == "EOF"),
		status == 502 && strings.Contains(body, "dial tcp [::1]:"):
		return ByQueueProxy
	case body == "pending request queue full", status == 503 && body == "context deadline exceeded":
		return Behind // activator and queue-proxy write the same
	case strings.HasPrefix(body, `{"error"`), strings.HasPrefix(body, `{"detail"`), strings.HasPrefix(body, `{"predictions"`),
		strings.HasPrefix(body, `{"name"`), strings.HasPrefix(body, `{"model_name"`):
		return ByModel
	}
	return ""
}

// Suspect is the hop where a failed request ended, as far as its own answer tells: the outermost hop that cannot have done its part.
func Suspect(o *Observation) Hop {
	entry := o.Step.Hop
	switch o.Outcome {
	case DNSFailed:
		return Client
	case Answered:
	case Timeout, ResetByPeer, ClosedEarly, Malformed:
		return entry
	default:
		return entry
	}
	body, status := o.words(), o.httpStatus()
	switch WroteIt(o) {
	case BeforeGateway:
		return Client
	case ByGateway:
		return gatewayMade(o, body, entry)
	case ByActivator:
		return Activator
	case ByQueueProxy, ByModel:
		return Container
	}
	switch {
	case status == 404 && body == "":
		return KnativeRoute // the second gateway knows no such host
	case status == 503 && body == "no healthy upstream":
		return Revision
	case status == 403 && strings.HasPrefix(body, "RBAC: access denied"), (status == 401 || status == 403) && jwtWords.Match(body):
		return LocalGateway
	case strings.HasPrefix(body, "pending request queue full"):
		return QueueProxy
	case entry == QueueProxy || entry == Container || entry == Activator:
		return entry
	}
	return Revision
}

// gatewayMade tells where a request ended whose answer the first gateway wrote itself (lab: one state at a time was broken and asked).
func gatewayMade(o *Observation, body string, entry Hop) Hop {
	route, next := KServeRoute, LocalGateway
	switch {
	case o.Step.Door == "": // entered behind KServe's route, with the component's own host
		route, next = KnativeRoute, Revision
	case nginxPage(o) != "": // an ingress controller of Standard mode, which sends to the pods
		next = Revision
	}
	switch status := o.httpStatus(); {
	case status == 404:
		return route
	case status == 503 || status == 502 || status == 504:
		return next
	}
	return entry // 401, 403, 302: the gateway itself refuses
}
