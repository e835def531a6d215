"""Looks for accepted events in the online store: completeness as a reader would find it.

Counting on both sides would need offsets shared by every process of the zone; a sample that is looked for needs none,
and sees every cause of a loss. Only what is accepted while the process runs is audited.
"""

import asyncio
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.logs import get_logger
from chassis.metrics import Metrics
from protos import event_schema
from sequences.definitions.expected import expected
from sequences.engine.plan import Plan, plan_for
from services.indexer.app.active_definitions import ActiveDefinitions
from services.indexer.app.quality_board import QualityBoard, QualityMetrics
from services.indexer.domain.audit import ExpectedEvent, Pending, SampleRate, by_type, is_trimmed, routed
from services.indexer.domain.routing import oldest_ms
from services.indexer.ports import SequenceQuery, SequenceStore

ROUND_S = 2.0
MAX_LOOKS = 200  # per round
MAX_CHOSEN = 1_000  # between two rounds; 30 ms of work
NUM_NEAR = 64  # events of a user that are read first: what is looked for is nearly always among the newest
COLUMNS = pa.schema([event_schema.ACCEPTED.field(name) for name in ("event_id", "event_time_ms")])

log = get_logger(__name__)


@dataclass(frozen=True)
class ReadRows:
    """Of one user, oldest first."""

    batch: pa.RecordBatch
    ids: frozenset[str]

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Self:
        return cls(batch, frozenset(batch.column("event_id").to_pylist()))


class AuditSequences:
    """A part: `take` chooses events, every round looks for those whose time has come and publishes the metrics."""

    name = "sequence audit"

    def __init__(
        self,
        definitions: ActiveDefinitions,
        store: SequenceStore,
        board: QualityBoard,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._definitions = definitions
        self._store = store
        self._board = board
        self._clock = clock
        self._quality_metrics = QualityMetrics(board, metrics)
        help_text = "Accepted events that were chosen to be looked for, by what came of it."
        self._audits = metrics.counter("sequence_audits_total", help_text, ("sequence", "outcome"))
        self._chosen: list[pa.RecordBatch] = []
        self._num_chosen = 0
        self._pending = Pending()
        self._rate = SampleRate()
        self._adapted_s = clock.monotonic_s()
        self._plan: Plan | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Look in the background."""
        self._task = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - a round ends at once
        """What was not looked for is forgotten."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wants(self, partition: int, offset: int) -> bool:
        """Whether the accepted envelope there is to be taken; the others need not be opened."""
        return self._rate.opens(partition, offset)

    def take(self, accepted: pa.RecordBatch) -> None:
        """Choose some of the events of an accepted envelope."""
        rows = self._rate.choose(accepted.column("event_id").to_pylist())
        room = MAX_CHOSEN - self._num_chosen
        if len(rows) > room:
            self._audits.labels("", "skipped").inc(len(rows) - room)
        if len(rows := rows[:room]):
            self._chosen.append(accepted.take(pa.array(rows)))
            self._num_chosen += len(rows)

    def _expect(self, now_ms: int) -> None:
        """What the chosen events should lead to. Raises: Unavailable before the first definitions."""
        plan, routing = self._current_plan(), self._definitions.routing
        batches, self._chosen, self._num_chosen = self._chosen, [], 0
        if not batches:
            return
        found = expected(plan, pa.concat_batches(batches))
        if found.num_filtered:
            self._audits.labels("", "filtered").inc(found.num_filtered)
        events = routed(routing.route(found.kept, now_ms).sequences) + by_type(routing.definitions, found.failed)
        for event in events:
            if not self._pending.add(event, event.accepted_ms):
                self._audits.labels(event.sequence, "skipped").inc()

    async def look(self) -> None:
        """One round. Raises: Unavailable; then the same events are looked for again."""
        now_ms = self._clock.now_ms()
        self._expect(now_ms)
        due = self._pending.due(now_ms, MAX_LOOKS)
        done: set[ExpectedEvent] = set()
        try:
            for sequence in sorted({event.sequence for event in due}):
                events = [event for event in due if event.sequence == sequence]
                await self._look(sequence, events, now_ms)
                done.update(events)
        finally:
            for event in due:
                if event not in done:
                    self._pending.add(event, now_ms)

    async def _look(self, name: str, events: list[ExpectedEvent], now_ms: int) -> None:
        definition = self._definitions.current.sequences.get(name)
        if definition is None:  # rolled back meanwhile
            return
        oldest, limit = oldest_ms(definition, now_ms), definition.max_events
        near = await self._rows(name, events, min(limit, NUM_NEAR), oldest)
        far = [event for event in events if event.event_id not in near[event.user_id].ids]
        whole = await self._rows(name, far, limit, oldest)
        for event in events:
            rows = whole.get(event.user_id, near[event.user_id])
            is_found = event.event_id in rows.ids
            is_excused = not is_found and is_trimmed(event, rows.batch, limit, oldest)
            self._judge(event, is_found=is_found, is_excused=is_excused, now_ms=now_ms)

    async def _rows(self, sequence: str, events: list[ExpectedEvent], limit: int, oldest: int) -> dict[str, ReadRows]:
        users = sorted({event.user_id for event in events})
        if not users:
            return {}
        found = await self._store.read([SequenceQuery(user, sequence, limit, oldest, COLUMNS) for user in users])
        return {user: ReadRows.of(each.rows) for user, each in zip(users, found, strict=True)}

    def _judge(self, event: ExpectedEvent, *, is_found: bool, is_excused: bool, now_ms: int) -> None:
        completeness = self._board.of(event.sequence).completeness
        outcome = "found" if is_found else "trimmed" if is_excused else "missing"
        if is_found:
            completeness.found(event.accepted_ms, was_missing=event.was_missing)
        elif is_excused and event.was_missing:
            completeness.excused(event.accepted_ms)
        elif not is_excused:
            if not event.was_missing:
                completeness.missed(event.accepted_ms)
            again = ExpectedEvent(
                event.sequence,
                event.user_id,
                event.event_id,
                event.event_time_ms,
                event.accepted_ms,
                event.num_looks + 1,
            )
            if not self._pending.add(again, now_ms):
                outcome = "lost"
                log.warning("an accepted event cannot be read", sequence=event.sequence, event_id=event.event_id)
        self._audits.labels(event.sequence, outcome).inc()

    def _current_plan(self) -> Plan:
        definitions = self._definitions.current
        if self._plan is None or self._plan.definitions_version != definitions.version:
            self._plan = plan_for(definitions)
        return self._plan

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(ROUND_S)
            elapsed_s = self._clock.monotonic_s() - self._adapted_s
            self._rate.adapt(elapsed_s)
            self._adapted_s += elapsed_s
            try:
                await self.look()
                self._quality_metrics.publish(self._definitions.current, self._clock.now_ms())
            except CorkboardError as error:
                log.info("audit waits", error=str(error))
