"""Makes users' stored states anew when their sequences have moved, beside the requests and at a bounded pace."""

import asyncio

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.logs import get_logger
from services.cg.domain.catalogue import Catalogue
from services.cg.domain.moved_users import MovedUsers
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.retrieval import StoredVector
from services.cg.ports import Histories, StateMeter, UserStates

PERIOD_S = 0.25
READ_WITHIN_S = 2.0  # nobody waits for the answer, so an indexer under load may take its time

log = get_logger(__name__)


class StateRefresher:
    """A part: every quarter of a second the users that are due, at most `max_per_s` of them a second."""

    name = "state refresher"

    def __init__(
        self,
        moved: MovedUsers,
        histories: Histories,
        states: UserStates,
        index: PinIndex,
        catalogue: Catalogue,
        meter: StateMeter,
        clock: Clock,
        *,
        max_per_s: int,
    ) -> None:
        self._moved, self._histories, self._states = moved, histories, states
        self._index, self._catalogue, self._meter, self._clock = index, catalogue, meter, clock
        self._most = max(1, round(max_per_s * PERIOD_S))
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin."""
        self._task = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - whoever waits is found again by later events
        """End at once."""
        if self._task is not None:
            self._task.cancel()

    async def refresh(self) -> None:
        """Make and publish the states that are due."""
        users = self._moved.take_due(self._clock.monotonic_s(), self._most)
        if users:
            async with asyncio.TaskGroup() as tasks:
                for user_id in users:
                    tasks.create_task(self._refresh(user_id))
        self._meter.waiting(self._moved.num_waiting)

    async def _run(self) -> None:
        while True:
            await self.refresh()
            await self._clock.sleep(PERIOD_S)

    async def _refresh(self, user_id: str) -> None:
        try:
            outcome = await self._publish(user_id)
        except CorkboardError as error:
            outcome = "failed"
            self._moved.again(user_id, self._clock.monotonic_s())
            log.info("state_refresh_failed", error=str(error))
        self._meter.refreshed(outcome)

    async def _publish(self, user_id: str) -> str:
        encoders = self._catalogue.encoders
        if not encoders:
            return "no_model"
        history = await self._histories.recent(user_id, Deadline.after(READ_WITHIN_S, self._clock))
        if not history:
            return "no_history"
        snapshot = self._index.snapshot()
        for name, encoder in encoders.items():
            vector = await asyncio.to_thread(encoder.encode_history, history, snapshot)
            await self._states.publish(user_id, name, StoredVector(encoder.version, vector), self._clock.now_ms())
        return "published"
