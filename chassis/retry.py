"""Trying again, bounded: jittered exponential waits, never past the deadline, never more than a budget allows."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.errors import Conflict, CorkboardError, Overloaded, Unavailable

T = TypeVar("T")
# A retry at the 16th doubling is beyond any max_s; the cap only keeps 2**n a sane float.
_MAX_DOUBLINGS = 16


@dataclass(slots=True)
class RetryBudget:
    """A token bucket that bounds amplification: each first call earns `ratio` of a retry, up to `max_tokens` saved.

    Over any N calls at most `max_tokens + ratio * N` retries happen, whatever fails.
    """

    ratio: float = 0.1
    max_tokens: float = 10.0
    _tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens = self.max_tokens

    def earn(self) -> None:
        """Count one first call."""
        self._tokens = min(self.max_tokens, self._tokens + self.ratio)

    def spend(self) -> bool:
        """Whether one more retry is allowed; takes its token when it is."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def is_transient(error: BaseException) -> bool:
    """Whether the same call can succeed a little later."""
    return isinstance(error, (Unavailable, Overloaded, Conflict))


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts: uniform in [0, min(max_s, base_s * 2**n)] ("full jitter", AWS 2015)."""

    base_s: float
    max_s: float

    def wait_s(self, attempt: int, error: BaseException, random_source: random.Random) -> float:
        """The wait after the failed `attempt` (0-based); never shorter than the error's own retry_after_s."""
        ceiling_s = min(self.max_s, self.base_s * 2.0 ** min(attempt, _MAX_DOUBLINGS))
        asked_s = error.retry_after_s if isinstance(error, CorkboardError) else None
        return random_source.uniform(0.0, ceiling_s) + (asked_s or 0.0)


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    base_s: float,
    max_s: float,
    deadline: Deadline,
    is_retryable: Callable[[BaseException], bool] = is_transient,
    clock: Clock = SYSTEM_CLOCK,
    budget: RetryBudget | None = None,
    random_source: random.Random | None = None,
) -> T:
    """The first good answer of `call`, tried at most `attempts` times.

    Raises: what `call` raised last, when it is not retryable or attempts, deadline or budget are used up.
    """
    backoff = Backoff(base_s, max_s)
    random_source = random_source or random.Random()
    if budget is not None:
        budget.earn()
    attempt = 0
    while True:
        try:
            return await call()
        except Exception as error:
            if attempt + 1 >= attempts or not is_retryable(error):
                raise
            wait_s = backoff.wait_s(attempt, error, random_source)
            if wait_s >= deadline.remaining_s() or (budget is not None and not budget.spend()):
                raise
            attempt += 1
        await clock.sleep(wait_s)
