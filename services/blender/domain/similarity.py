"""What makes the pins of one slate alike, from the signals that a surface names. Shapes: M pins, L levels of codes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sequences.definitions.surface import DiversitySignal
from services.blender.domain.diversity.features import NO_CODE, Codes, PinRows, combine, of_code_paths, of_vectors
from services.blender.domain.pin_features import PinFeatures


def similarity(signals: Mapping[DiversitySignal, float], features: PinFeatures, pin_ids: Sequence[str]) -> PinRows:
    """Rows of these pins; a signal with weight 0 is not read, and content alone stands in for none at all."""
    wanted = {name: weight for name, weight in signals.items() if weight > 0.0} or {"content": 1.0}
    return combine([_SIGNALS[name](features, pin_ids) for name in wanted], list(wanted.values()))


def semantic_codes(features: PinFeatures, pin_ids: Sequence[str]) -> Codes:
    """[M, L] codes from coarse to fine, `NO_CODE` behind the end of a path and for pins that have none."""
    rows = features.rows_of(pin_ids).tolist()
    paths = [features.semantic_ids[row] if row >= 0 and features.semantic_ids else () for row in rows]
    codes_ML = np.full((len(paths), max(1, *map(len, paths), 1)), NO_CODE, dtype=np.int64)
    for place, path in enumerate(paths):
        codes_ML[place, : len(path)] = path
    return codes_ML


def _of_content(features: PinFeatures, pin_ids: Sequence[str]) -> PinRows:
    return of_vectors(features.vectors_of(pin_ids))


def _of_semantic_ids(features: PinFeatures, pin_ids: Sequence[str]) -> PinRows:
    return of_code_paths(semantic_codes(features, pin_ids))


def _of_keys(name: str) -> Callable[[PinFeatures, Sequence[str]], PinRows]:
    """Pins with the same text that is not empty are alike."""

    def rows_of(features: PinFeatures, pin_ids: Sequence[str]) -> PinRows:
        keys: Sequence[str] = getattr(features, name)
        number_by_key: dict[str, int] = {}
        codes = [
            number_by_key.setdefault(keys[row], len(number_by_key)) if row >= 0 and keys[row] else NO_CODE
            for row in features.rows_of(pin_ids).tolist()
        ]
        return of_code_paths(np.array(codes, dtype=np.int64).reshape(-1, 1))

    return rows_of


_SIGNALS: dict[DiversitySignal, Callable[[PinFeatures, Sequence[str]], PinRows]] = {
    "content": _of_content,
    "topic": _of_keys("topics"),
    "creator": _of_keys("creators"),
    "semantic_id": _of_semantic_ids,
}
