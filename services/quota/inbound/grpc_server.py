"""The life of rules, and leases, over gRPC."""

from collections.abc import AsyncIterator
from typing import Any

from chassis.clock import Clock
from chassis.errors import NotFound
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc
from protos.rules import rule_from_proto
from services.quota.app.leases import LeaseGranting
from services.quota.app.lifecycle import RuleLifecycle
from services.quota.app.rule_watch import RuleWatch
from services.quota.domain.divider import Claim
from services.quota.domain.lease_book import Lease
from services.quota.inbound import messages
from services.quota.inbound.actors import Actors
from services.quota.ports import RuleLedger

QUOTA_SERVICE = pb.DESCRIPTOR.services_by_name["QuotaService"].full_name
LEASE_SERVICE = pb.DESCRIPTOR.services_by_name["LeaseService"].full_name

Context = Any


class QuotaServicer(rpc.QuotaServiceServicer):
    """The life of rules."""

    def __init__(self, lifecycle: RuleLifecycle, ledger: RuleLedger, watch: RuleWatch, actors: Actors) -> None:
        self._lifecycle, self._ledger, self._watch, self._actors = lifecycle, ledger, watch, actors

    async def CreateRule(self, request: pb.CreateRuleRequest, context: Context) -> pb.RuleResponse:
        rule, actor = rule_from_proto(request.rule), self._actors.of(request.actor, context)
        created = await self._lifecycle.create(rule, request.expected_version, actor, request.why)
        return messages.response(created)

    async def ValidateRule(self, request: pb.RuleRef, context: Context) -> pb.ValidateRuleResponse:
        version, faults = await self._lifecycle.validate(*self._step(request, context))
        return pb.ValidateRuleResponse(
            rule_version=messages.version_to_proto(version),
            violations=[messages.violation_to_proto(fault) for fault in faults],
        )

    async def ApproveRule(self, request: pb.ApproveRuleRequest, context: Context) -> pb.RuleResponse:
        return messages.response(await self._lifecycle.approve(*self._step(request.ref, context)))

    async def PublishRule(self, request: pb.RuleRef, context: Context) -> pb.RuleResponse:
        return messages.response(await self._lifecycle.publish(*self._step(request, context)))

    async def RevokeRule(self, request: pb.RuleRef, context: Context) -> pb.RuleResponse:
        return messages.response(await self._lifecycle.revoke(*self._step(request, context)))

    def _step(self, ref: pb.RuleRef, context: Context) -> tuple[str, int, str, str]:
        """Key, version, actor and why."""
        return ref.key, ref.version, self._actors.of(ref.actor, context), ref.why

    async def GetRule(self, request: pb.RuleRef, _context: Context) -> pb.RuleResponse:
        version = await self._ledger.read(request.key, request.version)
        if version is None:
            raise NotFound(f"no rule {request.key!r} version {request.version or 'newest'}", field="key")
        return messages.response(version)

    async def ListRules(self, request: pb.ListRulesRequest, _context: Context) -> pb.ListRulesResponse:
        found = await self._ledger.list_rules(request.key_prefix, is_published_only=request.is_published_only)
        return pb.ListRulesResponse(rule_versions=[messages.version_to_proto(version) for version in found])

    async def WatchRules(self, request: pb.ListRulesRequest, _context: Context) -> AsyncIterator[pb.RuleResponse]:
        async for version in self._watch.watch(request.key_prefix):
            yield messages.response(version)

    async def History(self, request: pb.RuleRef, _context: Context) -> pb.HistoryResponse:
        records = await self._ledger.history(request.key)
        if not records:
            raise NotFound(f"no rule {request.key!r}", field="key")
        return pb.HistoryResponse(records=[messages.record_to_proto(record) for record in records])


class LeaseServicer(rpc.LeaseServiceServicer):
    """Shares of global limits."""

    def __init__(self, granting: LeaseGranting, clock: Clock, duration_ms: int) -> None:
        self._granting, self._clock, self._duration_ms = granting, clock, duration_ms

    async def Acquire(self, request: pb.AcquireRequest, _context: Context) -> pb.Lease:
        claim = Claim(request.demand, request.weight or 1.0)
        return self._answer(await self._granting.acquire(request.key, request.client_id, claim, request.budget))

    async def Renew(self, request: pb.RenewRequest, _context: Context) -> pb.Lease:
        lease_id, client_id = request.lease_id, request.client_id
        return self._answer(await self._granting.renew(lease_id, client_id, request.demand, request.held_rate))

    async def Release(self, request: pb.ReleaseRequest, _context: Context) -> pb.ReleaseResponse:
        return pb.ReleaseResponse(is_released=await self._granting.release(request.lease_id, request.client_id))

    def _answer(self, lease: Lease) -> pb.Lease:
        return messages.lease_to_proto(lease, self._clock.now_ms(), self._duration_ms)
