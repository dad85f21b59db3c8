// pod.go: what can go wrong at the hop pod.
package hops

func podRules() []Rule {
	return []Rule{}
}
