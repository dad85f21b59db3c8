# shellcheck shell=bash
# What every script of kind/ starts with: strict mode, where things are, and how a step is shown.
set -Eeuo pipefail
trap 'echo "failed: ${BASH_SOURCE[0]##*/kind/} line $LINENO: $BASH_COMMAND" >&2' ERR

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=../versions.sh
. "$HERE/versions.sh"

CLUSTER=probe
NODE=$CLUSTER-control-plane
CACHE=${PROBE_KIND_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/probe-kind}
BIN=$CACHE/bin     # programs, each beside a .key file: the hash of what it was built from
SRC=$CACHE/src     # build directories
IMAGES=$CACHE/images # one file an image: its full name, whose tag is the hash of what went into it
LOG=$CACHE/log     # the output of the last run of each step
export KUBECONFIG=$CACHE/kubeconfig
DELETED=$CACHE/deleted # the mark of kind/down for a node that it could not reach
mkdir -p "$BIN" "$SRC" "$IMAGES" "$LOG"

die() { printf 'kind: %s\n' "$*" >&2; exit 1; }
now() { date +%T; }

# step TITLE COMMAND...: runs the command with its output in a log file; says when it starts, how long it took and, when it fails, why.
step() {
  local title=$1 start=$SECONDS log
  shift
  log=$LOG/$(tr -cs 'A-Za-z0-9' - <<<"$title" | sed 's/-*$//').log
  printf '[%s] %s\n' "$(now)" "$title"
  if "$@" >"$log" 2>&1; then
    printf '[%s] %s: %d s\n' "$(now)" "$title" $((SECONDS - start))
    return
  fi
  {
    printf '[%s] %s: FAILED after %d s\n  command: %s\n  log:     %s, which ends in\n' "$(now)" "$title" $((SECONDS - start)) "$*" "$log"
    tail -n 12 "$log" | sed 's/^/    /'
    printf '  then:    mend that and run kind/up again; it goes on from here\n'
  } >&2
  return 1
}

# join PID...: waits for all of them, fails when one failed.
join() {
  local pid failed=0
  for pid in "$@"; do wait "$pid" || failed=1; done
  return $failed
}

# retry SECONDS COMMAND...: until it succeeds, once a second.
retry() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $until ] || { echo "gave up waiting for: $*" >&2; return 1; }
    sleep 1
  done
}

hash_text() { sha256sum | cut -c1-12; }

# hash_files PATH...: one hash over names and contents, independent of where the tree stands.
hash_files() {
  local p
  for p in "$@"; do
    if [ -d "$p" ]; then (cd "$p" && find . -type f -print0 | sort -z | xargs -0 sha256sum); else sha256sum <"$p"; fi
  done | hash_text
}
