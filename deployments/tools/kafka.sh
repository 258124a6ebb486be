#!/usr/bin/env bash
# Runs a command beside a real Apache Kafka of one node, whose address it finds in FORESHADOW_TEST_BROKER:
#
#     deployments/tools/kafka.sh go test ./libs/kafka/
#
# Needs Java 17 and Maven, which fetches the broker (43 MB) into .cache/kafka once.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cache="$here/../../.cache/kafka"
for tool in java mvn; do
  command -v "$tool" >/dev/null || { echo "kafka.sh: $tool is missing: install a JDK of 17 or later and Maven" >&2; exit 1; }
done
if ! ls "$cache"/lib/kafka_2.13-*.jar >/dev/null 2>&1; then
  echo "Fetching Apache Kafka ..." >&2
  mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$(mkdir -p "$cache" && cd "$cache" && pwd)/lib" >&2
fi

port="${KAFKA_PORT:-29092}"
dir="$(mktemp -d)"
broker=""
stop() { [ -z "$broker" ] || { kill "$broker" 2>/dev/null || true; wait "$broker" 2>/dev/null || true; }; rm -rf "$dir"; }
trap stop EXIT
cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
PROPERTIES
run() { java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$cache/lib/*" "$@"; }
run kafka.tools.StorageTool format -t "$(run kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1)" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
  { cat "$dir/format.log" >&2; exit 1; }
run kafka.Kafka "$dir/server.properties" >"$dir/kafka.log" 2>&1 &
broker=$!
for _ in $(seq 120); do
  if (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  kill -0 "$broker" 2>/dev/null || { tail -n 20 "$dir/kafka.log" >&2; echo "kafka.sh: the broker ended" >&2; exit 1; }
  sleep 0.5
done
FORESHADOW_TEST_BROKER="127.0.0.1:$port" "$@"
