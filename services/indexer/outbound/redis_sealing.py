"""Closes full heads into columnar buckets by compare and swap: a crash at any point loses and doubles nothing."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import pyarrow as pa

from chassis.errors import Unavailable
from services.indexer.domain.buckets import (
    Bucket,
    Floor,
    cut,
    droppable,
    floor_of,
    from_index,
    in_time,
    is_overfull,
    kept_newest,
    mergeable,
    merged_size,
    to_index,
)
from services.indexer.domain.column_blob import from_blob, to_blob
from services.indexer.domain.event_order import joined, widest
from services.indexer.domain.renewal import RenewalCounts, renewed
from services.indexer.domain.writes import SequenceRows
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.outbound.redis_scripts import Argument, Call, script

MAX_ATTEMPTS = 10  # to renew a sequence that is sealed every few milliseconds


@dataclass
class _Plan:
    """What replaces what. The head stays unless `takes_head`."""

    buckets: list[Bucket]
    blobs: dict[str, bytes] = field(default_factory=dict)
    gone: list[Bucket] = field(default_factory=list)
    forgotten: list[bytes] = field(default_factory=list)
    floor: Floor | None = None
    takes_head: bool = True


@dataclass(frozen=True)
class _State:
    generation: bytes
    buckets: list[Bucket]
    num_head: int
    head: bytes
    blobs: list[bytes]

    @property
    def next_number(self) -> int:
        return 1 + max((bucket.number for bucket in self.buckets), default=-1)


class RedisSealing:
    """Reads a user's state, plans in Python, swaps in one script that refuses a plan which no longer fits."""

    def __init__(self, connection: RedisConnection, rows: RedisRows) -> None:
        self._connection = connection
        self._rows = rows
        self._plan_script = script("plan")
        self._swap_script = script("swap")

    async def seal(self, user_id: str, each: SequenceRows) -> None:
        """Close the head, drop buckets that are too old, merge small ones, and all when disorder holds too many."""
        state = await self._state(user_id, each.sequence, with_blobs=False)
        if not state.head:
            return  # somebody else was first
        plan = await self._sealed(user_id, each, state)
        if not await self._swap(user_id, each.sequence, state, plan):
            return
        if is_overfull(plan.buckets, each.max_events):
            await self._renew(user_id, each)
        elif mergeable(plan.buckets, each.max_events):
            await self._merge(user_id, each)

    async def renew(self, user_id: str, each: SequenceRows, decided: AbstractSet[str]) -> RenewalCounts:
        """Put these values in the place of held ones, as `domain.renewal` says. Raises: Unavailable when others kept
        changing the buckets."""
        for _ in range(MAX_ATTEMPTS):
            state = await self._state(user_id, each.sequence, with_blobs=True)
            parts = [from_blob(blob) for blob in state.blobs] + await self._rows.decode(state.head)
            if not any(part.num_rows for part in parts):
                return RenewalCounts()
            found = renewed(_joined(parts, each), each.of_user(user_id), decided)
            if found.is_none:
                return found.counts
            rows, size = found.rows, merged_size(each.max_events)
            made = cut(rows, state.next_number, size) if rows.num_rows else []
            plan = _plan(made, [], state.buckets, each.digests_of(found.removed), None)
            if await self._swap(user_id, each.sequence, state, plan, changes=True):
                return found.counts
        raise Unavailable(f"{each.sequence} of a user changed {MAX_ATTEMPTS} times meanwhile", reason="busy")

    async def _renew(self, user_id: str, each: SequenceRows) -> None:
        state = await self._state(user_id, each.sequence, with_blobs=True)
        parts = [from_blob(blob) for blob in state.blobs] + await self._rows.decode(state.head)
        kept, dropped, floor = kept_newest(_joined(parts, each), each.max_events)
        made = cut(kept, state.next_number, merged_size(each.max_events))
        forgotten = each.digests_of(dropped)
        await self._swap(user_id, each.sequence, state, _plan(made, [], state.buckets, forgotten, floor))

    async def _merge(self, user_id: str, each: SequenceRows) -> None:
        state = await self._state(user_id, each.sequence, with_blobs=False)
        small = mergeable(state.buckets, each.max_events)
        parts = await self._load(user_id, each.sequence, small)
        if not parts:
            return
        made = cut(_joined(parts, each), state.next_number, merged_size(each.max_events))
        kept = [bucket for bucket in state.buckets if bucket not in small]
        plan = _plan(made, kept, small, [], None)
        plan.takes_head = False
        await self._swap(user_id, each.sequence, state, plan)

    async def _sealed(self, user_id: str, each: SequenceRows, state: _State) -> _Plan:
        made = cut(_joined(await self._rows.decode(state.head), each), state.next_number)
        buckets = [*state.buckets, *(bucket for bucket, _ in made)]
        gone = droppable(buckets, each.max_events, each.oldest_ms)
        dropped = await self._load(user_id, each.sequence, [bucket for bucket in gone if bucket in state.buckets])
        dropped += [part for bucket, part in made if bucket in gone]
        forgotten = [digest for part in dropped for digest in each.digests_of(part)]
        new = [(bucket, part) for bucket, part in made if bucket not in gone]
        kept = [bucket for bucket in state.buckets if bucket not in gone]
        return _plan(new, kept, gone, forgotten, floor_of(gone))

    async def _state(self, user_id: str, sequence: str, *, with_blobs: bool) -> _State:
        names = (redis_keys.buckets(user_id, sequence), redis_keys.head(user_id, sequence))
        [answer] = await self._connection.write([Call(self._plan_script, names, (int(with_blobs),))])
        generation, index, num_head, head, blobs = answer
        return _State(generation, from_index(index), int(num_head), head, blobs)

    async def _load(self, user_id: str, sequence: str, buckets: list[Bucket]) -> list[pa.RecordBatch]:
        name = redis_keys.buckets(user_id, sequence)
        blobs = await self._connection.write([("HGET", name, _field(bucket)) for bucket in buckets])
        return [from_blob(blob) for blob in blobs if blob is not None]  # one gone by now makes the swap refuse

    async def _swap(self, user_id: str, sequence: str, state: _State, plan: _Plan, *, changes: bool = False) -> bool:
        """`changes`: readers see something else afterwards, so the version of the user grows."""
        floor: tuple[Argument, Argument] = ("", "")
        if plan.floor is not None:
            floor = (plan.floor.event_time_ms, plan.floor.event_id)
        names = [name(user_id, sequence) for name in (redis_keys.buckets, redis_keys.head, redis_keys.ids)]
        names += [redis_keys.user(user_id)] if changes else []
        head = (len(state.head), state.num_head) if plan.takes_head else (0, 0)
        arguments: list[Argument] = [state.generation, *head, to_index(plan.buckets), *floor]
        arguments += [len(plan.blobs), *(part for blob in plan.blobs.items() for part in blob)]
        arguments += [len(plan.gone), *map(_field, plan.gone)]
        arguments.append(b"".join(plan.forgotten))
        [is_done] = await self._connection.write([Call(self._swap_script, names, arguments)])
        return bool(is_done)


def _plan(
    made: list[tuple[Bucket, pa.RecordBatch]],
    kept: list[Bucket],
    gone: list[Bucket],
    forgotten: list[bytes],
    floor: Floor | None,
) -> _Plan:
    blobs = {_field(bucket): to_blob(part) for bucket, part in made}
    buckets = in_time([*kept, *(bucket for bucket, _ in made)])
    return _Plan(buckets, blobs, gone, forgotten, floor)


def _joined(parts: list[pa.RecordBatch], each: SequenceRows) -> pa.RecordBatch:
    return joined(parts, widest(parts, each.rows.schema))


def _field(bucket: Bucket) -> str:
    return f"b{bucket.number}"
