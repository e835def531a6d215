"""Look-ups of pins from a file, for jobs over history."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from sequences.engine.lookup import Row


class PinTable:
    """Every pin of a pins.parquet in memory, without its vector."""

    def __init__(self, path: Path) -> None:
        names = [name for name in pq.read_schema(path).names if name != "content_vector"]
        self._rows: dict[str, Row] = {row["pin_id"]: row for row in pq.read_table(path, columns=names).to_pylist()}

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        """As a LookupSource."""
        return {key: self._rows[key] for key in keys if key in self._rows}
