// ingress_gateway.go: what can go wrong at the hop ingress-gateway.
package hops

func ingressGatewayRules() []Rule {
	return []Rule{}
}
