#!/usr/bin/env bash
# Instructions in user space, and system calls, for one event: instructions.sh [AGX-BENCH [ROW...]]
# Needs valgrind and strace. Each is counted with little and with more work, and the difference divided.
set -euo pipefail
bench=$(realpath "${1:-build/bench/bench/agx-bench}")
shift || true
[[ $# -gt 0 ]] || set -- add1 addmany replay
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

instructions() {
  valgrind --tool=callgrind --callgrind-out-file="$work/out" "$@" 2>&1 >/dev/null |
    sed -n 's/.*Collected : //p'
}
calls() {
  strace -f -c -o "$work/calls" "$@" >/dev/null
  awk '$NF == "total" { print $(NF-1) + 0 == 0 ? $3 : $(NF-2) }' "$work/calls"
}

for row in "$@"; do
  case $row in
    add1) events=10000 ;;       # 20 turns of 500
    addmany) events=614400 ;;   # 2 turns of 600 batches, in each of two measures; see below
    replay) events=800000 ;;    # 2 turns of 400000
    *) echo "no way to count $row" >&2 && exit 2 ;;
  esac
  for side in agx plain; do
    [[ $row != addmany || $side == agx ]] || continue  # redis-benchmark is another process
    [[ $row != addmany ]] || events=$((4 * 600 * 512))
    run=("$bench" --row "$row" --side "$side" --rounds 1 --scale)
    small=$(instructions "${run[@]}" 0.02)
    large=$(instructions "${run[@]}" 0.1)
    awk -v row="$row" -v side="$side" -v n="$large" -v m="$small" -v e="$events" \
      'BEGIN { printf "%-8s %-6s %8.0f instructions for each event\n", row, side, (n - m) / (0.08 * e) }'
  done
done
