"""Decayed popularity: how much each pin was engaged with, old engagement counting less."""

import numpy as np

from modeling.arrays import Floats, Ints

DEFAULT_HALF_LIFE_S = 14 * 86_400.0  # two weeks: long enough for a quiet locale, short enough to follow seasons


def decayed_counts(pin_E: Ints, time_ms_E: Ints, num_pins: int, half_life_s: float = DEFAULT_HALF_LIFE_S) -> Floats:
    """Engagements per pin [P]; one that is `half_life_s` older than the newest counts half."""
    if len(pin_E) == 0:
        return np.zeros(num_pins, dtype=np.float32)
    age_s_E = (time_ms_E.max() - time_ms_E) / 1_000.0
    return np.bincount(pin_E, weights=0.5 ** (age_s_E / half_life_s), minlength=num_pins).astype(np.float32)


def popularity_score(counts: Floats, prior: Floats | float = 0.0) -> Floats:
    """The score that retrieval returns and the ranker reads: log(1 + count + prior)."""
    return np.asarray(np.log1p(counts + prior), dtype=np.float32)
