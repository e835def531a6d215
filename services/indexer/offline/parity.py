"""Compares two runs over the same events: `python -m services.indexer.offline.parity --settings JSON --out DIR …`.

Started by `corkboard parity run`. Prints one JSON object: what was found, and why the ranker cannot be asked, if so.
Settings of the old side come from INDEXER_*, those of a shadow are given beside them.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from chassis.bundles import BundleStore
from chassis.clock import SYSTEM_CLOCK
from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.kafka.connection import Connection
from chassis.kafka.security import KafkaSecurity
from sequences.parity.gates import Missing, Thresholds
from sequences.parity.run import Findings, Settings
from services.indexer.config import Config
from services.indexer.offline.backfill_definitions import of_version
from services.indexer.offline.parity_comparison import Comparison, Job
from services.indexer.offline.parity_engine import ParityEngine
from services.indexer.offline.parity_sides import BatchSide, Side, StreamSide
from services.indexer.offline.parity_sources import Window, accepted_events
from services.indexer.wiring import OnlineStore, iceberg_lake, redis_store


async def compare(config: Config, shadow: Config, job: Job) -> tuple[Findings, Missing | None]:
    """What was found, and what is missing for the ranker's inputs (None = they are in `job.out`).

    Raises: NotFound for an unknown version, Unavailable, Corrupt.
    """
    settings = job.settings
    bundles = BundleStore(config.bundles_uri)
    old, new = of_version(bundles, settings.old_version), of_version(bundles, settings.new_version)
    window = Window(settings.event_types, settings.from_ms, settings.until_ms)
    async with AsyncExitStack() as stack:
        store = await _opened(stack, config)
        security = KafkaSecurity.of(config)
        kafka = Connection(config.kafka_bootstrap, config.zone, "indexer-parity", security=security)
        accepted = await accepted_events(kafka, window)
        engines = {version.version: ParityEngine(version, store.pins) for version in (old, new)}
        for engine in engines.values():
            stack.callback(engine.close)
        left = StreamSide(old, iceberg_lake(config), store.sequences, window)
        right: Side
        if settings.against == "batch":
            right = BatchSide(new, engines[new.version], accepted, SYSTEM_CLOCK.now_ms())
        else:
            shadow_store = await _opened(stack, shadow)
            right = StreamSide(new, iceberg_lake(shadow), shadow_store.sequences, window)
        comparison = Comparison(job, accepted, left, right, engines)
        return await comparison.tier_1_and_2(), await comparison.write_model_inputs(store.pins)


async def _opened(stack: AsyncExitStack, config: Config) -> OnlineStore:
    store = redis_store(config)
    if store.part is not None:
        stack.push_async_callback(store.part.stop, Deadline.after(5.0))
    return store


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Settings.model_validate_json, required=True, help="what to compare, JSON")
    parser.add_argument("--thresholds", type=Thresholds.model_validate_json, default=Thresholds(), help="JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder for the ranker's inputs")
    parser.add_argument("--ranker-sequence", default="engagement", help="sequence that the ranker reads")
    parser.add_argument("--shadow-redis-url", default="", help="online store of the shadow")
    parser.add_argument("--shadow-lake-dir", default="", help="lake of the shadow")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the comparison was made, whatever it found."""
    options = _parser().parse_args(argv)
    config = load(Config, "INDEXER_")
    shadow = config.model_copy(update={"redis_url": options.shadow_redis_url, "lake_dir": options.shadow_lake_dir})
    job = Job(options.settings, options.thresholds, options.ranker_sequence, options.out, _tell)
    try:
        findings, missing = asyncio.run(compare(config, shadow, job))
    except CorkboardError as error:
        _tell(f"error: {error.message}")
        return 1
    answer: dict[str, Any] = {
        "findings": findings.model_dump(mode="json"),
        "model_missing": missing and missing.model_dump(),
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
