"""How long people stayed with what they clicked, by user and pin: what training rows do not say, histories do."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from modeling.arrays import Floats

CLICKS = ("click", "long_view")
WINDOW_MS = 24 * 3_600_000  # after the request, as labels are attributed


class ClickDurations:
    """Seconds of each click; a click and the long view it led to count as one, the longer."""

    def __init__(self, histories: pa.Table) -> None:
        found: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        columns = ("user_id", "pin_ids", "event_types", "event_times_ms", "dwell_s")
        for user_id, *lists in zip(*(histories.column(name).to_pylist() for name in columns), strict=True):
            for pin_id, event_type, time_ms, dwell_s in zip(*lists, strict=True):
                if event_type in CLICKS and dwell_s is not None:
                    found[user_id, pin_id].append((time_ms, dwell_s))
        self._clicks = {key: sorted(clicks) for key, clicks in found.items()}
        known = [dwell_s for clicks in found.values() for _, dwell_s in clicks]
        self.median_s = float(np.median(known)) if known else float("nan")

    def of(self, user_ids: Sequence[str], pin_ids: Sequence[str], served_ms: Iterable[int]) -> Floats:
        """The longest click on each of these served pins; the median where none is known; NaN without any at all."""
        asked = zip(user_ids, pin_ids, served_ms, strict=True)
        return np.asarray([self._longest(user, pin, time_ms) for user, pin, time_ms in asked], dtype=np.float32)

    def _longest(self, user_id: str, pin_id: str, served_ms: int) -> float:
        clicks = self._clicks.get((user_id, pin_id), [])
        first, last = (bisect_left(clicks, (time_ms, -1.0)) for time_ms in (served_ms, served_ms + WINDOW_MS + 1))
        return max((dwell_s for _, dwell_s in clicks[first:last]), default=self.median_s)
