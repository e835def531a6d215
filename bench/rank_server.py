"""A ranker process for `bench.rank`, as it is wired, in one of its roles.

`python -m bench.rank_server FOLDER leaf WIDTH CONTEXT_BYTES`, or `... FOLDER root LEAF_ADDRESS`, prints its address as
one line, then serves until its input ends. Histories and pins are made up in the root: what is measured is ranking.
"""

import asyncio
import gc
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chassis.bundles import BundleStore
from chassis.deadline import Deadline
from chassis.lifecycle import GC_ALLOCATIONS
from chassis.testing import InMemoryBus, in_memory_bus
from modeling.arrays import AnyArray
from modeling.release import announce, write_bundle
from services.ranker.config import Config
from services.ranker.domain.features import FEATURES, prepare
from services.ranker.domain.history_ranker import HistoryRanker, RankerSettings, input_names
from services.ranker.domain.ranking import PinFeatures, SequenceEvent, UserSequence
from services.ranker.outbound.bundle_model_files import ranker_files
from services.ranker.wiring import build

CONTENT_WIDTH, NUM_EVENTS, NUM_PINS = 64, 256, 20_000
NOW_MS = int(time.time() * 1_000)
POLL_S = 0.05  # the bus of tests looks every 2 ms, which costs more than Kafka's client does


class Histories:
    """256 events of every user; the version of a user's sequence never changes."""

    async def recent(self, user_id: str, deadline: Deadline) -> UserSequence:  # noqa: ARG002
        """Pins that depend on the user."""
        start = int(user_id.removeprefix("user-")) * 7_919
        events = (
            SequenceEvent(f"e-{step}", "save", f"pin-{(start + 31 * step) % NUM_PINS}", NOW_MS - 60_000 * (256 - step))
            for step in range(NUM_EVENTS)
        )
        return UserSequence(tuple(events), 1)


class Pins:
    """Every pin is known."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        vectors = random.normal(size=(NUM_PINS, CONTENT_WIDTH)).astype(np.float32)
        self._pins = {f"pin-{row}": PinFeatures(vectors[row], NOW_MS - 1_000 * row, row) for row in range(NUM_PINS)}

    async def features(self, pin_ids: Sequence[str], deadline: Deadline) -> Mapping[str, PinFeatures]:  # noqa: ARG002
        """Views of what is kept."""
        return {pin_id: self._pins[pin_id] for pin_id in pin_ids}


def bundle(width: int) -> dict[str, bytes]:
    """A model of this inner width; random weights take as long as trained ones."""
    torch.manual_seed(5)
    model = HistoryRanker(RankerSettings(CONTENT_WIDTH, inner_width=width))
    random = np.random.default_rng(5)
    given: dict[str, AnyArray] = {
        "candidate_content": random.normal(size=(3, CONTENT_WIDTH)).astype(np.float32),
        "history_content": random.normal(size=(2, CONTENT_WIDTH)).astype(np.float32),
        "history_event_type": np.asarray([1, 2]),
    }
    names = [name for name in FEATURES if name in input_names(model.settings)]
    return ranker_files(model, {}, prepare(given, names, 2, 3, CONTENT_WIDTH).tensors, {})


async def main(folder: Path, role: str, *options: str) -> None:
    """Serve until the input ends."""
    in_memory_bus.POLL_S = POLL_S
    bus, store = InMemoryBus(), BundleStore(str(folder / "bundles"))
    port = _free_port()
    places = {"bundles_uri": str(folder / "bundles"), "state_dir": str(folder / role)}
    shared: dict[str, Any] = {"grpc_port": port, "admin_port": 0, "drain_s": 0.2, **places}
    if role == "leaf":
        width, context_bytes = (int(option) for option in options)
        await announce(bus, [write_bundle(store, "ranker", bundle(width), {}, "bench")])
        leaf = Config(role="leaf", context_cache_max_bytes=context_bytes, **shared)
        service = build(leaf, bus=bus)
    else:
        # Definitions are never released here: the built-in utility weights hold, and readiness is not asked for.
        root = Config(role="root", leaf_target=options[0], **shared)
        service = build(root, bus=bus, sequences=Histories(), pins=Pins())
    async with service:
        while role == "leaf" and not service.health.is_ready():
            await asyncio.sleep(0.05)
        gc.set_threshold(GC_ALLOCATIONS)  # as a service does that is started by itself
        gc.freeze()
        sys.stdout.write(json.dumps({"address": f"127.0.0.1:{port}"}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
