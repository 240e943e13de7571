#!/usr/bin/env bash
# Fetches the jars of an Apache Kafka broker into target/kafka/VERSION, once: tests/kafka/fetch.sh [VERSION]
set -euo pipefail
version=${1:-4.4.0}
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}/kafka/$version
[ -f "$target/.complete" ] && exit 0
mkdir -p "$target"
mvn -q -B -f "$here/pom.xml" "-Dkafka.version=$version" dependency:copy-dependencies "-DoutputDirectory=$target"
touch "$target/.complete"
