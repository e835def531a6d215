"""Quality of pins, joined batches."""

from dataclasses import replace

import pyarrow as pa
import pytest

from chassis.record_batches import MAX_ROWS, join
from services.enrich.domain.pin import PublishedPin
from services.enrich.domain.quality import quality_score

FULL = PublishedPin("p", b"", title="a", description="b", topics=("c",), has_link=True, has_picture=True)


@pytest.mark.parametrize(
    ("pin", "score"),
    [
        (PublishedPin("p", b""), 0.3),
        (FULL, 0.7),
        (replace(FULL, quality={"sharp": 1.0, "fresh": 1.0}), 1.0),
        (replace(FULL, quality={"sharp": 1.0}, safety_labels=("violence",)), 0.5),
        (replace(FULL, quality={"broken": 7.0}), 1.0),
    ],
)
def test_quality_follows_its_formula(pin: PublishedPin, score: float) -> None:
    assert quality_score(pin) == pytest.approx(score)


def test_small_batches_are_joined_in_order_and_large_ones_left_alone() -> None:
    batches = [
        pa.record_batch({"x": list(range(start, start + size))})
        for start, size in ((0, 10), (10, 500), (510, 10), (520, MAX_ROWS + 1))
    ]
    joined = join(batches)
    assert [batch.num_rows for batch in joined] == [510, 10, MAX_ROWS + 1]
    assert pa.Table.from_batches(joined).column("x").to_pylist() == list(range(520 + MAX_ROWS + 1))
    assert join([]) == []
