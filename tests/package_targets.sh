#!/usr/bin/env bash
# ctest-labels: bindings product
# The target of a language's package is there also where it cannot be made, and says what is missing.
# shellcheck source=tests/product/lib.sh
source "${AGX_SOURCE_DIR:?}/tests/product/lib.sh"

# says WANTED TARGET OPTION…: configured with these, the target fails, and says that.
says() {
  local wanted=$1 target=$2
  shift 2
  cmake -S "$AGX_SOURCE_DIR" -B "$scratch/build" -DAGX_BINDINGS=ON -DAGX_TESTS=OFF -DAGX_TOOLS=OFF "$@" \
    >"$scratch/log" 2>&1 || fail "$(cat "$scratch/log")"
  ! cmake --build "$scratch/build" --target "$target" >"$scratch/log" 2>&1 || fail "$target was made"
  grep -q "$target: .*$wanted.* not installed" "$scratch/log" || fail "$(cat "$scratch/log")"
  rm -r "$scratch/build"
}

says "SWIG 4.1" agx_csharp_package -DCMAKE_DISABLE_FIND_PACKAGE_SWIG=ON
says "SWIG 4.1" agx_java -DCMAKE_DISABLE_FIND_PACKAGE_SWIG=ON
if [[ $(command -v swig) ]]; then
  says "\.NET SDK" agx_csharp_package -DAGX_DOTNET=OFF
  says "\.NET SDK" agx_csharp_package -DAGX_DOTNET=OFF -DAGX_MCS=OFF
  says "JDK" agx_java -DCMAKE_DISABLE_FIND_PACKAGE_Java=ON
fi
