"""Quality of pins, joined batches."""

from dataclasses import replace

import pyarrow as pa
import pytest

from chassis.record_batches import MAX_ROWS, join
from sequences.testing import events_batch
from services.enrich.app.enrich_events import join_for_engine
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


def test_the_engine_gets_larger_batches_while_rows_are_of_ordinary_size() -> None:
    slim = [events_batch([{"event_id": f"{number}"}] * 500) for number in range(9)]
    assert [batch.num_rows for batch in join_for_engine(slim)] == [2_000, 2_000, 500]
    broad = [events_batch([{"attributes": b"x" * 4_000}] * 500), *slim]
    joined = join_for_engine(broad)
    assert [batch.num_rows for batch in joined] == [500] * 10
    assert pa.Table.from_batches(joined).equals(pa.Table.from_batches(broad))
    assert join_for_engine([events_batch([])])[0].num_rows == 0
    assert join_for_engine([]) == []
