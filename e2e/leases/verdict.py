"""Whether what was recorded keeps the promises of leases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from e2e.leases.schedule import CALM_FROM_S, TOTAL_S
from e2e.leases.tally import BIN_S


@dataclass(frozen=True)
class Promise:
    """The rule of a run, and what each process asked for per second."""

    limit_per_s: float
    burst: float
    lease_s: float
    demands: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """Figures of a run; the promises they are held to are in `broken`."""

    num_admitted: int
    worst_window_s: float  # the window that came nearest to its bound
    worst_share: float  # admitted in it, of the bound
    stalled_share: float  # of the calm end in which the machine gave processes no time, so that they could not ask
    calm_share: float  # admitted in the calm end, of the limit in the rest of it
    unfairness: float  # largest relative difference from the mean, of those that asked for more than a share
    refused_under_share: int  # the most refused to one that asked for less, in the calm end

    @property
    def broken(self) -> list[str]:
        """Promises that do not hold; empty = all do."""
        held = {
            "bound": self.worst_share <= 1.0,
            "liveness": self.calm_share >= 0.95,
            "fairness": self.unfairness <= 0.10,
            "under_share": self.refused_under_share <= 2,  # by chance, when requests come at once
        }
        return [name for name, holds in held.items() if not holds]


def judge(counts: Mapping[str, NDArray[np.int64]], restarts_s: Sequence[float], promise: Promise) -> Verdict:
    """`counts` [bins, (admitted, refused, stalled ms)] of each process; `restarts_s` when one began another life."""
    admitted_B = np.sum([each[:, 0] for each in counts.values()], axis=0)
    width_s, share = _worst_window(admitted_B, restarts_s, promise)
    calm = slice(int(CALM_FROM_S / BIN_S), None)
    equal = promise.limit_per_s / len(counts)
    got = {name: int(each[calm, 0].sum()) for name, each in counts.items()}
    hungry = np.array([got[name] for name, demand in promise.demands.items() if demand > 1.5 * equal], dtype=float)
    modest = [name for name, demand in promise.demands.items() if demand < 0.9 * equal]
    calm_s = TOTAL_S - CALM_FROM_S
    stalled_share = sum(float(each[calm, 2].sum()) for each in counts.values()) / 1000 / calm_s / len(counts)
    return Verdict(
        int(admitted_B.sum()),
        width_s,
        share,
        stalled_share,
        sum(got.values()) / (promise.limit_per_s * calm_s * (1 - stalled_share)),
        float(np.abs(hungry / hungry.mean() - 1.0).max()) if len(hungry) else 0.0,
        max((int(counts[name][calm, 1].sum()) for name in modest), default=0),
    )


def _worst_window(admitted_B: NDArray[np.int64], restarts_s: Sequence[float], promise: Promise) -> tuple[float, float]:
    """(width, admitted / bound) of the window that is nearest to L W + N burst + L min(W, lease).

    N counts every life that a window touches: a process that started again has a burst again.
    """
    total = np.concatenate([[0], np.cumsum(admitted_B)])
    edges_s = np.arange(len(total)) * BIN_S
    restarts = np.searchsorted(np.sort(np.array(restarts_s)), edges_s, side="right")
    worst = (0.0, 0.0)
    for num_bins in range(1, len(total)):
        width_s = num_bins * BIN_S
        lives = len(promise.demands) + restarts[num_bins:] - restarts[:-num_bins]
        steady = promise.limit_per_s * (width_s + min(width_s, promise.lease_s))
        shares = (total[num_bins:] - total[:-num_bins]) / (steady + lives * promise.burst)
        worst = max(worst, (width_s, float(shares.max())), key=lambda each: each[1])
    return worst
