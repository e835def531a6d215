"""What a caller may ask."""

from typing import Any

import pytest

from chassis.errors import Invalid, Overloaded
from chassis.protection import Rule
from chassis.testing import eventually
from protos.rules import encode_rule
from protos.topics import QUOTA_RULES
from services.blender.tests.running_blender import RunningBlender


@pytest.mark.parametrize(
    ("fields", "field", "word"),
    [
        ({"user_id": ""}, "user_id", "1..128"),
        ({"user_id": "   "}, "user_id", "1..128"),
        ({"user_id": "x" * 129}, "user_id", "129"),
        ({"user_id": "a\x00b"}, "user_id", "control"),
        ({"surface": "billboard"}, "surface", "home, related, search"),
        ({"surface": ""}, "surface", "home, related, search"),
        ({"page_size": 0}, "page_size", "1..100"),
        ({"page_size": -1}, "page_size", "1..100"),
        ({"page_size": 101}, "page_size", "1..100"),
        ({"surface": "related"}, "subject_pin_id", "needs"),
        ({"surface": "related", "subject_pin_id": "p" * 129}, "subject_pin_id", "129"),
        ({"surface": "search"}, "query", "needs"),
        ({"surface": "search", "query": "q" * 513}, "query", "513"),
        ({"locale": "x" * 36}, "locale", "36"),
        ({"tenant": "a/b"}, "tenant", "tenant"),
        ({"page_token": "forged"}, "page_token", "page token"),
    ],
)
async def test_a_bad_request_names_its_field(
    blender: RunningBlender, fields: dict[str, Any], field: str, word: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await blender.feed(**fields)
    assert caught.value.field == field and word in caught.value.message
    assert len((await blender.feed()).items) == 25, "the next valid call works"


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": "x" * 128},
        {"user_id": "  ann  "},
        {"user_id": "мария"},
        {"page_size": 1},
        {"page_size": 100},
        {"surface": "search", "query": "garden"},
        {"surface": "related", "subject_pin_id": "pin-1"},
        {"surface": "related", "subject_pin_id": "a pin nobody knows"},
    ],
)
async def test_a_good_request_is_answered(blender: RunningBlender, fields: dict[str, Any]) -> None:
    assert len((await blender.feed(**fields)).items) == fields.get("page_size", 25)


async def test_names_that_look_equal_are_one_person(blender: RunningBlender) -> None:
    first = await blender.feed(user_id="Zoë")
    second = await blender.feed(user_id=" Zoe\u0308")
    assert not {item.pin_id for item in first.items} & {item.pin_id for item in second.items}


async def test_an_exhausted_quota_says_when_to_come_back(blender: RunningBlender) -> None:
    rule = Rule("surface/blender/GetFeed/small", limit=2, period_s=60, version=1, owner="tests")
    blender.bus.append(QUOTA_RULES, encode_rule(rule), rule.key.encode(), None, {})

    async def is_refused() -> bool:
        try:
            await blender.feed(tenant="small", page_size=1)
        except Overloaded as error:
            assert error.retry_after_s is not None and 0 < error.retry_after_s <= 60
            assert error.field == rule.key
            return True
        return False

    await eventually(is_refused)
    assert len((await blender.feed()).items) == 25, "another tenant is not touched"
