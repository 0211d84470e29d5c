#!/usr/bin/env bash
# The binding's own tests, on both stores, with and without the race detector, and go vet.
# shellcheck source=bindings/go/tests/lib.sh
source "${AGX_SOURCE_DIR:?}/bindings/go/tests/lib.sh"
go=$AGX_GO

# At a place that does not change, so that what Go has built with it stays in its cache.
prefix=$AGX_BUILD_DIR/bindings/go/prefix
(
  flock 9
  install_libagx "$prefix"
) 9>"$AGX_BUILD_DIR/bindings/go/lock"
use_libagx "$prefix"

cd "$AGX_SOURCE_DIR/bindings/go"
"$go" version
unformatted=$("$("$go" env GOROOT)/bin/gofmt" -l ./*.go examples)
[[ -z $unformatted ]] || fail "gofmt would change $unformatted"
"$go" vet ./...
"$go" test -count=1 -timeout 10m ./...
"$go" test -count=1 -timeout 20m -race ./...
