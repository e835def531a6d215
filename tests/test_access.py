"""What a cluster is told of who may reach whom is up to date, and is what every service really asks of Kafka."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from chassis.kafka.topic import Topic
from chassis.testing import InMemoryBus
from protos import topics
from protos.callers import JOBS, PEOPLE, WORKLOADS
from protos.kafka_rights import identities, owners, rights_of
from scripts.access import FILES, main

ROOT = Path(__file__).parents[1]
ROLES = {"indexer": "online", "indexer-lake": "lake", "ranker-root": "root", "ranker-leaf": "leaf"}


def test_what_is_committed_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out + "run: python scripts/access.py"


@dataclass
class NotingBus(InMemoryBus):
    """Remembers who wanted to read what, in which group."""

    asked: list[tuple[str, tuple[Topic, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def consumer(self, name: str, topics: Sequence[Topic], group: str, *rest: Any, **options: Any) -> Any:
        self.asked.append((group, tuple(topics)))
        return super().consumer(name, topics, group, *rest, **options)

    def pipeline(self, name: str, topics: Sequence[Topic], group: str, *rest: Any, **options: Any) -> Any:
        self.asked.append((group, tuple(topics)))
        return super().pipeline(name, topics, group, *rest, **options)

    def table(self, name: str, topic: Topic, apply: Callable[..., Any]) -> Any:
        self.asked.append(("", (topic,)))
        return super().table(name, topic, apply)


def asked_by(workload: str, folder: Path) -> list[tuple[str, tuple[Topic, ...]]]:
    """What a workload's whole object graph asks of Kafka."""
    room = f"services.{WORKLOADS[workload].room}"
    config_type = importlib.import_module(f"{room}.config").Config
    fields = {"role": ROLES[workload]} if workload in ROLES else {}
    paths = {name: str(folder / name) for name in ("lake_dir", "ledger_path") if name in config_type.model_fields}
    bus = NotingBus()
    build = importlib.import_module(f"{room}.wiring").build
    build(config_type(state_dir=str(folder), bundles_uri=str(folder), **fields, **paths), bus=bus)
    return bus.asked


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_workload_has_the_rights_for_what_it_reads_and_no_topic_too_many(workload: str, tmp_path: Path) -> None:
    asked = asked_by(workload, tmp_path)
    rights = rights_of(workload)
    readable = {right.name for right in rights if right.kind == "topic" and right.operations[0] == "Read"}
    assert readable == {topic.name for _, wanted in asked for topic in wanted}
    groups = [right for right in rights if right.kind == "group"]
    for group in {group for group, _ in asked if group}:
        assert any(group.startswith(one.name) if one.is_prefix else group == one.name for one in groups), group


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_only_its_owners_write_a_topic(topic: Topic) -> None:
    writers = {who for who in identities() for right in rights_of(who) if _writes(right, topic.name)}
    assert writers == (set(WORKLOADS) if "chassis" in owners(topic) else set(owners(topic)))


def _writes(right: Any, name: str) -> bool:
    covers = name.startswith(right.name) if right.is_prefix else name == right.name
    return bool(right.kind == "topic" and "Write" in right.operations and covers)


def test_who_reads_everything_is_in_no_group_of_a_service() -> None:
    for who in (PEOPLE, JOBS):
        assert [right.name for right in rights_of(who) if right.kind == "group"] == ["corkboard-"]


def documents(name: str) -> Iterator[dict[str, Any]]:
    return yaml.safe_load_all((ROOT / name).read_text())


def test_strimzi_gets_a_user_for_everybody_and_every_topic_with_its_parked_one() -> None:
    users = {one["metadata"]["name"]: one["spec"] for one in documents("charts/kafka/users.yaml")}
    assert set(users) == set(identities())
    assert all(one["authorization"]["acls"] for one in users.values())
    made = {one["metadata"]["name"]: one["spec"] for one in documents("charts/kafka/topics.yaml")}
    assert set(made) == {name for topic in topics.ALL for name in (topic.name, topic.parked.name)}
    accepted = made[topics.EVENTS_ACCEPTED.name]
    assert (accepted["partitions"], accepted["replicas"]) == (6, 3)
    assert accepted["config"]["min.insync.replicas"] == "2"


def test_a_stale_file_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(FILES, "charts/kafka/acls.sh", lambda: "something else")
    assert main(["--check"]) == 1
    assert capsys.readouterr().out == "stale: charts/kafka/acls.sh\n"
