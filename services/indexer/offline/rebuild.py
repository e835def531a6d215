"""Fills this zone's online store again after it was lost: `python -m services.indexer.offline.rebuild [--json]`."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chassis.bundles import BundleStore
from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.kafka.security import KafkaSecurity
from services.indexer.config import Config
from services.indexer.domain.routing import Routing
from services.indexer.offline.definitions_in_use import definitions_in_use
from services.indexer.offline.digest import digest
from services.indexer.offline.log_replay import Tell
from services.indexer.offline.store_rebuild import StoreRebuild
from services.indexer.outbound.kafka_log import KafkaLog
from services.indexer.outbound.redis_progress import RedisProgress
from services.indexer.wiring import iceberg_lake, kafka_bus, redis_connection, redis_store

TELL_EVERY_S = 0.2


async def rebuild(config: Config, tell: Tell, with_digests: bool = False) -> dict[str, Any]:
    """What was done, by name, with one digest per sequence if wanted. Raises: Unavailable, Corrupt, NotFound."""
    start_s = time.monotonic()
    definitions = await definitions_in_use(kafka_bus(config), BundleStore(config.bundles_uri))
    store = redis_store(config)
    client, connection = redis_connection(config)
    kafka = KafkaLog(config.kafka_bootstrap, config.zone, KafkaSecurity.of(config))
    folder = Path(config.state_dir) / "rebuild" / config.zone
    try:
        job = StoreRebuild(store, RedisProgress(connection), iceberg_lake(config), kafka, folder)
        progress = await job.run(Routing(definitions), tell)
        report: dict[str, Any] = {"zone": config.zone, "definitions_version": definitions.version}
        report |= dict(sorted(progress.counts.items())) | {"duration_s": round(time.monotonic() - start_s, 1)}
        if with_digests:
            limits = {name: each.max_events for name, each in definitions.sequences.items()}
            report["digests"] = {name: vars(await digest(store.sequences, name, limits[name])) for name in limits}
        return report
    finally:
        for part in filter(None, (store.part, client)):
            await part.stop(Deadline.after(1.0))


def _teller(is_json: bool) -> Tell:
    """Lines on stderr, at most five a second and the last of each phase; JSON objects for a program that draws bars."""
    last_s = 0.0

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal last_s
        if done < total and time.monotonic() - last_s < TELL_EVERY_S:
            return
        last_s = time.monotonic()
        line = json.dumps({"phase": phase, "done": done, "total": total}) if is_json else f"{phase} {done:,}/{total:,}"
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    return tell


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what was done; settings come from INDEXER_* like the service's. Run it again after a kill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digest", action="store_true", help="add a digest of each sequence")
    parser.add_argument("--json", action="store_true", help="print a JSON object; progress is JSON lines on stderr")
    arguments = parser.parse_args(argv)
    try:
        report = asyncio.run(rebuild(load(Config, "INDEXER_"), _teller(arguments.json), arguments.digest))
    except CorkboardError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    lines = json.dumps(report) if arguments.json else "\n".join(f"{name}: {value}" for name, value in report.items())
    sys.stdout.write(lines + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
