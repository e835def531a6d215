"""Why a feed looks as it does."""

from pathlib import Path

import pytest

from chassis.errors import Invalid, NotFound
from chassis.testing import eventually
from protos.blender.v1 import blender_pb2 as pb
from protos.ranker.v1 import ranker_pb2
from services.blender.outbound import kafka_served_feed_messages
from services.blender.tests.running_blender import RunningBlender, running_blender


async def explained(blender: RunningBlender, request_id: str, *why_not: str) -> pb.ExplainFeedResponse:
    await eventually(lambda: request_id in blender.explanations.encoded)
    return await blender.explain(request_id, *why_not)


async def test_an_explanation_agrees_with_the_feed(blender: RunningBlender) -> None:
    world = blender.peers.world
    world.num_pins, world.seen, world.blocked = 100, ["pin-1"], ["pin-5"]
    world.content_groups = {"pin-2": "same", "pin-3": "same"}
    world.events = [
        ranker_pb2.InfluencingEvent(
            event_id="e-1", event_type="save", pin_id="pin-1", event_time_ms=5, traceparent="00-" + "a" * 32
        )
    ]
    feed = await blender.feed(is_debug=True)
    explanation = await explained(blender, feed.request_id, "pin-3", "pin-1", "pin-5", "pin-999", feed.items[0].pin_id)

    assert [item.pin_id for item in explanation.items] == [item.pin_id for item in feed.items]
    assert explanation.user_id == "ann" and explanation.surface == "home" and explanation.served_time_ms > 0
    assert [each.event_id for each in explanation.influencing_events] == ["e-1"]
    assert explanation.versions == feed.versions
    for item, shown in zip(explanation.items, feed.items, strict=True):
        assert item.score == shown.score and item.score_by_head["save"] == 0.05
        assert item.places_moved == item.rank_by_score - item.position
        assert bool(item.moved_by) == bool(item.places_moved)
        assert item.diversity_bonus == shown.score_parts["diversity_bonus"]
    assert any(item.places_moved for item in explanation.items)
    assert [each.rank_by_score for each in explanation.pool] == list(range(len(explanation.pool)))
    assert [each.score for each in explanation.pool] == sorted((each.score for each in explanation.pool), reverse=True)

    group, seen, blocked, unknown, served = explanation.why_not
    assert (group.removed_by, group.position, group.rank_by_score) == ("drop_blocked", -1, -1)
    assert (seen.removed_by, blocked.removed_by, unknown.removed_by) == ("drop_seen", "drop_blocked", "retrieve")
    assert (served.removed_by, served.position) == ("", 0)


async def test_later_pages_keep_the_rank_of_the_whole_pool(blender: RunningBlender) -> None:
    first = await blender.feed()
    second = await blender.feed(page_token=first.next_page_token)
    explanation = await explained(blender, second.request_id)
    ranks = [each.rank_by_score for each in explanation.pool]
    assert len(ranks) == 275 and ranks == sorted(ranks) and ranks[-1] == 299
    assert sum(abs(item.places_moved) for item in explanation.items) < 25 * 100


async def test_survival_follows_each_generators_candidates(blender: RunningBlender) -> None:
    world = blender.peers.world
    world.num_pins, world.seen, world.blocked = 100, ["pin-1"], ["pin-5"]
    feed = await blender.feed(page_size=10)
    explanation = await explained(blender, feed.request_id)
    record = next(each for each in await blender.served(1) if each.request_id == feed.request_id)
    outcomes = kafka_served_feed_messages.decode(record.SerializeToString()).outcomes
    assert sum(each.num_candidates for each in explanation.survival) == len(outcomes)
    for each in explanation.survival:
        mine = [one for one in outcomes if one.candidate.generator == each.generator]
        assert each.num_not_dropped == sum(not one.removed_by.startswith("drop_") for one in mine)
        assert each.num_ranked == sum(one.candidate.rank_by_score >= 0 for one in mine)
        assert each.num_top_ranked == sum(0 <= one.candidate.rank_by_score < 10 for one in mine)
        assert each.num_served == sum(item.generator == each.generator for item in feed.items)
    assert sum(each.num_served for each in explanation.survival) == 10
    sizes = [each.num_candidates for each in explanation.survival]
    assert sizes == sorted(sizes, reverse=True)


async def test_stage_counts_add_up(blender: RunningBlender) -> None:
    explanation = await explained(blender, (await blender.feed()).request_id)
    for stage in explanation.stages:
        assert stage.num_removed == max(0, stage.num_in - stage.num_kept)
        assert stage.duration_ms >= 0
    for before, after in zip(explanation.stages, explanation.stages[1:], strict=False):
        assert before.num_kept == after.num_in
    assert {each.stage: each.num_kept for each in explanation.stages}["rank"] == 300


async def test_a_degraded_feed_says_so_in_its_explanation(blender: RunningBlender) -> None:
    blender.peers.ranker.mood = "refuse"
    explanation = await explained(blender, (await blender.feed()).request_id)
    assert [(each.component, each.level) for each in explanation.degradations] == [("ranker", "retrieval_order")]
    assert {each.stage: each.fallback for each in explanation.stages}["rank"] == "retrieval_order"


async def test_an_unknown_request_is_not_found(blender: RunningBlender) -> None:
    with pytest.raises(NotFound):
        await blender.explain("0" * 32)


@pytest.mark.parametrize("request_id", ["", "x", "0" * 31, "0" * 33, "../etc", "G" * 32])
async def test_what_is_no_request_id_is_invalid(blender: RunningBlender, request_id: str) -> None:
    with pytest.raises(Invalid) as caught:
        await blender.explain(request_id)
    assert caught.value.field == "request_id"


async def test_too_many_questions_are_refused(blender: RunningBlender) -> None:
    with pytest.raises(Invalid):
        await blender.explain("0" * 32, *(f"pin-{n}" for n in range(101)))


async def test_feeds_that_are_not_kept_cannot_be_explained_and_are_logged_all_the_same(tmp_path: Path) -> None:
    async with running_blender(tmp_path, explain_enabled=False) as blender:
        feed = await blender.feed()
        await blender.served(1)
        with pytest.raises(NotFound):
            await blender.explain(feed.request_id)
