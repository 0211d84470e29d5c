#!/usr/bin/env bash
# Measures each language's binding beside C and beside what its users would otherwise use, all on one
# Redis, and writes the table of docs/bindings-benchmark.md: ./scripts/bench-bindings.sh
# With arguments (--quick, --rows LIST) they go to the programs, and the document stays as it is: the
# table is then in build/bench/bindings.md.
# Whom it finds beside libagx, bench/bindings/ says for each language; with all of them it is
#   AGX_BENCH_GO_REDIS=v9.7.3 AGX_BENCH_RUEIDIS=v1.0.53 AGX_BENCH_STACKEXCHANGE=3.4.35 \
#     AGX_BENCH_CLASSPATH=JARS ./scripts/bench-bindings.sh
# Installs what it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

apt_install g++ cmake ninja-build pkg-config libhiredis-dev libcjson-dev libssl-dev libcurl4-openssl-dev \
  redis-server redis-tools swig golang-go default-jdk-headless

step "building"
prefix=$PWD/build/bench/prefix
{
  cmake --preset bench -DAGX_WERROR=OFF
  cmake --build build/bench
  cmake --install build/bench --prefix "$prefix"
  cmake --preset bindings
  cmake --build build/bindings
} >build/bench-bindings.log 2>&1 || {
  tail -n 40 build/bench-bindings.log >&2
  fail "the build failed; all it said is in build/bench-bindings.log"
}
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name agx.pc)")
LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH LD_LIBRARY_PATH

scratch=$(mktemp -d)
ulimit -n "$(ulimit -H -n)"
server=
trap '[[ -z $server ]] || kill "$server"; wait; rm -rf "$scratch"' EXIT
# A port that somebody else has ends the server at once: then another.
for _ in {1..20}; do
  port=$((20000 + RANDOM % 10000))
  redis-server --bind 127.0.0.1 --port "$port" --save '' --maxclients 20000 --dir "$scratch" \
    >"$scratch/redis.log" &
  server=$!
  until redis-cli -p "$port" info server 2>/dev/null | grep -q "^process_id:$server"; do
    kill -0 "$server" 2>/dev/null || break
  done
  ! kill -0 "$server" 2>/dev/null || break
done
kill -0 "$server" || fail "redis-server did not start: $(cat "$scratch/redis.log")"
url=redis://127.0.0.1:$port

# one LANGUAGE COMMAND…
one() {
  local language=$1
  shift
  step "$language"
  # What else a toolchain prints is no result; whom a program did not find, it says to us.
  { "$@" --url "$url" "${options[@]}" 2>&1 >&3 3>&- | tee "$scratch/said" >&2; } 3>&1 |
    grep -P '^[^\t]+(\t[^\t]+){3}$' | sed "s/^/$language\t/" | tee -a "$scratch/results"
  sed -n "s/^\([^ ]*\) .*left out.*/\1 ($language)/p" "$scratch/said" >>"$scratch/missing"
}
options=("$@")
one C build/bench/bench/agx-bench-c
one Go bench/bindings/go/run.sh
one Java bench/bindings/java/run.sh
if command -v dotnet >/dev/null; then
  one 'C#' dotnet run -c Release --project bench/bindings/csharp --
else
  echo "C# is left out: there is no dotnet"
  echo 'dotnet (C#)' >>"$scratch/missing"
fi

document=docs/bindings-benchmark.md
{
  sed '/^<!-- table -->$/q' "$document"
  printf '\nRedis %s, %s, %s cores, %s.\n\n| work | language | library | | |\n| --- | --- | --- | ---: | --- |\n' \
    "$(redis-server --version | sed 's/.* v=\([^ ]*\).*/\1/')" \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(date +%F)"
  awk -F'\t' '{ printf "| %s | %s | %s | %s | %s |\n", $2, $1, $3, $4, $5 }' "$scratch/results" |
    LC_ALL=C sort -s -t'|' -k2,2
  if [[ -s $scratch/missing ]]; then
    printf '\nNot installed, and so not measured: %s.\n' "$(paste -sd, "$scratch/missing" | sed 's/,/, /g')"
  fi
} >build/bench/bindings.md
if [[ $# -gt 0 ]]; then
  step "written: build/bench/bindings.md"
  exit
fi
mv build/bench/bindings.md "$document"
step "written: $document"
