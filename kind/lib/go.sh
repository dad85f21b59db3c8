# shellcheck shell=bash
# Go programs: where a module's files are, and how a program is built unless it is there already.
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false

# module_dir MODULE@VERSION: downloads the module through the module proxy and prints the folder of its files.
module_dir() {
  local d
  d=$(mktemp -d)
  (cd "$d" && go mod init x 2>/dev/null && go mod download -json "$1" | jq -r '.Dir // error(.Error)')
  rm -rf "$d"
}

# go_module NAME < go.mod: the build directory NAME with this go.mod. Nothing is downloaded before a program has to be built.
go_module() {
  local dir=$SRC/$1
  mkdir -p "$dir"
  cat >"$dir/go.mod.in.new"
  if ! cmp -s "$dir/go.mod.in.new" "$dir/go.mod.in"; then rm -f "$dir/go.mod" "$dir/go.sum" "$dir/ready"; fi
  mv "$dir/go.mod.in.new" "$dir/go.mod.in"
}

# go_key NAME PACKAGE [FLAG...]: hash of all that a program is made of: toolchain, go.mod, own sources, package, flags.
go_key() {
  local dir=$SRC/$1
  shift
  { go env GOVERSION; cat "$dir/go.mod.in"; find "$dir" -name '*.go' -print0 | sort -z | xargs -0r cat; printf '%s\n' "$@"; } | hash_text
}

# go_ready NAME: makes go.mod complete, once. seed_NAME, when there is such a function, does it in place of go mod tidy.
go_ready() {
  local dir=$SRC/$1
  [ -e "$dir/ready" ] && return
  cp "$dir/go.mod.in" "$dir/go.mod"
  if declare -F "seed_$1" >/dev/null; then "seed_$1" "$dir"; else (cd "$dir" && go mod tidy -e); fi
  touch "$dir/ready"
}

# go_program OUT NAME PACKAGE [FLAG...]: builds PACKAGE in build directory NAME to $BIN/OUT.
go_program() {
  local out=$1 name=$2 pkg=$3 key start=$SECONDS
  shift 3
  key=$(go_key "$name" "$pkg" "$@")
  if [ -x "$BIN/$out" ] && [ "$key" = "$(cat "$BIN/$out.key" 2>/dev/null)" ]; then return; fi
  go_ready "$name"
  (cd "$SRC/$name" && go build -mod=mod "${@:--ldflags=-s -w}" -o "$BIN/$out.new" "$pkg")
  mv "$BIN/$out.new" "$BIN/$out"
  echo "$key" >"$BIN/$out.key"
  echo "$out: built in $((SECONDS - start)) s"
}
