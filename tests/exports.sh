#!/usr/bin/env bash
# ctest-labels: product
# libagx.so exports what agx.h declares, all of it and nothing else.
# shellcheck source=tests/product/lib.sh
source "${AGX_SOURCE_DIR:?}/tests/product/lib.sh"

nm -D --defined-only --with-symbol-versions "$AGX_LIBRARY" | awk '{ print $NF }' |
  grep -vx 'AGX_0@*' | sort >"$scratch/exported"
# Comments out, the preprocessor's lines out, one statement a line.
cc -E -P -fpreprocessed -dD "$AGX_SOURCE_DIR/include/agx.h" | grep -v '^#' | tr '\n' ' ' | tr ';' '\n' |
  grep AGX_API | grep -o 'agx_[a-z_]*(' | tr -d '(' | sed 's/$/@@AGX_0/' | sort >"$scratch/declared"

[[ -s $scratch/declared ]] || fail "found no declarations in agx.h"
diff -u --label declared "$scratch/declared" --label exported "$scratch/exported" ||
  fail "what is declared (-) and what is exported (+) differ"
