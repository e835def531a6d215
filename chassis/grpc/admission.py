"""Who may enter a door now: room for the call first, then the quota of its resource."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from chassis.errors import Overloaded

# Long enough for a burst to drain, short enough that a client does not give up.
RETRY_WHEN_FULL_S = 0.1

# (package.Service/Method, request) -> (resource, cost); None when no quota applies. The criticality of the call is
# added as the last level of the resource.
ResourceOf = Callable[[str, Any], tuple[str, float] | None]


class Admitter(Protocol):
    """Decides about one request, in process."""

    def admit(self, resource: str, cost: float = 1.0) -> None:
        """Raises: Overloaded when a level of `resource` is out of quota."""
        ...


@dataclass(slots=True)
class Room:
    """How many calls are inside, of how many that fit; entered and left in one event loop."""

    name: str
    size: int
    taken: int = 0

    def is_full(self) -> bool:
        """Whether one more call would be too many."""
        return self.taken >= self.size

    def refusal(self) -> Overloaded:
        """The error for a call that found the room full."""
        return Overloaded(
            f"{self.name} already answers {self.taken} calls",
            field=self.name,
            reason="too_many_concurrent_calls",
            retry_after_s=RETRY_WHEN_FULL_S,
        )
