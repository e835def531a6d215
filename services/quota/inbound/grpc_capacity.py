"""Capacity and what a cluster makes of it, over gRPC."""

from typing import Any

from chassis.clock import Clock
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc
from services.quota.app.capacity import CapacityDispatcher, Line, Report
from services.quota.inbound.actors import Actors

UNKNOWN = -1.0

Context = Any


class CapacityServicer(rpc.CapacityServiceServicer):
    """Reading asks the cluster, so it is as fresh and as slow as that."""

    def __init__(self, dispatcher: CapacityDispatcher, clock: Clock, actors: Actors) -> None:
        self._dispatcher, self._clock, self._actors = dispatcher, clock, actors

    async def DescribeCapacity(self, request: pb.DescribeCapacityRequest, _context: Context) -> pb.CapacityReport:
        return self._answer(await self._dispatcher.report(request.team, request.zone))

    async def ApplyCapacity(self, request: pb.ApplyCapacityRequest, context: Context) -> pb.CapacityReport:
        await self._dispatcher.apply_all(self._actors.of(request.actor, context), is_dry_run=request.is_dry_run)
        return self._answer(await self._dispatcher.report())

    def _answer(self, report: Report) -> pb.CapacityReport:
        return pb.CapacityReport(
            target=report.target,
            lines=[_line(line) for line in report.lines],
            orphans=report.orphans,
            read_time_ms=self._clock.now_ms(),
            free=report.free,
        )


def _line(line: Line) -> pb.CapacityLine:
    return pb.CapacityLine(
        key=line.rule.key,
        team=line.key.team,
        zone=line.key.zone,
        namespace=line.namespace,
        resource=line.resource,
        limit=line.rule.limit,
        unit=line.rule.unit,
        found=UNKNOWN if line.found is None else line.found,
        used=UNKNOWN if line.used is None else line.used,
        is_drifted=line.is_drifted,
    )
