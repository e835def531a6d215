"""One comparison: events first, then why some are on one side only, then sequences of sampled users."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sequences.parity import gates
from sequences.parity.agreement import field_agreement
from sequences.parity.causes import CauseCount, Evidence, count_causes
from sequences.parity.causes import Side as SideName
from sequences.parity.gates import Missing, Thresholds
from sequences.parity.matching import KEY, match, match_by_hour
from sequences.parity.overlap import Overlap, overlap
from sequences.parity.run import Findings, Settings, histogram
from services.indexer.offline.parity_engine import ParityEngine
from services.indexer.offline.parity_model_inputs import write_model_inputs
from services.indexer.offline.parity_sides import Side
from services.indexer.offline.parity_sources import is_among, last_of_each_group, sampled_users
from services.indexer.ports import PinStore

MAX_SECOND_LOOK_S = 30.0
LAG_SHOWN_S = 120.0


@dataclass(frozen=True)
class Job:
    """What to compare, and where the ranker's inputs go."""

    settings: Settings
    thresholds: Thresholds
    ranker_sequence: str
    out: Path
    tell: Callable[[str], None]


class Comparison:
    """Old on the left, new on the right."""

    def __init__(
        self, job: Job, accepted: pa.Table, left: Side, right: Side, engines: Mapping[str, ParityEngine]
    ) -> None:
        self._job = job
        self._accepted = accepted
        self._left = left
        self._right = right
        self._engines = engines
        self._users = sampled_users(accepted, job.settings.max_users)

    async def tier_1_and_2(self) -> Findings:
        """All but the ranker's part. Raises: Unavailable."""
        settings, limits = self._job.settings, self._job.thresholds
        self._job.tell(f"{self._accepted.num_rows:,} accepted events of {len(self._users):,} sampled users")
        left, right = await self._left.events(), await self._right.events()
        matched = match(left, right)
        hours = match_by_hour(_received_ms(left), _received_ms(right), matched, settings.from_ms, settings.until_ms)
        fields = field_agreement(left.take(pa.array(matched.left_M)), right.take(pa.array(matched.right_M)))
        self._job.tell(f"{len(matched.left_M):,} events on both sides, {len(fields)} columns compared")
        causes = await self._causes(left.take(pa.array(matched.only_left_P)), right, "new", self._right)
        causes += await self._causes(right.take(pa.array(matched.only_right_Q)), left, "old", self._left)
        found = await self._overlap()
        shown = (
            []
            if isinstance(found, Missing)
            else [
                histogram("set overlap", found.jaccard_G, 0.0, 1.0),
                histogram("order", found.kendall_G, -1.0, 1.0),
                histogram("lag, s", found.lag_s_G, -LAG_SHOWN_S, LAG_SHOWN_S),
            ]
        )
        return Findings(
            num_accepted=self._accepted.num_rows,
            num_repeated_old=matched.num_repeated_left,
            num_repeated_new=matched.num_repeated_right,
            num_users=len(self._users),
            hours=tuple(hours),
            fields=tuple(fields),
            causes=tuple(causes),
            gates=(*gates.tier_1(hours, fields, causes, limits), *gates.tier_2_sequences(found, limits)),
            histograms=tuple(shown),
        )

    async def write_model_inputs(self, pins: PinStore) -> Missing | None:
        """Returns what is missing. Raises: Unavailable."""
        name = self._job.ranker_sequence
        max_events_of = {sequence: limit for sequence, limit in self._max_events_of().items() if sequence == name}
        if not max_events_of:
            why = f"sequence {name!r}, which the ranker reads, has no {self._types}"
            return Missing(why=why, by_definition=True)
        if not self._users:
            return Missing(why="no events were accepted")
        left = await self._left.sequences(self._users, max_events_of)
        right = await self._right.sequences(self._users, max_events_of)
        right = right.filter(pa.array(is_among(right, self._accepted)))
        # What came after the window is on one side only, and would push the window out of a ranker's short history.
        left, right = (
            rows.filter(pc.less(rows["event_time_ms"], self._job.settings.until_ms)) for rows in (left, right)
        )
        return await write_model_inputs(self._job.out, left, right, self._accepted, pins)

    async def _causes(self, rows: pa.Table, others: pa.Table, missing_on: SideName, side: Side) -> list[CauseCount]:
        """Why `side`, which has `others`, lacks these rows."""
        if not rows.num_rows:
            return []
        self._job.tell(f"{rows.num_rows:,} events are not on the {missing_on} side")
        evidence = await self._evidence(rows, side)
        is_held = pc.is_in(rows.column("event_id"), others.column("event_id").combine_chunks())
        is_late = await self._is_found_later(rows, side)
        return count_causes(
            missing_on,
            [
                replace(each, is_found_later=bool(late), is_id_held=bool(held))
                for each, late, held in zip(evidence, is_late, is_held.to_pylist(), strict=True)
            ],
        )

    async def _evidence(self, rows: pa.Table, side: Side) -> list[Evidence]:
        accepted = rows.select(self._accepted.column_names).cast(self._accepted.schema)
        return await self._engines[side.definitions.version].evidence(accepted)

    async def _is_found_later(self, rows: pa.Table, side: Side) -> NDArray[np.bool_]:
        """[P] After another settling delay: what is there then was late and not lost."""
        await asyncio.sleep(min(self._job.settings.settle_s, MAX_SECOND_LOOK_S))
        return is_among(rows, (await side.events()).select(list(KEY)))

    async def _overlap(self) -> Overlap | Missing:
        max_events_of = self._max_events_of()
        if not max_events_of:
            return Missing(why=f"no sequence of both versions has {self._types}", by_definition=True)
        sides = []
        for side in (self._left, self._right):
            found = await side.sequences(self._users, max_events_of)
            mine = found.filter(pa.array(is_among(found, self._accepted)))
            sides.append(last_of_each_group(mine, self._job.settings.last))
        if not any(side.num_rows for side in sides):
            return Missing(why="no sampled user has an event in a sequence")
        return overlap(sides[0], sides[1], self._job.settings.from_ms)

    def _max_events_of(self) -> dict[str, int]:
        """Sequences of either moving type that both sides have, with the greater limit."""
        moving = set(self._job.settings.event_types)
        old, new = self._left.definitions.sequences, self._right.definitions.sequences
        return {
            name: max(old[name].max_events, new[name].max_events)
            for name in sorted(old.keys() & new.keys())
            if moving & {*old[name].event_types, *new[name].event_types}
        }

    @property
    def _types(self) -> str:
        return ", ".join(self._job.settings.event_types)


def _received_ms(rows: pa.Table) -> NDArray[np.int64]:
    return np.asarray(rows.column("received_time_ms").to_numpy())
