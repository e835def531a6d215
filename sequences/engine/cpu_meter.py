"""Tells, while a call runs in another thread, how much CPU time it has used so far."""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class CpuMeter(Generic[T]):
    """Called in the thread; `used_s` may be asked anywhere. Where threads have no clock, all time counts."""

    def __init__(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments
        self._asked_s = time.monotonic()
        self._clock: int | None = None
        self._start_s = 0.0

    def __call__(self) -> T:
        """What the function returns or raises."""
        if hasattr(time, "pthread_getcpuclockid"):
            clock = time.pthread_getcpuclockid(threading.get_ident())
            self._start_s, self._clock = time.clock_gettime(clock), clock
        return self._function(*self._arguments)

    def used_s(self) -> float:
        """Seconds of CPU; 0 before the thread has begun."""
        if not hasattr(time, "pthread_getcpuclockid"):
            return time.monotonic() - self._asked_s
        if self._clock is None:
            return 0.0
        try:
            return time.clock_gettime(self._clock) - self._start_s
        except OSError:  # the thread is gone, and the call with it
            return 0.0
