#!/bin/bash
# The jar in an empty project: as a module and from the class path, with its native part from each of
# the places that it can come from; and the jars beside it.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bin=$(dirname "$(readlink -f "$AGX_JAVAC")")
unset LD_LIBRARY_PATH CLASSPATH
cd "$work"
mkdir -p lib tmp src/app out bare

fail() {
  echo "package.sh: $1" >&2
  exit 1
}

# The program of README.md, as it is there.
# The backquotes are Markdown's.
# shellcheck disable=SC2016
sed -n '/^```java$/,/^```$/p' "$AGX_SOURCE_DIR/bindings/java/README.md" | sed '1d;$d' >First.java
# shellcheck disable=SC2016
sed -n '/^```text$/,/^```$/p' "$AGX_SOURCE_DIR/bindings/java/README.md" | sed '1d;/^```$/,$d' >expected
cp "$AGX_JAR" lib/libagx.jar

# What a run prints, and that it leaves nothing in the temporary directory.
check() {
  local what=$1
  shift
  "$bin/java" -Xcheck:jni -Djava.io.tmpdir="$work/tmp" "$@" >printed 2>&1 || {
    cat printed
    fail "$what: it failed"
  }
  diff expected printed || fail "$what: it printed something else"
  [ -z "$(find tmp -mindepth 1 -maxdepth 1 ! -name 'hsperfdata*')" ] || fail "$what: it left $(ls -A tmp)"
}

check "one file" -cp lib/libagx.jar First.java

(echo "package app;" && sed 's/^class/public class/' First.java) >src/app/First.java
echo "module app { requires io.libagx; }" >src/module-info.java
"$bin/javac" -Xlint:all -Werror --module-path lib -d out/app src/module-info.java src/app/First.java
check "module" --module-path lib:out --module app/app.First

"$bin/javac" -cp lib/libagx.jar -d out/plain First.java
check "class path" -cp lib/libagx.jar:out/plain First

# Without a native part inside.
(cd bare && "$bin/jar" -xf ../lib/libagx.jar && rm -r META-INF/native && mkdir "$work/native" &&
  "$bin/jar" -cf ../bare.jar .)
if "$bin/java" -cp bare.jar:out/plain First >printed 2>&1; then fail "it ran without a native part"; fi
grep -q "UnsatisfiedLinkError.*java.library.path" printed || fail "it does not say what is missing"
cp "$AGX_JNI_LIBRARY" native/libagxjni.so
cp "$AGX_LIBRARY" native/libagx.so.0
check "java.library.path" -Djava.library.path="$work/native" -cp bare.jar:out/plain First
check "a path given" -Dio.libagx.library=native/libagxjni.so -cp bare.jar:out/plain First
if "$bin/java" -Dio.libagx.library=/nowhere/libagxjni.so -cp lib/libagx.jar:out/plain First >printed 2>&1; then
  fail "it ran with a path where there is nothing"
fi

# What is for Maven, and for people.
"$bin/jar" -tf "$AGX_JAR" >list
for entry in module-info.class META-INF/maven/io.libagx/libagx/pom.xml; do
  grep -qx "$entry" list || fail "$AGX_JAR has no $entry"
done
"$bin/jar" -tf "${AGX_JAR%.jar}-sources.jar" | grep -qx io/libagx/AgxClient.java || fail "no sources"
"$bin/jar" -tf "${AGX_JAR%.jar}-javadoc.jar" | grep -q io/libagx/AgxClient.html || fail "no javadoc"
version=$("$bin/jar" --describe-module --file "$AGX_JAR" | head -1)
case $version in
"io.libagx@${AGX_VERSION} "*) ;;
*) fail "the module is $version" ;;
esac
python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' \
  "$AGX_SOURCE_DIR/bindings/java/pom.xml" || fail "pom.xml is not XML"
grep -q "<version>$AGX_VERSION</version>" "$AGX_SOURCE_DIR/bindings/java/pom.xml" ||
  fail "pom.xml has another version"
grep -q "libagx-$AGX_VERSION.jar" "$AGX_SOURCE_DIR/bindings/java/README.md" ||
  fail "README.md has another version"
