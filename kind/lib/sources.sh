# shellcheck shell=bash
# The manifests that come inside the Go modules: which files, and which of their documents.
documents() { local f; for f in "$@"; do cat "$f"; printf '\n---\n'; done; }

# only WANTED / without UNWANTED: YAML documents on standard input whose "KIND NAME" matches, or does not match, the regular expression
only() { pick 1 "$1"; }
without() { pick 0 "$1"; }
pick() { # lines are kept in an array: joining them to one text takes minutes for the larger definitions
  awk -v want="$1" -v pattern="$2" '
    function flush(i) {
      if (kind != "" && ((kind " " name) ~ pattern) == want) { for (i = 0; i < n; i++) print line[i]; print "---" }
      n = 0; kind = name = ""
    }
    /^---/ { flush(); next }
    { line[n++] = $0 }
    /^kind: / { kind = $2; gsub(/"/, "", kind) }
    /^metadata:/ { inside = 1; next }
    /^[a-z]/ { inside = 0 }
    inside && /^  name: / && name == "" { name = $2; gsub(/"/, "", name) }
    END { flush() }'
}

knative_module() { module_dir "knative.dev/serving@$KNATIVE_SERVING"; }

# The versions of networking and caching are those that serving asks for.
knative_dependency() { # MODULE
  module_dir "$1@$(awk -v m="$1" '$1 == m {print $2}' "$(knative_module)/go.mod")"
}

knative_crds() {
  local dir
  dir=$(knative_module)/config/core
  documents "$dir"/300-resources/*.yaml "$(knative_dependency knative.dev/networking)"/config/*.yaml "$(knative_dependency knative.dev/caching)/config/image.yaml" |
    only '^CustomResourceDefinition '
}

knative_core() {
  local dir
  dir=$(knative_module)/config/core
  documents "$dir"/{200-serviceaccount,999-cache}.yaml "$dir"/200-roles/*.yaml "$(knative_dependency knative.dev/networking)"/config/*.yaml \
    "$dir"/configmaps/*.yaml "$dir"/deployments/{activator,autoscaler,controller,webhook}.yaml "$dir"/webhooks/*.yaml |
    without '^CustomResourceDefinition ' |
    sed -E 's#ko://knative.dev/serving/cmd/([a-z]+)#dev.local/knative-\1:kind#'
}

istio_crds() { documents "$(module_dir "istio.io/istio@$ISTIO")/manifests/charts/base/files/crd-all.gen.yaml"; }

gateway_api_crds() { documents "$(knative_module)/third_party/gateway-api-latest/gateway-api.yaml" | only '^CustomResourceDefinition '; }

# net-istio's release as serving's own tests install it, but for its two programs and what belongs to its webhook.
net_istio() {
  documents "$(knative_module)/third_party/istio-latest/net-istio.yaml" |
    without '^Deployment |^PeerAuthentication |WebhookConfiguration |net-istio-webhook'
}

net_gateway_api() { documents "$(knative_module)/third_party/gateway-api-latest/net-gateway-api.yaml"; }

kserve_release() { documents "$(module_dir "github.com/kserve/kserve@$KSERVE")/install/$KSERVE/kserve.yaml"; }

# Left out: LLM services and local model caches, whose controllers are not part of this cluster.
kserve_crds() { kserve_release | only '^CustomResourceDefinition ' | without ' llm|localmodel'; }

kserve_core() {
  kserve_release | without '^CustomResourceDefinition |^Certificate |^Issuer |^DaemonSet |llm|localmodel' |
    sed -E "s#kserve/(kserve-controller|storage-initializer):$KSERVE#dev.local/\1:kind#"
}
