"""Usage in the lake, asked of the indexer that owns it."""

from collections.abc import Sequence

from chassis.grpc.client import ChannelPool
from chassis.protection.usage import UsageWindow
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc as rpc
from protos.tables import table_to_batch

MINUTE_MS = 60_000
SLICE_MS = 7 * 86_400_000  # per call: a week of minutes of one rule in ten services and zones
CALL_S = 10.0


class GrpcUsageHistory:
    """UsageHistory: LakeService at the other end of `pool`."""

    def __init__(self, pool: ChannelPool) -> None:
        self._pool = pool

    async def query_usage(self, key_prefix: str, from_ms: int, to_ms: int) -> Sequence[UsageWindow]:
        """See UsageHistory."""
        found: list[UsageWindow] = []
        for begin_ms in range(from_ms, to_ms, SLICE_MS):
            found += await self._slice(key_prefix, begin_ms, min(to_ms, begin_ms + SLICE_MS))
        return sorted(found, key=lambda window: (window.key, window.window_start_ms, window.service, window.zone))

    async def _slice(self, key_prefix: str, from_ms: int, to_ms: int) -> list[UsageWindow]:
        request = pb.QueryQuotaUsageRequest(key_prefix=key_prefix, from_time_ms=from_ms, to_time_ms=to_ms)
        answer = await self._pool.call(rpc.LakeServiceStub, "QueryQuotaUsage", request, timeout_s=CALL_S)
        return [
            UsageWindow(
                row["key"],
                row["minute_ms"],
                MINUTE_MS,
                row["admitted"],
                row["refused"],
                row["shadow_refused"],
                row["rule_version"],
                row["service"],
                "",
                row["zone"],
                row["num_instances"],
            )
            for row in table_to_batch(answer.rows).to_pylist()
        ]
