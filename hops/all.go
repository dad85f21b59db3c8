// all.go: every rule, in the order of the path.
package hops

import "slices"

// Rules lists every failure mode that is known, by hop. Build it once and hand it on: it compiles the patterns.
func Rules() []Rule {
	return slices.Concat(
		clientRules(),
		controlPlaneRules(),
		ingressGatewayRules(),
		kserveRouteRules(),
		localGatewayRules(),
		knativeRouteRules(),
		revisionRules(),
		activatorRules(),
		queueProxyRules(),
		podRules(),
		storageRules(),
		containerRules(),
		componentLinkRules(),
	)
}
