"""What a group of consumers promises, over hundreds of schedules of faults in virtual time; `slow` runs thousands.

A failure names its seed; `SEED=123 python -m pytest chassis/tests/test_consumer_simulation.py -k replay` runs it alone.
"""

import asyncio
import itertools
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from chassis.deadline import Deadline
from chassis.kafka import consumer as consumer_module
from chassis.kafka.consumer import BatchConsumer
from chassis.kafka.record import Record
from chassis.testing import VirtualClock, run_virtually
from chassis.tests.simulated_broker import KINDS, Broker, Fault, Process, patched

FAULTS_UNTIL_S = 30.0
SETTLES_WITHIN_S = 60.0
FEW, MANY = range(600), range(1_000, 6_000)
NUM_RECORDS = 400
# A process that is killed has begun things that it never gets to.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
STALL_S = 5.0  # in a schedule without faults: retries of a store that refuses one call in fifty


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of schedules say the same things thousands of times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def schedule_of(seed: int) -> list[Fault]:
    rng = random.Random(seed)  # replayable
    begins_s = [rng.uniform(0.5, FAULTS_UNTIL_S) for _ in range(rng.randint(1, 8))]
    return [Fault(rng.choice(KINDS), begin_s, begin_s + rng.uniform(0.2, 6.0)) for begin_s in sorted(begins_s)]


async def simulate(
    seed: int, faults: Sequence[Fault], new_consumer: Callable[..., BatchConsumer], clock: VirtualClock
) -> Broker:
    """The broker after everything was handled, or after the time for it was over."""
    broker = Broker(random.Random(seed), clock, NUM_RECORDS)
    processes = [Process(broker, new_consumer) for _ in range(2)]
    gone: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as tasks:
        for name, value in patched(broker).items():
            setattr(consumer_module, name, value)
        tasks.create_task(broker.write())
        for fault in faults:
            tasks.create_task(_do(fault, broker, processes, gone, new_consumer))
    give_up_s = clock.monotonic_s() + SETTLES_WITHIN_S
    while not broker.is_settled() and clock.monotonic_s() < give_up_s:
        await clock.sleep(0.1)
    await asyncio.gather(*gone)
    for process in processes:
        await process.stop()
    return broker


async def _do(
    fault: Fault,
    broker: Broker,
    processes: list[Process],
    gone: list[asyncio.Task[None]],
    new_consumer: Callable[..., BatchConsumer],
) -> None:
    await broker.clock.sleep(fault.begin_s)
    if fault.kind in ("away", "store_away", "store_slow"):
        flag = f"is_{fault.kind}"
        setattr(broker, flag, True)
        await broker.clock.sleep(fault.end_s - fault.begin_s)
        setattr(broker, flag, False)
    elif fault.kind == "lose_ack":
        broker.loses_ack = True
    elif fault.kind == "join":
        processes.append(Process(broker, new_consumer))
    elif fault.kind == "evict":
        await broker.evict()
    else:
        process = processes.pop(0)
        gone.append(asyncio.ensure_future(process.crash() if fault.kind == "crash" else process.stop()))
        processes.append(Process(broker, new_consumer))


def run(
    seed: int, faults: Sequence[Fault] | None = None, new_consumer: Callable[..., BatchConsumer] = BatchConsumer
) -> Broker:
    chosen = schedule_of(seed) if faults is None else faults
    kept = {name: getattr(consumer_module, name) for name in ("AIOKafkaConsumer", "wait_for_topics", "disconnect")}
    try:
        return run_virtually(lambda clock: simulate(seed, chosen, new_consumer, clock))
    finally:
        for name, value in kept.items():
            setattr(consumer_module, name, value)


