"""Pins as data sets have them, read from the online store."""

from collections.abc import Sequence

import pyarrow as pa

from sequences.dataset import pins_schema
from services.indexer.ports import PinStore

PINS_PER_READ = 1_000


async def pin_table(pins: PinStore, pin_ids: Sequence[str]) -> pa.Table:
    """Rows of `pins_schema` for the known ones, in the order asked. Raises: Unavailable."""
    columns = pins_schema(0).names
    parts = [await pins.read(pin_ids[at : at + PINS_PER_READ], columns) for at in range(0, len(pin_ids), PINS_PER_READ)]
    rows = [row for part in parts for row in part.to_pylist()]
    width = max(1, *(len(row["content_vector"] or ()) for row in rows), 1)
    for row in rows:  # a pin of another encoder's width counts as without vector until it is enriched again
        if len(row["content_vector"] or ()) != width:
            row["content_vector"] = None
    return pa.Table.from_pylist(rows, schema=pins_schema(width))


async def enriched_times_ms(pins: PinStore, pin_ids: Sequence[str]) -> dict[str, int]:
    """When each known pin was enriched. Raises: Unavailable."""
    found: dict[str, int] = {}
    for at in range(0, len(pin_ids), PINS_PER_READ):
        found |= await pins.enriched_times_ms(pin_ids[at : at + PINS_PER_READ])
    return found
