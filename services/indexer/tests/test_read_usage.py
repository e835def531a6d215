"""Used quota is read back from the lake per minute, each window once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from grpc import aio

from chassis.errors import Invalid
from chassis.grpc.server import GrpcDoor
from chassis.protection.usage import UsageWindow
from chassis.testing import InMemoryBus, eventually
from protos import topics
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc as rpc
from protos.rules import encode_usage
from protos.tables import table_to_batch
from services.indexer.app import read_usage
from services.indexer.app.read_usage import ReadUsage, per_minute
from services.indexer.config import Config
from services.indexer.domain.lake_rows import USAGE_COLUMNS
from services.indexer.outbound.iceberg_catalog import open_catalog
from services.indexer.wiring import build

MINUTE_MS = 60_000


def row(start_ms: int, instance: str = "one", admitted: float = 2.0, **fields: Any) -> dict[str, Any]:
    sound = {"key": "a/b", "service": "blender", "instance": instance, "zone": "az-a", "window_start_ms": start_ms}
    units = {"window_ms": 10_000, "admitted": admitted, "refused": 1.0, "shadow_refused": 0.5, "rule_version": 3}
    return sound | units | fields


def windows(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=USAGE_COLUMNS)


def test_windows_become_minutes_and_one_that_came_twice_counts_once() -> None:
    found = per_minute(
        windows(
            row(60_000), row(60_000), row(70_000), row(61_000, "two", rule_version=4), row(120_000), row(1, key="a/a")
        )
    ).to_pylist()
    assert [(each["key"], each["minute_ms"], each["admitted"], each["num_instances"]) for each in found] == [
        ("a/a", 0, 2.0, 1),
        ("a/b", 60_000, 6.0, 2),
        ("a/b", 120_000, 2.0, 1),
    ]
    assert (found[1]["refused"], found[1]["shadow_refused"], found[1]["rule_version"]) == (3.0, 1.5, 4)
    assert per_minute(windows()).num_rows == 0


async def test_too_much_is_refused_and_a_missing_table_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await ReadUsage(lambda *_: None).minutes("", 0, 1)).num_rows == 0
    monkeypatch.setattr(read_usage, "MAX_ROWS", 2)
    many = windows(*(row(minute * MINUTE_MS) for minute in range(3)))
    with pytest.raises(Invalid, match="3 minutes, at most 2"):
        await ReadUsage(lambda *_: many.to_reader()).minutes("", 0, 10**9)
    with pytest.raises(Invalid, match="turned around"):
        await ReadUsage(lambda *_: None).minutes("", 5, 1)


def test_two_who_open_a_new_lake_at_once_both_get_it(tmp_path: Path) -> None:
    for number in range(5):
        folder = str(tmp_path / str(number))
        barrier = threading.Barrier(4)

        def open_at_once(folder: str = folder, barrier: threading.Barrier = barrier) -> object:
            barrier.wait()
            return open_catalog(folder, {})

        with ThreadPoolExecutor(4) as threads:
            opened = [future.result() for future in [threads.submit(open_at_once) for _ in range(4)]]
        assert len(opened) == 4


async def test_what_was_committed_is_answered_over_grpc_by_prefix_and_time(tmp_path: Path) -> None:
    bus = InMemoryBus()
    config = Config(
        role="lake",
        lake_dir=str(tmp_path),
        state_dir=str(tmp_path),
        drain_s=0.1,
        lake_commit_interval_s=0.05,
        grpc_port=0,
        admin_port=0,
    )
    service = build(config, bus=bus)
    base_ms = 1_750_000_020_000
    async with service:
        (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))
        async with aio.insecure_channel(door.address) as channel:
            stub: Any = rpc.LakeServiceStub(channel)

            async def ask(prefix: str, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
                request = pb.QueryQuotaUsageRequest(key_prefix=prefix, from_time_ms=from_ms, to_time_ms=to_ms)
                answer = await stub.QueryQuotaUsage(request, timeout=10)
                return list(table_to_batch(answer.rows).to_pylist())

            assert await ask("", 0, 2**50) == []
            for key, start_ms in (("a", base_ms), ("a", base_ms + MINUTE_MS), ("b", base_ms)):
                window = UsageWindow(key, start_ms, 10_000, 5.0, 1.0, 0.0, 3, "blender", "one", "az-a")
                for _ in range(2):
                    bus.append(topics.QUOTA_USAGE, encode_usage(window), b"k", 0, {})

            async def all_there() -> bool:
                return len(await ask("", 0, 2**50)) == 3

            await eventually(all_there, within_s=10)
            assert [each["key"] for each in await ask("a", 0, 2**50)] == ["a", "a"]
            assert [each["admitted"] for each in await ask("a", base_ms, base_ms + MINUTE_MS)] == [5.0]
            with pytest.raises(aio.AioRpcError) as refused:
                await ask("", 10, 5)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
