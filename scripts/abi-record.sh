#!/usr/bin/env bash
# Records the ABI of a build's libagx.so, for tests/abi.sh to compare with:
# abi-record.sh [LIBRARY]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p abi
library=$(realpath "${1:-build/release/src/libagx.so}")

# Without locations and paths, so that only a change of the interface changes the record.
abidw --headers-dir include --drop-private-types --no-show-locs --no-comp-dir-path \
  --no-corpus-path --out-file abi/agx.abi "$library"
echo "recorded: abi/agx.abi, of $library"
