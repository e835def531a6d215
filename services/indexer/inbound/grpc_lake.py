"""The gRPC service of the lake."""

from typing import Any

from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc as rpc
from protos.tables import batch_to_table
from services.indexer.app.read_usage import ReadUsage


class LakeServicer(rpc.LakeServiceServicer):
    """Served by the process that writes the lake."""

    def __init__(self, usage: ReadUsage) -> None:
        self._usage = usage

    async def QueryQuotaUsage(self, request: pb.QueryQuotaUsageRequest, _context: Any) -> pb.QueryQuotaUsageResponse:
        rows = await self._usage.minutes(request.key_prefix, request.from_time_ms, request.to_time_ms)
        return pb.QueryQuotaUsageResponse(rows=batch_to_table(rows))
