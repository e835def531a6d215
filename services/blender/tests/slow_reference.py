"""SSD* in residual form: slow, obvious, float64. What the fast form must agree with, pick by pick."""

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.relevance import normalise

TINY = 1e-4
TIE = 1e-9


def ssd_picks(
    relevance_N: NDArray[np.float64],
    vectors_ND: NDArray[np.floating],
    gamma: float,
    window: int,
    num_picks: int,
    tail_KD: NDArray[np.floating] | None = None,
) -> list[int]:
    """Keep the residual of every candidate; take away each new basis, give back the one that leaves the window."""
    normalised_N = normalise(np.asarray(relevance_N, dtype=np.float64))
    residuals_NE = _extend(vectors_ND)
    tail_KE = _extend(tail_KD) if tail_KD is not None and len(tail_KD) else np.zeros((0, residuals_NE.shape[1]))
    rows_ME = np.concatenate([residuals_NE, tail_KE])  # the tail's own residuals shrink like everybody's
    placed: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []  # (basis, what it took from each row)

    def place(row: int) -> None:
        if window <= 1:
            return
        length = float(np.linalg.norm(rows_ME[row]))
        basis_E = rows_ME[row] / length if length > TINY else np.zeros(rows_ME.shape[1])
        basis_E = basis_E - sum(((basis_E @ other_E) * other_E for other_E, _ in placed), np.zeros_like(basis_E))
        basis_E /= np.linalg.norm(basis_E) or 1.0
        taken_M = rows_ME @ basis_E
        rows_ME[:] -= taken_M[:, None] * basis_E
        placed.append((basis_E, taken_M))
        if len(placed) > window - 1:
            old_E, old_M = placed.pop(0)
            rows_ME[:] += old_M[:, None] * old_E

    for row in range(len(residuals_NE), len(rows_ME)):
        place(row)
    picks: list[int] = []
    alive = set(range(len(residuals_NE)))
    for _ in range(min(num_picks, len(alive))):
        lengths = np.linalg.norm(rows_ME, axis=1)
        lengths[lengths < TINY] = 0.0
        utility = {row: normalised_N[row] + gamma * lengths[row] for row in sorted(alive)}
        best = max(utility.values())
        pick = next(row for row, value in utility.items() if value >= best - TIE)
        picks.append(pick)
        alive.remove(pick)
        place(pick)
    return picks


def _extend(vectors_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    rows_ND = np.asarray(vectors_ND, dtype=np.float64)
    rows_ND = rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)
    extended_NE: NDArray[np.float64] = np.hstack([rows_ND, np.ones((len(rows_ND), 1))]) / np.sqrt(2.0)
    return extended_NE
