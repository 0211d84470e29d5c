#!/usr/bin/env bash
# Builds the benchmark of the Java binding, in a directory of its own, and runs it:
# run.sh [--url URL] [--rows LIST] [--quick]; run.sh --help says more.
#   AGX_JAVA_HOME         the JDK, 17 or newer; else that of the path
#   AGX_BENCH_JAR         libagx's jar; if not set, what cmake --build build/bindings has made
#   AGX_BENCH_CLASSPATH   the jars of the opponents and of what they need, as in java -cp: Jedis 4 or newer
#                         with commons-pool2 and slf4j, Lettuce 6 with Netty, Reactor and reactive-streams
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${AGX_JAVA_HOME:+$AGX_JAVA_HOME/bin/}
fail() {
  echo "$1" >&2
  exit 1
}
jar=${AGX_BENCH_JAR:-}
if [[ -z $jar ]]; then
  jar=$(find "$here/../../../build/bindings/bindings/java" -maxdepth 1 -regex '.*/libagx-[0-9.]*\.jar' \
    2>/dev/null | head -n 1)
fi
[[ -f $jar ]] || fail "there is no jar of libagx: cmake --preset bindings && cmake --build build/bindings makes it"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
path=$jar${AGX_BENCH_CLASSPATH:+:$AGX_BENCH_CLASSPATH}

sources=("$here"/{Bench,Library,LibAgx}.java)
# opponent NAME CLASS
opponent() {
  if "${bin}javap" -cp "$path" "$2" >/dev/null 2>&1; then
    sources+=("$here/Of$1.java")
  else
    echo "$1 is left out: it is not installed, for it is not on \$AGX_BENCH_CLASSPATH" >&2
  fi
}
opponent Jedis redis.clients.jedis.JedisPooled
opponent Lettuce io.lettuce.core.RedisClient
"${bin}javac" --release 17 -encoding UTF-8 -cp "$path" -d "$scratch" "${sources[@]}"
# What is not used any more goes back to the system, so that what listeners need is seen. Of what the
# opponents log, nothing.
"${bin}java" -Xms64m -XX:MinHeapFreeRatio=5 -XX:MaxHeapFreeRatio=10 -cp "$scratch:$path" \
  -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 Bench "$@"