def broken_promises(broker: Broker) -> list[str]:
    """What does not hold; empty = everything does."""
    written = {(partition, at) for partition, log in broker.logs.items() for at in range(len(log))}
    found = {
        "lost": not written <= broker.is_done,
        "invented": not broker.is_done <= written,
        "twice": len(broker.effects) != len(set(broker.effects)),
        "order": any(
            one > other
            for number in broker.logs
            for one, other in itertools.pairwise([at for partition, at in broker.effects if partition == number])
        ),
        "commit_before_effect": bool(broker.too_early),
        "poison": set(broker.parked) != broker.poison,
        "unfinished": not broker.is_settled(),
    }
    return [name for name, is_broken in found.items() if is_broken]


def failing(seeds: range) -> Mapping[int, list[str]]:
    results = {seed: broken_promises(run(seed)) for seed in seeds}
    return {seed: broken for seed, broken in results.items() if broken}


@pytest.mark.timeout(180)
def test_every_promise_holds_in_many_schedules() -> None:
    assert failing(FEW) == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_promise_holds_in_thousands_of_schedules() -> None:
    assert failing(MANY) == {}


@pytest.mark.skipif("SEED" not in os.environ, reason="replays the schedule of SEED")
def test_replay() -> None:
    seed = int(os.environ["SEED"])
    assert broken_promises(run(seed)) == [], schedule_of(seed)


def test_a_run_is_the_same_again() -> None:
    assert run(7).effects == run(7).effects


def test_without_faults_nothing_waits_long() -> None:
    assert max(run(3, []).lags_s.values()) < STALL_S


class CommitsFirst(BatchConsumer):
    """Says that records are done when they come."""

    async def _fetch(self, client: Any) -> None:
        await super()._fetch(client)
        for place in client.assignment():
            self._done[place] = client.position.get(place, 0)


class LosesOnTrouble(BatchConsumer):
    """Drops what a handler refuses for now."""

    def __init__(self, name: str, topics: Any, group: str, handle: Any, **options: Any) -> None:
        async def once(records: Sequence[Record]) -> None:
            try:
                await handle(records)
            except Exception as error:
                if "away" not in str(error):
                    raise

        super().__init__(name, topics, group, once, **options)


class NeverCommits(BatchConsumer):
    """Does the work and says nothing."""

    async def _commit(self, client: Any, within_s: float = 0.0) -> None:
        pass


class TakesBack(BatchConsumer):
    """Leaves its group and keeps what it knew of it."""

    async def _leave(self, deadline: Deadline) -> None:
        done, committed = dict(self._done), dict(self._committed)
        await super()._leave(deadline)
        self._done, self._committed = done, committed


def test_a_member_that_comes_back_takes_no_offset_back() -> None:
    assert broken_promises(run(800)) == []
    assert broken_promises(run(800, new_consumer=TakesBack)) == ["unfinished"]


class ParksWhatIsWell(BatchConsumer):
    """Sets aside a whole batch for one bad record."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        handler = self._handler

        async def all_of(records: Sequence[Record], error: Exception, attempt: int) -> None:
            for record in records:
                await handler._park(record, error, attempt)

        handler._set_aside = all_of  # type: ignore[method-assign]


class Backwards(BatchConsumer):
    """Takes the newest first."""

    def __init__(self, name: str, topics: Any, group: str, handle: Any, **options: Any) -> None:
        async def turned(records: Sequence[Record]) -> None:
            await handle(list(reversed(records)))

        super().__init__(name, topics, group, turned, **options)


MUTANTS: list[tuple[str, type[BatchConsumer]]] = [
    ("commit_before_effect", CommitsFirst),
    ("lost", LosesOnTrouble),
    ("unfinished", NeverCommits),
    ("poison", ParksWhatIsWell),
    ("order", Backwards),
]


@pytest.mark.parametrize(("promise", "mutant"), MUTANTS, ids=[mutant.__name__ for _, mutant in MUTANTS])
def test_each_promise_catches_a_planted_fault(promise: str, mutant: type[BatchConsumer]) -> None:
    faults = [Fault("store_away", 2.0, 5.0), Fault("crash", 7.0, 7.0)]
    assert broken_promises(run(1, faults)) == []
    assert promise in broken_promises(run(1, faults, mutant))
