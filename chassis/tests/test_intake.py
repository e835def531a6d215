"""What waits is handled together; who is in trouble goes on alone; nobody starves; a stop ends it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import pytest

from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Unavailable
from chassis.kafka.handling import Handler
from chassis.kafka.intake import Intake
from chassis.kafka.record import Record
from chassis.metrics import Metrics
from chassis.tasks import Crew
from chassis.testing import eventually

WITHIN_S = 5.0


class World:
    """An intake whose handler fails for the partitions in `away`."""

    def __init__(self, tasks: asyncio.TaskGroup, max_records: int) -> None:
        self.batches: list[list[Record]] = []
        self.finished: dict[int, list[int]] = defaultdict(list)
        self.away: set[int] = set()
        self.is_open = asyncio.Event()
        self.is_open.set()
        handler = Handler("test", self._handle, self, Metrics("test"), SYSTEM_CLOCK, lambda _: None)
        self.intake = Intake(handler, self._finished, max_records, tasks)

    def add(self, partition: int, *offsets: int) -> None:
        self.intake.add([Record("topic", partition, offset, None, b"", {}, 0) for offset in offsets])

    async def park(self, record: Record, error: Exception, attempt: int = 1) -> None:
        raise AssertionError(f"{record} is no poison: {error}, {attempt}")

    async def _handle(self, records: Sequence[Record]) -> None:
        self.batches.append(list(records))
        await self.is_open.wait()
        if any(record.partition in self.away for record in records):
            raise Unavailable("its store is away")

    async def _finished(self, records: Sequence[Record]) -> None:
        self.finished[records[0].partition] += [record.offset for record in records]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    crew = Crew()
    made = World(await crew.open(), max_records=4)
    yield made
    await made.intake.finish(0.0)
    await crew.close()


async def test_partitions_are_handled_together_and_each_has_its_share(world: World) -> None:
    world.is_open.clear()
    world.add(0, 0)
    await eventually(lambda: len(world.batches) == 1, WITHIN_S)
    world.add(0, 1, 2, 3)
    world.add(1, 0, 1, 2)
    world.is_open.set()
    await eventually(lambda: world.finished == {0: [0, 1, 2, 3], 1: [0, 1, 2]}, WITHIN_S)
    assert [(record.partition, record.offset) for record in world.batches[1]] == [(0, 1), (0, 2), (1, 0), (1, 1)]
    assert max(map(len, world.batches)) <= 4


async def test_more_partitions_than_a_batch_holds_take_turns(world: World) -> None:
    for partition in range(9):
        world.add(partition, *range(20))
    await eventually(lambda: len(world.batches) >= 5, WITHIN_S)
    assert {record.partition for batch in world.batches[:5] for record in batch} == set(range(9))
    await eventually(lambda: all(world.finished[partition] == list(range(20)) for partition in range(9)), WITHIN_S)


async def test_a_partition_in_trouble_goes_on_alone_and_in_order(world: World) -> None:
    world.away = {1}
    world.add(0, 0)
    world.add(1, 0)
    await eventually(lambda: world.finished == {0: [0]}, WITHIN_S)
    world.add(0, 1)
    world.add(1, 1)
    await eventually(lambda: world.finished == {0: [0, 1]}, WITHIN_S)
    world.away = set()
    await eventually(lambda: world.finished == {0: [0, 1], 1: [0, 1]}, WITHIN_S)


async def test_a_finish_waits_for_what_is_in_hand_and_forgets_the_rest(world: World) -> None:
    world.is_open.clear()
    world.add(0, 0)
    await eventually(lambda: len(world.batches) == 1, WITHIN_S)
    world.add(0, 1)
    finishing = asyncio.create_task(world.intake.finish(WITHIN_S))
    await asyncio.sleep(0.01)
    world.is_open.set()
    await finishing
    assert world.finished == {0: [0]}
    assert world.intake.num_waiting(0) == 0


async def test_a_finish_cuts_what_takes_too_long(world: World) -> None:
    world.away = {0}
    world.add(0, 0)
    await eventually(lambda: len(world.batches) >= 2, WITHIN_S)
    await asyncio.wait_for(world.intake.finish(0.05), WITHIN_S)
    assert not world.finished


async def test_a_group_that_ends_takes_no_new_work_and_leaves_none_behind() -> None:
    with pytest.raises(ExceptionGroup, match="unhandled errors") as caught:
        async with asyncio.TaskGroup() as tasks:
            world = World(tasks, max_records=4)
            world.away = {0}
            world.add(0, 0)
            await eventually(lambda: len(world.batches) >= 2, WITHIN_S)
            world.is_open.clear()
            world.add(1, 0)
            await eventually(lambda: len(world.batches) >= 3, WITHIN_S)
            world.add(2, 0)
            tasks.create_task(_burst())
    assert [str(error) for error in caught.value.exceptions] == ["boiler burst"]
    assert not world.finished
    await asyncio.wait_for(world.intake.finish(0.0), WITHIN_S)


async def test_work_that_is_cut_before_it_begins_holds_up_no_finish() -> None:
    crew = Crew()
    world = World(await crew.open(), max_records=4)
    world.add(0, 0)
    await crew.tasks.end()
    await asyncio.sleep(0)
    await asyncio.wait_for(world.intake.finish(0.0), WITHIN_S)
    await crew.close()
    assert not world.batches


async def _burst() -> None:
    raise RuntimeError("boiler burst")
