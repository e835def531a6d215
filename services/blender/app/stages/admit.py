"""Stage: does the caller's quota hold?"""

from typing import Protocol

from chassis.criticality import prioritised
from services.blender.app.feed_state import FeedState

RESOURCE = "surface/blender/GetFeed"


class Admitter(Protocol):
    """Decides in process."""

    def admit(self, resource: str, cost: float = 1.0) -> None:
        """Raises: Overloaded with retry_after_s."""
        ...


class Admit:
    """One unit of the tenant's quota for one page. Raises: Overloaded."""

    name = "admit"

    def __init__(self, admitter: Admitter) -> None:
        self._admitter = admitter

    def __call__(self, state: FeedState) -> FeedState:
        self._admitter.admit(prioritised(f"{RESOURCE}/{state.request.tenant}"))
        return state
