"""Owners and admins change rules; large changes need a second person."""

import pytest

from chassis.errors import Invalid, PermissionDenied
from chassis.protection.rule import Rule
from services.quota.domain.authority import Authority, parse_groups, parse_people, second_person_reason

AUTHORITY = Authority(parse_people("root"), parse_groups("feed=ann, bob; ads=eve"))


@pytest.mark.parametrize(("actor", "owner"), [("ann", "feed"), ("root", "feed"), ("zoe", "zoe")])
def test_owner_member_and_admin_may_change(actor: str, owner: str) -> None:
    AUTHORITY.check(actor, owner)


def test_others_are_denied_and_nobody_is_invalid() -> None:
    with pytest.raises(PermissionDenied, match="eve"):
        AUTHORITY.check("eve", "feed")
    with pytest.raises(Invalid):
        AUTHORITY.check("", "feed")


def test_group_without_members_is_a_configuration_error() -> None:
    with pytest.raises(Invalid, match="name=person"):
        parse_groups("feed=")


@pytest.mark.parametrize(
    ("is_needed", "new", "published"),
    [
        (False, Rule("a", 125), Rule("a", 100)),
        (True, Rule("a", 126), Rule("a", 100)),
        (True, Rule("a", 74), Rule("a", 100)),
        (True, Rule("a", 100, tier=1), None),
        (True, Rule("a", 100, tier=3), Rule("a", 100, tier=1)),
        (True, Rule("a", 100, is_shadow=True), Rule("a", 100)),
        (False, Rule("a", 1e6), None),
    ],
)
def test_second_person_is_needed_for_tier_1_and_large_changes(
    is_needed: bool, new: Rule, published: Rule | None
) -> None:
    assert bool(second_person_reason(new, published)) is is_needed
