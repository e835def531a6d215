"""`corkboard diagnose ranker` in a running house: silent on healthy traffic with late events, and every planted skew is
named by its feature."""

import asyncio
import json
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psutil
import pyarrow as pa
import pytest

from chassis.deadline import Deadline
from chassis.redis.client import RedisClient
from corkboard.local import probes
from corkboard.session import Session
from e2e.house import House
from e2e.surface import event, feed_request, get_feed, publish
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_pins import RedisPinStore
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.ports import PinRows

NUM_PEOPLE = 15
READY_WITHIN_S = 30.0
TIMES = struct.Struct(">QQ")  # of a stored pin: published, enriched
SHARES = ("different_share", "defaulted_share", "missing_share")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]


@contextmanager
def root_with(house: House, skew: str) -> Iterator[None]:
    """The house's root, with every ranking logged and this skew, in place of its own one."""
    environment = psutil.Process(house.pid("ranker")).environ()
    house.stop("ranker")
    settings = {"PLANTED_SKEW": skew, "RANKER_FEATURE_LOG_SHARE": "1"}
    root = subprocess.Popen(
        [sys.executable, "-m", "e2e.skewed_ranker"], env=environment | settings, stdout=subprocess.DEVNULL
    )
    try:
        give_up_s = time.monotonic() + READY_WITHIN_S
        while not probes.is_ready(house.endpoints.ports.admin("ranker")):
            assert time.monotonic() < give_up_s and root.poll() is None, "the root did not come up"
            time.sleep(0.2)
        yield
    finally:
        root.terminate()
        root.wait(20.0)
        house.start("ranker")
        house.wait_ready("ranker")


def traffic(house: House, first_person: int) -> int:
    """Feeds, and what people do with them: some of it arrives while the next feed is made, some long after it happened.

    Returns the number of feeds that were ranked.
    """

    async def person(session: Session, user: str) -> int:
        feeds = [await get_feed(session, feed_request(user))]
        pins = [item.pin_id for item in feeds[0].items]
        late_ms = time.time_ns() // 1_000_000 - 600_000
        sending = publish(session, [event(user, "save", pin) for pin in pins[:3]])
        _, feed = await asyncio.gather(sending, get_feed(session, feed_request(user)))
        feeds.append(feed)
        await publish(session, [event(user, "click", pins[4], event_time_ms=late_ms)])
        feeds.append(await get_feed(session, feed_request(user)))
        return sum(any(name == "model:ranker" for name in each.versions.by_artifact) for each in feeds)

    async def work(session: Session) -> int:
        counts = [await person(session, f"person-{first_person + number:05d}") for number in range(NUM_PEOPLE)]
        await asyncio.sleep(1.0)  # the root's queue
        return sum(counts)

    return house.run(work)


def diagnosed(house: House, last: int) -> dict[str, Any]:
    code, said = house.attempt("diagnose", "ranker", "--last", str(last), "--settle-s", "20", "--json", timeout_s=150.0)
    assert house.last_printed, said
    report: dict[str, Any] = json.loads(house.last_printed)
    assert code == bool(report["skewed"]), said
    assert report["num_rankings"] == last
    return report


def off(report: dict[str, Any]) -> dict[str, set[str]]:
    """Feature -> the shares that are not 0."""
    found = {name: {share for share in SHARES if row[share]} for name, row in report["features"].items()}
    return {name: shares for name, shares in found.items() if shares}


def test_healthy_traffic_has_no_skew_and_late_events_are_none(house: House) -> None:
    with root_with(house, "none"):
        num_ranked = traffic(house, 1)
        report = diagnosed(house, num_ranked)
    assert num_ranked > 2 * NUM_PEOPLE
    assert off(report) == {}, {name: report["features"][name] for name in off(report)}
    assert {"history_age_s", "history_content", "candidate_content", "candidate_price"} <= report["features"].keys()
    assert all(row["num_values"] for row in report["features"].values()), "a feature was never compared"
    assert report["events"]["late"] > 0
    assert sum(row["num_rankings"] for row in report["versions"]) == num_ranked
    for row in report["versions"]:
        assert {"model:ranker", "definitions:sequence", "definitions:weights", "content_vector"} <= row.keys()
    house.command("diagnose", "ranker", "--last", "10", "--settle-s", "20")
    assert "online against training" in house.last_printed and "what ranked" in house.last_printed


