#!/usr/bin/env bash
# ctest-labels: product
# libagx.so exports what agx.h declares, all of it and nothing else.
# shellcheck source=tests/product/lib.sh
source "${AGX_SOURCE_DIR:?}/tests/product/lib.sh"

nm -D --defined-only --with-symbol-versions "$AGX_LIBRARY" | awk '{ print $NF }' |
  grep -vx 'AGX_0@*' | sort >"$scratch/exported"
# The preprocessor's lines out, comments out, one statement a line.
sed '/^ *#/d' "$AGX_SOURCE_DIR/include/agx.h" | cc -E -P -fpreprocessed -x c - | tr '\n;' ' \n' |
  grep AGX_API | grep -o 'agx_[a-z_]*(' | tr -d '(' | sed 's/$/@@AGX_0/' | sort >"$scratch/declared"

[[ -s $scratch/declared ]] || fail "found no declarations in agx.h"
diff -u --label declared "$scratch/declared" --label exported "$scratch/exported" ||
  fail "what is declared (-) and what is exported (+) differ"
