"""EASE and cosine neighbours against the formulae written out."""

import numpy as np
import pytest

from modeling.arrays import Floats
from modeling.item_to_item import fit_cosine, fit_ease


def _ease_reference(matrix: Floats, ridge: float) -> Floats:
    inverse = np.linalg.inv(matrix.T.astype(np.float64) @ matrix + ridge * np.eye(matrix.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)


@pytest.mark.parametrize(("num_users", "num_pins"), [(30, 12), (12, 30)])
def test_primal_and_dual_give_the_textbook_weights(num_users: int, num_pins: int) -> None:
    matrix = (np.random.default_rng(1).random((num_users, num_pins)) < 0.3).astype(np.float32)
    neighbours = fit_ease(matrix, ridge=5.0, num_neighbours=num_pins)
    for pin in range(num_pins):
        expected = _ease_reference(matrix, 5.0)[pin]
        np.testing.assert_allclose(neighbours.score(np.asarray([pin])), expected, atol=1e-5)


def test_history_counts_less_with_every_step_back() -> None:
    matrix = (np.random.default_rng(2).random((40, 10)) < 0.4).astype(np.float32)
    neighbours = fit_ease(matrix, ridge=5.0)
    separate = [neighbours.score(np.asarray([pin])) for pin in (3, 7)]
    together = neighbours.score(np.asarray([3, 7]), decay=0.5)
    np.testing.assert_allclose(together, 0.5 * separate[0] + separate[1], atol=1e-6)


def test_unknown_pins_of_a_history_keep_their_place() -> None:
    matrix = (np.random.default_rng(3).random((40, 10)) < 0.4).astype(np.float32)
    neighbours = fit_ease(matrix)
    np.testing.assert_allclose(
        neighbours.score(np.asarray([4, -1]), 0.9), 0.9 * neighbours.score(np.asarray([4])), rtol=1e-5
    )


def test_cosine_of_equal_columns_is_one_and_never_itself() -> None:
    matrix = np.asarray([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=np.float32)
    scores = fit_cosine(matrix).score(np.asarray([0]), 1.0)
    np.testing.assert_allclose(scores, [0.0, 1.0, 0.0], atol=1e-6)
