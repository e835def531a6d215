"""What a comparison reads: accepted events from the log, enriched ones from a lake, sequences from an online store."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from chassis.kafka.connection import Connection
from chassis.kafka.group_start import offsets_since
from protos import topics
from protos.event_schema import ACCEPTED
from sequences.definitions.definitions import Definitions
from sequences.parity.matching import KEY, joint_codes
from services.indexer.domain.lake_rows import Table
from services.indexer.domain.routing import Routing
from services.indexer.inbound.envelopes import envelope_of
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.iceberg_tables import NAMESPACE, find, translated
from services.indexer.outbound.kafka_log import KafkaLog
from services.indexer.ports import SequenceQuery, SequenceStore

USERS_PER_READ = 100
EVENTS_PER_ROUTE = 4_096
CLOCK_SLACK_MS = 5_000  # Kafka's record time is the sender's, a little after the receipt of its events
EVENT = pa.schema([ACCEPTED.field(name) for name in ("event_id", "event_type", "event_time_ms", "pin_id")])
SEQUENCE = pa.schema([pa.field("group", pa.string()), ACCEPTED.field("user_id"), *EVENT])
"""A sequence's events: `group` is the sequence and the user; each group in its order."""


@dataclass(frozen=True)
class Window:
    """Events of these types that ingest accepted in [from_ms, until_ms)."""

    event_types: tuple[str, ...]
    from_ms: int
    until_ms: int

    def of(self, rows: pa.Table) -> pa.Table:
        """The rows that belong to it."""
        received = rows.column("received_time_ms")
        is_in_time = pc.and_(pc.greater_equal(received, self.from_ms), pc.less(received, self.until_ms))
        return rows.filter(pc.and_(is_in_time, pc.is_in(rows.column("event_type"), pa.array(self.event_types))))


async def accepted_events(connection: Connection, window: Window) -> pa.Table:
    """What ingest accepted, in the columns of ACCEPTED, in order within each user. Raises: Unavailable, Corrupt."""
    topic, log = topics.EVENTS_ACCEPTED, KafkaLog(connection.bootstrap, connection.zone, connection.security)
    begins = await offsets_since(connection, topic, window.from_ms - CLOCK_SLACK_MS)
    parts: list[pa.Table] = []
    async with aclosing(log.read(topic, await log.stretches(topic, begins))) as found:
        async for records in found:
            batches = [envelope_of(record).select(ACCEPTED.names).cast(ACCEPTED) for record in records]
            parts.append(window.of(pa.Table.from_batches(batches)))
    return pa.concat_tables(parts) if parts else ACCEPTED.empty_table()


def lake_events(lake: IcebergLake, window: Window) -> pa.Table:
    """What the stream wrote of the window, in all columns; no rows without a table. Raises: Unavailable."""
    with translated(Table.EVENTS.table_name):
        table = find(lake.catalog, f"{NAMESPACE}.{Table.EVENTS.table_name}")
        if table is None:
            return pa.schema([*ACCEPTED, pa.field("enriched_time_ms", pa.int64())]).empty_table()
        types = ", ".join(f"'{name}'" for name in window.event_types)  # names of definitions: letters, digits, _
        in_time = f"received_time_ms >= {window.from_ms} and received_time_ms < {window.until_ms}"
        rows = table.scan(f"event_type in ({types}) and {in_time}").to_arrow()
    return rows.drop_columns([name for name in ("event_date",) if name in rows.column_names])


def sampled_users(accepted: pa.Table, max_users: int) -> list[str]:
    """Users with events, chosen by a digest of their ids: the same ones in every run over the same events."""
    users: list[str] = accepted.column("user_id").unique().to_pylist()
    return sorted(sorted(users, key=lambda user: hashlib.blake2b(user.encode(), digest_size=8).digest())[:max_users])


async def stored_sequences(store: SequenceStore, users: Sequence[str], max_events_of: Mapping[str, int]) -> pa.Table:
    """Whole sequences as the store gives them, by sequence, then user, with SEQUENCE's columns. Raises: Unavailable."""
    parts = [SEQUENCE.empty_table()]
    for sequence, max_events in max_events_of.items():
        for at in range(0, len(users), USERS_PER_READ):
            asked = users[at : at + USERS_PER_READ]
            found = await store.read([SequenceQuery(user, sequence, max_events, 0, EVENT) for user in asked])
            parts += [_grouped(each.rows, sequence, user) for user, each in zip(asked, found, strict=True)]
            await asyncio.sleep(0)
    return pa.concat_tables(parts).combine_chunks()


def computed_sequences(
    rows: pa.Table, definitions: Definitions, users: Iterable[str], sequences: Iterable[str], now_ms: int
) -> pa.Table:
    """The sequences that enriched rows make by definition, like `stored_sequences`; for events without a store."""
    routing, wanted = Routing(definitions), set(sequences)
    mine = rows.filter(pc.is_in(rows.column("user_id"), pa.array(list(users), pa.string())))
    parts = [SEQUENCE.empty_table()]
    for batch in mine.combine_chunks().to_batches(max_chunksize=EVENTS_PER_ROUTE):
        for routed in routing.route(batch, now_ms).sequences:
            if routed.sequence in wanted:
                events = pa.Table.from_batches([routed.rows.select(EVENT.names).cast(EVENT)])
                user_ids = pa.array(routed.user_ids, pa.string())
                groups = pc.binary_join_element_wise(routed.sequence, user_ids, "\x1f")
                events = events.add_column(0, SEQUENCE.field("user_id"), user_ids)
                parts.append(events.add_column(0, SEQUENCE.field("group"), groups))
    found = pa.concat_tables(parts)
    return in_order(found.take(pa.array(_first_of_each(found, ("group", "event_id")))))


def in_order(rows: pa.Table) -> pa.Table:
    """By group, then as sequences are ordered."""
    return rows.sort_by([(name, "ascending") for name in ("group", "event_time_ms", "event_id")])


def is_among(rows: pa.Table, events: pa.Table) -> NDArray[np.bool_]:
    """[N] Whether each row is one of the events, by KEY."""
    codes = joint_codes([(rows.column(name), events.column(name)) for name in KEY])
    return np.isin(codes[: rows.num_rows], codes[rows.num_rows :])


def last_of_each_group(rows: pa.Table, last: int) -> pa.Table:
    """The last `last` rows of each group; groups are contiguous."""
    codes = joint_codes([(rows.column("group"), rows.column("group").slice(0, 0))])
    if not len(codes):
        return rows
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    sizes = np.diff(np.r_[starts, len(codes)])
    from_end = np.repeat(starts + sizes, sizes) - np.arange(len(codes))
    return rows.filter(pa.array(from_end <= last))


def _first_of_each(rows: pa.Table, columns: Sequence[str]) -> NDArray[np.int64]:
    codes = joint_codes([(rows.column(name), rows.column(name).slice(0, 0)) for name in columns])
    return np.sort(np.unique(codes, return_index=True)[1]).astype(np.int64)


def _grouped(rows: pa.RecordBatch, sequence: str, user_id: str) -> pa.Table:
    found = pa.Table.from_batches([rows.select(EVENT.names).cast(EVENT)])
    found = found.add_column(0, SEQUENCE.field("user_id"), pa.repeat(user_id, rows.num_rows))
    return found.add_column(0, SEQUENCE.field("group"), pa.repeat(f"{sequence}\x1f{user_id}", rows.num_rows))
