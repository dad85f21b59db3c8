// kserve_route.go: what can go wrong at the hop kserve-route.
package hops

func kserveRouteRules() []Rule {
	return []Rule{}
}
