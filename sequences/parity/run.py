"""One comparison as it is kept: what was compared, what was found, and the gates."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sequences.definitions.definition import Frozen
from sequences.parity.agreement import FieldAgreement
from sequences.parity.causes import CauseCount
from sequences.parity.gates import Gate, closed
from sequences.parity.matching import HourMatch

NUM_BINS = 20


class Histogram(Frozen):
    """Values in equal bins from `low` to `high`, the last bin with its end."""

    name: str
    low: float
    high: float
    counts: tuple[int, ...]


class Settings(Frozen):
    """What was compared. `old_version` is active, `new_version` is the bundle that a promotion would activate.

    `wanted_version` is the version that the event types come from. Times are epoch milliseconds of acceptance.
    """

    event_types: tuple[str, ...]
    against: Literal["shadow", "batch"]
    old_version: str
    new_version: str
    wanted_version: str
    from_ms: int
    until_ms: int
    settle_s: float
    last: int
    max_users: int
    ranker_version: str = ""


class Findings(Frozen):
    """What the job that reads both sides found; `num_users` is the number of sampled users."""

    num_accepted: int
    num_repeated_old: int
    num_repeated_new: int
    num_users: int
    hours: tuple[HourMatch, ...]
    fields: tuple[FieldAgreement, ...]
    causes: tuple[CauseCount, ...]
    gates: tuple[Gate, ...]
    histograms: tuple[Histogram, ...] = ()


class ParityRun(Frozen):
    """A run under its id; `left_out` are changes of the wanted version that a promotion would not bring."""

    run_id: str
    settings: Settings
    findings: Findings
    left_out: tuple[str, ...] = ()
    duration_s: float = 0.0

    @property
    def closed_gates(self) -> list[Gate]:
        """Gates that stand in the way of a promotion."""
        return closed(self.findings.gates)


def histogram(name: str, values: NDArray[np.float64], low: float, high: float) -> Histogram:
    """Values outside of [low, high] count at its ends; NaN counts nowhere."""
    known = np.clip(values[~np.isnan(values)], low, high)
    counts, _ = np.histogram(known, bins=NUM_BINS, range=(low, high))
    return Histogram(name=name, low=low, high=high, counts=tuple(int(count) for count in counts))
