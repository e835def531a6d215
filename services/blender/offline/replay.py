"""`python -m services.blender.offline.replay`: re-blends logged pools under other definitions, before they ship.

Reads the served feeds that the log still has and the pins' features of today from the indexer; changes nothing.
Prints one JSON object; progress goes to stderr as JSON lines.
"""

import argparse
import asyncio
import heapq
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chassis.bundles import BundleStore
from chassis.clock import SYSTEM_CLOCK
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Corrupt, NotFound
from chassis.grpc.client import ChannelPool
from chassis.health import Health
from chassis.kafka.bus import Bus, KafkaBus, Record
from chassis.kafka.security import KafkaSecurity
from chassis.metrics import Metrics
from chassis.tasks import Tasks
from chassis.tls import CertificateSource
from protos.topics import FEEDS_SERVED
from sequences.definitions import bundle
from sequences.definitions.definitions import Definitions
from services.blender.domain.pin_features import PinFeatures, join
from services.blender.domain.replay import can_be_replayed, pool_of, replay, summary
from services.blender.domain.served_feed import ServedFeed
from services.blender.outbound.grpc_indexer import MAX_PINS, GrpcIndexer
from services.blender.outbound.kafka_served_feed_messages import decode
from services.blender.ports import PinSource

STOP_S = 3.0
EVERY = 50  # feeds between two lines of progress


@dataclass(frozen=True)
class Asked:
    """`last` = the newest so many first pages; `surface` empty = all."""

    before: Definitions
    after: Definitions
    last: int
    surface: str = ""


async def run(bus: Bus, pins: PinSource, asked: Asked) -> dict[str, Any]:
    """The report. Raises: NotFound when no feed can be replayed, Unavailable."""
    feeds, num_unreadable = await served_feeds(bus, asked)
    if not feeds:
        raise NotFound("the log has no first page that was ranked; serve some feeds first", reason="no_feeds")
    replayed = [each async for each in _replayed(feeds, pins, asked)]
    return {
        "before": asked.before.version,
        "after": asked.after.version,
        "num_unreadable": num_unreadable,
        "num_without_surface": len(feeds) - len(replayed),
        "surfaces": summary(replayed),
    }


async def served_feeds(bus: Bus, asked: Asked) -> tuple[list[ServedFeed], int]:
    """The newest feeds of the log that can be replayed, oldest first, and how many records could not be read."""
    newest: list[tuple[int, str, ServedFeed]] = []
    num_unreadable = 0

    def apply(record: Record) -> None:
        nonlocal num_unreadable
        try:
            feed = decode(record.value or b"")
        except Corrupt:
            num_unreadable += 1
            return
        if can_be_replayed(feed) and asked.surface in ("", feed.surface):
            heapq.heappush(newest, (feed.served_time_ms, feed.request_id, feed))
            if len(newest) > asked.last:
                heapq.heappop(newest)

    table = bus.table("replay", FEEDS_SERVED, apply)
    failure: CorkboardError | None = None
    async with Tasks() as tasks:
        try:
            await table.start(tasks)
        except CorkboardError as error:  # told outside: the group would wrap it
            failure = error
        await table.stop(Deadline.after(STOP_S))
        await tasks.end()
    if failure is not None:
        raise failure
    return [feed for _, _, feed in sorted(newest, key=lambda each: each[:2])], num_unreadable


async def _replayed(feeds: Sequence[ServedFeed], pins: PinSource, asked: Asked) -> Any:
    for number, feed in enumerate(feeds, start=1):
        found = replay(feed, await _features(pins, list(pool_of(feed))), asked.before, asked.after)
        if found is not None:
            yield found
        if number % EVERY == 0 or number == len(feeds):
            sys.stderr.write(json.dumps({"done": number, "of": len(feeds)}) + "\n")


async def _features(pins: PinSource, pin_ids: Sequence[str]) -> PinFeatures:
    parts = [await pins.get_pins(pin_ids[start : start + MAX_PINS]) for start in range(0, len(pin_ids), MAX_PINS)]
    return join(parts)


def main() -> int:
    """Exit code 1 with an error object when there is nothing to replay."""
    arguments = _parser().parse_args()
    try:
        report = asyncio.run(_main(arguments))
    except CorkboardError as error:
        sys.stdout.write(json.dumps({"error": {"status": error.status, "message": str(error)}}) + "\n")
        return 1
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


async def _main(arguments: argparse.Namespace) -> dict[str, Any]:
    store = BundleStore(arguments.bundles_uri)
    before, after = (_definitions(store, version) for version in (arguments.before, arguments.after))
    bus = KafkaBus(
        arguments.kafka_bootstrap,
        zone="",
        instance="replay",
        metrics=Metrics("replay"),
        health=Health(),
        clock=SYSTEM_CLOCK,
        security=KafkaSecurity.of_environment(),
    )
    metrics = Metrics("replay")
    pool = ChannelPool(
        arguments.indexer_target, metrics=metrics, certificates=CertificateSource.of_environment(metrics)
    )
    try:
        return await run(bus, GrpcIndexer(pool), Asked(before, after, arguments.last, arguments.surface))
    finally:
        await pool.stop(Deadline.after(STOP_S))


def _definitions(store: BundleStore, version: str) -> Definitions:
    release = next((each for each in store.list(bundle.NAME) if each.version == version), None)
    if release is None:
        raise NotFound(f"there are no definitions {version!r}", field="definitions")
    return bundle.load(store.open(release))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="replay", description=__doc__)
    parser.add_argument("--kafka-bootstrap", required=True)
    parser.add_argument("--indexer-target", required=True)
    parser.add_argument("--bundles-uri", required=True)
    parser.add_argument("--before", required=True, help="version of the bundle of definitions to compare with")
    parser.add_argument("--after", required=True, help="version of the changed one")
    parser.add_argument("--surface", default="", help="one surface; all by default")
    parser.add_argument("--last", type=int, default=500, help="newest first pages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
