#!/usr/bin/env bash
# Instructions in user space, and system calls, for one event: instructions.sh [AGX-BENCH [ROW...]]
# Needs valgrind. Each row is counted with one round and with three, and the difference divided.
set -euo pipefail
bench=$(realpath "${1:-build/bench/bench/agx-bench}")
shift || true
[[ $# -gt 0 ]] || set -- add1 addmany replay
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

instructions() {
  valgrind --tool=callgrind --callgrind-out-file="$work/out" "$bench" --scale 0.05 "$@" 2>&1 \
    >/dev/null | sed -n 's/.*Collected : //p'
}

for row in "$@"; do
  # What a round of one side does at this scale.
  case $row in
    add1) events=$((20 * 25)) ;;
    addmany) events=$((4 * 30 * 512)) ;;
    replay) events=$((2 * 20000)) ;;
    *) echo "no way to count $row" >&2 && exit 2 ;;
  esac
  for side in agx plain; do
    [[ $row$side != addmanyplain ]] || continue  # redis-benchmark is another process
    one=$(instructions --row "$row" --side "$side" --rounds 1)
    three=$(instructions --row "$row" --side "$side" --rounds 3)
    echo "$row $side: $(((three - one) / 2 / events)) instructions for each event"
  done
done
