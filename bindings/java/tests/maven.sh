#!/bin/bash
# mvn package, without a network: the jars that it makes are those of the CMake build, and the program of
# README.md runs with them.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bin=$(dirname "$(readlink -f "$AGX_JAVAC")")
cd "$work"

fail() {
  echo "maven.sh: $1" >&2
  exit 1
}

# Maven writes into both.
cp -rL "$AGX_MAVEN_REPOSITORY" repository
cp -r "$AGX_SOURCE_DIR/bindings/java" project
options=(-o -B -q "-Dmaven.repo.local=$work/repository" "-Dagx.build=$(dirname "$AGX_JAR")")
# The distribution has one version of each plugin that pom.xml names, which may be another.
for plugin in org/apache/maven/plugins/maven-{compiler,source,javadoc}-plugin \
  org/codehaus/mojo/build-helper-maven-plugin; do
  version=$(find "repository/$plugin" -name '*.jar' -printf '%h\n' | sed 's|.*/||' | sort -Vu | tail -1)
  options+=("-D${plugin##*/}.version=$version")
done
(cd project && "$AGX_MVN" "${options[@]}" package) >said 2>&1 || {
  cat said
  fail "mvn package failed"
}

# Besides the folders' own entries, what only documents a package, and the javadoc's extras.
list() { "$bin/jar" -tf "$1" | grep -v -e '/$' -e package-info -e '^META-INF/maven/' | sort; }
for kind in "" -sources; do
  list "${AGX_JAR%.jar}$kind.jar" >wanted
  list "project/target/libagx-$AGX_VERSION$kind.jar" >made
  diff wanted made || fail "libagx$kind.jar holds something else"
done
"$bin/jar" -tf "project/target/libagx-$AGX_VERSION-javadoc.jar" | grep -q io/libagx/AgxClient.html ||
  fail "no javadoc"
"$bin/jar" -tf "project/target/libagx-$AGX_VERSION.jar" |
  grep -qx META-INF/maven/io.libagx/libagx/pom.properties || fail "nothing for Maven"

# The backquotes are Markdown's.
# shellcheck disable=SC2016
sed -n '/^```java$/,/^```$/p' project/README.md | sed '1d;$d' >First.java
# shellcheck disable=SC2016
sed -n '/^```text$/,/^```$/p' project/README.md | sed '1d;/^```$/,$d' >expected
"$bin/java" -cp "project/target/libagx-$AGX_VERSION.jar" First.java >printed
diff expected printed || fail "it printed something else"
