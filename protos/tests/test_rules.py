"""Rules, usage windows and releases survive the wire; bytes that are something else are refused."""

import pytest

from chassis.bundles import Release
from chassis.errors import Corrupt, Invalid
from chassis.protection import Rule, UsageWindow
from protos.quota.v1 import quota_pb2 as pb
from protos.releases import decode_release, encode_release
from protos.rules import decode_rule, decode_usage, encode_rule, encode_usage

RULE = Rule("a/*/c", 5.5, 2.0, 1.5, "bytes", True, 7, 0.5, "ann", 2, 1.0)
WINDOW = UsageWindow("a", 1_000, 500, 1.5, 2.5, 3.5, 7, "blender", "i1", "zone-a")
RELEASE = Release("ranker", "v1", "file:///bundles/ranker/v1", "0" * 64, 1_000, "ann")


def test_each_survives_the_wire() -> None:
    assert decode_rule(encode_rule(RULE)) == RULE
    assert decode_usage(encode_usage(WINDOW)) == WINDOW
    assert decode_release(encode_release(RELEASE)) == RELEASE


def test_unset_tier_and_safe_share_have_their_defaults() -> None:
    message = pb.RuleVersion(rule=pb.Rule(key="a", limit=1, period_s=1), version=1, state=pb.RULE_STATE_PUBLISHED)
    rule = decode_rule(message.SerializeToString())
    assert (rule.tier, rule.safe_share) == (3, 1.0)


@pytest.mark.parametrize("decode", [decode_rule, decode_usage, decode_release])
def test_other_bytes_are_corrupt(decode: object) -> None:
    with pytest.raises(Corrupt):
        decode(b"\xff\xff\xff")  # type: ignore[operator]


def test_rule_that_is_not_published_is_not_enforced() -> None:
    draft = pb.RuleVersion(rule=pb.Rule(key="a"), version=1, state=pb.RULE_STATE_DRAFT)
    with pytest.raises(Invalid, match="RULE_STATE_DRAFT, not published"):
        decode_rule(draft.SerializeToString())


def test_release_without_a_digest_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        decode_release(encode_release(Release("ranker", "v1", "file:///x", "", 0)))
