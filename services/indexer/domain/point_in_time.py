"""Which events of a user a request could see: what had happened and, as far as one knows, had arrived by then."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Asked:
    """A request. `is_live` tells that it was served while events flowed in; of an imported one, events arrived later
    than they would have, so only the time of events counts.
    """

    served_time_ms: int
    is_live: bool


def visible(
    times_ms: NDArray[np.int64], received_ms: NDArray[np.int64], asked: Asked, window_ms: int, max_events: int
) -> NDArray[np.int64]:
    """Places of the newest `max_events` that the request sees, in order; the events [L] of one user are sorted by time.

    Nothing at or after the moment of serving is seen: it may be an effect of what was served.
    """
    first, end = np.searchsorted(times_ms, [asked.served_time_ms - window_ms, asked.served_time_ms], side="left")
    places = np.arange(first, end)
    if asked.is_live:
        places = places[received_ms[first:end] <= asked.served_time_ms]
    return places[-max_events:]
