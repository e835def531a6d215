"""How an ad becomes model input: what any pin has, its advertiser and its price; no torch, so that the index shares it.

Shapes: P pins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modeling.arrays import Doubles, Floats, Ints
from modeling.hashing import stable_hash
from services.cg.domain.two_tower_features import PinFeatures

MICROS = 1e6
PRICE_BANDS = 16
BANDS_PER_UNIT = 2.0  # of log price: each band is 1.65 times as dear as the one below
GROUPS = ("look", "keep", "ad", "purchase")
NO_GROUP = -1
_LOOKS, _KEEPS, _PURCHASES = ("click", "long_view", "share", "rating"), ("save",), ("conversion",)


@dataclass(frozen=True)
class ShoppingFeatures:
    """`advertiser_P` are hashes, -1 for a pin that is no ad; prices in currency units, 0 = none."""

    pins: PinFeatures
    advertiser_P: Ints
    price_P: Floats

    @classmethod
    def of(cls, pins: PinFeatures) -> "ShoppingFeatures":
        """From pins that say so themselves. Raises: ValueError when they do not."""
        if pins.advertiser_P is None or pins.price_P is None:
            raise ValueError("these pins have no advertisers and prices")
        return cls(pins, pins.advertiser_P, pins.price_P)

    @property
    def log_price_P(self) -> Floats:
        """log(1 + price), float32."""
        return np.log1p(self.price_P).astype(np.float32)

    @property
    def price_band_P(self) -> Ints:
        """1..PRICE_BANDS, 0 = no price."""
        band_P = 1 + (np.log1p(self.price_P) * BANDS_PER_UNIT).astype(np.int64)
        return np.where(self.price_P > 0, np.minimum(band_P, PRICE_BANDS), 0)


def advertiser_hash(advertiser_id: str) -> int:
    """-1 without an advertiser."""
    return stable_hash(advertiser_id) if advertiser_id else -1


def advertiser_buckets(advertiser_P: Ints, num_buckets: int) -> Ints:
    """Hashes (-1 = none) to rows of the advertiser table (0 = none)."""
    return np.where(advertiser_P < 0, 0, advertiser_P % num_buckets + 1)


def prices(price_micros_P: Ints | Doubles) -> Floats:
    """Currency units; what is negative counts as no price."""
    return (np.maximum(price_micros_P, 0) / MICROS).astype(np.float32)


def group_of_types(event_types: Sequence[str]) -> list[int]:
    """Which group of GROUPS an event on a pin that is no ad belongs to, by type; on an ad looks and saves are "ad"."""
    names = {**dict.fromkeys(_LOOKS, 0), **dict.fromkeys(_KEEPS, 1), **dict.fromkeys(_PURCHASES, 3)}
    return [names.get(each, NO_GROUP) for each in event_types]
