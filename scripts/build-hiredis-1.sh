#!/usr/bin/env bash
# Builds hiredis 1.x, with TLS, where the distribution has 0.14: build-hiredis-1.sh PREFIX
#
# The source is the next Debian's, from the mirror that this machine's apt uses anyway and checked
# against the keys that it has; with lists and a cache of its own, so that nothing of it reaches the
# system. (Its binaries would need a newer libc.)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

prefix=$(realpath -m "${1:?where to put it}")
suite=trixie
work=$PWD/build/hiredis-1-source
stamp=$prefix/.done

[[ ! -e $stamp ]] || exit 0
rm -rf "$work" "$prefix"
mkdir -p "$work"/{lists,cache/archives}/partial

# shellcheck disable=SC2016  # apt-get expands these
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT)' 'Created-By: Packages' |
  awk '$2 == "Debian" && $3 == "main" && $1 !~ /security/ { print $1; exit }')
[[ -n $mirror ]] || fail "apt's sources name no Debian mirror"
echo "deb-src $mirror $suite main" >"$work/sources.list"

own_apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
    -o APT::Sandbox::User="$(id -un)" "$@"
}
own_apt update
cd "$work"
own_apt source --download-only hiredis
mkdir source
tar -xf hiredis_*.orig.tar.* -C source --strip-components=1
make -C source -j"$(nproc)" USE_SSL=1 PREFIX="$prefix" static dynamic
make -C source USE_SSL=1 PREFIX="$prefix" install
touch "$stamp"
