"""Features of pins from indexer, one call per batch."""

from collections.abc import Mapping, Sequence

from chassis.errors import Invalid
from chassis.grpc.client import ChannelPool
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc
from protos.tables import table_to_batch
from sequences.engine.lookup import Row

MAX_PIN_IDS = 2_000  # of one BatchGetPins call
COLUMNS = ("pin_id", "topics", "creator_id", "advertiser_id", "price_micros", "created_time_ms", "content_group")
NEWER_COLUMNS = (*COLUMNS, "content_vector_version", "semantic_id")


class GrpcPinLookup:
    """Rows of pins as {column: value}."""

    def __init__(self, pool: ChannelPool, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._columns: tuple[str, ...] = NEWER_COLUMNS

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        """Unknown pins are absent. Raises: what the call raises, Corrupt for an unreadable answer."""
        try:
            return await self._fetch(keys)
        except Invalid:
            if self._columns == COLUMNS:
                raise
            self._columns = COLUMNS  # an indexer of the version before, while both run
            return await self._fetch(keys)

    async def _fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        rows: dict[str, Row] = {}
        for start in range(0, len(keys), MAX_PIN_IDS):
            request = pb.BatchGetPinsRequest(pin_ids=keys[start : start + MAX_PIN_IDS], columns=self._columns)
            answer: pb.BatchGetPinsResponse = await self._pool.hedged(
                indexer_pb2_grpc.FeatureServiceStub, "BatchGetPins", request, timeout_s=self._timeout_s
            )
            rows.update({row["pin_id"]: row for row in table_to_batch(answer.pins).to_pylist()})
        return rows
