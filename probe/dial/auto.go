// auto.go: which dialer goes to which target, in the order of --via auto.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"

	"probe/hops"
)

// Auto chooses a dialer for each target. A nil dialer is a way that does not exist here.
type Auto struct {
	Address Dialer // the outside door's gateway, when the user gave its address; it goes before all other ways
	InPod   Dialer // set when the probe itself runs in a pod: then nothing else is tried
	Forward Dialer // through the API server
	Network Dialer // the outside door over the user's own network, when a port-forward has no way
	Outside hops.Target
}

// Dial implements Dialer.
func (a *Auto) Dial(ctx context.Context, t hops.Target) (net.Conn, hops.Vantage, error) {
	outside := t.Kind == a.Outside.Kind && t.Namespace == a.Outside.Namespace && t.Name == a.Outside.Name && t.Port == a.Outside.Port
	switch {
	case outside && a.Address != nil:
		return a.Address.Dial(ctx, t)
	case a.InPod != nil:
		return a.InPod.Dial(ctx, t)
	case a.Forward == nil && outside && a.Network != nil:
		return a.Network.Dial(ctx, t)
	case a.Forward == nil:
		return nil, "", &VantageError{Vantage: hops.PortForward, Target: t, Err: errors.New("there is no cluster to go through"),
			Hint: "give --kubeconfig, or --address HOST:PORT for the ingress gateway"}
	}
	conn, vantage, err := a.Forward.Dial(ctx, t)
	if _, noWay := errors.AsType[*VantageError](err); !noWay || !outside || a.Network == nil || ctx.Err() != nil {
		return conn, vantage, err
	}
	conn, vantage, second := a.Network.Dial(ctx, t)
	if _, unresolved := errors.AsType[*net.DNSError](second); unresolved {
		// Nobody said that callers resolve this name from here: many clusters' hosts are in no DNS at all and are sent as a Host header.
		return nil, vantage, &VantageError{Vantage: vantage, Target: t, Err: fmt.Errorf("%w (and by port-forward: %v)", second, err),
			Hint: "give --address HOST:PORT of the ingress gateway, or --via network to test this name itself"}
	}
	if second != nil {
		second = fmt.Errorf("%w (tried after port-forward: %v)", second, err)
	}
	return conn, vantage, second
}
