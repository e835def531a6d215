"""Trimmer table, utility order and preparation of inputs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Corrupt
from services.ranker.domain.features import FEATURES, NO_SCORE, prepare
from services.ranker.domain.trimmer import KEPT_VERSIONS, TrimMap
from services.ranker.domain.utility import order_by_utility, utility
from services.ranker.tests.world import candidates

TENSORS = {"a": np.zeros(1), "b": np.zeros(2)}


def _map() -> TrimMap:
    return TrimMap().with_list("m", "v1", frozenset({"a"})).with_list("m", "v2", frozenset({"b"}))


@pytest.mark.parametrize(
    ("model", "version", "kept", "reason"),
    [
        ("m", "v1", {"a"}, "known"),
        ("m", "", {"b"}, "newest"),
        ("m", "v9", {"a", "b"}, "version_unknown"),
        ("other", "v1", {"a", "b"}, "model_unknown"),
    ],
)
def test_trimmer_follows_its_table(model: str, version: str, kept: set[str], reason: str) -> None:
    trimmed = _map().trim(TENSORS, model, version)
    assert (set(trimmed.tensors), trimmed.reason) == (kept, reason)


def test_an_empty_list_is_corrupt_and_changes_nothing() -> None:
    with pytest.raises(Corrupt):
        _map().with_list("m", "v3", frozenset())


def test_only_the_newest_versions_are_kept() -> None:
    trims = TrimMap()
    for number in range(10):
        trims = trims.with_list("m", f"v{number}", frozenset({"a"}))
    assert len(trims.allowlists["m"]) == KEPT_VERSIONS
    assert trims.trim(TENSORS, "m", "v0").reason == "version_unknown"


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=30))
def test_order_keeps_every_pin_once_and_nan_never_wins(values: list[float]) -> None:
    column = np.asarray(values, dtype=np.float32)
    pool = candidates(range(len(values)))
    ranked = order_by_utility(pool, utility({"click": column}, {"click": 1.0}), {"click": column})
    assert sorted(pin.pin_id for pin in ranked) == sorted(candidate.pin_id for candidate in pool)
    assert all(math.isfinite(pin.score) for pin in ranked)
    assert [pin.score for pin in ranked] == sorted((pin.score for pin in ranked), reverse=True)
    finite = [number for number, value in enumerate(column) if math.isfinite(value)]
    places = {pin.pin_id: place for place, pin in enumerate(ranked)}
    worst_finite = max((places[pool[number].pin_id] for number in finite), default=-1)
    assert worst_finite == len(finite) - 1


def test_hide_lowers_the_utility() -> None:
    heads = {"click": np.asarray([0.5, 0.5], np.float32), "hide": np.asarray([0.0, 0.2], np.float32)}
    values = utility(heads, {"click": 1.0, "hide": -6.0})
    assert values[0] > values[1]


def test_rows_that_a_table_lacks_take_the_default_and_are_counted() -> None:
    given = {"history_event_type": np.asarray([1, 99, -1]), "surface": np.asarray([2, 200])}
    prepared = prepare(given, FEATURES, 3, 2, 4)
    assert prepared.tensors["history_event_type"].tolist() == [1, 0, 0]
    assert prepared.tensors["surface"].tolist() == [2, 0]
    assert prepared.num_not_finite == 3


def test_prepared_inputs_have_the_declared_types_and_defaults() -> None:
    prepared = prepare({"candidate_price": np.asarray([np.nan, 2.0])}, FEATURES, 3, 2, 4)
    assert prepared.num_not_finite == 1
    assert "candidate_price" not in prepared.defaulted_inputs
    assert prepared.tensors["candidate_price"].tolist() == [0.0, 2.0]
    assert prepared.tensors["history_content"].shape == (3, 4)
    assert prepared.tensors["score_popular"].tolist() == [NO_SCORE, NO_SCORE]
    assert all(value.dtype == FEATURES[name].dtype for name, value in prepared.tensors.items())
