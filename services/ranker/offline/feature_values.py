"""Values of one feature on both sides: what each knows, and where they agree.

Shapes: N rows, history events or candidates. A vector is one value.
"""

from typing import Any

import numpy as np

from modeling.arrays import AnyArray, Bools
from services.ranker.domain.features import FEATURES

RELATIVE, ABSOLUTE = 1e-5, 1e-6  # float32 on both sides: the same numbers differ by less, other ones by more
SCORES = "score_"
DEFAULT_IS_UNKNOWN = frozenset({"history_event_type", "candidate_age_s", "candidate_price"})
OUTCOMES = ("same", "different", "defaulted", "missing", "unknown")


def outcomes(name: str, online: AnyArray | None, offline: AnyArray, is_there_N: Bools) -> AnyArray:
    """One of OUTCOMES per row [N]: defaulted is known in training alone, missing online alone.

    `online` is None when the leaf had to replace the whole input; `is_there_N` tells which rows training has.
    """
    nowhere_N = np.zeros(len(is_there_N), np.bool_)
    online_N = nowhere_N if online is None else is_known(name, online)
    offline_N = is_known(name, offline) & is_there_N
    has_shape = online is not None and online.shape == offline.shape
    is_same_N = _is_same(online, offline) if online is not None and has_shape else nowhere_N
    both_N = online_N & offline_N
    return np.select([both_N & is_same_N, both_N, offline_N, online_N], OUTCOMES[:-1], OUTCOMES[-1])


def is_known(name: str, value: AnyArray) -> Bools:
    """Rows [N] that say something: finite, and not what stands for "unknown"."""
    spec, rows = FEATURES[name], value.reshape(len(value), int(np.prod(value.shape[1:], dtype=np.int64)))
    is_finite_N = np.isfinite(rows).all(axis=1)
    if spec.has_width:
        return np.asarray(is_finite_N & rows.any(axis=1))
    if name in DEFAULT_IS_UNKNOWN or name.startswith(SCORES):
        return np.asarray(is_finite_N & (value != spec.default))
    return np.asarray(is_finite_N)


def shown(value: Any) -> str:
    """One value for people."""
    if np.ndim(value):
        return f"[{', '.join(f'{each:.4g}' for each in value[:4])}, …]"
    return f"{value:.8g}" if np.issubdtype(np.asarray(value).dtype, np.floating) else str(value)


def _is_same(online: AnyArray, offline: AnyArray) -> Bools:
    if np.issubdtype(offline.dtype, np.integer):
        return np.asarray(online == offline)
    close = np.isclose(online, offline, rtol=RELATIVE, atol=ABSOLUTE)
    return np.asarray(close if close.ndim == 1 else close.all(axis=1))
