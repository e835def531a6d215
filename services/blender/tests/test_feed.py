"""The feed when all is well."""

from collections import Counter

import pytest

from protos.indexer.v1 import indexer_pb2
from protos.ranker.v1 import ranker_pb2
from services.blender.outbound import kafka_served_feed_messages
from services.blender.tests.fake_peers import score_of
from services.blender.tests.running_blender import RunningBlender, levels_of


def pins_of(response: object) -> list[str]:
    return [item.pin_id for item in response.items]  # type: ignore[attr-defined]


async def test_a_page_is_full_unique_and_in_positions(blender: RunningBlender) -> None:
    response = await blender.feed()
    assert len(response.items) == 25 == len(set(pins_of(response)))
    assert [item.position for item in response.items] == list(range(25))
    assert list(response.degradations) == []
    assert dict(response.versions.by_artifact).keys() == {"definitions", "model:two_tower", "model:ranker"}
    assert len(response.request_id) == 32 and response.next_page_token
    assert not response.items[0].score_parts


async def test_the_ranker_is_told_what_the_candidates_were_made_with(blender: RunningBlender) -> None:
    response = await blender.feed()
    (asked,) = blender.peers.ranker.calls
    assert asked.request_id == response.request_id
    assert dict(asked.versions.by_artifact).keys() == {"definitions", "model:two_tower"}


async def test_the_best_scores_come_but_not_in_plain_order(blender: RunningBlender) -> None:
    response = await blender.feed()
    scores = [item.score for item in response.items]
    assert scores[0] == max(map(score_of, blender.peers.world.pin_ids))
    assert scores != sorted(scores, reverse=True), "diversity and spacing moved nothing"
    assert min(scores) > 0.5, "a page of the better half"


async def test_pages_follow_each_other_without_repeats_until_all_pins_were_shown(blender: RunningBlender) -> None:
    shown: list[str] = []
    token, num_pages = "", 0
    while num_pages == 0 or token:
        response = await blender.feed(page_size=60, page_token=token)
        assert [item.position for item in response.items] == list(range(len(shown), len(shown) + len(response.items)))
        shown += pins_of(response)
        token, num_pages = response.next_page_token, num_pages + 1
        assert num_pages <= 5 and not response.degradations
    assert Counter(shown) == Counter(blender.peers.world.pin_ids)
    assert len(blender.peers.ranker.calls) == 1, "later pages are cut without ranking again"
    assert len(blender.peers.cg.calls) - num_refreshes(blender) == 1


async def test_peers_of_the_version_before_give_the_same_feed(blender: RunningBlender) -> None:
    now = await blender.feed(is_debug=True)
    blender.peers.world.speaks_columns = False
    before = await blender.feed(user_id="bob", is_debug=True)
    await blender.feed(user_id="cid")
    assert list(before.items) == list(now.items) and not before.degradations
    assert [bool(call.candidates) for call in blender.peers.ranker.calls] == [False, False, True, True]


async def test_one_read_of_the_history_serves_retrieval_and_ranking(blender: RunningBlender) -> None:
    await blender.feed()
    peers = blender.peers
    [asked] = [call.history for call in peers.indexer.calls if isinstance(call, indexer_pb2.GetUserRequest)]
    assert (asked.sequence, asked.max_events) == ("engagement", 512)
    retrieved = [call for call in peers.cg.calls if list(call.generators) != ["popular"]]
    assert [call.history.sequence_version for call in [*retrieved, *peers.ranker.calls]] == [7, 7]
    peers.world.hands_history_out = False
    await blender.feed(user_id="bob")
    assert not peers.cg.calls[-1].HasField("history") and not peers.ranker.calls[-1].HasField("history")


def num_refreshes(blender: RunningBlender) -> int:
    return sum(list(call.generators) == ["popular"] for call in blender.peers.cg.calls)


async def test_a_page_asked_twice_is_cut_from_the_same_pool(blender: RunningBlender) -> None:
    first = await blender.feed()
    again = [await blender.feed(page_token=first.next_page_token) for _ in range(2)]
    assert not set(pins_of(again[0])) & set(pins_of(again[1])), "what was shown is seen, also on a second device"
    assert [item.position for item in again[1].items] == list(range(25, 50))


async def test_the_next_feed_shows_none_of_the_pins_just_shown(blender: RunningBlender) -> None:
    first, second = await blender.feed(), await blender.feed()
    assert not set(pins_of(first)) & set(pins_of(second)), "indexer has not told yet, this process knows"


async def test_seen_blocked_and_doubled_pins_never_appear(blender: RunningBlender) -> None:
    world = blender.peers.world
    world.num_pins, world.seen = 100, [f"pin-{n}" for n in range(40)]
    world.blocked = ["pin-50", "pin-51"]
    world.content_groups = {f"pin-{n}": "same" for n in range(60, 70)}
    response = await blender.feed(page_size=100)
    expected = {f"pin-{n}" for n in range(40, 100)} - {"pin-50", "pin-51"} - {f"pin-{n}" for n in range(61, 70)}
    assert set(pins_of(response)) == expected


