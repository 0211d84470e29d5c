# shellcheck shell=bash
# What the tests of the Go binding share: an installed libagx, and a Go that stays off the network.
set -euo pipefail
: "${AGX_SOURCE_DIR:?}" "${AGX_BUILD_DIR:?}" "${AGX_GO:?}"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# install_libagx PREFIX: the library, its header and its agx.pc.
install_libagx() {
  for component in runtime development; do
    cmake --install "$AGX_BUILD_DIR" --component "$component" --prefix "$1" >/dev/null
  done
}

# use_libagx PREFIX: the environment that finds them.
use_libagx() {
  local libdir
  libdir=$(dirname "$(find "$1" -name libagx.so)")
  export PKG_CONFIG_PATH=$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
  export LD_LIBRARY_PATH=$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}

# Two Go versions may use one cache.
export GOFLAGS=-mod=mod GOPROXY=off GOSUMDB=off GOTOOLCHAIN=local GO111MODULE=on
export GOCACHE=$AGX_BUILD_DIR/bindings/go/cache GOPATH=$scratch/gopath
mkdir -p "$GOCACHE"
