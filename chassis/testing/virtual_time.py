"""An event loop whose time jumps to the next thing that somebody waits for: minutes of waiting take no time at all.

Everything that waits must do so in this loop (sleep, timeouts, queues); threads and sockets know nothing of its time.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
START_MS = 1_700_000_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """Asyncio's own loop with another clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_NeverWaits(self))

    def time(self) -> float:
        """Seconds since the loop was made, of its own time."""
        return self.now_s


class _NeverWaits(selectors.SelectSelector):
    """Where a loop would sleep until its next timer, time passes at once."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        """Raises: RuntimeError when everybody waits for what can never come."""
        if timeout is None:
            raise RuntimeError("everything waits and nothing is due: a deadlock")
        self._loop.now_s += max(0.0, timeout)
        return super().select(0)


class VirtualClock:
    """Clock: the time of a virtual loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return START_MS + int(self._loop.time() * 1000)

    def monotonic_s(self) -> float:
        return self._loop.time()

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


def run_virtually(work: Callable[[VirtualClock], Coroutine[Any, Any, T]]) -> T:
    """What `work` returns; it gets the clock of its loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work(VirtualClock(runner.get_loop())))