async def test_when_all_is_seen_the_longest_ago_come_again_and_it_is_named(blender: RunningBlender) -> None:
    world = blender.peers.world
    world.num_pins, world.seen = 30, [f"pin-{n}" for n in range(30)]  # pin-29 was seen the longest ago
    response = await blender.feed(page_size=10)
    assert set(pins_of(response)) == {f"pin-{n}" for n in range(20, 30)}
    assert levels_of(response)["drop_seen"] == "seen_relaxed"
    assert response.next_page_token == ""


async def test_an_unknown_person_gets_a_feed(blender: RunningBlender) -> None:
    response = await blender.feed(user_id="nobody ever heard of 你好")
    assert len(response.items) == 25


async def test_the_locale_of_the_profile_is_used_when_none_is_given(blender: RunningBlender) -> None:
    await blender.feed()
    await blender.feed(locale="de-DE")
    locales = [call.locale for call in blender.peers.cg.calls if not call.generators]
    assert locales == ["en-US", "de-DE"]


async def test_related_never_shows_its_subject(blender: RunningBlender) -> None:
    blender.peers.world.num_pins = 20
    response = await blender.feed(surface="related", subject_pin_id="pin-3")
    assert len(response.items) == 19 and "pin-3" not in pins_of(response)


async def test_debug_shows_the_parts_of_the_score(blender: RunningBlender) -> None:
    item = (await blender.feed(is_debug=True)).items[1]
    assert item.score_parts.keys() == {
        "click",
        "save",
        "retrieval_score",
        "diversity_bonus",
        "spacing_penalty",
    }
    assert item.score_parts["diversity_bonus"] > 0


async def test_scores_that_are_no_numbers_come_last(blender: RunningBlender) -> None:
    world = blender.peers.world
    world.num_pins, world.bad_scores = 30, {"pin-1": float("nan"), "pin-2": float("inf"), "pin-3": float("-inf")}
    pins = pins_of(await blender.feed(page_size=100))
    assert len(pins) == 30 and set(pins[-3:]) == {"pin-1", "pin-2", "pin-3"}


@pytest.mark.parametrize(
    ("generator", "has_event", "reason"),
    [
        ("contextual", True, "because_you_saved"),
        ("contextual", False, "similar_to_your_history"),
        ("popular", False, "popular"),
        ("fresh", False, "fresh"),
        ("related", True, "related_to_subject"),
    ],
)
async def test_reason_codes(blender: RunningBlender, generator: str, has_event: bool, reason: str) -> None:
    world = blender.peers.world
    world.generator = generator
    if has_event:
        world.events = [ranker_pb2.InfluencingEvent(event_id="e", event_type="save", pin_id="pin-4", event_time_ms=1)]
        world.seen = ["pin-4"]
    reasons = {item.pin_id: item.reason_code for item in (await blender.feed(page_size=100)).items}
    same_topic = {pin for pin in reasons if int(pin.removeprefix("pin-")) % 4 == 0}
    assert same_topic and {reasons[pin] for pin in same_topic} == {reason}
    if reason == "because_you_saved":
        assert {reasons[pin] for pin in reasons if pin not in same_topic} == {"similar_to_your_history"}


async def test_the_record_has_every_candidate_exactly_once(blender: RunningBlender) -> None:
    world = blender.peers.world
    world.num_pins, world.blocked = 120, ["pin-7"]
    world.content_groups = {"pin-8": "same", "pin-9": "same"}
    response = await blender.feed(locale="en-GB")
    (record,) = await blender.served(1)
    assert record.request_id == response.request_id
    assert (record.user_id, record.surface, record.locale, record.page) == ("ann", "home", "en-GB", 0)
    assert record.sequence_version == 7
    outcomes = kafka_served_feed_messages.decode(record.SerializeToString()).outcomes
    assert Counter(each.candidate.pin_id for each in outcomes).most_common(1)[0][1] == 1
    outcome = Counter(each.removed_by for each in outcomes)
    assert outcome == {"": 25, "cut_page": 93, "drop_blocked": 1}  # the blocked one is left out by retrieval already
    assert [each.pin_id for each in record.candidates] == pins_of(response)
    stages = {each.stage: (each.num_in, each.num_kept) for each in record.stages}
    assert list(stages) == [
        "admit",
        "hydrate_user",
        "retrieve",
        "drop_seen",
        "drop_blocked",
        "rank",
        "diversify_and_space",
        "cut_page",
        "keep_session",
    ]
    assert stages["cut_page"][1] == 25
