"""What every service hands to its shell: the topics and wire formats that the chassis itself must not know."""

from chassis.shell import Contracts
from protos.callers import CALLERS
from protos.leases import GrpcLeaseSource
from protos.rules import decode_rule, encode_usage
from protos.topics import QUOTA_RULES, QUOTA_USAGE

CONTRACTS = Contracts(
    rules_topic=QUOTA_RULES,
    decode_rule=decode_rule,
    usage_topic=QUOTA_USAGE,
    encode_usage=encode_usage,
    lease_source=GrpcLeaseSource,
    callers=CALLERS,
)
