// grpc.go: what a gRPC status says in the words of HTTP, so that an answer is placed by one set of rules.
package hops

import "strings"

// grpcName are the names of the codes, by number (google.golang.org/grpc/codes).
func grpcName(code int) string {
	names := []string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}
	if code >= 0 && code < len(names) {
		return names[code]
	}
	return "no grpc-status"
}

// httpStatus is the status of the answer; of a gRPC error, the one that Envoy would have sent to a client of HTTP: its own answers to gRPC requests
// are 200 with a grpc-status made of the real one (Envoy source/common/grpc/status.cc, httpToGrpcStatus).
func (o *Observation) httpStatus() int {
	if o.Status != 200 || o.GRPCStatus <= 0 {
		return o.Status
	}
	switch o.GRPCStatus {
	case 3, 9, 11:
		return 400
	case 4:
		return 504
	case 5, 12:
		return 404
	case 7:
		return 403
	case 14:
		return 503
	case 16:
		return 401
	case 8:
		return 429
	}
	return 500
}

// words are the answer's own: its body, or the message of a gRPC status, which Envoy fills with the body that it would have sent.
func (o *Observation) words() string {
	if o.GRPCStatus > 0 && o.Body == "" {
		return strings.TrimSpace(o.Header["grpc-message"])
	}
	return strings.TrimSpace(o.Body)
}

// unready says whether a ModelReady or ServerReady was answered with false.
func (o *Observation) unready() bool {
	return o.Body == `{"ready":false}` && strings.HasPrefix(o.Header["content-type"], "application/grpc")
}

// envoyWords says whether a text is one that Envoy writes into the answers that it makes itself: the second gateway's pass the first one as any other.
func envoyWords(text string) bool {
	for _, own := range []string{"no healthy upstream", "upstream connect error", "upstream request timeout", "RBAC: access denied"} {
		if strings.HasPrefix(text, own) {
			return true
		}
	}
	return text == "" || jwtWords.Match(text) // a route that is missing has no words
}
