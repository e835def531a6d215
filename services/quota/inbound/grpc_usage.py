"""Used units, what they ask for and what budgets ask for, over gRPC."""

from typing import Any

from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc
from protos.rules import usage_to_proto
from services.quota.app.rightsizing import Drafting, Rightsizing
from services.quota.app.usage import UsageReader
from services.quota.domain.backtest import total
from services.quota.inbound import messages
from services.quota.inbound.actors import Actors

USAGE_SERVICE = pb.DESCRIPTOR.services_by_name["UsageService"].full_name

Context = Any


class UsageServicer(rpc.UsageServiceServicer):
    """Everything but `ApplyProposals` changes nothing."""

    def __init__(self, usage: UsageReader, rightsizing: Rightsizing, drafting: Drafting, actors: Actors) -> None:
        self._usage, self._rightsizing, self._drafting, self._actors = usage, rightsizing, drafting, actors

    async def QueryUsage(self, request: pb.QueryUsageRequest, _context: Context) -> pb.QueryUsageResponse:
        found = await self._usage.query(request.key_prefix, request.from_time_ms, request.to_time_ms)
        return pb.QueryUsageResponse(windows=[usage_to_proto(each) for each in found.windows], missing=found.missing)

    async def ProposeRightsizing(
        self, request: pb.ProposeRightsizingRequest, _context: Context
    ) -> pb.ProposeRightsizingResponse:
        proposals = await self._rightsizing.propose(request.key_prefix, request.strategy)
        return pb.ProposeRightsizingResponse(proposals=[messages.proposal_to_proto(each) for each in proposals])

    async def BacktestRightsizing(
        self, request: pb.ProposeRightsizingRequest, _context: Context
    ) -> pb.BacktestResponse:
        outcomes = await self._rightsizing.backtest(request.key_prefix, request.strategy)
        rows = [messages.outcome_to_proto(outcome) for outcome in outcomes]
        return pb.BacktestResponse(rows=rows, total=messages.outcome_to_proto(total(outcomes)))

    async def ProposeHaircuts(
        self, request: pb.ProposeHaircutsRequest, _context: Context
    ) -> pb.ProposeRightsizingResponse:
        budgets = [messages.budget_from_proto(budget) for budget in request.budgets]
        proposals = await self._rightsizing.haircuts(budgets)
        return pb.ProposeRightsizingResponse(proposals=[messages.proposal_to_proto(each) for each in proposals])

    async def ApplyProposals(self, request: pb.ApplyProposalsRequest, context: Context) -> pb.ApplyProposalsResponse:
        actor = self._actors.of(request.actor, context)
        proposals = [messages.proposal_from_proto(each) for each in request.proposals]
        applied = await self._drafting.apply(proposals, actor, request.why)
        return pb.ApplyProposalsResponse(applied=[messages.applied_to_proto(each) for each in applied])
