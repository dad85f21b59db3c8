// request.go: what is sent: the caller's own request, or the cheapest honest one of the service's protocol.
package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"probe/hops"
	"probe/probe/dial"
)

// request is the real request at an entry.
func (r *runner) request(e hops.Entry) dial.Request {
	path, query, _ := strings.Cut(r.o.Path, "?")
	method := cmp.Or(r.o.Method, http.MethodGet)
	if len(r.o.Data) > 0 {
		method = cmp.Or(r.o.Method, http.MethodPost)
	}
	q := dial.Request{Entry: e, Asked: hops.RealRequest, Method: method, Path: path, Query: query, Header: r.o.Header, Body: r.o.Data,
		TraceID: r.run.TraceID, SpanID: r.hexID(8), Unrecorded: r.o.Unrecorded, Credentials: r.o.Credentials, Attempt: 1, ColdStart: r.run.Flow.Asleep()}
	if take := r.o.Body; take != nil {
		span := q.SpanID
		q.Keep = func(body []byte) { take(span, body) }
	}
	if path == "" {
		q.Path, q.Invented = defaultPath(r.run.Flow.Protocol, r.run.Flow.Model, len(r.o.Data) > 0), true
	}
	if r.run.Flow.Protocol == hops.GRPC && r.o.Method == "" {
		q.GRPC, q.Method = true, http.MethodPost
		if len(r.o.Data) == 0 && path == "" {
			q.Body = modelReady(r.run.Flow.Model)
		}
	}
	return q
}

// inference is the gRPC service of the Open Inference Protocol (kserve/python/kserve/protocol/grpc, grpc_predict_v2.proto).
const inference = "/inference.GRPCInferenceService/"

// modelReady is a ModelReadyRequest: string name = 1.
func modelReady(model string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), model)
}

// resolve finds the path, and speaks on it what the caller said.
func (r *runner) resolve(s *hops.Snapshot) {
	r.run.Flow = hops.Resolve(s, r.o.Ref)
	if r.o.Protocol != "" {
		r.run.Flow.Speak(r.o.Protocol)
	}
}

// knock asks whether activator or queue-proxy can be reached; it never carries what the caller gave.
func (r *runner) knock(e hops.Entry) dial.Request {
	return dial.Request{Entry: e, Asked: hops.Knock, Method: http.MethodGet, Path: "/healthz", TraceID: r.run.TraceID, SpanID: r.hexID(8),
		Unrecorded: r.o.Unrecorded, Attempt: 1}
}

// defaultPath is the cheapest path that a server of the protocol answers honestly; with data, the one that takes it
// (kserve/python/kserve/protocol/rest).
func defaultPath(protocol, model string, data bool) string {
	switch {
	case protocol == hops.GRPC && data: // then the data is a whole ModelInferRequest
		return inference + "ModelInfer"
	case protocol == hops.GRPC:
		return inference + "ModelReady"
	case strings.Contains(protocol, "v2") && data:
		return "/v2/models/" + model + "/infer"
	case strings.Contains(protocol, "v2"):
		return "/v2/models/" + model + "/ready"
	case data:
		return "/v1/models/" + model + ":predict"
	}
	return "/v1/models/" + model
}

// nameTheModel asks the server for its model list where it answered 404 to a name that nobody specified, and sends the request again with the
// name it tells. One list a door, one more request a door.
func (r *runner) nameTheModel(ctx context.Context) {
	var lists []dial.Request
	for _, e := range r.run.Flow.Entries {
		last := r.last(e)
		if e.Step.Door == "" || last == nil || !last.Invented || last.Status != http.StatusNotFound && last.GRPCStatus != notFound || hops.WroteIt(last) != hops.ByModel {
			continue
		}
		ask := r.request(e)
		if ask.GRPC { // there is no list to ask for, but the server tells whether it is ready
			ask.Path, ask.Body = inference+"ServerReady", nil
			lists = append(lists, ask)
			continue
		}
		ask.Method, ask.Body, ask.Path = http.MethodGet, nil, "/v1/models"
		if strings.Contains(r.run.Flow.Protocol, "v2") {
			ask.Path = "/v2/models"
		}
		lists = append(lists, ask)
	}
	if len(lists) == 0 {
		return
	}
	at := len(r.run.Observations)
	r.send(ctx, lists)
	var again []dial.Request
	for i, o := range r.run.Observations[at:] {
		names := modelNames(o.Body)
		if len(names) == 0 || slices.Contains(names, r.run.Flow.Model) {
			continue
		}
		ask := r.request(lists[i].Entry)
		ask.Path = defaultPath(r.run.Flow.Protocol, names[0], len(r.o.Data) > 0)
		again = append(again, ask)
	}
	r.send(ctx, again)
}

// notFound is gRPC's NOT_FOUND (google.golang.org/grpc/codes).
const notFound = 5

// modelNames reads the list of a KServe server: {"models":["iris"]} (kserve/python/kserve/protocol/rest/v1_endpoints.py).
func modelNames(body string) []string {
	var list struct {
		Models []string `json:"models"`
	}
	if json.Unmarshal([]byte(body), &list) != nil {
		return nil
	}
	return list.Models
}
