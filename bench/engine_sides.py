"""One way to consume events from Kafka, in a process of its own: `python -m bench.engine_sides SIDE …`; prints JSON.

Every side decodes what it gets and adds it up. What is told is the CPU time of this process, all threads of it, from
the start of the consumer until everything is added, for a topic with nothing to speak of first and then for the full
one: the difference is the cost of the records, without that of starting.
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from aiokafka import AIOKafkaConsumer

from chassis.clock import SYSTEM_CLOCK
from chassis.deadline import Deadline
from chassis.health import Health
from chassis.kafka import arrow
from chassis.kafka.bus import KafkaBus, Part, Record
from chassis.kafka.connection import Connection
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics
from chassis.tasks import Crew
from sequences.definitions.testing import repository_definitions
from sequences.engine.engine import Engine, run_steps
from sequences.engine.executor import Lookups
from sequences.engine.plan import Plan, plan_for
from services.enrich.app.enrich_events import join_for_engine

NUM_PARTITIONS = 6
LOOKED_UP = ("pin_features", "time_features")  # asks indexer; reads what came of it
WITHIN_S = 240.0
POLL_MS = 200
MAX_RECORDS = 64  # of one call, as many as our consumers hand over at once; without a limit it costs the same


@dataclass
class Tally:
    """What came through: records, events, and the sum of the events' times; `is_done` when all records are in."""

    num_expected: int
    num_records: int = 0
    num_events: int = 0
    sum_ms: int = 0
    is_done: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, num_records: int, batches: Sequence[pa.RecordBatch]) -> None:
        """Events of so many records."""
        self.num_records += num_records
        for batch in batches:
            self.num_events += batch.num_rows
            self.sum_ms += pc.sum(batch.column("event_time_ms")).as_py() or 0
        self.check()

    def add_one(self, event: dict[str, int]) -> None:
        """A record that is one event."""
        self.num_records += 1
        self.num_events += 1
        self.sum_ms += event["event_time_ms"]
        self.check()

    def check(self) -> None:
        if self.num_records >= self.num_expected:
            self.is_done.set()


Side = Callable[[str, Topic, Tally], Awaitable[None]]


def topic_of(name: str) -> Topic:
    """A topic of the bench."""
    return Topic(name, "key", "value", "bench", ("bench",), NUM_PARTITIONS)


async def bare(bootstrap: str, topic: Topic, tally: Tally) -> None:
    """A loop over `getmany` with the settings of our consumers."""
    await _bare(bootstrap, topic, tally, lambda batch: batch)


async def bare_engine(bootstrap: str, topic: Topic, tally: Tally) -> None:
    """The same, with every enrichment run on each envelope by a plain call."""
    plan = _plan()
    lookups = {step.name: Lookups(plan.event_types) for step in plan.steps}
    await _bare(bootstrap, topic, tally, lambda batch: run_steps(plan, batch, lookups).batch)


async def consumer(bootstrap: str, topic: Topic, tally: Tally) -> None:
    """Our batch consumer."""
    await _part(bootstrap, tally, lambda bus, handle: bus.consumer("bench", [topic], uuid.uuid4().hex, handle))


async def consumer_engine(bootstrap: str, topic: Topic, tally: Tally) -> None:
    """The engine on our batch consumer, envelopes that wait joined as enrich joins them."""
    engine = Engine(_plan())
    await _part(bootstrap, tally, lambda bus, handle: bus.consumer("b", [topic], uuid.uuid4().hex, handle), engine)


async def faust_pipeline(bootstrap: str, topic: Topic, tally: Tally) -> None:
    """Our pipeline on Faust."""
    await _part(bootstrap, tally, lambda bus, handle: bus.pipeline("bench", [topic], uuid.uuid4().hex, handle))


async def faust_pipeline_engine(bootstrap: str, topic: Topic, tally: Tally) -> None:
    """The engine on it: what enrich runs."""
    engine = Engine(_plan())
    await _part(bootstrap, tally, lambda bus, handle: bus.pipeline("b", [topic], uuid.uuid4().hex, handle), engine)


async def faust_per_event(bootstrap: str, topic: Topic, tally: Tally) -> None:
    """Faust as its documentation has it: an agent over records of one JSON event each, acknowledged by itself."""
    import faust

    folder = tempfile.mkdtemp(prefix="faust-")
    app = faust.App(
        uuid.uuid4().hex,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder,
        web_enabled=False,
        autodiscover=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
    )

    async def count(stream: object) -> None:
        async for event in stream:  # type: ignore[attr-defined]
            tally.add_one(event)

    app.agent(app.topic(topic.name, value_serializer="json"))(count)
    await app.start()
    try:
        await asyncio.wait_for(tally.is_done.wait(), WITHIN_S)
    finally:
        await app.stop()
        shutil.rmtree(folder, ignore_errors=True)


SIDES: dict[str, Side] = {
    each.__name__: each
    for each in (bare, consumer, faust_pipeline, faust_per_event, bare_engine, consumer_engine, faust_pipeline_engine)
}


async def _bare(bootstrap: str, topic: Topic, tally: Tally, work: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
    client = AIOKafkaConsumer(topic.name, **Connection(bootstrap, "", "bench").member("bench", uuid.uuid4().hex))
    await client.start()
    try:
        while not tally.is_done.is_set():
            found = await client.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
            for record in (each for records in found.values() for each in records):
                tally.add(1, [work(arrow.decode(record.value))])
        await client.commit()
    finally:
        await client.stop()


async def _part(
    bootstrap: str,
    tally: Tally,
    make: Callable[[KafkaBus, Callable[..., Awaitable[None]]], Part],
    engine: Engine | None = None,
) -> None:
    async def handle(records: Sequence[Record]) -> None:
        batches = [arrow.decode(record.value) for record in records]
        if engine is not None:
            batches = [(await engine.run(batch)).batch for batch in join_for_engine(batches)]
        tally.add(len(records), batches)

    bus = KafkaBus(bootstrap, zone="", instance="bench", metrics=Metrics("bench"), health=Health(), clock=SYSTEM_CLOCK)
    part, crew = make(bus, handle), Crew()
    tasks = await crew.open()
    try:
        await part.start(tasks)
        await asyncio.wait_for(tally.is_done.wait(), WITHIN_S)
    finally:
        await part.stop(Deadline.after(5.0))
        await crew.close()


def _plan() -> Plan:
    """Every enrichment of events that needs no look-up, of the repository's definitions."""
    known = repository_definitions()
    enrichments = {name: each for name, each in known.enrichments.items() if name not in LOOKED_UP}
    return plan_for(known.model_copy(update={"enrichments": enrichments}))


async def measure(side: Side, bootstrap: str, topics: Sequence[tuple[str, int]]) -> list[dict[str, float]]:
    """For each topic with so many records: CPU and wall seconds, and what came through."""
    found = []
    for name, num_records in topics:
        tally = Tally(num_records)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        await side(bootstrap, topic_of(name), tally)
        used = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}
        counted = {key: value for key, value in vars(tally).items() if key != "is_done"}
        found.append({**used, **counted})
    return found


def main() -> int:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(prog="bench.engine_sides", description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", action="append", nargs=2, metavar=("NAME", "RECORDS"), required=True)
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    topics = [(name, int(num_records)) for name, num_records in options.topic]
    sys.stdout.write(json.dumps(asyncio.run(measure(SIDES[options.side], options.bootstrap, topics))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
