"""What share of accepted events can be read, by the hour of acceptance, from events that were looked for."""

from dataclasses import dataclass

HOUR_MS = 3_600_000
HOURS_KEPT = 24


@dataclass(frozen=True)
class HourCompleteness:
    """Events accepted in one hour that were looked for, and how many of them were found."""

    hour_start_ms: int
    num_audited: int
    num_readable: int


@dataclass(frozen=True)
class CompletenessRatio:
    """Without audited events the ratio is 1: nothing is known to be missing."""

    ratio: float = 1.0
    num_audited: int = 0


class Completeness:
    """Of one sequence. An event that is found after it was missing moves over."""

    def __init__(self) -> None:
        self._readable: dict[int, int] = {}
        self._missing: dict[int, int] = {}

    def found(self, accepted_ms: int, *, was_missing: bool) -> None:
        """An audited event is readable."""
        hour = accepted_ms // HOUR_MS
        if was_missing and self._missing.get(hour, 0):
            self._missing[hour] -= 1
        self._readable[hour] = self._readable.get(hour, 0) + 1
        self._forget(hour)

    def missed(self, accepted_ms: int) -> None:
        """An audited event is not readable at its first look."""
        hour = accepted_ms // HOUR_MS
        self._missing[hour] = self._missing.get(hour, 0) + 1
        self._forget(hour)

    def excused(self, accepted_ms: int) -> None:
        """A missing event turned out to be none of the sequence's any more."""
        hour = accepted_ms // HOUR_MS
        if self._missing.get(hour, 0):
            self._missing[hour] -= 1

    def ratio(self, now_ms: int) -> CompletenessRatio:
        """Of the last closed hour; of the running one when nothing was audited in that."""
        hour = now_ms // HOUR_MS
        for each in (hour - 1, hour):
            found = self._of(each)
            if found.num_audited:
                return CompletenessRatio(found.num_readable / found.num_audited, found.num_audited)
        return CompletenessRatio()

    def hours(self) -> tuple[HourCompleteness, ...]:
        """Oldest first; hours without audited events are left out."""
        found = [self._of(hour) for hour in sorted(self._readable.keys() | self._missing.keys())]
        return tuple(each for each in found if each.num_audited)

    def _of(self, hour: int) -> HourCompleteness:
        readable = self._readable.get(hour, 0)
        return HourCompleteness(hour * HOUR_MS, readable + self._missing.get(hour, 0), readable)

    def _forget(self, newest: int) -> None:
        for counts in (self._readable, self._missing):
            for hour in [each for each in counts if each <= newest - HOURS_KEPT]:
                del counts[hour]
