// control_plane.go: what can go wrong at the hop control-plane.
package hops

func controlPlaneRules() []Rule {
	return []Rule{}
}
