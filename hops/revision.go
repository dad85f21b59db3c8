// revision.go: what can go wrong at the hop revision.
package hops

func revisionRules() []Rule {
	return []Rule{}
}
