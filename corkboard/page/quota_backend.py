"""What the quota pages ask of the quota service."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chassis.errors import CorkboardError, Unavailable
from corkboard.session import Session
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc

HOUR_MS = 3_600_000
CALL_S = 8.0  # a person waits


@dataclass(frozen=True)
class Overview:
    """Rules in force, the newest version of each key, an hour of usage, capacity; `missing` names what did not come."""

    now_ms: int
    published: Sequence[pb.RuleVersion]
    newest: Sequence[pb.RuleVersion]
    usage: Sequence[pb.UsageWindow]
    capacity: pb.CapacityReport
    missing: Sequence[str]


@dataclass(frozen=True)
class RuleStory:
    """One key: every step of its life and what was used in [from, to)."""

    key: str
    history: Sequence[pb.AuditRecord]
    usage: Sequence[pb.UsageWindow]
    from_ms: int
    to_ms: int
    missing: Sequence[str]


class QuotaBackend:
    """Over one session. Rules must come; usage and capacity are left out when they do not."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def overview(self) -> Overview:
        """Raises: Unavailable when the quota service is away."""
        now_ms = time.time_ns() // 1_000_000
        newest = await self._ask(rpc.QuotaServiceStub, "ListRules", pb.ListRulesRequest())
        published = await self._ask(rpc.QuotaServiceStub, "ListRules", pb.ListRulesRequest(is_published_only=True))
        usage, missing = await self._usage("", now_ms - HOUR_MS, now_ms)
        capacity = pb.CapacityReport()
        try:
            capacity = await self._ask(rpc.CapacityServiceStub, "DescribeCapacity", pb.DescribeCapacityRequest())
        except CorkboardError as error:
            missing.append(f"capacity: {error}")
        return Overview(now_ms, published.rule_versions, newest.rule_versions, usage, capacity, missing)

    async def story(self, key: str, span_ms: int) -> RuleStory:
        """Raises: NotFound for an unknown key, Unavailable."""
        now_ms = time.time_ns() // 1_000_000
        answer = await self._ask(rpc.QuotaServiceStub, "History", pb.RuleRef(key=key))
        usage, missing = await self._usage(key, now_ms - span_ms, now_ms)
        exact = [window for window in usage if window.key == key]
        return RuleStory(key, answer.records, exact, now_ms - span_ms, now_ms, missing)

    async def _usage(self, prefix: str, from_ms: int, to_ms: int) -> tuple[Sequence[pb.UsageWindow], list[str]]:
        request = pb.QueryUsageRequest(key_prefix=prefix, from_time_ms=from_ms, to_time_ms=to_ms)
        try:
            answer = await self._ask(rpc.UsageServiceStub, "QueryUsage", request)
        except Unavailable as error:
            return [], [f"usage: {error}"]
        return answer.windows, [f"usage: {answer.missing}"] if answer.missing else []

    async def _ask(self, stub: Any, method: str, request: Any) -> Any:
        return await self._session.call("quota", stub, method, request, timeout_s=CALL_S)
