# shellcheck shell=bash
# What the scripts share. Sourced from the top of the checkout.

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

step() { printf '\n==> %s\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    # sudo empties the environment, and apt-get must not ask.
    sudo DEBIAN_FRONTEND=noninteractive "$@"
  else
    fail "to install packages, run this as root or install sudo: apt-get install $*"
  fi
}

is_installed() {
  [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs what is missing of the packages named; touches nothing, and needs no network, if all are
# there. Servers among them are not started: the tests start their own.
apt_install() {
  local package missing=() policy=/usr/sbin/policy-rc.d
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  command -v apt-get >/dev/null ||
    fail "this installs what it needs with apt-get, which is not here; it needs: ${missing[*]}"
  step "installing ${missing[*]}"
  local status=0
  (
    if [[ ! -e $policy ]]; then
      trap 'as_root rm -f "$policy"' EXIT
      printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
      as_root chmod 755 "$policy"
    fi
    as_root apt-get update -qq &&
      as_root apt-get install -qq -y --no-install-recommends "${missing[@]}"
  ) </dev/null >build/apt.log 2>&1 || status=$?
  if [[ $status != 0 ]]; then
    tail -n 20 build/apt.log >&2
    fail "apt-get could not install ${missing[*]}; all it said is in build/apt.log"
  fi
}

mkdir -p build
