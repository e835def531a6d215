"""A cg process for `bench.retrieve`: the service as it is wired, with pins on an in-memory bus and released bundles.

`python -m bench.retrieve_server FOLDER NUM_PINS` prints its address as one line, then serves until its input ends. A
line `publish N` replaces N pins at 50 per second and is answered by a line when that is done.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.retrieval_world import WIDTH, unit_vectors
from chassis.bundles import BundleStore
from chassis.deadline import Deadline
from chassis.testing import InMemoryBus, in_memory_bus
from modeling.arrays import Floats
from modeling.item_to_item import Neighbours
from modeling.release import announce, write_bundle
from protos.pins.v1.pins_pb2 import EnrichedPin, Pin
from protos.tensors import numpy_to_tensor
from protos.topics import PINS_ENRICHED
from services.cg.config import Config
from services.cg.domain.retrieval import HistoryEvent, StoredVector
from services.cg.domain.two_tower import TwoTower, TwoTowerSettings
from services.cg.domain.two_tower_contextual import ContextualSettings, ContextualTwoTower
from services.cg.outbound.bundle_model_files import (
    co_engaged_files,
    contextual_files,
    popular_files,
    two_tower_files,
)
from services.cg.wiring import build

NOW_MS = int(time.time() * 1_000)
NUM_NEIGHBOURS = 50
NUM_EVENTS = 50
NUM_TOPICS = 100
PUBLISHED_PER_S = 50
POLL_S = 0.05  # the bus of tests looks every 2 ms, which costs more than Kafka's client does
EVENT_TYPES = ("save", "click")


class Histories:
    """Fifty events of every user, without a network: what is measured is cg."""

    def __init__(self, num_pins: int) -> None:
        self._num_pins = num_pins

    async def recent(self, user_id: str, deadline: Deadline) -> tuple[HistoryEvent, ...]:  # noqa: ARG002
        """Pins that depend on the user."""
        start = int(user_id.removeprefix("user-")) * 7_919
        numbers = ((start + 31 * step) % self._num_pins for step in range(NUM_EVENTS))
        return tuple(HistoryEvent(f"pin-{number}", "save", NOW_MS) for number in numbers)

    async def stored(
        self,
        user_id: str,  # noqa: ARG002
        encoders: Sequence[str],  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
    ) -> Mapping[str, StoredVector]:
        """None: every user has a history."""
        return {}


def encoded(number: int, vector: Floats) -> bytes:
    """A pin as enrich writes it."""
    pin = Pin(
        pin_id=f"pin-{number}",
        topics=[f"topic-{(number * 13 + step * 7) % NUM_TOPICS}" for step in range(2)],
        created_time_ms=NOW_MS - 1_000 * number,
        locale=("en-US", "en-GB", "de-DE")[number % 3],
    )
    message = EnrichedPin(pin=pin, quality_score=0.5, content_vector=numpy_to_tensor(vector))
    return message.SerializeToString()


def bundles(num_pins: int) -> dict[str, Mapping[str, bytes]]:
    """Every bundle that cg reads; towers of random weights take as long as trained ones."""
    random = np.random.default_rng(3)
    pin_ids = [f"pin-{number}" for number in range(num_pins)]
    shape = (num_pins, NUM_NEIGHBOURS)
    neighbours = Neighbours(random.integers(0, num_pins, shape), random.random(shape, dtype=np.float32))
    plain = TwoTower(TwoTowerSettings(num_pins, WIDTH, len(EVENT_TYPES)))
    contextual = ContextualTwoTower(ContextualSettings(num_pins, WIDTH, len(EVENT_TYPES)))
    return {
        "popular": popular_files(pin_ids, random.random(num_pins, dtype=np.float32), {}),
        "co_engaged": co_engaged_files(pin_ids, neighbours, {}),
        "two_tower": two_tower_files(plain, pin_ids, EVENT_TYPES, {}),
        "contextual": contextual_files(contextual, pin_ids, EVENT_TYPES, {}),
    }


async def main(folder: Path, num_pins: int) -> None:
    """Serve until the input ends."""
    in_memory_bus.POLL_S = POLL_S
    bus = InMemoryBus()
    vectors_NV = unit_vectors(num_pins, 1)
    for number, vector in enumerate(vectors_NV):
        bus.append(PINS_ENRICHED, encoded(number, vector), f"pin-{number}".encode(), None, {})
    store = BundleStore(str(folder / "bundles"))
    await announce(bus, [write_bundle(store, name, files, {}, "bench") for name, files in bundles(num_pins).items()])
    histories = Histories(num_pins)
    port, state = _free_port(), str(folder / "state")
    config = Config(grpc_port=port, admin_port=0, bundles_uri=str(folder / "bundles"), state_dir=state, drain_s=0.2)
    service = build(config, bus=bus, histories=histories, user_vectors=histories)
    async with service:
        while not service.health.is_ready():
            await asyncio.sleep(0.05)
        _say({"address": f"127.0.0.1:{port}"})
        while line := (await asyncio.to_thread(sys.stdin.readline)).split():
            await _publish(int(line[1]), bus, vectors_NV)


async def _publish(count: int, bus: InMemoryBus, vectors_NV: Floats) -> None:
    for number in range(count):
        bus.append(PINS_ENRICHED, encoded(number, -vectors_NV[number]), f"pin-{number}".encode(), None, {})
        await asyncio.sleep(1 / PUBLISHED_PER_S)
    _say({"published": count})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(message: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
