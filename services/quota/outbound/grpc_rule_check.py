"""A check made by another process, over gRPC."""

from collections.abc import Sequence

from chassis.errors import Invalid
from chassis.grpc.client import ChannelPool
from chassis.protection.rule import Rule
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc
from protos.rules import rule_to_proto
from services.quota.domain.validation import Violation


class GrpcRuleCheck:
    """RuleCheck: whoever serves RuleCheckService at the other end of `pool`."""

    def __init__(self, name: str, pool: ChannelPool, limit_s: float) -> None:
        self.name = name
        self._pool, self._limit_s = pool, limit_s

    async def check(self, rule: Rule, published: Sequence[Rule]) -> Sequence[Violation]:
        """See RuleCheck."""
        request = pb.CheckRuleRequest(rule=rule_to_proto(rule), published=[rule_to_proto(each) for each in published])
        answer = await self._pool.call(rpc.RuleCheckServiceStub, "CheckRule", request, timeout_s=self._limit_s)
        return [Violation(each.field, each.message) for each in answer.violations]


def parse_remote_checks(text: str) -> dict[str, str]:
    """`name=host:port;name=host:port@zone,host:port` as targets by name. Raises: Invalid."""
    found = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        name, _, target = entry.partition("=")
        if not (name and target):
            raise Invalid(f"remote check {entry!r} must look like name=host:port", field="remote_checks")
        found[name] = target
    return found
