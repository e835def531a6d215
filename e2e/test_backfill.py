"""History is enriched again under new definitions while events flow: killed once, gone on, every event exactly once."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from corkboard.commands.rebuild import job_settings
from corkboard.session import Session
from e2e.definition_files import compiled, definitions_with
from e2e.house import House, eventually
from e2e.surface import event, publish, sequence
from protos.ingest.v1 import ingest_pb2
from services.indexer.app.merged_events import merged_events
from services.indexer.outbound.iceberg_lake import IcebergLake

OUT = "person-00005"  # whom the new definitions leave out
STAYS = "person-00006"
FILTERS = Path(__file__).parents[1] / "definitions" / "enrichments" / "filters.py"
BEFORE, AFTER = '"monitor-"]},', f'"monitor-", "{OUT}"]}},\n    version=2,'
DAYS = [datetime.now(UTC) - timedelta(days=days) for days in (40, 2)]
END_MS = int(datetime(DAYS[1].year, DAYS[1].month, DAYS[1].day, tzinfo=UTC).timestamp() * 1000) + 86_400_000
RANGE = ["--event-type", "save", "--from", f"{DAYS[0]:%Y-%m-%d}", "--to", f"{DAYS[1]:%Y-%m-%d}"]
IN_LAKE_WITHIN_S = 60.0
MAX_EVENTS = 2_000  # more than flow in meanwhile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def saves(house: House) -> dict[str, dict[str, Any]]:
    """What readers of the lake see, by event id; each once."""
    columns = ["event_id", "user_id", "event_time_ms", "definitions_version"]
    rows = merged_events(IcebergLake(str(house.home.lake)), columns, ["save"]).to_pylist()
    twice = [name for name, count in Counter(row["event_id"] for row in rows).items() if count > 1]
    assert not twice, twice[:5]
    return {row["event_id"]: row for row in rows}


def is_old(row: dict[str, Any]) -> bool:
    return bool(row["event_time_ms"] < END_MS)


def kill_after_first_commit(house: House) -> None:
    job = subprocess.Popen(
        [sys.executable, "-m", "services.indexer.offline.backfill", *RANGE, "--max-chunk-rows", "50"],
        env=os.environ | job_settings(house.home, house.endpoints, ""),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert job.stdout is not None
    first = json.loads(job.stdout.readline())
    job.kill()
    job.wait()
    job.stdout.close()
    assert "progress" in first, first
    assert first["progress"]["done"] < first["progress"]["total"], "there was nothing left to go on with"


def test_a_killed_backfill_goes_on_and_every_event_stands_once(house: House, tmp_path: Path) -> None:
    text = FILTERS.read_text()
    assert BEFORE in text
    folder = definitions_with(tmp_path / "new", {"enrichments/filters.py": text.replace(BEFORE, AFTER)})
    before = saves(house)
    assert {row["user_id"] for row in before.values() if is_old(row)} >= {OUT, STAYS}
    sent: set[str] = set()

    async def flow(session: Session) -> None:
        while True:
            events = [event(user, "save", "pin-000001") for user in (STAYS, *["person-00007"] * 4)]
            verdicts = await publish(session, events)
            accepted = [one.outcome == ingest_pb2.OUTCOME_ACCEPTED for one in verdicts]
            sent.update(each.event_id for each, is_taken in zip(events, accepted, strict=True) if is_taken)
            await asyncio.sleep(0.1)

    async def work(session: Session) -> dict[str, Any]:
        flowing = asyncio.create_task(flow(session))
        try:
            return await asyncio.to_thread(reprocess)
        finally:
            flowing.cancel()

    def reprocess() -> dict[str, Any]:
        version = str(compiled(house, folder)["compiled"])
        house.command("definitions", "activate", version)
        kill_after_first_commit(house)
        assert {name: row for name, row in saves(house).items() if name in before} == before, "half of it can be read"
        report: dict[str, Any] = json.loads(house.command("backfill", *RANGE, "--json"))
        return report | {"version": version}

    report = house.run(work)
    try:
        assert report["is_resumed"]
        old = {name for name, row in before.items() if is_old(row)}
        gone = {name for name in old if before[name]["user_id"] == OUT}
        assert report["num_filtered"] == len(gone)
        after = saves(house)
        assert {name for name in after if name in old} == old - gone
        assert {after[name]["definitions_version"] for name in old - gone} == {report["version"]}
        assert all(after[name] == before[name] for name in before.keys() - old)
        house.run(lambda _: eventually(lambda: all_there(house, sent), IN_LAKE_WITHIN_S, every_s=1.0))
        assert all(zone["num_conflict"] == 0 for zone in report["online"])
        assert sum(zone["num_removed"] for zone in report["online"]) > 0
        online_is_new(house, old, gone)
        again = json.loads(house.command("backfill", *RANGE, "--only-refresh", "--json"))["online"]
        assert {(zone["num_changed"], zone["num_removed"], zone["num_added"]) for zone in again} == {(0, 0, 0)}
        with Redis(port=house.endpoints.ports.valkey()) as redis:
            redis.flushall()
        house.command("rebuild", "--json")
        online_is_new(house, old, gone)
    finally:
        house.command("definitions", "rollback")


async def all_there(house: House, sent: set[str]) -> bool:
    return sent <= (await asyncio.to_thread(saves, house)).keys()


def online_is_new(house: House, old: set[str], gone: set[str]) -> None:
    async def check(session: Session) -> None:
        left_out = {name for _, name, _ in await sequence(session, OUT, max_events=MAX_EVENTS)}
        kept = {name for _, name, _ in await sequence(session, STAYS, max_events=MAX_EVENTS)}
        assert not left_out & gone
        assert kept & old

    house.run(check)
