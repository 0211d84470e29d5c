#!/usr/bin/env bash
# Builds libagx and shows what it does: ./scripts/demo.sh [what `agx demo` takes, such as --help]
# Installs what it needs (Debian 12 and 13, Ubuntu 24.04; as root or with sudo).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

apt_install g++ cmake ninja-build pkg-config libhiredis-dev libcjson-dev libssl-dev

step "building (about a minute, the first time)"
{
  cmake --preset release -B build/demo -DAGX_TESTS=OFF -DAGX_WERROR=OFF
  cmake --build build/demo --target agx
} >build/demo.log 2>&1 || {
  tail -n 40 build/demo.log >&2
  fail "the build failed; all it said is in build/demo.log"
}

step "agx demo${*:+ $*}"
exec build/demo/tools/agx demo "$@"
