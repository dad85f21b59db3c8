// component_link.go: what can go wrong at the hop component-link.
package hops

func componentLinkRules() []Rule {
	return []Rule{}
}
