"""What readers of history read: each event once, from the stream and from what batch has published."""

from collections.abc import Sequence

import pyarrow as pa

from services.indexer.domain.merge import MERGED_ON, merged
from services.indexer.ports import Lake


def merged_events(
    lake: Lake, columns: Sequence[str] | None = None, event_types: Sequence[str] | None = None
) -> pa.Table:
    """One row per (user, event type, event id), in the columns of `events_enriched` or in `columns`; in no order.

    The answer is the same event by event before, during and after a backfill, except that rows which batch corrected
    change at the moment the watermark moves. No columns when the lake has no events. Blocks; reads whole types.
    Raises: Unavailable; Invalid for an unknown column.
    """
    needed = None if columns is None else list(dict.fromkeys((*columns, *MERGED_ON)))
    layers = lake.event_layers(needed, event_types)
    if not layers.parts.stream.num_columns:
        return layers.parts.stream
    published = layers.state.published
    in_charge = {event_type: each.in_charge_since_ms for event_type, each in published.items()}
    found = merged(layers.parts, layers.state.watermarks_ms, in_charge)
    return found if columns is None else found.select(list(columns))
