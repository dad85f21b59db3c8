// expose.go: the handler of /metrics.
package metrics

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"
)

const (
	// scrapesAtOnce is enough for two Prometheus servers that scrape the same agent.
	scrapesAtOnce = 2
	// servicesAtOnce is of how many services one family is written at a time: the agent's probes wait that long for the lock, and that much is held
	// in memory twice.
	servicesAtOnce = 128
	// scrapeTimeout ends a scrape whose other end does not read.
	scrapeTimeout = 30 * time.Second
)

// Handler serves the metrics as OpenMetrics to who takes it, with exemplars, else in the older text format, without; compressed if wished. More than
// two scrapes at one time are answered 503.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case m.busy <- struct{}{}:
			defer func() { <-m.busy }()
		default:
			w.Header().Set("Retry-After", "10")
			http.Error(w, "two scrapes are being answered already; try again later", http.StatusServiceUnavailable)
			return
		}
		// Where the deadline cannot be set, as in a recorder, nothing is waited for either.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeTimeout))
		format := formatOf(r.Header)
		w.Header().Set("Content-Type", string(format))
		var out io.Writer = w
		if acceptsGzip(r.Header) {
			w.Header().Set("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // its only error is a level that does not exist
			defer z.Close()
			out = z
		}
		_ = m.write(out, format.FormatType() == expfmt.TypeOpenMetrics) // who asked has gone
	})
}

// formatOf settles the format. Protocol buffers are not offered: they cannot be written a few services at a time.
func formatOf(h http.Header) expfmt.Format {
	var text []string
	for entry := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		if !strings.Contains(entry, expfmt.ProtoType) {
			text = append(text, entry)
		}
	}
	return expfmt.NegotiateIncludingOpenMetrics(http.Header{"Accept": {strings.Join(text, ",")}})
}

func acceptsGzip(h http.Header) bool {
	for entry := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, quality, _ := strings.Cut(entry, ";")
		if strings.TrimSpace(coding) == "gzip" && strings.ReplaceAll(quality, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// write writes all metrics: the agent's own, then those of the services.
func (m *Metrics) write(w io.Writer, open bool) error {
	own, err := m.agent.Gather()
	if err != nil {
		return err
	}
	e := encoder{w: w, open: open}
	for _, f := range own {
		e.encode(f, false)
	}
	all := m.inOrder()
	for i := range families {
		f := &families[i]
		more := false
		for some := range slices.Chunk(all, servicesAtOnce) {
			if out := m.take(f, some); len(out) > 0 {
				e.encode(&dto.MetricFamily{Name: proto.String(f.name), Help: proto.String(f.help), Type: f.kind.Enum(), Metric: out}, more)
				more = true
			}
		}
	}
	return e.end()
}

// inOrder lists the services by name. What comes or goes later is in the next scrape.
func (m *Metrics) inOrder() []*record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sorted == nil {
		m.sorted = make([]*record, 0, len(m.services))
		for _, r := range m.services {
			m.sorted = append(m.sorted, r)
		}
		slices.SortFunc(m.sorted, func(a, b *record) int {
			return cmp.Or(strings.Compare(a.ref.Namespace, b.ref.Namespace), strings.Compare(a.ref.Name, b.ref.Name))
		})
	}
	return m.sorted
}

// take reads one family of some services.
func (m *Metrics) take(f *family, some []*record) []*dto.Metric {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := series{out: make([]*dto.Metric, 0, len(some))}
	for _, r := range some {
		s.of(r.ref)
		f.series(r, &s)
	}
	return s.out
}

// encoder writes families with the encoders of Prometheus' own library. It keeps the first error.
type encoder struct {
	w    io.Writer
	open bool // OpenMetrics, else the text format 0.0.4
	buf  bytes.Buffer
	err  error
}

// encode writes a family, or more series of the one before: then without its head, which may stand there once only.
func (e *encoder) encode(f *dto.MetricFamily, more bool) {
	if e.err != nil {
		return
	}
	e.buf.Reset()
	if e.open {
		_, e.err = expfmt.MetricFamilyToOpenMetrics(&e.buf, f)
	} else {
		_, e.err = expfmt.MetricFamilyToText(&e.buf, f)
	}
	text := e.buf.Bytes()
	for more && bytes.HasPrefix(text, []byte("#")) {
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	if e.err == nil {
		_, e.err = e.w.Write(text)
	}
}

func (e *encoder) end() error {
	if e.err == nil && e.open {
		_, e.err = expfmt.FinalizeOpenMetrics(e.w)
	}
	return e.err
}
