"""A clock that moves only when a test says so."""

import asyncio
import heapq

START_MS = 1_700_000_000_000


class FakeClock:
    """Sleepers wake when `advance` passes their time."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._start_ms = now_ms
        self._elapsed_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        return self._start_ms + int(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        return self._elapsed_s

    async def sleep(self, duration_s: float) -> None:
        """Wait for `advance`; a sleep of no time only yields."""
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed_s + duration_s, self._count, future))
        await future

    def advance(self, duration_s: float) -> None:
        """Move time and wake whoever slept until then; they run at the next yield."""
        self._elapsed_s += duration_s
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_s + 1e-9:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
