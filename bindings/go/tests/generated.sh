#!/usr/bin/env bash
# What is committed of SWIG's output is what SWIG writes now.
# shellcheck source=bindings/go/tests/lib.sh
source "${AGX_SOURCE_DIR:?}/bindings/go/tests/lib.sh"
committed=$AGX_SOURCE_DIR/bindings/go/internal/native

"$AGX_SOURCE_DIR/bindings/go/generate.sh" "$scratch/native"
for file in $(cd "$AGX_SOURCE_DIR/bindings/common" && echo agx_bind*.[ch]); do
  diff -u "$committed/$file" "$scratch/native/$file" || fail "run bindings/go/generate.sh, and commit"
done
if [[ $(grep -m1 '^ \* Version ' "$committed/agxnative.go") == \
      $(grep -m1 '^ \* Version ' "$scratch/native/agxnative.go") ]]; then
  for file in agxnative.go agx_wrap.c; do
    diff -u "$committed/$file" "$scratch/native/$file" || fail "run bindings/go/generate.sh, and commit"
  done
  exit 0
fi

# Another SWIG words it otherwise; what it declares has to be the same.
echo "compared by declarations: the committed files are of another version of SWIG"
declarations() { grep -E '^(func|const|type) ' "$1/agxnative.go" | sort; }
diff -u <(declarations "$committed") <(declarations "$scratch/native") ||
  fail "run bindings/go/generate.sh with SWIG 4.1, and commit"