def test_a_root_that_counts_in_other_units_is_named_by_feature(house: House) -> None:
    with root_with(house, "ages_in_ms"):
        num_ranked = traffic(house, 20)
        report = diagnosed(house, num_ranked)
    assert off(report) == {"history_age_s": {"different_share"}, "candidate_age_s": {"different_share"}}
    assert set(report["skewed"]) == {"history_age_s", "candidate_age_s"}
    assert report["features"]["candidate_age_s"]["different_share"] > 0.99


def test_a_price_and_a_vector_that_changed_in_one_store_only_are_named(house: House) -> None:
    with root_with(house, "none"):
        num_ranked = traffic(house, 38)
        assert off(diagnosed(house, num_ranked)) == {}
        priced = _priced_candidates(house, num_ranked)
        with other_in_store(house, priced[0], lambda row: {"price_micros": row["price_micros"] + 3_000_000}):
            report = diagnosed(house, num_ranked)
            assert off(report) == {"candidate_price": {"different_share"}}
            assert {each["row"] for each in report["features"]["candidate_price"]["examples"]} == {priced[0]}
        with other_in_store(house, priced[1], lambda row: {"content_vector": row["content_vector"][::-1]}):
            found = off(diagnosed(house, num_ranked))
            assert "candidate_content" in found and found.keys() <= {"candidate_content", "history_content"}
        assert off(diagnosed(house, num_ranked)) == {}


def _priced_candidates(house: House, num_ranked: int) -> list[str]:
    """Pins with a price that many of the logged rankings had among their candidates, the most frequent first."""
    newest = f"select pin_ids from served_features order by served_time_ms desc limit {num_ranked}"  # noqa: S608
    pins = f"select unnest(pin_ids) as pin_id from ({newest})"  # noqa: S608
    asked = f"select pin_id, count(*) as n from ({pins}) group by 1 order by n desc, 1 limit 200"  # noqa: S608
    said = house.command("sql", asked, "--json")
    frequent = [row[0] for row in json.loads(said)["rows"]]

    async def work() -> list[str]:
        async with pin_store(house) as (store, _):
            rows = (await store.read(frequent, ["pin_id", "price_micros"])).to_pylist()
            return [row["pin_id"] for row in rows if row["price_micros"]]

    priced = asyncio.run(work())
    assert len(priced) > 1, "no pin with a price was ranked"
    return priced


@asynccontextmanager
async def pin_store(house: House) -> AsyncIterator[tuple[RedisPinStore, RedisConnection]]:
    """The pins of the house's online store."""
    client = RedisClient(f"redis://127.0.0.1:{house.endpoints.ports.valkey()}/0")
    connection = RedisConnection(client, read_timeout_s=5.0, write_timeout_s=5.0)
    try:
        yield RedisPinStore(connection, RedisRows(connection)), connection
    finally:
        await client.stop(Deadline.after(1.0))


@contextmanager
def other_in_store(house: House, pin_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    """The pin with other values in the online store, and the same times: nobody was told."""

    async def put(values: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        async with pin_store(house) as (store, connection):
            [row] = (await store.read([pin_id], PIN_SCHEMA.names)).to_pylist()
            [version] = await connection.read([("GETRANGE", redis_keys.pin(pin_id), 0, TIMES.size - 1)])
            published_ms, enriched_ms = TIMES.unpack(version)
            rows = pa.RecordBatch.from_pylist([row | values(row)], schema=PIN_SCHEMA)
            await store.put(PinRows(rows, [published_ms], [enriched_ms]))
            return dict(row)

    before = asyncio.run(put(change))
    try:
        yield
    finally:
        asyncio.run(put(lambda _: before))
