"""A pin as retrieval sees it."""

from dataclasses import dataclass

from modeling.arrays import Floats


@dataclass(frozen=True)
class IndexedPin:
    """What generators may read. `content_vector` is float32 [W] or None; `created_time_ms` 0 = unknown.

    A pin with an advertiser is an ad; a price of 0 is none.
    """

    pin_id: str
    content_vector: Floats | None = None
    topics: tuple[str, ...] = ()
    created_time_ms: int = 0
    quality_score: float = 0.0
    locale: str = ""
    content_group: str = ""
    advertiser_id: str = ""
    price_micros: int = 0
    safety_labels: tuple[str, ...] = ()
