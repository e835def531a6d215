"""A pin as a content pipeline publishes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pin:
    """Texts are plain; times in epoch milliseconds, 0 = unknown; `given_vector` [D], None = none."""

    pin_id: str
    title: str = ""
    description: str = ""
    link: str = ""
    image_url: str = ""
    image: bytes = b""
    topics: tuple[str, ...] = ()
    creator_id: str = ""
    advertiser_id: str = ""
    price_micros: int = 0
    created_time_ms: int = 0
    locale: str = ""
    quality: Mapping[str, float] = field(default_factory=dict)
    safety_labels: tuple[str, ...] = ()
    given_vector: NDArray[np.float32] | None = None
    is_deleted: bool = False
    content_group: str = ""
    published_time_ms: int = 0
