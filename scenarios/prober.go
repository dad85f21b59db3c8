// prober.go: a probe of a cluster from outside, as the command makes it: reads and port-forwards through the API server.
package scenarios

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"k8s.io/client-go/rest"

	"probe/hops"
	"probe/probe"
	"probe/probe/dial"
	"probe/probe/read"
	"probe/probe/redact"
)

// Prober probes a service with the given choices.
type Prober func(ctx context.Context, o probe.Options) (hops.Run, error)

// NewProber makes the prober of a cluster.
func NewProber(config *rest.Config, version string) Prober {
	return func(ctx context.Context, o probe.Options) (hops.Run, error) {
		cluster, err := read.New(config, read.Options{Version: version})
		if err != nil {
			return hops.Run{}, err
		}
		forward, err := dial.NewPortForward(config, cluster)
		if err != nil {
			return hops.Run{}, fmt.Errorf("port-forward: %w", err)
		}
		defer forward.Close()
		sender := dial.NewSender(forward, dial.WithVersion(version), dial.WithRedact(redact.String))
		defer sender.Close()
		return probe.Run(ctx, probe.Deps{Reader: cluster, Rules: hops.Rules(), Now: time.Now, ID: func(b []byte) { rand.Read(b) },
			Connect: func(*hops.Flow) probe.Sender { return sender }}, o)
	}
}
