"""The streaming machinery on a real broker: events per CPU second of our consumers, of a bare loop, of Faust per event.

Every side reads the same envelopes and does the same with them (`bench/engine_sides.py`), in a process of its own;
rounds take turns, and a side whose sum differs ends the bench. Of each side the fastest round counts: what is slower
was somebody else's work on the same cores. The per-event side reads one JSON record for each event, fewer of them,
because it takes so long.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from aiokafka import AIOKafkaProducer

from bench.engine_sides import NUM_PARTITIONS, SIDES, topic_of
from bench.load import gate
from chassis.kafka import arrow
from chassis.kafka.admin import ensure_topics
from chassis.kafka.connection import Connection
from chassis.testing.ports import free_ports
from corkboard.local.kafka_server import KafkaServer
from sequences.definitions.cpu_cost import specimens
from sequences.definitions.testing import repository_definitions

ROUNDS = 7
ROWS_PER_ENVELOPE = 512
NUM_DISTINCT = 48  # envelopes, written over and over
NUM_ENVELOPES = 6_000
NUM_WITH_ENGINE = 600  # the engine's sides take longer
NUM_SINGLE = 24_000  # events of the per-event side
SIDE_WITHIN_S = 300.0
CONSUMER_GOAL, FAUST_GOAL, PER_EVENT_GOAL = 1 / 0.9, 2.0, 1 / 30  # CPU per event: of bare's, of bare's, of per-event's
ENGINES = ("consumer_engine", "bare_engine")
COMPARED = (
    ("consumer", "bare"),
    ("faust_pipeline", "bare"),
    ("faust_pipeline", "consumer"),
    ("faust_pipeline", "faust_per_event"),
    ("consumer", "faust_per_event"),
    ENGINES,
    ("faust_pipeline_engine", "bare_engine"),
)
WARM = "bench.warm"
WARM_SINGLE = "bench.warm.single"
ENVELOPES = "bench.envelopes"
ENGINE_ENVELOPES = "bench.envelopes.engine"
SINGLE = "bench.single"
NUM_WARM = NUM_PARTITIONS
Given = dict[str, tuple[int, int, int]]
"""What is in each topic: records, events, sum of their times."""


@dataclass(frozen=True)
class Run:
    """One side in one round; `result` is (events, sum of their times)."""

    events_per_cpu_s: float
    result: tuple[int, int]


def measure() -> dict[str, Any]:
    """All sides, on a broker of their own."""
    with tempfile.TemporaryDirectory() as folder:
        port, controller_port = free_ports(2)
        server = KafkaServer.alone(Path(folder) / "kafka", port, controller_port)
        try:
            server.start()
            given = asyncio.run(_fill(server.address))
            rounds = [_round(server.address, given, number) for number in range(ROUNDS)]
        finally:
            server.stop()
    return _report(rounds)


async def _fill(bootstrap: str) -> Given:
    """Write the topics; returns (records, events, sum of times) of each."""
    envelopes = _envelopes()
    values = [arrow.encode(each) for each in envelopes]
    sums = [pc.sum(each.column("event_time_ms")).as_py() for each in envelopes]
    rows = pa.Table.from_batches(envelopes).slice(0, NUM_SINGLE).to_pylist()
    single = [json.dumps(row | {"attributes": row["attributes"].decode()}).encode() for row in rows]
    given = {}
    for name, num in ((WARM, NUM_WARM), (ENVELOPES, NUM_ENVELOPES), (ENGINE_ENVELOPES, NUM_WITH_ENGINE)):
        await _write(bootstrap, name, [values[n % NUM_DISTINCT] for n in range(num)])
        given[name] = (num, num * ROWS_PER_ENVELOPE, sum(sums[n % NUM_DISTINCT] for n in range(num)))
    for name, num in ((WARM_SINGLE, NUM_WARM), (SINGLE, len(single))):
        await _write(bootstrap, name, single[:num])
        given[name] = (num, num, sum(row["event_time_ms"] for row in rows[:num]))
    return given


def _envelopes() -> list[pa.RecordBatch]:
    """Of every event type in turn, with ids as random as real ones, which is what makes them large."""
    batch = specimens(repository_definitions(), ROWS_PER_ENVELOPE * NUM_DISTINCT)
    dice = random.Random(5)
    made: dict[str, Callable[[], str]] = {
        "event_id": lambda: f"{dice.getrandbits(128):032x}",
        "request_id": lambda: f"{dice.getrandbits(128):032x}",
        "traceparent": lambda: f"00-{dice.getrandbits(128):032x}-{dice.getrandbits(64):016x}-01",
    }
    for name, make in made.items():
        place = batch.schema.get_field_index(name)
        values = pa.array([make() for _ in range(batch.num_rows)])
        batch = batch.set_column(place, batch.schema.field(place), values)
    return [batch.slice(at, ROWS_PER_ENVELOPE) for at in range(0, batch.num_rows, ROWS_PER_ENVELOPE)]


async def _write(bootstrap: str, name: str, values: Sequence[bytes]) -> None:
    connection = Connection(bootstrap, "", "bench")
    await ensure_topics(connection, [topic_of(name)])
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="zstd", linger_ms=5)
    await producer.start()
    try:
        sent = [await producer.send(name, value, partition=n % NUM_PARTITIONS) for n, value in enumerate(values)]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _round(bootstrap: str, given: Given, number: int) -> dict[str, float]:
    """Events per CPU second of each side; who begins changes every round. All sides came to the same results."""
    names = list(SIDES)
    names = names[number % len(names) :] + names[: number % len(names)]
    runs = {name: _run(bootstrap, name, given) for name in names}
    enriched = {run.result for name, run in runs.items() if name.endswith("_engine")}
    assert len(enriched) == 1, f"the sides with the engine came to different results: {enriched}"
    return {name: run.events_per_cpu_s for name, run in runs.items()}


def _run(bootstrap: str, side: str, given: Given) -> Run:
    full = SINGLE if side == "faust_per_event" else ENGINE_ENVELOPES if side.endswith("_engine") else ENVELOPES
    warm = WARM_SINGLE if side == "faust_per_event" else WARM
    command = [sys.executable, "-m", "bench.engine_sides", side, "--bootstrap", bootstrap]
    for topic in (warm, warm, full):
        command += ["--topic", topic, str(given[topic][0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SIDE_WITHIN_S, check=False)
    assert done.returncode == 0, f"{side}: {done.stderr[-2000:]}"
    _, starting, found = json.loads(done.stdout)
    for topic, each in ((warm, starting), (full, found)):
        assert each["num_records"] == given[topic][0], f"{side} read {each['num_records']} records of {given[topic][0]}"
    result = (found["num_events"], found["sum_ms"])
    if not side.endswith("_engine"):  # filters remove rows; those sides are compared with each other
        assert result == given[full][1:], f"{side} came to another result: {found}"
    sys.stderr.write(f"  {side}: {found['cpu_s']:.2f} s of CPU, {starting['cpu_s']:.2f} s of it for starting\n")
    return Run(given[full][1] / (found["cpu_s"] - starting["cpu_s"]), result)


def _report(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    best = {side: max(each[side] for each in rounds) for side in SIDES}

    def times(side: str, peer: str) -> float:
        """CPU per event of `side`, as a multiple of `peer`'s."""
        return best[peer] / best[side]

    return {
        "peer": "a bare aiokafka getmany loop; a Faust agent over one JSON record per event",
        "events_per_envelope": ROWS_PER_ENVELOPE,
        "envelopes": NUM_ENVELOPES,
        "rounds": ROUNDS,
        "events_per_cpu_s": {side: round(value) for side, value in best.items()},
        "each_round": [{side: round(value) for side, value in each.items()} for each in rounds],
        "times_as_fast": {f"{side} / {peer}": round(best[side] / best[peer], 3) for side, peer in COMPARED},
        "gates": [
            gate("batch consumer, CPU per event in terms of a bare loop's", times("consumer", "bare"), CONSUMER_GOAL),
            gate("Faust pipeline, the same", times("faust_pipeline", "bare"), FAUST_GOAL),
            gate(
                "Faust pipeline, CPU per event in thousandths of a per-event agent's",
                1000 * times("faust_pipeline", "faust_per_event"),
                1000 * PER_EVENT_GOAL,
            ),
            gate("engine on the batch consumer, of the engine's on a bare loop", times(*ENGINES), CONSUMER_GOAL),
        ],
    }
