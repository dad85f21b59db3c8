// grpc.go: a unary gRPC call as one HTTP/2 request (grpc.io, doc/PROTOCOL-HTTP2.md): a frame around the message, and a status in the trailers.
package dial

import (
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// grpcHead is the length of the head of a message: one byte that says whether it is compressed, four of its length.
const grpcHead = 5

// payload is the body that goes out.
func (r *Request) payload() []byte {
	if !r.GRPC {
		return r.Body
	}
	frame := make([]byte, grpcHead, grpcHead+len(r.Body))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(r.Body)))
	return append(frame, r.Body...)
}

// grpcHeaders go over the caller's own: without them a server does not take the request for gRPC.
func grpcHeaders(h http.Header) {
	h.Set("Content-Type", "application/grpc")
	h.Set("Te", "trailers")
}

// readGRPC takes the status of a call out of the trailers, or out of the headers where they are all there is. What says no status is no gRPC.
func (x *exchange) readGRPC(resp *http.Response, body []byte) {
	x.o.GRPCStatus = -1
	for _, from := range []http.Header{resp.Trailer, resp.Header} {
		if code, err := strconv.Atoi(from.Get("Grpc-Status")); err == nil && code >= 0 {
			x.o.GRPCStatus = code
			break
		}
	}
	if x.o.GRPCStatus == 0 && (strings.HasSuffix(x.o.Path, "/ModelReady") || strings.HasSuffix(x.o.Path, "/ServerReady")) {
		x.o.Body = `{"ready":` + strconv.FormatBool(readyMessage(body)) + "}" // as protobuf's JSON form shows it
	}
}

// readyMessage reads the one field of ModelReadyResponse and ServerReadyResponse, bool ready = 1 (kserve/python/kserve/protocol/grpc,
// grpc_predict_v2.proto). A field that is left out is false.
func readyMessage(body []byte) bool {
	if len(body) < grpcHead || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-grpcHead {
		return false
	}
	for b := body[grpcHead:]; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if num == 1 && kind == protowire.VarintType {
			v, m := protowire.ConsumeVarint(b)
			return m > 0 && protowire.DecodeBool(v)
		}
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return false
}
