"""Decayed popularity of the locale's pins, and what becomes of it when no new bundle comes."""

import numpy as np

from modeling.popularity import DEFAULT_HALF_LIFE_S
from services.cg.domain.generators.popular import PopularPins
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import RetrievalQuery
from services.cg.tests.world import NOW_MS, pin, pin_id

HALF_LIFE_MS = round(DEFAULT_HALF_LIFE_S * 1_000)


def _names(generator: PopularPins, index: PinIndex, now_ms: int, locale: str = "") -> list[str]:
    snapshot = index.snapshot()
    found = generator.generate(RetrievalQuery(snapshot, snapshot.allowed(PinFilter(locale)), now_ms), 10)
    return [snapshot.pin_ids[row] for row in found.row_K]


def test_only_pins_of_the_locales_language_are_popular_there() -> None:
    index = PinIndex()
    for number, locale in enumerate(("de-DE", "en-US", "de-AT", "")):
        index.upsert(pin(number, locale=locale))
    counts = PopularPins({pin_id(n): n for n in range(4)}, np.asarray([1, 9, 5, 3], np.float32), "v")
    assert _names(counts, index, NOW_MS, "de-CH") == [pin_id(2), pin_id(3), pin_id(0)]
    assert _names(counts, index, NOW_MS) == [pin_id(1), pin_id(2), pin_id(3), pin_id(0)]


def test_an_old_bundle_gives_way_to_new_pins_of_quality() -> None:
    index = PinIndex()
    index.upsert(pin(0, created_time_ms=NOW_MS - 20 * HALF_LIFE_MS, quality_score=0.0))
    index.upsert(pin(1, created_time_ms=NOW_MS + 3 * HALF_LIFE_MS, quality_score=1.0))
    generator = PopularPins({pin_id(0): 0}, np.asarray([2.0], np.float32), "v", NOW_MS)
    assert _names(generator, index, NOW_MS) == [pin_id(0), pin_id(1)]
    assert _names(generator, index, NOW_MS + 3 * HALF_LIFE_MS) == [pin_id(1), pin_id(0)]
