"""How much time is left, handed down from call to call."""

from contextvars import ContextVar
from dataclasses import dataclass

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.errors import DeadlineExceeded


@dataclass(frozen=True)
class Deadline:
    """A point on the monotonic clock."""

    at_s: float
    clock: Clock = SYSTEM_CLOCK

    @classmethod
    def after(cls, duration_s: float, clock: Clock = SYSTEM_CLOCK) -> "Deadline":
        """The deadline `duration_s` seconds from now."""
        return cls(clock.monotonic_s() + duration_s, clock)

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - self.clock.monotonic_s())

    def capped(self, duration_s: float) -> "Deadline":
        """The earlier of this deadline and `duration_s` from now."""
        return Deadline(min(self.at_s, self.clock.monotonic_s() + duration_s), self.clock)

    def check(self, what: str) -> None:
        """Raises: DeadlineExceeded when no time is left."""
        if self.remaining_s() <= 0:
            raise DeadlineExceeded(f"no time left for {what}")


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def current_deadline(default_s: float) -> Deadline:
    """The deadline of the call being served, or `default_s` from now outside of one."""
    return _current.get() or Deadline.after(default_s)


def set_current_deadline(deadline: Deadline) -> None:
    """Make `deadline` the one of this task; called by the gRPC door only."""
    _current.set(deadline)
