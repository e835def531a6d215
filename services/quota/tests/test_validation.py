"""A rule is valid alone and among the published ones, or the violation says why not."""

import math

import pytest

from chassis.protection.rule import Rule
from services.quota.domain.validation import validate


def rule(key: str, limit: float = 10.0, **fields: object) -> Rule:
    return Rule(key, limit, owner="ann", **fields)  # type: ignore[arg-type]


def fields_of(candidate: Rule, *published: Rule) -> list[str]:
    return [violation.field for violation in validate(candidate, published)]


def test_sound_rule_has_no_violation() -> None:
    assert fields_of(rule("surface/blender", 5), rule("surface", 10), rule("other", 1)) == []


@pytest.mark.parametrize(
    ("field", "candidate"),
    [
        ("limit", rule("a", 0.0)),
        ("limit", rule("a", math.nan)),
        ("limit", rule("a", 2.0**63)),
        ("burst", rule("a", 1.0, burst=2.0)),
        ("unit", rule("a", 1.0, unit="wishes")),
        ("owner", Rule("a", 1.0)),
    ],
)
def test_violation_names_the_field(field: str, candidate: Rule) -> None:
    assert fields_of(candidate) == [field]


def test_children_may_sum_up_to_the_parent_and_no_further() -> None:
    parent, sibling = rule("surface", 10), rule("surface/cg", 6)
    assert fields_of(rule("surface/blender", 4), parent, sibling) == []
    assert fields_of(rule("surface/blender", 4.1), parent, sibling) == ["limit"]


def test_parent_may_not_shrink_below_its_children() -> None:
    assert fields_of(rule("surface", 9), rule("surface/cg", 6), rule("surface/blender", 4)) == ["limit"]


def test_periods_are_compared_per_second() -> None:
    assert fields_of(rule("surface/blender", 600, period_s=60.0), rule("surface", 10)) == []
    assert fields_of(rule("surface/blender", 601, period_s=60.0), rule("surface", 10)) == ["limit"]


def test_grandchildren_count_for_their_own_parent_only() -> None:
    published = [rule("surface", 10), rule("surface/blender", 8), rule("surface/blender/GetFeed", 8)]
    assert fields_of(rule("surface/cg", 2), *published) == []


def test_other_units_have_budgets_of_their_own() -> None:
    assert fields_of(rule("surface/ingest", 500, unit="events"), rule("surface", 10)) == []


def test_rule_under_a_stricter_wildcard_has_no_effect_and_is_refused() -> None:
    assert fields_of(rule("a/b/c/big", 100), rule("a/b/c/*", 50)) == ["limit"]
    assert fields_of(rule("a/b/c/big", 20), rule("a/b/c/*", 50)) == []
    assert fields_of(rule("a/b/c/big", 100), rule("a/b/c/*", 50, is_shadow=True)) == []


def test_wildcard_that_would_shadow_a_published_rule_is_refused() -> None:
    assert fields_of(rule("a/b/c/*", 5), rule("a/b/c/big", 20)) == ["key"]


def test_new_version_of_a_rule_is_not_compared_with_its_old_one() -> None:
    assert fields_of(rule("surface/blender", 9), rule("surface", 10), rule("surface/blender", 10)) == []
