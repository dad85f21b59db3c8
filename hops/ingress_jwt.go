// ingress_jwt.go: what Envoy's filter for JSON Web Tokens says, which Istio puts where a RequestAuthentication applies.
package hops

import "strings"

// jwtWords begin its answers (github.com/google/jwt_verify_lib, src/status.cc): 401 for all but the audience, which is 403.
var jwtWords = Re(`^(Jwt|Jwks|Audiences in Jwt) `)

// jwtRefused tells an answer of that filter, wherever it stands: the words are enough, since no other component writes them. Behind the first gateway
// it is the second one's, or that of a sidecar.
func jwtRefused(v *View, o *Observation) (m Match, ok bool) {
	words, status := o.wording(), o.httpStatus()
	if status != 401 && status != 403 || !jwtWords.Match(words) {
		return Match{}, false
	}
	m = Match{Evidence: sawBody(o)}
	if o.Upstream() {
		m.Step = Step{Hop: LocalGateway, Component: v.Flow().EntryPoint}
	}
	m.Summary, m.Fix = jwtSays(words)
	return m, true
}

// jwtSays reads the words, those of an answer or those of an access log, where underscores stand for spaces.
func jwtSays(words string) (summary, fix string) {
	const rules = "`kubectl get requestauthentication,authorizationpolicy -n {ns}` and -n istio-system"
	words = strings.ReplaceAll(words, "_", " ")
	switch {
	case strings.Contains(words, "is missing"):
		return "a RequestAuthentication demands a token, and the request bears none: " + words,
			"send `Authorization: Bearer TOKEN` (probe: --token-file), or exempt the path or caller: " + rules
	case strings.Contains(words, "is expired"), strings.Contains(words, "not yet valid"):
		return "the token's time has run out or not begun: " + words, "fetch a new token from its issuer, and compare the clocks of issuer and cluster"
	case strings.Contains(words, "Jwks remote fetch"):
		return "the mesh cannot fetch the issuer's keys: " + words,
			"let istiod and the gateway reach jwksUri of the RequestAuthentication, or put the keys into jwks: " + rules
	case strings.Contains(words, "Audiences"):
		return "the token is for another audience: " + words,
			"ask the issuer for a token with one of the audiences that the RequestAuthentication names: " + rules
	}
	return "the token is not accepted: " + words, "compare issuer, keys and form of the token with jwtRules of the RequestAuthentication: " + rules
}
