// grpc_test.go: unary calls against a real gRPC server on loopback.
package dial

import (
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"probe/hops"
)

// raw is a codec that leaves messages as they are.
type raw struct{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// modelServer answers ModelReady by the name of the model, as KServe's Python server does.
func modelServer(t *testing.T) hops.Target {
	t.Helper()
	answer := func(_ any, stream grpc.ServerStream) error {
		var got []byte
		if err := stream.RecvMsg(&got); err != nil {
			return err
		}
		method, _ := grpc.MethodFromServerStream(stream)
		_, _, n := protowire.ConsumeTag(got)
		model, _ := protowire.ConsumeString(got[n:])
		meta, _ := metadata.FromIncomingContext(stream.Context())
		switch {
		case method != "/inference.GRPCInferenceService/ModelReady":
			return status.Errorf(codes.Unimplemented, "unknown method %s", method)
		case model == "ready":
			return stream.SendMsg([]byte{0x08, 0x01})
		case model == "loading":
			return stream.SendMsg([]byte{})
		case model == "trace":
			return status.Error(codes.Unknown, fmt.Sprint(meta["traceparent"], meta[":authority"]))
		}
		return status.Errorf(codes.NotFound, "Model with name %s does not exist: 100%%", model)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(answer))
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return target(t, l.Addr().String())
}

func call(t *testing.T, at hops.Target, path, model string) hops.Observation {
	t.Helper()
	body := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), model)
	return NewSender(NewDirect(nil, net.Dialer{})).Send(t.Context(), Request{Entry: hops.Entry{Step: hops.Step{Hop: hops.Container}, Target: at,
		Host: "iris.example"}, Asked: hops.RealRequest, GRPC: true, Path: path, Body: body, TraceID: traceID, SpanID: spanID})
}

func TestGRPC(t *testing.T) {
	at := modelServer(t)
	const ready = "/inference.GRPCInferenceService/ModelReady"
	tests := []struct {
		path, model   string
		ok            bool
		code          int
		body, message string
	}{
		{ready, "ready", true, 0, `{"ready":true}`, ""},
		{ready, "loading", false, 0, `{"ready":false}`, ""},
		{ready, "other", false, 5, "", "Model with name other does not exist: 100%"},
		{"/inference.GRPCInferenceService/Nope", "ready", false, 12, "", "unknown method /inference.GRPCInferenceService/Nope"},
		{ready, "trace", false, 2, "", "[00-" + traceID + "-" + spanID + "-01] [iris.example]"},
	}
	for _, test := range tests {
		o := call(t, at, test.path, test.model)
		if o.Outcome != hops.Answered || o.Status != 200 || o.Proto != "HTTP/2.0" || o.Method != "POST" || o.Path != test.path {
			t.Errorf("%s: %+v", test.model, o)
		}
		if o.OK() != test.ok || o.GRPCStatus != test.code || o.Body != test.body || o.Header["grpc-message"] != test.message {
			t.Errorf("%s %s: ok %t, code %d, body %q, message %q", test.path, test.model, o.OK(), o.GRPCStatus, o.Body, o.Header["grpc-message"])
		}
		if o.Phases.Connect <= 0 || o.Phases.Wait <= 0 {
			t.Errorf("%s: phases %+v", test.model, o.Phases)
		}
	}
}

// A server of HTTP alone answers no gRPC, whatever its status.
func TestGRPCToHTTP(t *testing.T) {
	s, e := serve(t, capture(&seen{}))
	o := s.Send(t.Context(), Request{Entry: e, Asked: hops.RealRequest, GRPC: true, Path: "/inference.GRPCInferenceService/ModelReady"})
	if o.Outcome == hops.Answered || o.OK() {
		t.Errorf("an HTTP/1.1 server passed for a gRPC server: %+v", o)
	}
}

func TestReadyMessage(t *testing.T) {
	tests := []struct {
		name string
		body []byte
		want bool
	}{
		{"true", []byte{0, 0, 0, 0, 2, 8, 1}, true},
		{"false", []byte{0, 0, 0, 0, 2, 8, 0}, false},
		{"left out", []byte{0, 0, 0, 0, 0}, false},
		{"behind another field", []byte{0, 0, 0, 0, 5, 0x12, 1, 'x', 8, 1}, true},
		{"compressed", []byte{1, 0, 0, 0, 2, 8, 1}, false},
		{"cut", []byte{0, 0, 0, 0, 9, 8, 1}, false},
		{"junk", []byte{0, 0, 0, 0, 2, 0xff, 0xff}, false},
		{"nothing", nil, false},
	}
	for _, test := range tests {
		if got := readyMessage(test.body); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}
