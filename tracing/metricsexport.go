// metricsexport.go: sends a run's metrics to a collector by OTLP.
package tracing

import (
	"context"
	"net/url"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"probe/hops"
)

// MetricsExporter sends the metrics of finished runs to a collector.
type MetricsExporter struct {
	destination
	connect func(context.Context) (metricsClient, error)
}

// metricsClient is what the library's two exporters have in common.
type metricsClient interface {
	Export(context.Context, *metricdata.ResourceMetrics) error
	Shutdown(context.Context) error
}

// NewMetricsExporter is NewExporter for metrics: what is not set is read from OTEL_EXPORTER_OTLP_METRICS_* and OTEL_EXPORTER_OTLP_*. An endpoint that
// ends in /v1/traces is taken as that of the same collector, since it is given once for both.
func NewMetricsExporter(c Config, o Options) (*MetricsExporter, error) {
	e := &MetricsExporter{}
	u, err := e.open(metrics, c, o)
	if err != nil {
		return nil, err
	}
	if e.enabled {
		e.connect = metricsConnection(c, e.protocol, u)
	}
	return e, nil
}

// metricsConnection makes the library's client anew for each export and sends once, as client does for traces.
func metricsConnection(c Config, protocol string, u *url.URL) func(context.Context) (metricsClient, error) {
	if protocol == GRPC {
		opts := []otlpmetricgrpc.Option{otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: false})}
		if c.Endpoint != "" {
			opts = append(opts, otlpmetricgrpc.WithEndpointURL(u.String()))
		}
		if len(c.Headers) > 0 {
			opts = append(opts, otlpmetricgrpc.WithHeaders(c.Headers))
		}
		return func(ctx context.Context) (metricsClient, error) { return otlpmetricgrpc.New(ctx, opts...) }
	}
	opts := []otlpmetrichttp.Option{otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: false})}
	if c.Endpoint != "" {
		opts = append(opts, otlpmetrichttp.WithEndpointURL(u.String()))
	}
	if len(c.Headers) > 0 {
		opts = append(opts, otlpmetrichttp.WithHeaders(c.Headers))
	}
	return func(ctx context.Context) (metricsClient, error) { return otlpmetrichttp.New(ctx, opts...) }
}

// Export sends the run's metrics. It takes at most MaxWait and its error is a warning: it says nothing about the service.
func (e *MetricsExporter) Export(ctx context.Context, run *hops.Run) error {
	if !e.enabled {
		return nil
	}
	m := Metrics(run, e.opt)
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	c, err := e.connect(ctx)
	if err != nil {
		return e.wrong(err)
	}
	err = c.Export(ctx, m)
	stopped := c.Shutdown(ctx) // closes the connection even when ctx is done
	if err == nil && ctx.Err() == nil {
		err = stopped
	}
	if err == nil {
		return nil
	}
	return e.wrong(err)
}
