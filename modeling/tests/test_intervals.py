"""Intervals hold what they promise."""

import numpy as np
import pytest

from modeling.evaluation import hits
from modeling.intervals import bootstrap_interval, paired_difference


def test_the_interval_of_a_mean_is_about_two_standard_errors_each_way() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found, error = bootstrap_interval(values), values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.03)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.03)


def test_pairing_sees_a_small_gain_that_two_intervals_hide() -> None:
    random = np.random.default_rng(1)
    theirs = random.normal(0.0, 5.0, 300)
    ours = theirs + random.normal(0.2, 0.3, (3, 300))
    assert paired_difference(ours, theirs).is_above_zero
    assert bootstrap_interval(ours).low < theirs.mean()


def test_equal_models_do_not_differ_and_nobody_is_refused() -> None:
    values = np.random.default_rng(2).random(50)
    assert not paired_difference(values, values).is_above_zero
    with pytest.raises(ValueError, match="one user"):
        bootstrap_interval(np.zeros(0))


def test_a_missing_label_is_never_a_hit() -> None:
    assert hits(np.asarray([-1, 0, 9, 10]), 10).tolist() == [0.0, 1.0, 1.0, 0.0]
