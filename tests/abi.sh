#!/usr/bin/env bash
# ctest-labels: product
# The binary interface is the one on record.
# shellcheck source=tests/product/lib.sh
source "${AGX_SOURCE_DIR:?}/tests/product/lib.sh"

abidiff --no-architecture --exported-interfaces-only \
  --headers-dir1 "$AGX_SOURCE_DIR/include" --headers-dir2 "$AGX_SOURCE_DIR/include" \
  "$AGX_SOURCE_DIR/abi/agx.abi" "$(realpath "$AGX_LIBRARY")" ||
  fail "the ABI is not that of abi/agx.abi; if it was meant to change, run scripts/abi-record.sh"
