"""How much may wait for Kafka in this process."""

from chassis.errors import Overloaded

RETRY_AFTER_S = 0.5


class PendingBytes:
    """A bound on bytes in hand; for one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.taken = 0

    def take(self, num_bytes: int) -> None:
        """Raises: Overloaded when there is no room; then nothing is taken."""
        if self.taken + num_bytes > self._max_bytes:
            raise Overloaded(
                f"{self.taken} bytes wait for Kafka, {num_bytes} more are over {self._max_bytes}",
                reason="memory",
                retry_after_s=RETRY_AFTER_S,
            )
        self.taken += num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Free what `take` took."""
        self.taken -= num_bytes
