"""The cache keeps what was used last within its bytes, says what it saved, and never changes a score."""

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling.dcat.cached_contexts import contexts_of
from modeling.dcat.context import Context
from modeling.dcat.context_cache import ContextCache, ContextKey
from modeling.dcat.tests.batches import Batch, batch, model


@dataclass
class CountingMeter:
    """Remembers what it was told."""

    hits: int = 0
    misses: int = 0
    saved: float = 0.0
    held: tuple[int, int] = (0, 0)
    sizes: list[int] = field(default_factory=list)

    def looked_up(self, is_hit: bool) -> None:
        self.hits, self.misses = self.hits + is_hit, self.misses + (not is_hit)

    def saved_s(self, seconds: float) -> None:
        self.saved += seconds

    def holds(self, num_bytes: int, num_entries: int) -> None:
        self.held = (num_bytes, num_entries)
        self.sizes.append(num_bytes)


def _key(user: str, sequence: int = 1, version: str = "v1") -> ContextKey:
    return ContextKey(user, sequence, version)


def test_the_least_recently_used_leave_first() -> None:
    meter = CountingMeter()
    cache: ContextCache[str] = ContextCache(100, meter)
    for user in "abc":
        cache.put(_key(user), user, 30, 0.5)
    assert cache.get(_key("a")) == "a"
    cache.put(_key("d"), "d", 30, 0.5)
    assert [cache.get(_key(user)) for user in "abcd"] == ["a", None, "c", "d"]
    assert meter.held == (90, 3)
    assert (meter.hits, meter.misses, meter.saved) == (4, 1, 2.0)


@pytest.mark.parametrize("other", [_key("b"), _key("a", sequence=2), _key("a", version="v2")])
def test_another_user_sequence_or_model_is_a_miss(other: ContextKey) -> None:
    cache: ContextCache[str] = ContextCache(100, CountingMeter())
    cache.put(_key("a"), "a", 1, 0.0)
    assert cache.get(other) is None
    assert cache.get(_key("a")) == "a"


def test_what_is_larger_than_the_cache_is_not_kept_and_pushes_nobody_out() -> None:
    cache: ContextCache[str] = ContextCache(100, CountingMeter())
    cache.put(_key("a"), "a", 60, 0.0)
    cache.put(_key("b"), "b", 101, 0.0)
    assert (cache.get(_key("a")), cache.get(_key("b"))) == ("a", None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60)), max_size=40))
def test_bytes_stay_within_the_limit_and_are_counted_right(puts: list[tuple[str, int]]) -> None:
    meter = CountingMeter()
    cache: ContextCache[int] = ContextCache(100, meter)
    for user, num_bytes in puts:
        cache.put(_key(user), num_bytes, num_bytes, 0.0)
    found = [cache.get(_key(user)) for user in "abcdef"]
    assert all(size <= 100 for size in meter.sizes)
    assert meter.held[0] == sum(size for size in found if size is not None)


def _scores(given: Batch, cache: ContextCache[Context], asked: list[list[int]], version: int = 1) -> torch.Tensor:
    """Times stand still but for a tick at each look, so that seconds are countable."""
    ticks = iter(range(1_000))

    def embed(rows: object) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(list(rows))  # type: ignore[call-overload]
        return given.history_ULD[rows], given.length_U[rows]  # type: ignore[index]

    made = model()
    keys = [_key(str(user), version) for user in range(len(given.length_U))]
    contexts = contexts_of(made, cache, keys, embed, now_s=lambda: float(next(ticks)))
    with torch.inference_mode():
        return made.cross(given.candidates_ND, given.user_index_N, contexts)


def test_hits_score_as_misses_and_only_misses_are_computed() -> None:
    given, meter = batch([5, 0, 8], [3, 2, 4]), CountingMeter()
    cache: ContextCache[Context] = ContextCache(1 << 20, meter)
    asked: list[list[int]] = []
    first = _scores(given, cache, asked)
    again = _scores(given, cache, asked)
    assert torch.equal(first, again), "the same context gives the same bits"
    torch.testing.assert_close(first, model()(*given.inputs).detach(), rtol=0.0, atol=1e-12)
    assert asked == [[0, 1, 2]]
    assert (meter.hits, meter.misses) == (3, 3)
    assert meter.saved == pytest.approx(1.0), "one second for three users, saved once for each"
    assert meter.held == (2 * (5 + 0 + 8) * 16 * 3 * 8, 3), "2 · L · D · layers · size of a number"


def test_a_new_sequence_version_is_computed_anew() -> None:
    given, asked = batch([5, 7], [3, 2]), list[list[int]]()
    cache: ContextCache[Context] = ContextCache(1 << 20, CountingMeter())
    _scores(given, cache, asked)
    _scores(given, cache, asked, version=2)
    assert asked == [[0, 1], [0, 1]]


def test_equal_keys_in_one_batch_are_computed_once() -> None:
    given, asked = batch([5, 5], [3, 2]), list[list[int]]()

    def embed(rows: object) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(list(rows))  # type: ignore[call-overload]
        return given.history_ULD[rows], given.length_U[rows]  # type: ignore[index]

    cache: ContextCache[Context] = ContextCache(1 << 20, CountingMeter())
    found = contexts_of(model(), cache, [_key("a"), _key("a")], embed)
    assert asked == [[0]]
    assert found[0] is found[1]


def test_a_cached_context_keeps_no_other_user_alive() -> None:
    given = batch([3, 9], [1, 1])
    whole = model().context(given.history_ULD, given.length_U)
    kept = whole.of_user(0).owned()
    held = sum(part.untyped_storage().nbytes() for part in (*kept.keys, *kept.values))
    assert held == kept.num_bytes
