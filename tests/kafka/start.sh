#!/usr/bin/env bash
# Starts one Apache Kafka broker (KRaft, one node) on loopback and stays in the foreground:
#   tests/kafka/start.sh FOLDER PORT [VERSION] [CONTROLLER_PORT]
# OFFKEY_TEST_BROKER_PROPERTIES has the last word over the properties, OFFKEY_TEST_BROKER_FORMAT is given to the format tool.
# A folder that holds a broker already is started again as it was left.
set -euo pipefail
folder=$1 port=$2 version=${3:-4.4.0} controller=${4:-$(($2 + 1))}
here=$(cd "$(dirname "$0")" && pwd)
"$here/fetch.sh" "$version"
jars=${CARGO_TARGET_DIR:-$here/../../target}/kafka/$version
mkdir -p "$folder"
cat >"$folder/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/data
num.partitions=4
default.replication.factor=1
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.backoff.ms=500
log.retention.check.interval.ms=1000
${OFFKEY_TEST_BROKER_PROPERTIES:-}
PROPERTIES
java_args=(-Xmx512m -Xms128m -XX:+UseSerialGC "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn" -cp "$jars/*")
if [ ! -f "$folder/data/meta.properties" ]; then
  read -ra format <<<"${OFFKEY_TEST_BROKER_FORMAT:-}"
  java "${java_args[@]}" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$folder/server.properties" "${format[@]}" >/dev/null
fi
exec java "${java_args[@]}" kafka.Kafka "$folder/server.properties"
