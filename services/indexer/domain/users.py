"""What is known about a user besides sequences."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAX_PINS = 5_000  # per user and list: more than anybody sees in a window, 0.4 MB at most
ACTED_WINDOW_MS = 400 * 86_400_000  # more than a year, so that the same season does not repeat itself


@dataclass(frozen=True)
class UserVector:
    """One stored vector [D], float32."""

    user_id: str
    encoder: str
    encoder_version: str
    vector: NDArray[np.float32]
    computed_time_ms: int


@dataclass(frozen=True)
class PinServing:
    """The pins of one page. `window_s` is how long the surface remembers them."""

    user_id: str
    surface: str
    pin_ids: tuple[str, ...]
    served_time_ms: int
    window_s: int
    locale: str = ""


@dataclass(frozen=True)
class UserQuery:
    """`surface` "" reads no seen pins. Pins served since `seen_since_ms` and acted upon since `acted_since_ms`."""

    user_id: str
    surface: str = ""
    seen_since_ms: int = 0
    acted_since_ms: int = 0


@dataclass(frozen=True)
class UserRecord:
    """What the store has; pins are unique, newest first; seen are those served, then those acted upon."""

    vectors: tuple[UserVector, ...] = ()
    profile: Mapping[str, str] = field(default_factory=dict)
    seen_pin_ids: tuple[str, ...] = ()
    blocked_pin_ids: tuple[str, ...] = ()
    version: int = 0
