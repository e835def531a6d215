"""The generic cell rate algorithm: a steady rate with a bounded burst, in one number of state per key."""

# ITU-T I.371, virtual scheduling. We differ in one thing: a cost above the burst is admitted when the key is idle and
# pays its debt afterwards, so that a large batch is slow instead of impossible.

SLACK_S = 1e-9  # rounding of a monotonic clock in a double; worth less than one unit up to 1e9 units/s


class Gcra:
    """One budget. Over any window of W seconds it admits at most rate * W + max(burst, 1, largest single cost) units;
    a request that comes no earlier than the steady rate allows is never refused. Not for several threads.
    """

    __slots__ = ("__weakref__", "interval_s", "tat_s", "tolerance_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        """`rate_per_s` > 0 and finite, `burst` >= 0 in units."""
        self.tat_s = float("-inf")  # theoretical arrival time: when all that was admitted is paid for
        self._set(rate_per_s, burst)

    def configure(self, rate_per_s: float, burst: float, now_s: float) -> None:
        """Take another rate from now on. The debt stays the same number of units, so no change of rates gives
        anybody a fresh burst or a longer wait than the units are worth.
        """
        before_s = self.interval_s
        self._set(rate_per_s, burst)
        if self.tat_s > now_s:
            self.tat_s = now_s + (self.tat_s - now_s) * (self.interval_s / before_s)

    def take(self, now_s: float, cost: float) -> float:
        """Charge `cost` units and return 0.0, or charge nothing and return the seconds until it would be admitted."""
        tat_s = self.tat_s
        if tat_s < now_s:
            tat_s = now_s
        new_s = tat_s + cost * self.interval_s
        wait_s = new_s - now_s - self.tolerance_s
        if wait_s <= 0.0 or tat_s - now_s <= SLACK_S:
            self.tat_s = new_s
            return 0.0
        return min(wait_s, tat_s - now_s)

    def _set(self, rate_per_s: float, burst: float) -> None:
        self.interval_s = 1.0 / rate_per_s
        self.tolerance_s = max(burst, 1.0) * self.interval_s + SLACK_S
