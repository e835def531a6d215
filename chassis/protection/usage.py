"""What was used of each rule in a stretch of time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UsageWindow:
    """Units of one rule in one window, in one process. `window_start_ms` is epoch milliseconds."""

    key: str
    window_start_ms: int
    window_ms: int
    admitted: float
    refused: float
    shadow_refused: float
    rule_version: int
    service: str = ""
    instance: str = ""
    zone: str = ""
    num_instances: int = 1  # processes that are summed up here


class Tally:
    """Units counted since the last drain; plain slots because every decision writes one."""

    __slots__ = ("admitted", "refused", "rule_version", "shadow_refused")

    def __init__(self, rule_version: int) -> None:
        self.rule_version = rule_version
        self.admitted = 0.0
        self.refused = 0.0
        self.shadow_refused = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked."""
        return self.admitted + self.refused + self.shadow_refused == 0.0

    def drain(self) -> "Tally":
        """A copy of the counts, which become zero here."""
        copy = Tally(self.rule_version)
        copy.admitted, copy.refused, copy.shadow_refused = self.admitted, self.refused, self.shadow_refused
        self.admitted = self.refused = self.shadow_refused = 0.0
        return copy
