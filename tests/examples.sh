#!/usr/bin/env bash
# ctest-labels: redis
# ctest-timeout: 120
# Every example runs as it stands, and on a Redis that its first argument names.
# shellcheck source=tests/product/lib.sh
source "${AGX_SOURCE_DIR:?}/tests/product/lib.sh"

"${AGX_REDIS_SERVER:-redis-server}" --port 0 --unixsocket "$scratch/redis" --save '' --dir "$scratch" \
  --logfile "$scratch/log" &
server=$!
trap 'kill "$server"; wait "$server"; rm -rf "$scratch"' EXIT
for _ in $(seq 100); do
  [[ ! -S $scratch/redis ]] || break
  sleep 0.1
done

count=0
for source in "$AGX_SOURCE_DIR"/examples/*.c; do
  example=${AGX_EXAMPLES:?}/$(basename "$source" .c)
  for arguments in "" "unix://$scratch/redis"; do
    # shellcheck disable=SC2086  # none, if there is none
    timeout 60 "$example" $arguments >"$scratch/printed" 2>&1 </dev/null || {
      cat "$scratch/printed" >&2
      fail "$(basename "$example") $arguments"
    }
    [[ -s $scratch/printed ]] || fail "$(basename "$example") $arguments prints nothing"
    count=$((count + 1))
  done
done
[[ $count -gt 0 ]] || fail "there are no examples"
echo "$count runs"
