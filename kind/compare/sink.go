// sink.go: a collector that takes spans, counts them and lets them go. Its CPU is this process's, not that of what is measured.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sink speaks OTLP over HTTP.
type sink struct {
	server  *http.Server
	address string
	spans   atomic.Int64
}

func newSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the collector: %w", err)
	}
	s := &sink{address: l.Addr().String()}
	s.server = &http.Server{Handler: http.HandlerFunc(s.take), ReadHeaderTimeout: 10 * time.Second}
	go s.server.Serve(l) // ends with close
	return s, nil
}

func (s *sink) close() { s.server.Close() }

// env points a process at the sink.
func (s *sink) env() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + s.address, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}
}

// take counts the spans of one export.
func (s *sink) take(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
	var export tracepb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(raw, &export)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			s.spans.Add(int64(len(scope.Spans)))
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}
