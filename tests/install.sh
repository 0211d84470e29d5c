#!/usr/bin/env bash
# ctest-labels: product
# ctest-timeout: 300
# An installed copy serves strangers: by pkg-config and by find_package, shared and static.
# shellcheck source=tests/product/lib.sh
source "${AGX_SOURCE_DIR:?}/tests/product/lib.sh"
consumer=$AGX_SOURCE_DIR/tests/product/consumer
prefix=$scratch/prefix

cmake --install "$AGX_BUILD_DIR" --prefix "$prefix" >/dev/null
libdir=$(dirname "$(find "$prefix" -name libagx.so)")
export PKG_CONFIG_PATH=$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}

version=$(pkg-config --modversion agx)
[[ -f $libdir/libagx.so.$version ]] || fail "libagx.so.$version is not installed"
[[ $(readlink "$libdir/libagx.so.0") == "libagx.so.$version" ]] || fail "no link from libagx.so.0"
# Not grep -q, which leaves as soon as it has seen enough: what feeds it would fail.
objdump -p "$libdir/libagx.so" | grep 'SONAME *libagx\.so\.0$' >/dev/null || fail "the soname is wrong"

read -ra flags <<<"$(pkg-config --cflags --libs agx)"
for strict in "cc -std=c11 -x c" "cc -std=c2x -x c" "c++ -std=c++11 -x c++" "c++ -std=c++20 -x c++"; do
  read -ra compile <<<"$strict"
  "${compile[@]}" -Wall -Wextra -pedantic-errors -Werror "$consumer/main.c" -x none \
    -o "$scratch/shared" "${flags[@]}"
  LD_LIBRARY_PATH=$libdir check_consumer "$scratch/shared"
done

# A linker that is told -static finds only the archives.
read -ra flags <<<"$(pkg-config --static --cflags --libs agx)"
quietly "a static link by pkg-config --static" \
  cc "$consumer/main.c" -static -o "$scratch/static" "${flags[@]}"
! readelf -d "$scratch/static" 2>/dev/null | grep NEEDED || fail "the static program is not static"
check_consumer "$scratch/static"

for language in C CXX; do
  for component in "" static; do
    build=$scratch/find_package-$language-$component
    what="find_package(agx) in $language, COMPONENTS '$component'"
    quietly "$what" cmake -S "$consumer" -B "$build" -G Ninja -DLANGUAGE=$language \
      -DCOMPONENT=$component -DCMAKE_PREFIX_PATH="$prefix"
    quietly "$what" cmake --build "$build"
    check_consumer "$build/consumer"
    if readelf -d "$build/consumer" | grep 'NEEDED.*libagx' >/dev/null; then
      [[ -z $component ]] || fail "agx::static links libagx.so"
    else
      [[ -n $component ]] || fail "agx::agx does not link libagx.so"
    fi
  done
done

# The command finds the library that was installed with it.
[[ $("$prefix/bin/agx" version) == *"$version"* ]] || fail "the installed agx does not run"
