"""A published rule is enforced by every process within a second; a refusal says when to come back."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from chassis.errors import Overloaded
from chassis.protection import UsageWindow
from corkboard.session import Session
from e2e.definition_files import page
from e2e.house import House, eventually
from e2e.surface import event, feed_request, get_feed, publish
from e2e.test_page import CHROMIUM, ask, draw
from protos.rules import encode_usage
from protos.topics import QUOTA_USAGE

ENFORCED_WITHIN_S = 3.0
LEASE_S = 10.0
MANY_COMMANDS = pytest.mark.timeout(180, func_only=True)  # each starts a process: seconds on a busy machine
USAGE_WITHIN_S = 20.0  # a window of 10 s, and the way into the ledger
LEASED_WITHIN_S = 15.0  # after a restart the leader waits until every older lease is over


def publish_rule(house: House, key: str, limit: str, unit: str = "requests", *more: str) -> None:
    create = ["quota", "create", key, "--limit", limit, "--burst", "0", "--unit", unit, "--actor", "ann"]
    house.command(*create, "--why", "test", *more)
    house.command("quota", "validate", key, "--actor", "ann")
    house.command("quota", "approve", key, "--actor", "ann", "--why", "fine")
    house.command("quota", "publish", key, "--actor", "ann")


def test_a_rule_refuses_with_retry_after_and_is_gone_when_revoked(house: House) -> None:
    tenant = f"small-{time.time_ns()}"
    key = f"surface/blender/GetFeed/{tenant}"
    publish_rule(house, key, "1")

    async def refused(session: Session) -> None:
        async def second_is_refused() -> bool:
            for _ in range(3):
                try:
                    await get_feed(session, feed_request("person-00001", tenant=tenant))
                except Overloaded as error:
                    assert error.retry_after_s is not None
                    assert 0 < error.retry_after_s <= 1.5
                    return True
            return False

        await eventually(second_is_refused, ENFORCED_WITHIN_S)
        assert (await get_feed(session, feed_request("person-00001", tenant="another"))).items

    house.run(refused)
    history = json.loads(house.command("quota", "history", key, "--json"))
    assert [record["action"] for record in history["records"]] == ["create", "validate", "approve", "publish"]
    house.command("quota", "revoke", key, "--actor", "ann")

    async def free_again(session: Session) -> None:
        async def five_pass() -> bool:
            for _ in range(5):
                await get_feed(session, feed_request("person-00001", tenant=tenant))
            return True

        await eventually(five_pass, ENFORCED_WITHIN_S, every_s=0.3)

    house.run(free_again)


def test_events_are_charged_per_tenant(house: House) -> None:
    tenant = f"chatty-{time.time_ns()}"
    publish_rule(house, f"surface/ingest/PublishEvents/{tenant}", "5", "events")

    async def work(session: Session) -> None:
        async def too_many_are_refused() -> bool:
            events = [event("person-00002", "click", "pin-000001") for _ in range(5)]
            with pytest.raises(Overloaded):
                for _ in range(3):
                    await publish(session, events, tenant=tenant)
            return True

        await eventually(too_many_are_refused, ENFORCED_WITHIN_S)

    house.run(work)


@MANY_COMMANDS
def test_a_global_rule_is_held_by_lease_and_by_its_safe_share_without(house: House) -> None:
    tenant = f"shared-{time.time_ns()}"
    key = f"surface/blender/GetFeed/{tenant}"

    def stale() -> float:
        lines = page(house, "blender", "/metrics").splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith("protection_leases_stale"))

    async def becomes(number: float, within_s: float) -> None:
        async def check() -> bool:
            return await asyncio.to_thread(stale) == number

        await eventually(check, within_s, every_s=0.3)

    async def ask(session: Session) -> None:
        assert (await get_feed(session, feed_request("person-00003", tenant=tenant))).items

    assert stale() == 0
    publish_rule(house, key, "20", "requests", "--global", "--safe-share", "0.5")
    house.run(lambda _: becomes(0, LEASED_WITHIN_S))
    house.run(ask)
    house.stop("quota")
    try:
        house.run(lambda _: becomes(1, LEASE_S + LEASED_WITHIN_S))
        house.run(ask)
    finally:
        house.start("quota")
        house.wait_ready("quota")
    house.run(lambda _: becomes(0, LEASE_S + LEASED_WITHIN_S))
    house.command("quota", "revoke", key, "--actor", "ann")


def test_an_invalid_rule_names_its_field(house: House) -> None:
    listing = json.loads(house.command("quota", "list", "--json"))
    assert isinstance(listing, list)
    house.command("quota", "create", "surface/blender/GetFeed/negative", "--limit", "-1", "--actor", "ann")
    code, _ = house.attempt("quota", "validate", "surface/blender/GetFeed/negative", "--actor", "ann", "--json")
    assert code == 2
    violations = json.loads(house.last_printed)["violations"]
    assert "limit" in [violation["field"] for violation in violations]


@MANY_COMMANDS
def test_every_verb_of_the_command_line_tells_of_one_rule(house: House) -> None:
    tenant = f"verbs-{time.time_ns()}"
    key = f"surface/blender/GetFeed/{tenant}"
    publish_rule(house, key, "50")

    async def use(session: Session) -> None:
        for _ in range(5):
            await get_feed(session, feed_request("person-00004", tenant=tenant))

    house.run(use)
    found = json.loads(house.command("quota", "get", key, "--json"))
    assert (found["state"], found["rule"]["limit"]) == ("RULE_STATE_PUBLISHED", 50.0)
    watched = house.command("quota", "watch", key, "--for", "1s", "--json").splitlines()
    assert [json.loads(line)["rule"]["key"] for line in watched] == [key]
    assert key in house.command("quota", "list", "surface/", "--published", "--json")

    async def is_counted() -> bool:
        text = await asyncio.to_thread(house.command, "quota", "usage", key, "--last", "1h", "--json")
        return bool(sum(window["admitted"] for window in json.loads(text)["windows"]) == 5.0)

    house.run(lambda _: eventually(is_counted, USAGE_WITHIN_S, every_s=1.0))
    assert "proposals" in house.command("quota", "rightsize", key, "--json")
    assert "total" in house.command("quota", "rightsize", key, "--backtest", "--json")
    house.command("quota", "revoke", key, "--actor", "ann")
    assert "revoke" in house.command("quota", "history", key)


@MANY_COMMANDS
def test_lost_ledger_is_rebuilt_and_its_usage_comes_from_the_lake(house: House) -> None:
    tenant = f"old-{time.time_ns()}"
    key = f"surface/blender/GetFeed/{tenant}"
    minute_ms = 60_000
    old_ms = time.time_ns() // 1_000_000 // minute_ms * minute_ms - 40 * 86_400_000
    publish_rule(house, key, "50")
    window = UsageWindow(key, old_ms, minute_ms, 7.0, 0.0, 0.0, 1, "blender", "one", "local")

    async def record(session: Session) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=session.endpoints.kafka)
        await producer.start()
        await producer.send_and_wait(QUOTA_USAGE.name, encode_usage(window), key=key.encode())
        await producer.stop()

    house.run(record)
    house.stop("quota")
    for file in house.home.data.glob("quota.sqlite*"):
        file.unlink()
    settings = {"LEDGER_PATH": str(house.home.data / "quota.sqlite"), "KAFKA_BOOTSTRAP": house.endpoints.kafka}
    environment = os.environ | {f"QUOTA_{name}": value for name, value in settings.items()}
    rebuild = [sys.executable, "-m", "services.quota.offline.rebuild"]
    subprocess.run(rebuild, env=environment, check=True, capture_output=True, timeout=60)
    house.start("quota")
    house.wait_ready("quota")

    async def is_there() -> bool:
        text = await asyncio.to_thread(house.command, "quota", "usage", key, "--last", "60d", "--json")
        answer = json.loads(text)
        return [each["admitted"] for each in answer["windows"]] == [7.0] and not answer["missing"]

    house.run(lambda _: eventually(is_there, 3 * USAGE_WITHIN_S, every_s=2.0))
    found = json.loads(house.command("quota", "get", key, "--json"))
    assert (found["state"], found["rule"]["limit"]) == ("RULE_STATE_PUBLISHED", 50.0)


@MANY_COMMANDS
def test_page_shows_the_tree_and_the_story_of_a_rule(house: House, tmp_path: Path) -> None:
    tenant = f"page-{time.time_ns()}"
    key = f"surface/blender/GetFeed/{tenant}"
    publish_rule(house, key, "50")
    status, text, _ = ask(house, "/quota")
    assert status == 200
    assert f'data-rule="{key}"' in text
    status, text, _ = ask(house, f"/quota/rule/{key}?span=24h")
    assert status == 200
    assert '<svg id="chart"' in text
    for step in ("create", "validate", "approve", "publish"):
        assert f"<td>{step}</td>" in text
    assert ask(house, "/quota/rule/no/such/rule")[0] == 404
    if CHROMIUM is not None:
        draw(house, "/quota", tmp_path / "quota.png", tmp_path)
        draw(house, f"/quota/rule/{key}", tmp_path / "rule.png", tmp_path)
