"""Which events came later than their type allows; they are named late and kept."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def late(events: pa.Table, max_lateness_ms: Mapping[str, int]) -> NDArray[np.bool_]:
    """[N] True where received time - event time is above the bound of the event's type; a type without one has none."""
    types = events.column("event_type").combine_chunks().dictionary_encode()
    no_bound = np.iinfo(np.int64).max
    names = types.dictionary.to_pylist()
    bounds = np.array([max_lateness_ms.get(name, no_bound) for name in names], dtype=np.int64)
    delays_ms = events.column("received_time_ms").to_numpy() - events.column("event_time_ms").to_numpy()
    return np.asarray(delays_ms > bounds[types.indices.to_numpy()]) if len(names) else np.zeros(0, np.bool_)
