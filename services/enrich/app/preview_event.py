"""Use case: try one event on the active definitions; nothing is written."""

from dataclasses import dataclass

import pyarrow as pa

from chassis.clock import Clock
from sequences.engine.provenance import sign
from sequences.engine.result import EngineResult
from services.enrich.app.engines import Engines


@dataclass(frozen=True)
class Preview:
    """What the engine would do; `row` has one row or none."""

    result: EngineResult
    row: pa.RecordBatch
    definitions_version: str


class PreviewEvent:
    """The same engine as the stream's."""

    def __init__(self, engines: Engines, clock: Clock) -> None:
        self._engines = engines
        self._clock = clock

    async def __call__(self, event: pa.RecordBatch) -> Preview:
        """`event` is an accepted batch of one row. Raises: Unavailable before the first bundle."""
        engines = self._engines.current
        result = await engines.events.run(event)
        return Preview(result, sign(result.batch, engines.version, self._clock.now_ms()), engines.version)
