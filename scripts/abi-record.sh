#!/usr/bin/env bash
# Records the ABI of a build's libagx.so, for tests/abi.sh to compare with:
# abi-record.sh [LIBRARY]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p abi
library=$(realpath "${1:-build/release/src/libagx.so}")

# With locations, by which abidiff knows what is the interface; without this machine's paths.
abidw --exported-interfaces-only --headers-dir include --drop-private-types \
  --no-comp-dir-path --no-corpus-path --out-file abi/agx.abi "$library"
sed -i "s|path='$PWD/|path='|" abi/agx.abi
echo "recorded: abi/agx.abi, of $library"
