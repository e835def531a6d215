"""What each identity may do in Kafka: it follows from the topics' two ends and the workloads' groups."""

from collections.abc import Iterator
from dataclasses import dataclass

from chassis.kafka.topic import Topic
from protos import topics
from protos.callers import JOBS, PEOPLE, WORKLOADS

EVERY_WORKLOAD = "chassis"
ALL_TOPICS = "corkboard."  # names of all topics begin with it
WHOLE_READERS = (PEOPLE, JOBS)  # rebuilds, backfills, looking at what was parked
JOB_GROUPS = "corkboard-"


@dataclass(frozen=True)
class Right:
    """Operations on one resource, or on all whose name begins with `name`."""

    kind: str  # topic or group
    name: str
    operations: tuple[str, ...]
    is_prefix: bool = False


READ, WRITE = ("Read", "Describe"), ("Write", "Describe")


def identities() -> tuple[str, ...]:
    """Everybody who may connect to Kafka."""
    return (*WORKLOADS, *WHOLE_READERS)


def rights_of(who: str) -> tuple[Right, ...]:
    """All rights of an identity; what is not there is refused by the broker."""
    return (*_reads(who), *_writes(who), *_groups(who))


def _reads(who: str) -> Iterator[Right]:
    if who in WHOLE_READERS:
        yield Right("topic", ALL_TOPICS, READ, is_prefix=True)
        return
    yield from (Right("topic", topic.name, READ) for topic in topics.ALL if who in _named(topic.consumers))


def _writes(who: str) -> Iterator[Right]:
    for topic in topics.ALL:
        if who in _named(owners(topic)):
            yield Right("topic", topic.name, WRITE)
        if who in _named(topic.consumers):
            yield Right("topic", topic.parked.name, WRITE)


def _groups(who: str) -> Iterator[Right]:
    groups = WORKLOADS[who].groups if who in WORKLOADS else (JOB_GROUPS,)
    yield from (Right("group", group, ("Read",), is_prefix=group.endswith("-")) for group in groups)


def owners(topic: Topic) -> tuple[str, ...]:
    """Who writes it."""
    return tuple(topic.owner.split(", "))


def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(WORKLOADS) if EVERY_WORKLOAD in names else names
