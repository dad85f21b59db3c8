// histogram.go: a histogram small enough to be kept for each of ten thousand services.
package metrics

import (
	"encoding/hex"
	"sort"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// boundsMany is how many finite buckets a histogram has: each costs 36 bytes and a series, for each door of each service.
const boundsMany = 10

// bounds are the upper ends of the buckets, in seconds.
type bounds = [boundsMany]float64

var (
	// warmBounds are close together where models answer, and reach to the default timeout of a request.
	warmBounds = bounds{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10}
	// coldBounds reach from a pod that only has to be started to a model that is downloaded first, and to how long such a request may take.
	coldBounds = bounds{1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600}
)

// histogram counts by bucket, and keeps the last trace of each.
type histogram struct {
	sum       float64
	counts    [boundsMany + 1]uint32 // the last is what lies beyond all bounds
	exemplars [boundsMany + 1]exemplar
}

func (h *histogram) observe(b *bounds, took time.Duration, trace traceID, at time.Time) {
	seconds := took.Seconds()
	i := sort.SearchFloat64s(b[:], seconds)
	h.sum += seconds
	h.counts[i]++
	h.exemplars[i].set(trace, seconds, at)
}

// write gives the form that the encoders take: cumulative.
func (h *histogram) write(b *bounds) *dto.Histogram {
	out := &dto.Histogram{SampleSum: proto.Float64(h.sum), Bucket: make([]*dto.Bucket, 0, boundsMany+1)}
	var n uint64
	for i, bound := range b {
		n += uint64(h.counts[i])
		out.Bucket = append(out.Bucket, &dto.Bucket{CumulativeCount: proto.Uint64(n), UpperBound: proto.Float64(bound), Exemplar: h.exemplars[i].write()})
	}
	n += uint64(h.counts[boundsMany])
	if beyond := h.exemplars[boundsMany].write(); beyond != nil { // the encoders add this bucket themselves when there is none
		out.Bucket = append(out.Bucket, &dto.Bucket{CumulativeCount: proto.Uint64(n), UpperBound: proto.Float64(inf), Exemplar: beyond})
	}
	out.SampleCount = proto.Uint64(n)
	return out
}

// traceID is all zero for none.
type traceID [16]byte

// traceOf reads 32 hexadecimal digits.
func traceOf(s string) (id traceID) {
	if len(s) != 2*len(id) {
		return traceID{}
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return traceID{}
	}
	return id
}

// exemplar is one measurement with the trace that it was made in.
type exemplar struct {
	trace traceID
	value float64
	at    int64 // milliseconds since 1970
}

func (e *exemplar) set(trace traceID, value float64, at time.Time) {
	if trace != (traceID{}) {
		*e = exemplar{trace: trace, value: value, at: at.UnixMilli()}
	}
}

func (e *exemplar) write() *dto.Exemplar {
	if e.trace == (traceID{}) {
		return nil
	}
	return &dto.Exemplar{Label: []*dto.LabelPair{{Name: proto.String("trace_id"), Value: proto.String(hex.EncodeToString(e.trace[:]))}},
		Value: proto.Float64(e.value), Timestamp: timestamppb.New(time.UnixMilli(e.at))}
}
