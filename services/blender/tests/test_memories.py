"""What the process remembers between answers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from chassis.errors import Unavailable
from chassis.metrics import Metrics
from chassis.testing import FakeClock
from services.blender.app.feature_memory import FeatureMemory
from services.blender.app.feature_refresh import FeatureRefresh
from services.blender.app.popular_memory import PopularMemory
from services.blender.app.recent import Recent
from services.blender.app.served_memory import MAX_PINS_PER_USER, ServedMemory
from services.blender.domain.candidate import Candidate
from services.blender.domain.feed_request import FeedRequest
from services.blender.domain.pin_features import PinFeatures, join
from services.blender.outbound.grpc_indexer import features_of
from services.blender.tests.fake_peers import pin_rows

ANN = FeedRequest("ann", "home", 25)


def candidates(*pins: str) -> list[Candidate]:
    return [Candidate(pin, "contextual", 1.0, n, {"popular": 1.0 / (n + 1)}) for n, pin in enumerate(pins)]


def pins_of(found: list[Candidate]) -> list[str]:
    return [each.pin_id for each in found]


def test_the_oldest_entry_is_forgotten() -> None:
    recent: Recent[int, int] = Recent(3)
    for number in (1, 2, 3, 1, 4):
        recent.put(number, number)
    assert list(recent) == [3, 1, 4] and recent.get(2) is None and len(recent) == 3


def test_popular_pins_are_learnt_per_locale_and_any_list_is_better_than_none() -> None:
    popular = PopularMemory(4)
    assert popular.deal("de", 1) == []
    popular.learn("en", [*candidates("a", "b"), Candidate("z", "fresh", 1.0, 2, {"fresh": 1.0})])
    assert sorted(pins_of(popular.deal("de", 1))) == ["a", "b"]
    popular.learn("en", candidates("b", "c", "d", "e", "f"))
    assert set(pins_of(popular.deal("en", 1))) == {"a", "b", "c", "d"}
    popular.replace("en", [])
    assert popular.deal("en", 1), "an empty list is no news"


def test_a_seed_gives_one_order_and_keeps_the_better_block_first() -> None:
    popular = PopularMemory(100)
    popular.replace("", candidates(*(f"p-{n:02d}" for n in range(30))))
    orders = {seed: pins_of(popular.deal("", seed)) for seed in range(5)}
    assert orders[3] == pins_of(popular.deal("", 3))
    assert len({tuple(order) for order in orders.values()}) == 5
    assert all(set(order[:10]) == {f"p-{n:02d}" for n in range(10)} for order in orders.values())


def test_hostile_locales_do_not_fill_the_memory() -> None:
    popular = PopularMemory(5)
    for number in range(1_000):
        popular.want(f"x{number}")
        popular.replace(f"x{number}", candidates("a"))
    assert len(popular.wanted_locales) <= 64


def test_shown_pins_are_forgotten_after_the_window_and_beyond_the_limit() -> None:
    clock = FakeClock()
    served = ServedMemory(10, clock)
    served.remember(ANN, candidates("a", "b"))
    clock.advance(50)
    served.remember(ANN, candidates("b", "c"))
    clock.advance(50)
    assert served.shown(ANN, 60) == ["b", "c"] and served.shown(ANN, 200) == ["a", "b", "c"]
    assert served.shown(FeedRequest("ann", "search", 25), 60) == []
    assert pins_of(list(served.last_feed(ANN))) == ["b", "c"]
    served.remember(ANN, candidates(*(str(n) for n in range(2_000))))
    assert len(served.shown(ANN, 60)) == MAX_PINS_PER_USER


def test_features_are_recalled_as_they_were() -> None:
    memory = FeatureMemory(10)
    given_features = features_of(pin_rows([f"pin-{n}" for n in range(20)]))
    memory.remember(given_features)
    found = memory.recall(["pin-0", "pin-15", "pin-19", "unknown"])
    assert list(found.pin_ids) == ["pin-15", "pin-19"]
    np.testing.assert_array_equal(found.vectors_RD, given_features.vectors_of(["pin-15", "pin-19"]))
    assert list(found.topics) == ["maps", "maps"]
    assert len(memory) == 10


def test_only_young_features_are_used_unasked_and_ageing_ones_are_asked_for_once() -> None:
    clock = FakeClock()
    memory = FeatureMemory(10, max_age_s=30.0, clock=clock)
    memory.remember(features_of(pin_rows(["pin-1", "pin-2"])))
    assert list(memory.recall_fresh(["pin-1", "pin-2", "pin-3"]).pin_ids) == ["pin-1", "pin-2"]
    assert memory.take_ageing(5) == []
    clock.advance(20.0)
    for _ in range(2):
        assert list(memory.recall_fresh(["pin-2"]).pin_ids) == ["pin-2"]
    assert memory.take_ageing(5) == ["pin-2"] and memory.take_ageing(5) == []
    memory.remember(features_of(pin_rows(["pin-2"])))
    clock.advance(20.0)
    assert list(memory.recall_fresh(["pin-1", "pin-2"]).pin_ids) == ["pin-2"]
    assert list(memory.recall(["pin-1"]).pin_ids) == ["pin-1"], "too old, but better than nothing"


def test_vectors_of_a_new_width_take_the_place_of_the_old_ones() -> None:
    memory = FeatureMemory(10)
    old, new = features_of(pin_rows(["pin-1", "pin-2"])), features_of(pin_rows(["pin-2"]))
    memory.remember(old)
    memory.remember(replace(new, vectors_RD=np.ones((1, 3), dtype=np.float32)))
    found = memory.recall(["pin-1", "pin-2"])
    assert found.vectors_RD.tolist() == [[0, 0, 0], [1, 1, 1]]
    memory.remember(replace(new, vectors_RD=np.zeros((1, 1), dtype=np.float32)))  # no vector came
    assert memory.recall(["pin-2"]).vectors_RD.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("is_away", [False, True])
async def test_ageing_features_are_refreshed_behind_the_feeds(*, is_away: bool) -> None:
    clock, metrics = FakeClock(), Metrics("test")
    memory = FeatureMemory(10, max_age_s=30.0, clock=clock)
    memory.remember(features_of(pin_rows(["pin-1", "pin-2"])))
    clock.advance(20.0)
    memory.recall_fresh(["pin-1"])
    asked: list[Sequence[str]] = []

    class Source:
        async def get_pins(self, pin_ids: Sequence[str]) -> PinFeatures:
            asked.append(pin_ids)
            if is_away:
                raise Unavailable("indexer is away")
            return features_of(pin_rows(list(pin_ids)))

    await FeatureRefresh(Source(), memory, clock, metrics).refresh()
    clock.advance(20.0)
    assert asked == [["pin-1"]]
    assert list(memory.recall_fresh(["pin-1", "pin-2"]).pin_ids) == ([] if is_away else ["pin-1"])
    text = metrics.exposition().decode()
    assert f'blender_feature_refreshes_total{{outcome="{"failed" if is_away else "ok"}"}} 1.0' in text


def test_rows_with_odd_vectors_and_absent_columns_are_usable() -> None:
    odd = pa.RecordBatch.from_pydict(
        {
            "pin_id": ["a", "b", "c", "d"],
            "content_vector": pa.array([[1.0, 0.0], None, [1.0], [0.0, 1.0]], pa.list_(pa.float32())),
            "topics": pa.array([None, [], ["x"], ["y", "z"]], pa.list_(pa.string())),
        }
    )
    features = features_of(odd)
    assert features.vectors_RD.tolist() == [[1, 0], [0, 0], [0, 0], [0, 1]]
    assert features.topics == ["", "", "x", "y"] and features.creators == [""] * 4
    assert features.quality_R.tolist() == [1.0] * 4 and not features.is_labelled_R.any()
    fixed = odd.set_column(1, "content_vector", pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2)))
    assert features_of(fixed).vectors_RD.shape == (4, 2)
    assert features_of(odd.slice(0, 0)).vectors_RD.shape[0] == 0


def test_joined_features_keep_the_first_row_and_the_first_width() -> None:
    one, two = features_of(pin_rows(["pin-1", "pin-2"])), features_of(pin_rows(["pin-2", "pin-3"]))
    assert list(join([one, two]).pin_ids) == ["pin-1", "pin-2", "pin-3"]
    narrow = features_of(
        pa.RecordBatch.from_pydict(
            {
                "pin_id": ["n"],
                "content_vector": pa.array([[1.0]], pa.list_(pa.float32())),
            }
        )
    )
    assert not join([one, narrow]).vectors_of(["n"]).any()
    assert join([]).vectors_of(["x"]).shape == (1, 1)
