#!/usr/bin/env bash
# Measures libagx beside plain hiredis and redis-benchmark, and writes what came out to
# docs/benchmark.md and docs/benchmark.svg: ./scripts/bench.sh
# With arguments, they go to agx-bench (--help lists them), and the documents stay as they are.
# Installs what it needs (Debian 12 and 13, Ubuntu 24.04; as root or with sudo).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

apt_install g++ cmake ninja-build pkg-config libhiredis-dev libcjson-dev libssl-dev \
  redis-server redis-tools

step "building"
{
  cmake --preset bench -DAGX_WERROR=OFF -DAGX_TOOLS=OFF
  cmake --build build/bench --target agx-bench
} >build/bench.log 2>&1 || {
  tail -n 40 build/bench.log >&2
  fail "the build failed; all it said is in build/bench.log"
}

bench=build/bench/bench/agx-bench
[[ $# -eq 0 ]] || exec "$bench" "$@"

step "measuring (some minutes; let nothing else run)"
"$bench" --markdown build/bench/table.md --svg build/bench/benchmark.svg \
  --json build/bench/benchmark.json

document=docs/benchmark.md
for marker in '<!-- table -->' '<!-- end of table -->'; do
  grep -qxF "$marker" "$document" || fail "$document has no line $marker"
done
awk -v table=build/bench/table.md '
  $0 == "<!-- end of table -->" { inside = 0 }
  !inside { print }
  $0 == "<!-- table -->" {
    inside = 1
    print ""
    while ((getline line < table) > 0) print line
    print ""
  }' "$document" >build/bench/benchmark.md
mv build/bench/benchmark.md "$document"
mv build/bench/benchmark.svg docs/benchmark.svg
step "written: $document, docs/benchmark.svg; every number is in build/bench/benchmark.json"
