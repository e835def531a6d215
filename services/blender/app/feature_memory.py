"""Features of pins that were asked for lately, so that spacing and diversity hold while the indexer is away."""

from collections.abc import Iterable

from services.blender.app.recent import Recent
from services.blender.domain.pin_features import PinFeatures, PinRow, from_rows

REFRESH_EVERY = 16  # answers; between them only pins that are new here are copied


class FeatureMemory:
    """The last `num_pins` pins; about 0.6 kB each with a vector of 64 numbers."""

    def __init__(self, num_pins: int) -> None:
        self._row_by_pin: Recent[str, PinRow] = Recent(num_pins)
        self._num_answers = 0

    def remember(self, features: PinFeatures) -> None:
        """Keep rows, as copies: a view would keep the whole answer alive."""
        is_refresh = self._num_answers % REFRESH_EVERY == 0
        self._num_answers += 1
        for row in features.rows():
            if is_refresh or row.pin_id not in self._row_by_pin:
                self._row_by_pin.put(row.pin_id, row._replace(vector_D=row.vector_D.copy()))

    def recall(self, pin_ids: Iterable[str]) -> PinFeatures:
        """The rows that are remembered."""
        found = (self._row_by_pin.get(pin_id) for pin_id in pin_ids)
        return from_rows([row for row in found if row is not None])
