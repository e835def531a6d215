"""Two attempts at one read: the second starts when the first is slow or failed, the first good answer wins.

After "The Tail at Scale" (Dean and Barroso, 2013); the caller bounds how often the second attempt may start.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np

from chassis.errors import Unavailable

T = TypeVar("T")
_Outcome = tuple[T | None, Exception | None]
NUM_REMEMBERED = 256
NUM_TO_JUDGE = 32  # fewer answers tell nothing of a tail; as many again before it is worked out anew
TAIL = 0.99  # so that about one read in a hundred is sent twice while all is well
MIN_DELAY_S = 0.002


class HedgeDelay:
    """How long a first attempt is waited for: the 99th percentile of the last answers' times.

    At most half of the time left; when the second attempt `is_far`, in another zone, at least a third of it.
    """

    def __init__(self) -> None:
        self._durations_s: deque[float] = deque(maxlen=NUM_REMEMBERED)
        self._tail_s = float("inf")
        self._num_until_judged = NUM_TO_JUDGE

    def record(self, duration_s: float) -> None:
        """Take in one good answer."""
        self._durations_s.append(duration_s)
        self._num_until_judged -= 1
        if not self._num_until_judged:
            self._tail_s = float(np.quantile(self._durations_s, TAIL))
            self._num_until_judged = NUM_TO_JUDGE

    def seconds(self, remaining_s: float, *, is_far: bool) -> float:
        """The wait before the second attempt, of a call with `remaining_s` to go."""
        shortest_s = remaining_s / 3 if is_far else MIN_DELAY_S
        return min(max(self._tail_s, shortest_s), remaining_s / 2)


async def first_good(
    first: Callable[[], Awaitable[T]],
    second: Callable[[], Awaitable[T]],
    *,
    after_s: float,
    may_hedge: Callable[[], bool],
) -> T:
    """The first good answer; the other attempt is cancelled. A first attempt that is UNAVAILABLE counts as slow.

    Raises: what the last attempt raised, when none was good.
    """
    async with asyncio.TaskGroup() as group:
        running = {group.create_task(_outcome(first))}
        done, _ = await asyncio.wait(running, timeout=after_s)
        is_in_want = all(isinstance(each.result()[1], Unavailable) for each in done)
        if is_in_want and may_hedge():
            running.add(group.create_task(_outcome(second)))
        answer, error = await _first_good_of(running)
        for task in running:
            task.cancel()
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # T may itself admit None


async def _first_good_of(tasks: set["asyncio.Task[_Outcome[T]]"]) -> _Outcome[T]:
    running = set(tasks)
    outcome: _Outcome[T] = (None, None)
    while running:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            outcome = task.result()
            if outcome[1] is None:
                return outcome
    return outcome


async def _outcome(call: Callable[[], Awaitable[T]]) -> _Outcome[T]:
    try:
        return await call(), None
    except Exception as error:  # handed over as a value: one failed attempt must not cancel the other
        return None, error
