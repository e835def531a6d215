"""Replaying served feeds under other definitions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chassis.deadline import Deadline
from chassis.errors import NotFound
from chassis.grpc.client import ChannelPool
from chassis.metrics import Metrics
from chassis.testing import InMemoryBus
from protos.topics import FEEDS_SERVED
from sequences.definitions.definitions import Definitions
from sequences.definitions.testing import repository_definitions
from services.blender.app.variety_meter import VarietyMeter
from services.blender.domain.candidate import Candidate
from services.blender.domain.measures import longest_run, relevance_kept, variety
from services.blender.domain.pin_features import PinRow, from_rows, no_features
from services.blender.domain.served_feed import Outcome
from services.blender.offline.replay import Asked, run
from services.blender.outbound.grpc_indexer import GrpcIndexer
from services.blender.ports import PinSource
from services.blender.tests.running_blender import running_blender


def test_variety_of_a_page_that_one_can_count() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    found = variety(vectors, ["a", "b", "b", ""])
    assert found.ilad_at_10 == pytest.approx((1 + 0 + 1) / 3)  # the pin without a vector is in no pair
    assert (found.topics_at_10, found.longest_run) == (2.0, 2)


def test_spans_slide_over_longer_pages() -> None:
    topics = ["a"] * 10 + ["b"]
    assert variety(np.eye(11), topics).topics_at_10 == 1.5  # spans 0..9 and 1..10
    assert variety(np.zeros((0, 2)), []).topics_at_10 == 0.0


@pytest.mark.parametrize(("keys", "longest"), [([], 0), ([""], 0), (["a", "a", "", "a"], 2), (["", "", ""], 0)])
def test_a_run_ends_where_nothing_is_known(keys: list[str], longest: int) -> None:
    assert longest_run(keys) == longest


def test_relevance_is_kept_against_the_best_choice() -> None:
    assert relevance_kept([3.0, 2.0], [3.0, 2.0, 1.0]) == 1.0
    assert relevance_kept([3.0, 1.0], [3.0, 2.0, 1.0]) == pytest.approx(2 / 3)
    assert relevance_kept([1.0], [1.0, 1.0]) == 1.0


def test_pages_that_go_out_are_measured_by_surface() -> None:
    metrics = Metrics("t")
    pins = [PinRow(f"p{n}", np.eye(3, dtype=np.float32)[n % 3], f"t{n % 3}", "", "", "", False, 1.0) for n in range(12)]
    placed = [Outcome(Candidate(pin.pin_id, "popular", 0.0, 0)) for pin in pins]
    state: Any = SimpleNamespace(surface=SimpleNamespace(name="home"), placed=placed, features=from_rows(pins))
    unknown: Any = SimpleNamespace(surface=SimpleNamespace(name="home"), placed=placed, features=no_features())
    meter = VarietyMeter(metrics)
    for each in (state, unknown):
        meter.observe(each)

    def value(name: str) -> float:
        return metrics.registry.get_sample_value(name, {"surface": "home"}) or 0.0

    assert value("blender_topics_at_10_count") == 1.0  # of the unknown pins nothing can be said
    assert value("blender_topics_at_10_sum") == 3.0
    assert value("blender_longest_topic_run_sum") == 1.0
    assert value("blender_ilad_at_10_sum") == pytest.approx(1.0 - 12 / 45)  # 12 of 45 pairs have the same vector


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[tuple[InMemoryBus, PinSource]]:
    """Three first pages and a second one, and the indexer that they were made with."""
    async with running_blender(directory) as blender:
        for user_id in ("ann", "bob", "cat"):
            page = await blender.feed(user_id)
        await blender.feed("cat", page_token=page.next_page_token)
        await blender.served(4)
        pool = ChannelPool(f"127.0.0.1:{blender.peers.indexer.port}")
        try:
            yield blender.bus, GrpcIndexer(pool)
        finally:
            await pool.stop(Deadline.after(1.0))


def changed(definitions: Definitions, **fields: object) -> Definitions:
    surfaces = {name: each.model_copy(update=fields) for name, each in definitions.surfaces.items()}
    return definitions.model_copy(update={"surfaces": surfaces})


async def test_the_same_configuration_fills_the_pages_as_they_were_served(tmp_path: Path) -> None:
    async with served(tmp_path) as (bus, pins):
        definitions = repository_definitions()
        report = await run(bus, pins, Asked(definitions, definitions, last=10))
        home = report["surfaces"]["home"]
        assert home["num_feeds"] == 3
        assert home["as_served_share"] == 1.0
        assert home["moved_slots_share"] == home["entered_share"] == 0.0
        assert home["before"] == home["after"]


async def test_more_diversity_moves_pins_and_costs_relevance(tmp_path: Path) -> None:
    async with served(tmp_path) as (bus, pins):
        before = repository_definitions()
        report = await run(bus, pins, Asked(before, changed(before, diversity_weight=5.0), last=10))
        home = report["surfaces"]["home"]
        assert home["as_served_share"] == 1.0
        assert home["moved_slots_share"] > 0.2
        assert home["after"]["ilad_at_10"] > home["before"]["ilad_at_10"]
        assert home["after"]["relevance_kept"] < home["before"]["relevance_kept"]


async def test_only_the_newest_of_the_asked_surface_count(tmp_path: Path) -> None:
    async with served(tmp_path) as (bus, pins):
        definitions = repository_definitions()
        report = await run(bus, pins, Asked(definitions, definitions, last=2, surface="home"))
        assert report["surfaces"]["home"]["num_feeds"] == 2
        with pytest.raises(NotFound, match="serve some feeds"):
            await run(bus, pins, Asked(definitions, definitions, last=2, surface="related"))


async def test_a_record_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    async with served(tmp_path) as (bus, pins):
        bus.append(FEEDS_SERVED, b"\xff\xff", b"u", None, {})
        definitions = repository_definitions()
        report = await run(bus, pins, Asked(definitions, definitions, last=10))
        assert report["num_unreadable"] == 1
