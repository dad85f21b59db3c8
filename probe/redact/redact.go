// Package redact takes secrets out of everything that leaves the process: captures, spans, reports, logs. It is the only place that decides what
// a secret looks like. Nothing is changed in place.
//
// redact.go: the mask, the names that decide, and the tally of what was taken out.
package redact

import (
	"fmt"
	"slices"
	"strings"
)

// Mask stands where a secret stood.
const Mask = "<redacted>"

// tally counts what was taken out, by kind. A nil tally counts nothing.
type tally map[string]int

func (t tally) add(kind string) {
	if t != nil {
		t[kind]++
	}
}

// lines says what was counted, in the order of the kinds.
func (t tally) lines() []string {
	out := make([]string, 0, len(t))
	for kind, n := range t {
		out = append(out, fmt.Sprintf("%s: %d", kind, n))
	}
	slices.Sort(out)
	return out
}

// mask gives the mask and counts it.
func (t tally) mask(kind string) string {
	t.add(kind)
	return Mask
}

// The kinds that are counted, in the user's words.
const (
	kindHeader     = "credentials in headers"
	kindValue      = "values named like secrets"
	kindToken      = "tokens and keys"
	kindPrivateKey = "private keys"
	kindUserInfo   = "user names and passwords in URLs"
	kindQuery      = "query strings"
	kindPayload    = "payloads"
	kindEnv        = "environment values"
	kindSecret     = "values of Secrets"
	kindRoute      = "header values in routes and probes"
	kindManaged    = "managed fields"
	kindApplied    = "last-applied annotations"
)

// class says how a name marks what stands beside it.
type class int

const (
	plain   class = iota
	weak          // a token or key by name; plain text may hold the word too
	strong        // a password by name: whatever follows is one
	header        // a header whose whole value is secret
	payload       // a field of a request or an answer of a model
)

// classify reads a name: a JSON key, a flag, a variable, a header, a map key.
func classify(name string) class {
	if len(name) < 3 || len(name) > 64 {
		return plain
	}
	var folded [64]byte // in lower case, without '-', '_' and '.'
	size := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			folded[size] = c | 0x20
			size++
		case c != '-' && c != '_' && c != '.':
			folded[size] = c
			size++
		}
	}
	n := string(folded[:size])
	switch n {
	case "instances", "inputs", "input", "predictions", "outputs", "prompt", "messages":
		return payload
	case "sig", "pwd":
		return strong
	case "eostoken", "bostoken", "padtoken", "unktoken", "septoken", "clstoken", "masktoken": // of a tokenizer
		return plain
	}
	for _, s := range [...]string{"authorization", "cookie"} {
		if strings.HasSuffix(n, s) {
			return header
		}
	}
	for _, s := range [...]string{"password", "passwd", "passphrase", "apikey"} {
		if strings.HasSuffix(n, s) {
			return strong
		}
	}
	for _, s := range [...]string{"token", "secret", "accesskey", "accesskeyid", "secretkey", "privatekey", "accountkey", "sharedkey", "signature", "credential"} {
		if !strings.HasSuffix(n, s) {
			continue
		}
		if strings.HasPrefix(n, "x") && len(n) > len(s)+1 && strings.ContainsAny(name[1:2], "-_") { // X-Auth-Token, X-Amz-Signature
			return strong
		}
		return weak
	}
	return plain
}

// envAllowed are the variables whose values rules read. Knative sets those of queue-proxy and of its contract with containers, KServe the rest
// (knative.dev/serving/pkg/reconciler/revision/resources/queue.go and env_var.go; kserve/pkg/constants/constants.go).
func envAllowed(name string) bool {
	switch name {
	case "PORT", "K_REVISION", "K_SERVICE", "K_CONFIGURATION", "INFERENCE_SERVICE_NAME", "MODEL_NAME", "PROTOCOL", "STORAGE_URI",
		"SERVING_NAMESPACE", "SERVING_SERVICE", "SERVING_CONFIGURATION", "SERVING_REVISION", "SERVING_READINESS_PROBE", "SYSTEM_NAMESPACE",
		"QUEUE_SERVING_PORT", "QUEUE_SERVING_TLS_PORT", "USER_PORT", "CONTAINER_CONCURRENCY", "REVISION_TIMEOUT_SECONDS",
		"REVISION_RESPONSE_START_TIMEOUT_SECONDS", "REVISION_IDLE_TIMEOUT_SECONDS", "ENABLE_HTTP2_AUTO_DETECTION", "ENABLE_HTTP_FULL_DUPLEX",
		"ENABLE_MULTI_CONTAINER_PROBES", "S3_ENDPOINT", "S3_USE_HTTPS", "S3_VERIFY_SSL", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION",
		"HF_HUB_OFFLINE", "POD_NAMESPACE":
		return true
	}
	return false
}

// headerAllowed are the headers that route a request and hold no secret.
func headerAllowed(name string) bool {
	n := strings.ToLower(name)
	switch n {
	case "host", ":authority", "user-agent", "content-type", "x-forwarded-proto":
		return true
	}
	for _, p := range []string{"k-network-", "k-original-host", "k-proxy-request", "k-kubelet-probe", "knative-serving-", "kserve-"} {
		if strings.HasPrefix(n, p) {
			return true
		}
	}
	return false
}

// opaque tells a generated key from a word or a name: long, and mixed as no name in Kubernetes is.
func opaque(s string) bool {
	var upper, lower, digit, other, hex int
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z':
			upper++
		case c >= 'a' && c <= 'z':
			lower++
		case c >= '0' && c <= '9':
			digit++
		default:
			other++
		}
		if c := s[i] | 0x20; c >= 'a' && c <= 'f' || s[i] >= '0' && s[i] <= '9' {
			hex++
		}
	}
	return len(s) >= 16 && upper > 0 && digit > 0 && (lower > 0 || other == 0) || len(s) >= 32 && hex == len(s) ||
		len(s) >= 24 && digit > 2 && other == 0
}
