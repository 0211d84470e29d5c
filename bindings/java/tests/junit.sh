#!/bin/bash
# Runs JUnit's console with -Xcheck:jni, which has to have nothing to say: junit.sh OPTION…
set -eu
output=$(mktemp)
trap 'rm -f "$output"' EXIT

status=0
# Several options are several words.
# shellcheck disable=SC2086
"$AGX_JAVA" ${AGX_JAVA_OPTIONS:--Xcheck:jni} -cp "$AGX_JAR:$AGX_JAVA_CLASSES:$AGX_JUNIT" \
  org.junit.platform.console.ConsoleLauncher --scan-classpath "$AGX_JAVA_CLASSES" \
  --disable-banner --disable-ansi-colors --details=tree --fail-if-no-tests "$@" \
  >"$output" 2>&1 || status=$?
cat "$output"
if grep -E "WARNING.*(native method|JNI)|FATAL ERROR in native method|\*\*\*|JNI call" "$output"; then
  echo "-Xcheck:jni found something" >&2
  exit 1
fi
exit "$status"
