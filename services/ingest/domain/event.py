"""What a surface publishes, and what becomes of it."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a person did; times in epoch milliseconds, `attributes` are JSON bytes or b""."""

    event_id: str
    user_id: str
    event_type: str
    event_time_ms: int
    pin_id: str = ""
    surface: str = ""
    request_id: str = ""
    attributes: bytes = b""

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the same event published twice."""
        return (self.user_id, self.event_id)


class Outcome(Enum):
    """What became of one item of a request."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code`, `field` and `message` are set for rejected items only."""

    id: str
    outcome: Outcome
    code: str = ""
    field: str = ""
    message: str = ""
