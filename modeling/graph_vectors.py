"""Vectors of pins from who engaged with what: pins that the same people chose lie near one another.

The normalised engagement matrix D_u^(-1/2) X D_p^(-1/2), without the part that only tells how often each pin was
chosen, is cut to its leading singular vectors. Randomised SVD: Halko, Martinsson and Tropp 2011.
Shapes: U users, P pins, G width of a graph vector, C content width.
"""

import numpy as np

from modeling.arrays import Floats

OVERSAMPLING = 8
POWER_ITERATIONS = 4  # enough where singular values fall slowly
DEFAULT_WIDTH = 32
DEFAULT_RIDGE = 10.0


def fit_graph_vectors(matrix_UP: Floats, width: int = DEFAULT_WIDTH, seed: int = 0) -> Floats:
    """Unit vectors of the pins [P, G]; zeros for a pin that nobody engaged with. G is at most min(U, P)."""
    root_U1 = np.sqrt(matrix_UP.sum(axis=1, keepdims=True))
    root_1P = np.sqrt(matrix_UP.sum(axis=0, keepdims=True))
    rest_UP = matrix_UP / np.maximum(root_U1, 1.0) / np.maximum(root_1P, 1.0)
    rest_UP -= root_U1 @ root_1P / max(1.0, float(matrix_UP.sum()))  # the first pair of singular vectors, of value 1
    values, right_PG = _right_singular(rest_UP, min(width, *matrix_UP.shape), seed)
    return _unit(np.where(root_1P.T > 0, right_PG * values, 0.0))


def fit_content_to_graph(content_PC: Floats, graph_PG: Floats, ridge: float = DEFAULT_RIDGE) -> Floats:
    """Weights [C, G] that foretell a graph vector from content, for pins that nobody engaged with yet."""
    is_known_P = graph_PG.any(axis=1) & content_PC.any(axis=1)
    known_PC = content_PC[is_known_P].astype(np.float64)
    gram_CC = known_PC.T @ known_PC + ridge * np.eye(content_PC.shape[1])
    return np.asarray(np.linalg.solve(gram_CC, known_PC.T @ graph_PG[is_known_P]), dtype=np.float32)


def foretold(content_PC: Floats, content_to_graph_CG: Floats) -> Floats:
    """Unit graph vectors by content [P, G]; zeros without content."""
    return _unit(content_PC @ content_to_graph_CG)


def _right_singular(matrix_UP: Floats, num: int, seed: int) -> tuple[Floats, Floats]:
    """The leading singular values [num] and right singular vectors [P, num]."""
    num_tested = min(num + OVERSAMPLING, *matrix_UP.shape)
    probe = np.random.default_rng(seed).standard_normal((matrix_UP.shape[0], num_tested)).astype(np.float32)
    basis_PK = np.linalg.qr(matrix_UP.T @ probe)[0]
    for _ in range(POWER_ITERATIONS):
        basis_PK = np.linalg.qr(matrix_UP.T @ (matrix_UP @ basis_PK))[0]
    _, values, turned = np.linalg.svd(matrix_UP @ basis_PK, full_matrices=False)
    return values[:num], basis_PK @ turned[:num].T


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 1e-6, rows / np.maximum(norms, 1e-6), 0.0).astype(np.float32)
