#!/usr/bin/env bash
# ctest-labels: product
# ctest-timeout: 600
# The Debian packages hold what they should, please lintian, and serve once unpacked.
# shellcheck source=tests/product/lib.sh
source "${AGX_SOURCE_DIR:?}/tests/product/lib.sh"

# Packages are made of a build laid out for /usr; where this one is not, make another.
build=$AGX_BUILD_DIR
if ! grep -qx 'CMAKE_INSTALL_PREFIX:PATH=/usr' "$build/CMakeCache.txt"; then
  build=$AGX_BUILD_DIR/for-usr
  quietly "configuring for /usr" cmake -S "$AGX_SOURCE_DIR" -B "$build" -G Ninja \
    -DCMAKE_INSTALL_PREFIX=/usr -DAGX_TESTS=OFF
  quietly "building for /usr" cmake --build "$build" -j2
fi

cd "$build"
quietly "cpack" cpack -G DEB -B "$scratch/packages"
cd "$scratch"
for name in libagx0 libagx-dev agx-tools; do
  compgen -G "packages/${name}_*.deb" >/dev/null || fail "there is no package $name"
done

# No bug asked for the first upload. The library promises its ABI by one symbol version, not symbol
# by symbol. cpack calls ldconfig itself, beside the trigger that does so. Who publishes the packages
# gives an address (AGX_PACKAGER).
suppressed=initial-upload-closes-no-bugs,no-symbols-control-file,maintscript-calls-ldconfig
suppressed+=,bogus-mail-host,bogus-mail-host-in-debian-changelog
lintian --fail-on error,warning --suppress-tags "$suppressed" packages/*.deb || fail "lintian"

depends() { dpkg-deb -f packages/"$1"_*.deb Depends; }
[[ $(depends libagx0) == *libhiredis* ]] || fail "libagx0 depends on: $(depends libagx0)"
[[ $(depends libagx0) != *libcjson* ]] || fail "libagx0 does not need cJSON"
[[ $(depends libagx-dev) == *"libagx0 (="* ]] || fail "libagx-dev depends on: $(depends libagx-dev)"
[[ $(depends agx-tools) == *"libagx0 (="*  ]] || fail "agx-tools depends on: $(depends agx-tools)"
[[ ${AGX_CURL:?} == 0 || $(depends agx-tools) == *libcurl4* ]] ||
  fail "agx-tools depends on: $(depends agx-tools)"

root=$scratch/root
for package in packages/*.deb; do
  dpkg-deb -x "$package" "$root"
done
libdir=$(dirname "$(find "$root/usr/lib" -name libagx.so)")
for file in usr/bin/agx usr/include/agx.h usr/share/man/man1/agx.1.gz \
  usr/share/bash-completion/completions/agx usr/share/doc/libagx0/copyright; do
  [[ -e $root/$file ]] || fail "$file is in no package"
done

export LD_LIBRARY_PATH=$libdir
flags=$(PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --cflags --libs agx)
# pkg-config leaves out what a compiler would search anyway, were it not in another root.
read -ra flags <<<"-I$root/usr/include -L$libdir $flags"
cc "$AGX_SOURCE_DIR/tests/product/consumer/main.c" -o program "${flags[@]}"
check_consumer ./program
"$root/usr/bin/agx" version >/dev/null || fail "the packaged agx does not run"
