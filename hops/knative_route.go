// knative_route.go: what can go wrong at the hop knative-route.
package hops

func knativeRouteRules() []Rule {
	return []Rule{}
}
