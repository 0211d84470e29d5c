# shellcheck shell=bash
# What the tests of the finished product share. They get their build from the environment.
set -euo pipefail
: "${AGX_SOURCE_DIR:?}" "${AGX_BUILD_DIR:?}" "${AGX_LIBRARY:?}"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# quietly WHAT COMMAND…: shows what the command says only if it fails.
quietly() {
  local what=$1
  shift
  "$@" >"$scratch/said" 2>&1 || {
    cat "$scratch/said" >&2
    fail "$what"
  }
}

# Runs a consumer program; it prints the versions it was compiled with and is linked to.
check_consumer() {
  local printed
  printed=$("$@") || fail "$* exits with $?"
  [[ $printed == "0 events lost, header and library agree" ]] || fail "$* prints: $printed"
}
