"""One row per event from what the stream wrote and what batch wrote: the merge of the two layers.

Event key = (user, event type, event id). Batch owns event times up to the watermark W of the type, the stream what is
after; a stream row at or before W still counts, because it may have come after batch read, but it has to win:

1. The newest revision wins. Rows of one key that say the same (PAYLOAD) one after another, in the order received, are
   one revision; a correction is a new one, and no re-enrichment of what it corrects hides it.
2. Of one revision, the definitions that were put in charge last win. A version that nobody knows was put in charge
   when its row was processed.
3. Of one version, the row processed last wins; then batch before stream; then the greater version name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.indexer.domain.identity import PAYLOAD

KEY = ("user_id", "event_type", "event_id")
IS_FILTERED = "is_filtered"
"""Column of batch rows: the definitions filter the event, so it is nowhere once batch owns it."""
ORDER = ("received_time_ms", "definitions_version", "enriched_time_ms")
MERGED_ON = tuple(dict.fromkeys((*KEY, *PAYLOAD, *ORDER)))
"""Columns that both parts need."""
MAX_CODE = 1 << 62  # codes of several columns share an int64

Codes = NDArray[np.int64]
InCharge = Mapping[str, Mapping[str, int]]
"""Event type -> definitions version -> since when it was in charge, epoch milliseconds."""


@dataclass(frozen=True)
class Parts:
    """Both layers [Ns], [Nb]; batch rows have IS_FILTERED besides MERGED_ON."""

    stream: pa.Table
    batch: pa.Table


def merged(parts: Parts, watermarks_ms: Mapping[str, int], in_charge_since_ms: InCharge) -> pa.Table:
    """Exactly one row per key that is not filtered, in the columns of both parts; order as in the parts.

    Raises: KeyError when a part lacks a column of MERGED_ON.
    """
    stream, batch = parts.stream, parts.batch.filter(pa.array(owned(parts.batch, watermarks_ms)))
    rows = pa.concat_tables([part.select(MERGED_ON) for part in (stream, batch)], promote_options="permissive")
    is_batch = np.arange(rows.num_rows) >= stream.num_rows
    wins = winners(rows, is_batch, in_charge_since_ms)
    stays = wins[stream.num_rows :] & ~batch.column(IS_FILTERED).to_numpy()
    kept = batch.filter(pa.array(stays)).drop_columns([IS_FILTERED])
    return pa.concat_tables([stream.filter(pa.array(wins[: stream.num_rows])), kept], promote_options="permissive")


def winners(rows: pa.Table, is_batch: NDArray[np.bool_], in_charge_since_ms: InCharge) -> NDArray[np.bool_]:
    """[N] True for exactly one row of each key."""
    wins = np.ones(rows.num_rows, np.bool_)
    keys = _dense(_paired([_encoded(rows.column(name))[0] for name in KEY]))
    contested = np.flatnonzero(np.bincount(keys)[keys] > 1) if len(keys) else keys
    if len(contested):
        few = rows.take(pa.array(contested)) if len(contested) < rows.num_rows else rows
        wins[contested] = _best(few, keys[contested], is_batch[contested], in_charge_since_ms)
    return wins


def _best(rows: pa.Table, keys: Codes, is_batch: NDArray[np.bool_], in_charge: InCharge) -> NDArray[np.bool_]:
    """[N] True for the best row of each key: strongest among those of its newest revision."""
    received_ms = rows.column("received_time_ms").to_numpy()
    payloads, strengths = _payload_codes(rows), _strengths(rows, is_batch, in_charge)
    order = np.lexsort((strengths, payloads, received_ms, keys))
    keys, payloads, strengths = keys[order], payloads[order], strengths[order]
    is_new_key = np.r_[True, keys[1:] != keys[:-1]]
    revisions = np.cumsum(is_new_key | np.r_[True, payloads[1:] != payloads[:-1]])
    starts = np.flatnonzero(is_new_key)
    sizes = np.diff(np.r_[starts, len(keys)])
    newest = np.repeat(revisions[starts + sizes - 1], sizes)
    strengths = np.where(revisions == newest, strengths, -1)
    is_best = strengths == np.repeat(np.maximum.reduceat(strengths, starts), sizes)
    places = np.flatnonzero(is_best)  # rows that are equal in all that counts: the first
    _, firsts = np.unique(keys[places], return_index=True)
    best = np.zeros(len(keys), np.bool_)
    best[order[places[firsts]]] = True
    return best


def _strengths(rows: pa.Table, is_batch: NDArray[np.bool_], in_charge: InCharge) -> Codes:
    """[N] Greater is stronger: (in charge since, processed at, is batch, version)."""
    processed_ms = rows.column("enriched_time_ms").to_numpy()
    version_codes, _ = _ranked(rows.column("definitions_version"))
    since_ms = in_charge_ms(rows, in_charge)
    return _paired([_dense(since_ms), _dense(processed_ms), is_batch.astype(np.int64), version_codes])


def in_charge_ms(rows: pa.Table, in_charge: InCharge) -> Codes:
    """[N] Since when the definitions of each row were in charge of its type; of unknown ones when it was processed."""
    version_codes, versions = _encoded(rows.column("definitions_version"))
    type_codes, types = _encoded(rows.column("event_type"))
    names = versions.to_pylist()
    known = [[in_charge.get(t, {}).get(v, -1) for v in names] for t in types.to_pylist()]
    if not known or not names:
        return np.zeros(rows.num_rows, np.int64)
    since_ms = np.array(known, dtype=np.int64)[type_codes, version_codes]
    return np.where(since_ms < 0, rows.column("enriched_time_ms").to_numpy(), since_ms)


def owned(batch: pa.Table, watermarks_ms: Mapping[str, int]) -> NDArray[np.bool_]:
    """[Nb] Whether the row is at or before the watermark of its type."""
    codes, types = _encoded(batch.column("event_type"))
    limits = np.array([watermarks_ms.get(name, -1) for name in types.to_pylist()], dtype=np.int64)
    times_ms = batch.column("event_time_ms").to_numpy()
    return np.asarray(times_ms <= limits[codes]) if len(limits) else np.zeros(0, np.bool_)


def _payload_codes(rows: pa.Table) -> Codes:
    """[N] Codes of what rows say, equal for equal rows and in the order of the values."""
    return _paired([_ranked(rows.column(name))[0] for name in PAYLOAD])


def _ranked(column: pa.ChunkedArray) -> tuple[Codes, pa.Array]:
    """[N] The place of each value among the sorted distinct ones, and those."""
    codes, values = _encoded(column)
    order = pc.sort_indices(values).to_numpy()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places[codes], values.take(pa.array(order))


def _encoded(column: pa.ChunkedArray) -> tuple[Codes, pa.Array]:
    """[N] A code for each value, and the values by code. Null is a value.

    In one chunk: to unify the dictionaries of hundreds of small ones takes a hundred times as long.
    """
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):  # more text than one array can hold
        encoded = encoded.unify_dictionaries()
        return np.concatenate([each.indices.to_numpy() for each in encoded.chunks], dtype=np.int64), encoded.chunk(
            0
        ).dictionary
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary


def _paired(codes: Sequence[Codes]) -> Codes:
    """[N] One number per row, equal for equal rows and in the order of the codes, the first one counting most."""
    found, limit = codes[0], _limit(codes[0])
    for each in codes[1:]:
        size = _limit(each)
        if limit * size > MAX_CODE:
            found = _dense(found)
            limit = _limit(found)
        found, limit = found * size + each, limit * size
    return found


def _limit(codes: Codes) -> int:
    return int(codes.max()) + 1 if len(codes) else 1


def _dense(values: Codes) -> Codes:
    """[N] The place of each value among the sorted distinct ones."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
