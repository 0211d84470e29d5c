#!/usr/bin/env bash
# Builds libagx in every way that matters and runs every test on it. Installs what it needs
# (Debian 12 and 13, Ubuntu 24.04; as root or with sudo). Everything it makes is under build/.
#
# AGX_FUZZ_SECONDS: how long each fuzz target runs; default 20.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

apt_install g++ cmake ninja-build pkg-config ccache binutils file gzip \
  libhiredis-dev libcjson-dev libssl-dev libcurl4-openssl-dev libgtest-dev libgmock-dev \
  zlib1g-dev libzstd-dev redis-server openssl python3 \
  clang clang-tidy clang-format abigail-tools dpkg-dev lintian shellcheck doxygen \
  swig golang-go default-jdk-headless junit5 mono-devel \
  maven libmaven-compiler-plugin-java libmaven-jar-plugin-java libmaven-javadoc-plugin-java \
  libmaven-resources-plugin-java libmaven-source-plugin-java libsurefire-java \
  libbuild-helper-maven-plugin-java
clang_version=$(clang -dumpversion | cut -d. -f1)
apt_install "libclang-rt-$clang_version-dev"

# Where the distribution has hiredis 0.14, which knows no TLS, also test with 1.x.
hiredis_1=
if ! pkg-config --atleast-version=1.0 hiredis; then
  hiredis_1=$PWD/build/hiredis-1
  step "building hiredis 1.x"
  ./scripts/build-hiredis-1.sh "$hiredis_1" >build/hiredis-1.log 2>&1 || {
    tail -n 20 build/hiredis-1.log >&2
    fail "hiredis 1.x could not be built; all it said is in build/hiredis-1.log"
  }
fi

# Where the distribution has Valkey, the tests that start a server run on that as well.
servers=
if is_installed valkey-server || apt-cache policy valkey-server | grep -q 'Candidate: [0-9]'; then
  apt_install valkey-server
  servers=valkey-server
fi

# build NAME PRESET [OPTION…]: into build/test/NAME; its tests' names begin with NAME.
build() {
  local name=$1 preset=$2
  shift 2
  step "building: $name"
  cmake --preset "$preset" -B "build/test/$name" -DAGX_TEST_PREFIX="$name/" "$@" >"build/$name.log" ||
    { cat "build/$name.log" >&2 && fail "configuring $name"; }
  cmake --build "build/test/$name" >>"build/$name.log" ||
    { tail -n 100 "build/$name.log" >&2 && fail "building $name; all it said is in build/$name.log"; }
}

build release package -DAGX_TEST_SERVERS="$servers"
build clang clang -DAGX_TESTS=OFF
build fuzz fuzz
build asan asan
build tsan tsan
build bindings bindings
if [[ -n $hiredis_1 ]]; then
  PKG_CONFIG_PATH=$hiredis_1/lib/pkgconfig build hiredis-1 release -DAGX_TEST_LABELS=redis
fi

# One list of tests out of all those builds, and what is tested without one, so that one count at
# the end is the count of everything.
all=$PWD/build/test/all
mkdir -p "$all"
list=$all/CTestTestfile.cmake
: >"$list"

# add_test NAME TIMEOUT COMMAND…
add_test() {
  local name=$1 timeout=$2
  shift 2
  {
    printf 'add_test([=[%s]=]' "$name"
    printf ' [=[%s]=]' "$@"
    printf ')\nset_tests_properties([=[%s]=] PROPERTIES TIMEOUT %s WORKING_DIRECTORY [=[%s]=])\n' \
      "$name" "$timeout" "$PWD"
  } >>"$list"
}

for build in release asan tsan bindings ${hiredis_1:+hiredis-1}; do
  printf 'subdirs([=[%s]=])\n' "$PWD/build/test/$build" >>"$list"
done

mapfile -t shell_scripts < <(find .ci scripts tests bindings -type f \( -name '*.sh' -o -name run \) | sort)
add_test shellcheck 60 shellcheck -x "${shell_scripts[@]}"

# The reference pages, from agx.h.
add_test docs 300 cmake --build build/test/release --target docs
echo 'set_tests_properties(docs PROPERTIES FAIL_REGULAR_EXPRESSION "agx[.]h:[0-9]+: warning")' >>"$list"

# Another version lays out, and warns of, other things.
if [[ $clang_version == 14 ]]; then
  mapfile -t formatted < <(
    find include src tools tests bench examples fuzz bindings/common -name '*.h' -o -name '*.c' -o -name '*.cpp' | sort)
  add_test format 120 clang-format --dry-run --Werror "${formatted[@]}"
  while IFS= read -r file; do
    add_test "tidy/$file" 600 clang-tidy --quiet -p build/test/clang "$file"
  done < <(find src tools -name '*.cpp' | sort)
else
  echo "clang is version $clang_version: format and clang-tidy are checked with version 14 only"
fi

seconds=${AGX_FUZZ_SECONDS:-20}
for target in build/test/fuzz/fuzz/*_fuzz; do
  [[ -x $target ]] || continue
  name=$(basename "$target" _fuzz)
  found=build/test/fuzz/found/$name
  mkdir -p "$found"
  corpus=()
  [[ ! -d fuzz/corpus/$name ]] || corpus=("fuzz/corpus/$name")
  [[ ! -f fuzz/$name.dict ]] || corpus+=("-dict=fuzz/$name.dict")
  add_test "fuzz/$name" $((seconds + 120)) "$target" -max_total_time="$seconds" -timeout=10 \
    -print_final_stats=1 -artifact_prefix="build/test/fuzz/$name-" "$found" "${corpus[@]}"
done

# Whatever the tests start inherits this; what is still there at the end should not be.
export AGX_TEST_RUN=$$-$RANDOM
stop_leftovers() {
  local environ pid leftovers=0
  for environ in /proc/[0-9]*/environ; do
    pid=${environ//[^0-9]/}
    if [[ $pid != "$$" && $pid != "$BASHPID" ]] &&
      { tr '\0' '\n' <"$environ"; } 2>/dev/null | grep -qx "AGX_TEST_RUN=$AGX_TEST_RUN"; then
      printf 'left behind by a test: %s\n' "$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null)" >&2
      kill "$pid" 2>/dev/null || true
      leftovers=1
    fi
  done
  return $leftovers
}
trap 'stop_leftovers || true' EXIT

# A machine that others use can starve a test past its deadline; one that fails twice is broken. Most
# tests wait more than they work, so that there are twice as many of them as processors.
step "testing"
status=0
ctest --test-dir "$all" --output-on-failure --no-label-summary --no-tests=error \
  --repeat until-pass:2 \
  --output-junit "$all/junit.xml" -j"$((2 * $(nproc)))" || status=$?
stop_leftovers || status=1
exit $status
