"""Parts that write down what happens to them."""

import asyncio
from collections.abc import Callable

from chassis.deadline import Deadline


class RecordingPart:
    """Says "start name" and "stop name" to `events`; may take long, fail, or have a task."""

    def __init__(
        self,
        name: str,
        events: list[str],
        *,
        task: Callable[[], object] | None = None,
        start_s: float = 0.0,
        stop_s: float = 0.0,
        fails_to_start: Exception | None = None,
        fails_to_stop: Exception | None = None,
    ) -> None:
        self.name = name
        self._events = events
        self._task = task
        self._start_s, self._stop_s = start_s, stop_s
        self._fails_to_start, self._fails_to_stop = fails_to_start, fails_to_stop
        self.remaining_s = 0.0

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        self._events.append(f"start {self.name}")
        await asyncio.sleep(self._start_s)
        if self._fails_to_start is not None:
            raise self._fails_to_start
        if self._task is not None:
            tasks.create_task(self._task())  # type: ignore[arg-type]

    async def stop(self, deadline: Deadline) -> None:
        self._events.append(f"stop {self.name}")
        self.remaining_s = deadline.remaining_s()
        await asyncio.sleep(self._stop_s)
        if self._fails_to_stop is not None:
            raise self._fails_to_stop
        self._events.append(f"stopped {self.name}")


async def forever() -> None:
    """A long task."""
    await asyncio.sleep(3_600)


async def crash() -> None:
    """A long task that does not last."""
    await asyncio.sleep(0.01)
    raise RuntimeError("boiler burst")
