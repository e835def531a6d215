"""Waits until the lake holds what Kafka held: an export that reads before it would train on half of the past."""

import asyncio
from collections.abc import Mapping, Sequence

from chassis.deadline import Deadline
from chassis.errors import DeadlineExceeded
from chassis.kafka.bus import Bus
from chassis.kafka.topic import Topic
from services.indexer.inbound.kafka_lake import HISTORY_TOPICS, TABLE_BY_TOPIC
from services.indexer.ports import Lake

POLL_S = 0.5


async def wait_for_lake(lake: Lake, bus: Bus, within_s: float, topics: Sequence[Topic] = HISTORY_TOPICS) -> None:
    """Return when every partition is committed up to where it ended at the call; at once for `within_s` 0.

    Raises: DeadlineExceeded naming how many records are missing, Unavailable.
    """
    if within_s <= 0:
        return
    ends, deadline = await bus.end_offsets(topics), Deadline.after(within_s)
    while (missing := await asyncio.to_thread(_missing, lake, topics, ends)) > 0:
        if deadline.remaining_s() <= 0:
            raise DeadlineExceeded(
                f"after {within_s:g} s the lake lacks {missing} records; is the indexer's lake role running?",
                reason="lake_behind",
            )
        await asyncio.sleep(POLL_S)


def _missing(lake: Lake, topics: Sequence[Topic], ends: Mapping[tuple[str, int], int]) -> int:
    coverage = {topic.name: lake.coverage(TABLE_BY_TOPIC[topic.name]) for topic in topics}
    behind = 0
    for (topic, partition), end in ends.items():
        covered = coverage[topic].get(partition)
        behind += end - (covered.next_offset if covered else 0)
    return behind
