"""Who leads, told without comparing the clocks of two machines."""

# As client-go's leader election does: a standby watches the leader's beats on its own monotonic clock and takes over
# after a whole duration without one. The leader trusts its lead for less than that, from before it sent the beat.

from dataclasses import dataclass, replace

TRUSTED = 0.9  # of the duration; the rest is for clocks that run at different speeds


@dataclass(frozen=True)
class LeaderRow:
    """What the ledger says; `beat` changes with each renewal, `longest_lease_ms` covers every lease granted so far."""

    holder: str
    epoch: int
    beat: int
    longest_lease_ms: int


def claimed(row: LeaderRow, holder: str, dead: LeaderRow | None) -> LeaderRow:
    """The row after a claim of `holder`, which holds `dead` for the row of a leader that is gone."""
    if row.holder == holder:
        return replace(row, beat=row.beat + 1)
    if not row.holder or row == dead:
        return replace(row, holder=holder, epoch=row.epoch + 1, beat=row.beat + 1)
    return row


class Candidacy:
    """What one process may conclude from the rows it saw; times are seconds of its own monotonic clock."""

    def __init__(self, holder: str, duration_s: float) -> None:
        self.quiet_until_s = 0.0
        self._holder, self._duration_s = holder, duration_s
        self._epoch: int | None = None
        self._leads_until_s = 0.0
        self._seen: LeaderRow | None = None
        self._seen_at_s = 0.0

    def dead_row(self, now_s: float) -> LeaderRow | None:
        """The row of a leader that has not been heard of for a whole duration, to be taken over."""
        return self._seen if self._seen is not None and now_s - self._seen_at_s >= self._duration_s else None

    def observe(self, row: LeaderRow, sent_s: float, now_s: float) -> None:
        """Take in the answer to a claim that was sent at `sent_s`."""
        if row.holder != self._holder:
            self._epoch = None
            if row != self._seen:
                self._seen, self._seen_at_s = row, now_s
            return
        self._seen = None
        if row.epoch != self._epoch:
            # Every lease of an earlier leader was asked for before now.
            self.quiet_until_s = now_s + row.longest_lease_ms / 1000
        self._epoch, self._leads_until_s = row.epoch, sent_s + self._duration_s * TRUSTED

    def resign(self) -> None:
        """Stop leading now."""
        self._epoch = None

    def epoch_at(self, now_s: float) -> int | None:
        """The epoch in which this process surely leads; None when it does not, or cannot be sure."""
        return self._epoch if now_s < self._leads_until_s else None
