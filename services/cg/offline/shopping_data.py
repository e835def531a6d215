"""A dataset bundle as the shopping tower reads it.

Shapes: P pins.
"""

from dataclasses import dataclass

import numpy as np

from chassis.errors import Invalid
from modeling.arrays import Ints
from modeling.training_data import PinTable, from_tables
from sequences.dataset import TRAINING_ROWS_FILE, Dataset
from sequences.training_reader import ReadOptions
from services.cg.domain.shopping_features import ShoppingFeatures, advertiser_hash, prices
from services.cg.offline.click_durations import ClickDurations
from services.cg.offline.pin_inputs import pin_features
from services.cg.offline.shopping_rows import Inventory, Period

HELD_OUT_SHARE = 0.2  # of the time that the rows span: its conversions are the test


@dataclass(frozen=True)
class ShoppingData:
    """Pins, ads, click durations, and the dataset whose training rows are read again in each epoch."""

    dataset: Dataset
    pin_ids: tuple[str, ...]
    features: ShoppingFeatures
    inventory: Inventory
    durations: ClickDurations

    @property
    def ads(self) -> Ints:
        """Numbers of the pins that are ads."""
        return np.flatnonzero(self.inventory.is_ad_P)


def open_shopping_data(dataset: Dataset) -> ShoppingData:
    """Raises: Invalid when no pin is an ad, NotFound without training rows."""
    dataset.training_rows(ReadOptions(1))
    pins = from_tables(dataset.path.name, dataset.histories(), dataset.pins(), None).pins
    features = shopping_features(pins)
    is_ad_P = features.advertiser_P >= 0
    if not is_ad_P.any():
        raise Invalid(f"dataset {dataset.path.name} has no ads: no pin has an advertiser_id", field="dataset")
    inventory = Inventory({pin_id: row for row, pin_id in enumerate(pins.pin_ids)}, is_ad_P)
    return ShoppingData(dataset, pins.pin_ids, features, inventory, ClickDurations(dataset.histories()))


def shopping_features(pins: PinTable) -> ShoppingFeatures:
    """Model inputs of all pins."""
    hash_of = {name: advertiser_hash(name) for name in set(pins.advertisers)}
    advertiser_P = np.asarray([hash_of[name] for name in pins.advertisers], dtype=np.int64)
    if not len(advertiser_P):
        advertiser_P = np.full(len(pins.pin_ids), -1, dtype=np.int64)
    return ShoppingFeatures(pin_features(pins), advertiser_P, prices(pins.price_micros_P))


def split_by_time(dataset: Dataset, held_out_share: float = HELD_OUT_SHARE) -> tuple[Period, Period]:
    """What is learnt from and what it is tested on, later."""
    served_ms = dataset.served().column("served_time_ms").to_numpy()
    if not len(served_ms):
        raise Invalid(f"dataset {dataset.path.name} has no served requests in {TRAINING_ROWS_FILE}", field="dataset")
    first_ms, last_ms = int(served_ms.min()), int(served_ms.max())
    cut_ms = last_ms + 1 - int((last_ms - first_ms) * held_out_share)
    return Period(end_ms=cut_ms), Period(start_ms=cut_ms)
