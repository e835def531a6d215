"""Runs a scenario twice on one house, without and with its faults, and judges what the two histories tell."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from chassis.errors import CorkboardError, Unavailable
from corkboard.load.driver import drive
from corkboard.load.plan import Call
from corkboard.load.surface import senders
from corkboard.local import probes
from corkboard.session import Session, connected
from e2e.chaos import data_faults, joined, watch
from e2e.chaos.drivers import Driver, own_pid
from e2e.chaos.effects import Effects
from e2e.chaos.history import FAIL, OK, History, Record
from e2e.chaos.scenario import Fault, Scenario
from e2e.chaos.stand_ins import READY_WITHIN_S, Stage
from e2e.chaos.verdict import Outcome, judge
from e2e.chaos.workload import Workload
from e2e.house import House
from e2e.surface import sequence
from protos import topics

SERVICES = ("ingest", "enrich", "indexer", "cg", "ranker-leaf", "ranker", "blender", "quota", "indexer-lake")
WARM_UP_CALLS = 12
SETTLES_WITHIN_S = 90.0
CANCEL_AGAIN_S = 2.0
Advance = Callable[[int], None]


def run_scenario(house: House, scenario: Scenario, seed: int, advance: Advance = lambda _: None) -> Outcome:
    """The control first, then the faults; both with the calls of the same seed."""

    async def both() -> Outcome:
        control = await Run(house, scenario, seed, advance, is_control=True).record()
        run = await Run(house, scenario, seed, advance, is_control=False).record()
        return judge(scenario.name, seed, scenario.checks, run, control)

    try:
        return asyncio.run(both())
    except* CorkboardError as group:
        error: Any = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


class Run:
    """One run and its history; the control is the same without faults, repeats and shuffles."""

    def __init__(self, house: House, scenario: Scenario, seed: int, advance: Advance, *, is_control: bool) -> None:
        self._house, self._seed, self._advance, self._is_control = house, seed, advance, is_control
        self._scenario = replace(scenario, repeats=0.0, shuffles=False, clock_steps_ms=0) if is_control else scenario
        self._faults = () if is_control else scenario.schedule(seed)
        self._name = f"chaos-{time.time_ns()}"
        self._history = History()
        self._start_s = time.perf_counter()

    async def record(self) -> History:
        """Load, faults and measurements; then wait until all is well and read every sequence."""
        async with self._stage() as stage:
            endpoints = replace(self._house.endpoints, more=stage.addresses())
            start_ns = time.time_ns()
            async with connected(endpoints) as session:
                await self._warm_up(session)
                parked = await _num_parked(self._house.endpoints.kafka)
                await self._under_load(session, stage)
                await self._settle(session)
                num_parked = await _num_parked(self._house.endpoints.kafka) - parked
                self._history.add(Record(self._now_s(), "kafka", "sample", "parked", num_parked))
            for record in await asyncio.to_thread(joined.traces, self._house.traces, self._history, start_ns):
                self._history.add(record)
        return self._history

    def _now_s(self) -> float:
        return round(time.perf_counter() - self._start_s, 4)

    @asynccontextmanager
    async def _stage(self) -> AsyncIterator[Stage]:
        """What the scenario needs beside the house; afterwards the house is as it was."""
        scenario, stage = self._scenario, Stage(self._house, own_pid)
        try:
            if scenario.link is not None:
                await stage.link(*scenario.link)
            if scenario.wrong:
                await asyncio.to_thread(stage.may_be_wrong, scenario.wrong)
            for name in scenario.twins:
                await asyncio.to_thread(stage.twin, name)
            yield stage
        finally:
            await stage.clear()
            for name in () if self._is_control else scenario.bad_bundles:
                await data_faults.announce_again(self._house, name)

    async def _warm_up(self, session: Session) -> None:
        """Calls that nobody counts: a process that has just started is slow at first."""
        await self._all_ready()
        send = senders(session, f"{self._name}-warm")
        calls = [
            Call(number, number * 0.25, "feed" if number % 2 else "events", number) for number in range(WARM_UP_CALLS)
        ]
        await drive(calls, send)

    async def _under_load(self, session: Session, stage: Stage) -> None:
        scenario, add = self._scenario, self._history.add
        calls = scenario.calls(self._seed, is_control=self._is_control)
        self._start_s = time.perf_counter()
        driver = Driver(self._house, stage, add, self._now_s)
        async with Effects(session, self._house, add, self._now_s) as effects, asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(effects.watch()),
                tasks.create_task(watch.watch(self._house, add, self._now_s)),
                tasks.create_task(watch.watch_lag(self._house, add, self._now_s)),
                tasks.create_task(watch.probe_freshness(session, self._name, add, self._now_s)),
            ]
            doing = tasks.create_task(self._do(driver))
            workload = Workload(session, scenario, self._name, self._history, self._now_s)
            is_over = doing.done if scenario.ends_with_faults and not self._is_control else bool
            await drive(calls, workload.send, self._advance, is_over)
            await doing
            await _end(watching)

    async def _do(self, driver: Driver) -> None:
        """Each fault at its time; restarts one after the other, however long one takes."""
        one_restart = asyncio.Lock()

        async def do(fault: Fault) -> None:
            await asyncio.sleep(max(0.0, fault.at_s - self._now_s()))
            if fault.action == "restart":
                async with one_restart:
                    await driver.run(fault)
            else:
                await driver.run(fault)

        async with asyncio.TaskGroup() as tasks:
            for fault in self._faults:
                tasks.create_task(do(fault))

    async def _all_ready(self) -> None:
        """Asks the services themselves: one behind a proxy is none of the supervisor's. Raises: Unavailable."""
        ports, give_up_s = self._house.endpoints.ports, time.monotonic() + READY_WITHIN_S
        for name in SERVICES:
            while not await asyncio.to_thread(probes.is_ready, ports.admin(name)):
                if time.monotonic() > give_up_s:
                    why = probes.why_not_ready(ports.admin(name))
                    raise Unavailable(f"{name} is not ready after {READY_WITHIN_S:.0f} s: {why}")
                await asyncio.sleep(0.2)

    async def _settle(self, session: Session) -> None:
        """Wait for every process, rebuild where the scenario lost the store, and read what is there at last."""
        await self._all_ready()
        if self._scenario.needs_rebuild:
            code, said = await asyncio.to_thread(self._house.attempt, "rebuild", "--json", timeout_s=180.0)
            self._history.add(Record(self._now_s(), "indexer", "rebuild", "local", said[-500:], FAIL if code else OK))
        expected = _acknowledged(self._history)
        give_up_s = time.monotonic() + SETTLES_WITHIN_S
        reads = await _read(session, expected)
        while any(set(expected[user]) - set(reads[user]) for user in expected) and time.monotonic() < give_up_s:
            await asyncio.sleep(0.5)
            reads |= await _read(session, [user for user in expected if set(expected[user]) - set(reads[user])])
        for user, ids in (await _read(session, expected)).items():
            self._history.add(Record(self._now_s(), "surface", "read", user, ids))


async def _end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel until they are over: clients of Kafka take a cancel in the wrong moment for a failure and go on."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_AGAIN_S)


def _acknowledged(history: History) -> dict[str, list[str]]:
    """Event ids by user; users of whom nothing was acknowledged are there as well."""
    found: dict[str, list[str]] = {}
    for record in history.of("publish"):
        found.setdefault(record.key, []).extend([record.value["event_id"]] if record.outcome == OK else [])
    return found


async def _read(session: Session, users: Iterable[str]) -> dict[str, list[str]]:
    """The sequence of each user; empty when the indexer does not answer."""

    async def one(user: str) -> list[str]:
        try:
            return [event_id for _, event_id, _ in await sequence(session, user)]
        except CorkboardError:
            return []

    return {user: await one(user) for user in users}


async def _num_parked(bootstrap: str) -> int:
    """Records that lie parked, over the topics of events."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        parked = [topic.parked for topic in (topics.EVENTS_ACCEPTED, topics.EVENTS_ENRICHED)]
        found = [TopicPartition(topic.name, part) for topic in parked for part in range(topic.num_partitions)]
        return sum((await consumer.end_offsets(found)).values())
    finally:
        await consumer.stop()
