"""A dataset bundle as the arrays that models are fitted on.

Shapes: P pins, W content width.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from modeling.arrays import Floats, Ints
from modeling.interactions import History
from sequences.request_batch import RequestBatch

DEFAULT_WIDTH = 64  # content width when no pin has a vector


@dataclass(frozen=True)
class PinTable:
    """What is known of every pin; a pin that only occurs in histories has zeros and no topics."""

    pin_ids: tuple[str, ...]
    content_PW: Floats
    topics: tuple[tuple[str, ...], ...]
    created_ms_P: Ints
    price_micros_P: Ints
    advertisers: tuple[str, ...] = ()  # "" for a pin that is no ad; none at all = not known

    def extended(self, pin_ids: Sequence[str]) -> "PinTable":
        """The same pins followed by those of `pin_ids` beyond them; `pin_ids` must begin with this table's."""
        extra = len(pin_ids) - len(self.pin_ids)
        return PinTable(
            tuple(pin_ids),
            np.pad(self.content_PW, ((0, extra), (0, 0))),
            (*self.topics, *((),) * extra),
            np.pad(self.created_ms_P, (0, extra)),
            np.pad(self.price_micros_P, (0, extra)),
            (*self.advertisers, *("",) * extra) if self.advertisers else (),
        )


@dataclass(frozen=True)
class TrainingData:
    """Histories, pins and, when anything was served, a reader of training rows: each call reads them from the start."""

    name: str
    histories: tuple[History, ...]
    pins: PinTable
    served: Callable[[], Iterable[RequestBatch]] | None


def from_tables(
    name: str, histories: pa.Table, pins: pa.Table, served: Callable[[], Iterable[RequestBatch]] | None
) -> TrainingData:
    """The same from Arrow tables with a dataset's columns."""
    columns = ("user_id", "pin_ids", "event_types", "event_times_ms")
    rows = zip(*(histories.column(column).to_pylist() for column in columns), strict=True)
    return TrainingData(name, tuple(History(*row) for row in rows), _pin_table(pins), served)


def _pin_table(pins: pa.Table) -> PinTable:
    topics = pins.column("topics").to_pylist()
    return PinTable(
        tuple(pins.column("pin_id").to_pylist()),
        _vectors(pins.column("content_vector").to_pylist()),
        tuple(tuple(names or ()) for names in topics),
        _numbers(pins.column("created_time_ms").to_pylist()),
        _numbers(pins.column("price_micros").to_pylist()),
        tuple(name or "" for name in pins.column("advertiser_id").to_pylist()),
    )


def _vectors(values: Sequence[Any]) -> Floats:
    """Rows that are absent, of another width or not finite become zeros."""
    width = next((len(value) for value in values if value), DEFAULT_WIDTH)
    vectors_PW = np.zeros((len(values), width), dtype=np.float32)
    for row, value in enumerate(values):
        if value and len(value) == width and np.isfinite(np.asarray(value, dtype=np.float32)).all():
            vectors_PW[row] = value
    return vectors_PW


def _numbers(values: Sequence[int | None]) -> Ints:
    return np.asarray([value or 0 for value in values], dtype=np.int64)
