#!/usr/bin/env bash
# The packed module serves an empty project by `go get`, linked dynamically and statically; the
# program is README.md's.
# shellcheck source=bindings/go/tests/lib.sh
source "${AGX_SOURCE_DIR:?}/bindings/go/tests/lib.sh"
module=github.com/libagx/libagx/bindings/go

install_libagx "$scratch/prefix"
use_libagx "$scratch/prefix"
"$AGX_SOURCE_DIR/bindings/go/package.sh" "$scratch/proxy"

mkdir "$scratch/project" && cd "$scratch/project"
export GOPROXY=file://$scratch/proxy GOFLAGS="-mod=mod -modcacherw"
awk '/^```go$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' \
  "$AGX_SOURCE_DIR/bindings/go/README.md" >main.go
[[ -s main.go ]] || fail "README.md has no program"
"$AGX_GO" mod init example.org/first
"$AGX_GO" get "$module"
! grep -r "$AGX_SOURCE_DIR" go.mod || fail "the project refers to the source tree"
printed=$(awk '/^```text$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' \
  "$AGX_SOURCE_DIR/bindings/go/README.md")

# check WHAT PROGRAM
check() {
  local got
  got=$("$2") || fail "the $1 program exits with $?"
  [[ $got == "$printed" ]] || fail "the $1 program prints: $got"
}

"$AGX_GO" build -o dynamic .
readelf -d dynamic | grep 'NEEDED.*libagx\.so\.0' >/dev/null || fail "libagx.so.0 is not linked"
check "dynamic" ./dynamic

"$AGX_GO" build -tags static,netgo,osusergo -o static .
! readelf -d static 2>/dev/null | grep NEEDED || fail "the static program is not static"
unset LD_LIBRARY_PATH
check "static" ./static
