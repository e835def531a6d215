"""Writes what a cluster must know of who may reach whom: the call graph, and Kafka's topics, users and rights.

All of it follows from `protos/callers.py` and `protos/topics.py`. `python scripts/access.py` writes, `--check` only
says what is stale.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from chassis.kafka.admin import topic_settings
from chassis.kafka.topic import Topic
from protos import topics
from protos.callers import WORKLOADS, called_by, callers_of
from protos.kafka_rights import Right, identities, rights_of

ROOT = Path(__file__).parents[1]
MADE = "Made by scripts/access.py from protos/callers.py and protos/topics.py: do not edit."
CLUSTER = {"strimzi.io/cluster": "corkboard"}
API_VERSION = "kafka.strimzi.io/v1"
REPLICATION = 3  # one copy in each of three zones
ACLS_HEAD = f"""#!/usr/bin/env bash
# {MADE}
# For a Kafka without Strimzi: BOOTSTRAP=host:port [CONFIG=admin.properties] [PRINCIPAL=User:CN=] charts/kafka/acls.sh
# It only adds: list what there is with kafka-acls.sh --list, and remove what is not here.
set -euo pipefail
allow() {{
  local who=$1; shift
  "${{KAFKA_ACLS:-kafka-acls.sh}}" --bootstrap-server "$BOOTSTRAP" ${{CONFIG:+--command-config "$CONFIG"}} \\
    --add --allow-principal "${{PRINCIPAL:-User:}}$who" "$@"
}}
"""


def graph() -> str:
    """The template that network policies look callers up in."""
    lines = [f"{{{{/* {MADE} */}}}}", '{{- define "corkboard.graph" -}}']
    for name in WORKLOADS:
        lines.append(f"{name}: {{calledBy: [{', '.join(callers_of(name))}], calls: [{', '.join(called_by(name))}]}}")
    return "\n".join([*lines, "{{- end -}}", ""])


def users() -> str:
    """A KafkaUser of Strimzi for each identity; its operator makes a Secret with a certificate under the same name."""
    return _manifests(_user(who) for who in identities())


def kafka_topics() -> str:
    """A KafkaTopic of Strimzi for each topic and for what is parked of it."""
    return _manifests(_topic(topic) for topic in every_topic())


def every_topic() -> Iterator[Topic]:
    """All topics, each followed by where its poison lies."""
    for topic in topics.ALL:
        yield topic
        yield topic.parked


def acls() -> str:
    """The same rights as commands of Kafka's own tool."""
    return ACLS_HEAD + "".join(f"{line}\n" for who in identities() for line in _commands(who))


FILES: dict[str, Callable[[], str]] = {
    "charts/_service/templates/_graph.tpl": graph,
    "charts/kafka/users.yaml": users,
    "charts/kafka/topics.yaml": kafka_topics,
    "charts/kafka/acls.sh": acls,
}


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    stale = [name for name, make in FILES.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != make()]
    is_check = "--check" in arguments
    for name in () if is_check else stale:
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(FILES[name]())
        (ROOT / name).chmod(0o755 if name.endswith(".sh") else 0o644)
    sys.stdout.write("".join(f"{'stale' if is_check else 'written'}: {name}\n" for name in stale))
    return int(is_check and bool(stale))


def _manifests(documents: Iterator[dict[str, Any]]) -> str:
    text = yaml.safe_dump_all(documents, sort_keys=False, width=160, explicit_start=True, default_flow_style=None)
    return f"# {MADE}\n{text}"


def _user(who: str) -> dict[str, Any]:
    rules = [_rule(right) for right in rights_of(who)]
    return {
        "apiVersion": API_VERSION,
        "kind": "KafkaUser",
        "metadata": {"name": who, "labels": CLUSTER.copy()},
        "spec": {"authentication": {"type": "tls"}, "authorization": {"type": "simple", "acls": rules}},
    }


def _rule(right: Right) -> dict[str, Any]:
    pattern = "prefix" if right.is_prefix else "literal"
    resource = {"type": right.kind, "name": right.name, "patternType": pattern}
    return {"resource": resource, "operations": list(right.operations)}


def _topic(topic: Topic) -> dict[str, Any]:
    spec = {"partitions": topic.num_partitions, "replicas": REPLICATION, "config": topic_settings(topic, REPLICATION)}
    metadata = {"name": topic.name, "labels": CLUSTER.copy()}
    return {"apiVersion": API_VERSION, "kind": "KafkaTopic", "metadata": metadata, "spec": spec}


def _commands(who: str) -> Iterator[str]:
    """One command for rights with the same operations: each starts a Java machine."""
    rights = rights_of(who)
    for key in dict.fromkeys((right.operations, right.is_prefix, right.kind) for right in rights):
        operations, is_prefix, kind = key
        words = [f"--operation {operation}" for operation in operations]
        words += [f"--{kind} {one.name}" for one in rights if (one.operations, one.is_prefix, one.kind) == key]
        yield " ".join(["allow", who, *words, *(["--resource-pattern-type prefixed"] if is_prefix else [])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
