# shellcheck shell=bash
# The running cluster: its node, what is loaded into it, and requests into it.
kubectl() { "$BIN/kubectl" "$@"; }

node_state() { # docker inspect prints an empty line when there is none
  local state
  state=$(docker inspect -f '{{.State.Status}}' "$NODE" 2>/dev/null) || state=absent
  echo "$state"
}

api_answers() { kubectl get --raw=/readyz --request-timeout=5s >/dev/null 2>&1; }

node_ready() { [ "$(kubectl get nodes -o jsonpath='{.items[0].status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]; }

# load_refs REF...: copies images from Docker into the node's containerd, those that are not there yet.
load_refs() {
  local there ref missing=()
  there=$(docker exec "$NODE" ctr -n k8s.io images ls -q)
  for ref in "$@"; do grep -qxF "$ref" <<<"$there" || missing+=("$ref"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  docker save "${missing[@]}" | docker exec -i "$NODE" ctr -n k8s.io images import --all-platforms --no-unpack - >/dev/null
  printf 'loaded %s\n' "${missing[@]}"
}

# apply [FILE...]: server-side, so that nothing is too large and what others set stays.
apply() { render "$@" | kubectl apply --server-side --force-conflicts -f - >/dev/null; }

# predict GATEWAY_PORT HOST: one prediction of the sample; prints the body when it is a 200.
predict() {
  curl -sS --fail-with-body -m 10 -H "Host: $2" -H 'Content-Type: application/json' -d '{"instances": [[5.1, 3.5, 1.4, 0.2]]}' \
    "http://127.0.0.1:$1/v1/models/sklearn-iris:predict" 2>&1 | grep -o '"predictions":.*'
}
predict_outside() { predict 30080 sklearn-iris.demo.example.com; }
predict_inside() { predict 30081 sklearn-iris.demo.svc.cluster.local; }

# kustomized NAME FILE COMMAND: applies manifests/NAME, whose kustomization finds the output of COMMAND as FILE. On a node that was started again the
# webhooks of the last time are known to the API server before their pods serve: they are waited for.
kustomized() {
  local dir=$SRC/manifests-$1
  rm -rf "$dir"
  cp -r "$HERE/manifests/$1" "$dir"
  "$3" >"$dir/$2"
  kubectl kustomize "$dir" >"$dir.yaml"
  retry 120 apply "$dir.yaml"
}

# delete_node: the node goes at once. Docker deletes the gigabytes of its volume in the background; one that it did not get to is tried again
# the next time. (9 is the lock of kind/up.)
delete_node() {
  local volumes=$CACHE/volumes
  docker inspect -f '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}}{{"\n"}}{{end}}{{end}}' "$NODE" 2>/dev/null | grep . >>"$volumes" || true
  docker rm -f "$NODE" 2>/dev/null || true
  [ -s "$volumes" ] || return 0
  setsid sh -c 'xargs docker volume rm -f <"$1" && rm "$1"' sh "$volumes" >/dev/null 2>&1 </dev/null 9>&- &
}
