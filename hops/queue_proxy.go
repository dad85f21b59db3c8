// queue_proxy.go: what can go wrong at the hop queue-proxy.
package hops

func queueProxyRules() []Rule {
	return []Rule{}
}
