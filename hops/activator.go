// activator.go: what can go wrong at the hop activator.
package hops

func activatorRules() []Rule {
	return []Rule{}
}
