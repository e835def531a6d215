"""Every topic has somebody who writes it and somebody who reads it, where the list says so."""

import re
from pathlib import Path

import pytest

from chassis.kafka.topic import Topic
from protos import topics
from protos.callers import WORKLOADS

ROOT = Path(__file__).parents[1]
NAMES = {topic.name: name for name, topic in vars(topics).items() if isinstance(topic, Topic)}
PLACES = {
    "chassis": ("protos/contracts.py", "chassis"),
    "jobs": ("services", "modeling"),
    "people": ("corkboard",),
    **{name: (f"services/{workload.room}",) for name, workload in WORKLOADS.items()},
}
"""Where the code of an identity lies."""


def uses(topic: Topic, who: str) -> list[Path]:
    """Files of `who` that name the topic."""
    pattern = re.compile(rf"\b{NAMES[topic.name]}\b")
    found: list[Path] = []
    for place in PLACES[who]:
        path = ROOT / place
        files = [path] if path.is_file() else [file for file in path.rglob("*.py") if "tests" not in file.parts]
        found += [file for file in files if pattern.search(file.read_text())]
    return found


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_a_topic_is_written_by_its_owner(topic: Topic) -> None:
    for owner in topic.owner.split(", "):
        assert uses(topic, owner), f"{owner} owns {topic.name} and never names {NAMES[topic.name]}"


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_a_topic_is_read_by_its_consumers(topic: Topic) -> None:
    for consumer in topic.consumers:
        assert uses(topic, consumer), f"{consumer} should read {topic.name} and never names {NAMES[topic.name]}"


def test_nobody_uses_a_topic_by_its_bare_name() -> None:
    bare = re.compile(r"[\"']corkboard\.[a-z_]+\.[a-z_]+\.v\d")
    offenders = [
        str(path.relative_to(ROOT))
        for room in ("services", "chassis", "corkboard", "sequences")
        for path in (ROOT / room).rglob("*.py")
        if "tests" not in path.parts and bare.search(path.read_text())
    ]
    assert offenders == []


def test_topics_that_share_a_bucket_have_equal_partitions() -> None:
    by_user = {topic.num_partitions for topic in topics.ALL if topic.key == "user bucket"}
    assert len(by_user) == 1
