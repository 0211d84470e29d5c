#!/usr/bin/env bash
# Builds the benchmark of the Go binding against an installed libagx, in a directory of its own, and runs
# it: run.sh [--url URL] [--rows LIST] [--quick]; run.sh --help says more.
#   AGX_GO               the Go to build with; default go
#   AGX_BENCH_GO_REDIS   where go-redis v9 is, or a version of it that $GOPROXY has, such as v9.7.3
#   AGX_BENCH_RUEIDIS    where rueidis is, or a version likewise, such as v1.0.53
#   AGX_BENCH_REPLACE    for what these need, where there is no $GOPROXY: MODULE=DIRECTORY …
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
go=${AGX_GO:-go}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$here"/*.go "$here/go.mod" "$scratch"
cd "$scratch"
export GOFLAGS="-mod=mod ${GOFLAGS:-}" GOTOOLCHAIN=local
"$go" mod edit -replace "github.com/libagx/libagx/bindings/go=$(realpath "$here/../../../bindings/go")"

tags=
# opponent TAG MODULE WHERE
opponent() {
  if [[ -z $3 ]]; then
    echo "$1 is left out: nothing says where it is (--help)" >&2
    return
  fi
  if [[ -f $3/go.mod ]]; then
    "$go" mod edit -replace "$2=$(realpath "$3")" -require "$2@$(version_of "$2")"
  else
    "$go" mod edit -require "$2@$3"
  fi
  tags+=,$1
}
# version_of MODULE: any of its major version will do, for it is replaced.
version_of() { [[ $1 =~ /v([0-9]+)$ ]] && echo "v${BASH_REMATCH[1]}.0.0" || echo v1.0.0; }

opponent goredis github.com/redis/go-redis/v9 "${AGX_BENCH_GO_REDIS:-}"
opponent rueidis github.com/redis/rueidis "${AGX_BENCH_RUEIDIS:-}"
for replacement in ${AGX_BENCH_REPLACE:-}; do
  "$go" mod edit -replace "$replacement"
done
# With the network where versions are asked for.
"$go" build -tags "${tags#,}" -o bench .
./bench "$@"
