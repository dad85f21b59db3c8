// client.go: what can go wrong at the hop client.
package hops

func clientRules() []Rule {
	return []Rule{}
}
