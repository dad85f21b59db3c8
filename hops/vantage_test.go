package hops_test

import (
	"testing"

	"probe/hops"
)

// One cell a line: what a success from a vantage proves.
func TestClears(t *testing.T) {
	for _, c := range []struct {
		from hops.Vantage
		what hops.Concern
		want bool
	}{
		{hops.PortForward, hops.NameResolution, false},
		{hops.PortForward, hops.LoadBalancer, false},
		{hops.PortForward, hops.ServiceRouting, false},
		{hops.PortForward, hops.Policy, false},
		{hops.PortForward, hops.Listener, true},
		{hops.InPod, hops.NameResolution, true},
		{hops.InPod, hops.LoadBalancer, false},
		{hops.InPod, hops.ServiceRouting, true},
		{hops.InPod, hops.Policy, true},
		{hops.InPod, hops.Listener, true},
		{hops.Address, hops.NameResolution, false},
		{hops.Address, hops.LoadBalancer, true},
		{hops.Address, hops.ServiceRouting, true},
		{hops.Address, hops.Policy, true},
		{hops.Address, hops.Listener, true},
		{hops.Network, hops.NameResolution, true},
		{hops.Network, hops.LoadBalancer, true},
		{hops.Network, hops.ServiceRouting, true},
		{hops.Network, hops.Policy, true},
		{hops.Network, hops.Listener, true},
	} {
		if got := hops.Clears(c.from, c.what); got != c.want {
			t.Errorf("a success by %s clears %s: got %v, want %v", c.from, c.what, got, c.want)
		}
	}
}
