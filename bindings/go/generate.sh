#!/usr/bin/env bash
# Writes what SWIG generates, and the copy of agx_bind, into a directory: generate.sh [DIRECTORY]
# Without one into internal/native, which is committed so that `go build` needs no SWIG.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "${1:-$here/internal/native}")
cd "$here/../.."
mkdir -p "$out"
# Paths as seen from here: SWIG writes them into what it generates.
"${SWIG:-swig}" -go -cgo -intgosize 64 -package native -Wall -Werror -Iinclude -Ibindings \
  -Ibindings/common -outdir "$out" -o "$out/agx_wrap.c" bindings/agx.i
cp bindings/common/agx_bind*.[ch] "$out"
