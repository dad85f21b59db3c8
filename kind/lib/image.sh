# shellcheck shell=bash
# Images: built once for each set of inputs. An image is called dev.local/NAME:KEY, where KEY is the hash of its inputs; Knative does not try
# to resolve the tags of the registry name dev.local. Manifests say dev.local/NAME:kind; `render` puts the key there.

image_ref() { cat "$IMAGES/$1" 2>/dev/null || die "image $1 was not built: run kind/up"; }

# image_there NAME KEY [REPOSITORY]: whether Docker has it; remembers the name for image_ref either way.
image_there() {
  echo "dev.local/$1:$2" >"$IMAGES/$1"
  docker image inspect "dev.local/$1:$2" >/dev/null 2>&1
}

# go_image OUT PATH NAME PACKAGE [FLAG...]: an image of one static program at PATH and nothing else; see go_program for the rest.
go_image() {
  local out=$1 path=$2 key
  shift 2
  key=$({ echo "$path"; go_key "$@"; } | hash_text)
  image_there "$out" "$key" && return
  go_program "$out" "$@"
  import_program "$out" "$path" "dev.local/$out:$key"
}

# import_program FILE PATH REF [USER]: $BIN/FILE as the only file of image REF.
import_program() {
  tar -C "$BIN" -c --owner=0 --group=0 --transform="s#^$1\$#${2#/}#" "$1" |
    docker import -c "ENTRYPOINT [\"$2\"]" -c "USER ${4:-65532}" - "$3" >/dev/null
  echo "$3: imported"
}

# context_image NAME KEY DIR [BASE]: docker build of DIR. The classic builder, because it is the one that every Docker has.
context_image() {
  image_there "$1" "$2" && return
  DOCKER_BUILDKIT=0 docker build -q -t "dev.local/$1:$2" --build-arg "BASE=${4:-}" "$3"
}

# python_site REQUIREMENTS DIR: the pinned packages for the image's Python (3.11), without what is never imported.
python_site() {
  rm -rf "$2"
  python3 -m pip install -q --root-user-action=ignore --no-deps --no-compile --only-binary=:all: --python-version 3.11 --implementation cp \
    --target "$2" -r "$1" || die "pip could not fetch $(basename "$(dirname "$1")")/requirements.txt. kind/up needs PyPI beside Go and Debian: check 'pip config list' and PIP_INDEX_URL"
  find "$2" -type d \( -name tests -o -name test -o -name testing_data \) -path '*/*/*' -not -path '*/numpy/testing*' -not -path '*/numpy/_core/tests' \
    -prune -exec rm -rf {} +
  rm -rf "${2:?}/bin" "${2:?}/share"
  find "$2" \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' \) -delete
}

# debian_root DIR PACKAGES: a Debian root from the mirror that apt on this host uses, or else debootstrap's own.
debian_root() {
  local mirror
  rm -rf "$1"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $DEBIAN" 2>/dev/null | head -n 1)
  # shellcheck disable=SC2086 # no mirror: no argument
  debootstrap --variant=minbase --include="$2" "$DEBIAN" "$1" $mirror || { tail -n 5 "$1/debootstrap/debootstrap.log" >&2; die "debootstrap failed: kind/up needs a Debian mirror beside Go and PyPI"; }
  rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale,info}/*
}

# render FILE...: the manifests with every dev.local/NAME:kind replaced by the image that was built.
render() {
  local f script=
  for f in "$IMAGES"/*; do script+="s#dev\.local/${f##*/}:kind#$(cat "$f")#g;"; done
  sed "$script" "$@"
}

# The images of the cluster's parts.
PARTS=(istio route-programmer knative-controller knative-webhook knative-autoscaler knative-activator knative-queue net-gateway-api
  kserve-controller jaeger modelstore storage-initializer sklearnserver transformer echo-model)
part_refs() { local p; for p in "${PARTS[@]}"; do image_ref "$p"; done; }

# tag_parts: shell commands that give each of them, in the node, the tag that manifests can know beforehand.
tag_parts() { local p; for p in "${PARTS[@]}"; do printf 'ctr -n k8s.io images tag --force %s dev.local/%s:kind >/dev/null\n' "$(image_ref "$p")" "$p"; done; }
