"""Files for the job that scores both sides' histories with a frozen ranker: histories, pins, candidates."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sequences.parity.gates import Missing
from services.indexer.offline.parity_sources import in_order, is_among, last_of_each_group
from services.indexer.ports import PinStore

HISTORIES = "histories.parquet"
PINS = "pins.parquet"
NUM_CANDIDATES = 200
MAX_HISTORY = 100  # what a ranking reads
PINS_PER_READ = 1_000
PIN_COLUMNS = ("pin_id", "content_vector", "created_time_ms", "price_micros")


async def write_model_inputs(
    folder: Path, old: pa.Table, new: pa.Table, window_events: pa.Table, pins: PinStore
) -> Missing | None:
    """`old` and `new` are one sequence of each side, `new` of the window's events only. Returns what is missing.

    Both histories are the same outside of the window, where the new side may never have looked. Raises: Unavailable.
    """
    common = old.filter(pa.array(~is_among(old, window_events)))
    sides = {"old": old, "new": in_order(pa.concat_tables([common, new]))}
    parts = []
    for name, rows in sides.items():
        short = last_of_each_group(in_order(rows), MAX_HISTORY)
        parts.append(short.drop_columns(["group"]).append_column("side", pa.repeat(name, short.num_rows)))
    histories = pa.concat_tables(parts)
    if not histories.num_rows:
        return Missing(why="no sampled user has a history")
    candidates = await _candidates(pins)
    if not candidates:
        return Missing(why="the online store knows no pins to rank")
    wanted = [*candidates, *(set(histories.column("pin_id").to_pylist()) - set(candidates) - {""})]
    rows = await _pin_rows(pins, wanted, frozenset(candidates))
    await asyncio.to_thread(_write, folder, histories, rows)
    return None


def _write(folder: Path, histories: pa.Table, pins: pa.Table) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(histories, folder / HISTORIES)
    pq.write_table(pins, folder / PINS)


async def _candidates(pins: PinStore) -> list[str]:
    """Pins chosen by a digest of their ids: the same ones in every run over the same pins."""
    found = {pin_id async for pin_id in pins.pin_ids()}
    return sorted(found, key=lambda pin_id: hashlib.blake2b(pin_id.encode(), digest_size=8).digest())[:NUM_CANDIDATES]


async def _pin_rows(pins: PinStore, wanted: Sequence[str], candidates: frozenset[str]) -> pa.Table:
    chunks = [wanted[at : at + PINS_PER_READ] for at in range(0, len(wanted), PINS_PER_READ)]
    rows = pa.Table.from_batches([await pins.read(chunk, PIN_COLUMNS) for chunk in chunks])
    is_candidate = [pin_id in candidates for pin_id in rows.column("pin_id").to_pylist()]
    return rows.append_column("is_candidate", pa.array(is_candidate, pa.bool_()))
