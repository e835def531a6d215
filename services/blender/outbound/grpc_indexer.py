"""People and pins from indexer, one batched call each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chassis.errors import Invalid
from chassis.grpc.client import ChannelPool
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1.indexer_pb2_grpc import FeatureServiceStub
from protos.tables import table_to_batch
from services.blender.domain.pin_features import PinFeatures, Vectors
from services.blender.ports import User

MAX_PINS = 2_000  # the contract's limit
COLUMNS = (
    "pin_id",
    "content_vector",
    "topics",
    "creator_id",
    "advertiser_id",
    "content_group",
    "safety_labels",
    "quality_score",
)
NEWER_COLUMNS = (*COLUMNS, "semantic_id")
HISTORY_COLUMNS = ("event_id", "event_type", "pin_id", "event_time_ms", "traceparent")  # what cg and the ranker read
NO_VECTORS = "none"  # an encoder that nobody has: stored vectors are not needed here, and an empty list means all


class GrpcIndexer:
    """UserSource and PinSource over FeatureService."""

    def __init__(self, pool: ChannelPool, *, sequence: str = "", max_events: int = 0) -> None:
        self._pool = pool
        history = pb.HistoryAsk(sequence=sequence, max_events=max_events, columns=HISTORY_COLUMNS)
        self._history = history if sequence else None
        self._columns: tuple[str, ...] = NEWER_COLUMNS

    async def get_user(self, user_id: str, surface: str) -> User:
        """See UserSource."""
        request = pb.GetUserRequest(user_id=user_id, surface=surface, vectors=[NO_VECTORS], history=self._history)
        answer: pb.GetUserResponse = await self._pool.hedged(FeatureServiceStub, "GetUser", request)
        return User(
            seen=answer.seen_pin_ids[::-1],  # indexer names the newest first
            blocked=list(answer.blocked_pin_ids),
            profile=dict(answer.profile),
            sequence_version=answer.sequence_version,
            history=answer.history.SerializeToString(),
        )

    async def get_pins(self, pin_ids: Sequence[str]) -> PinFeatures:
        """See PinSource; the first 2,000 are asked for."""
        try:
            return await self._get_pins(pin_ids)
        except Invalid:
            if self._columns == COLUMNS:
                raise
            self._columns = COLUMNS  # an indexer of the version before, while both run
            return await self._get_pins(pin_ids)

    async def _get_pins(self, pin_ids: Sequence[str]) -> PinFeatures:
        request = pb.BatchGetPinsRequest(pin_ids=pin_ids[:MAX_PINS], columns=self._columns)
        answer: pb.BatchGetPinsResponse = await self._pool.hedged(FeatureServiceStub, "BatchGetPins", request)
        return features_of(table_to_batch(answer.pins))


def features_of(batch: pa.RecordBatch) -> PinFeatures:
    """The columns that blender needs; an absent column counts as empty."""
    pin_ids = batch.column("pin_id").to_pylist() if batch.num_rows else []
    quality = _column(batch, "quality_score")
    labels = _column(batch, "safety_labels") or []
    return PinFeatures(
        pin_ids=pin_ids,
        vectors_RD=_vectors(batch),
        topics=[each[0] if each else "" for each in _column(batch, "topics") or [None] * len(pin_ids)],
        creators=_texts(batch, "creator_id"),
        advertisers=_texts(batch, "advertiser_id"),
        content_groups=_texts(batch, "content_group"),
        is_labelled_R=np.array([bool(each) for each in labels] or [False] * len(pin_ids), dtype=np.bool_),
        quality_R=np.array([1.0 if each is None else each for each in quality or [None] * len(pin_ids)]),
        semantic_ids=_semantic_ids(batch),
    )


def _semantic_ids(batch: pa.RecordBatch) -> Sequence[Sequence[int]]:
    found = [each or () for each in _column(batch, "semantic_id") or ()]
    return found if any(found) else ()


def _column(batch: pa.RecordBatch, name: str) -> list[Any] | None:
    return batch.column(name).to_pylist() if name in batch.schema.names else None


def _texts(batch: pa.RecordBatch, name: str) -> list[str]:
    return [each or "" for each in _column(batch, name) or [""] * batch.num_rows]


def _vectors(batch: pa.RecordBatch) -> Vectors:
    """`[rows, D]`; zeros where a row has none or one of another width than most."""
    if "content_vector" not in batch.schema.names or not batch.num_rows:
        return np.zeros((batch.num_rows, 1), dtype=np.float32)
    column = batch.column("content_vector")
    lengths: NDArray[np.int64] = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    width = int(np.bincount(lengths).argmax()) or int(lengths.max())
    vectors: Vectors = np.zeros((batch.num_rows, max(1, width)), dtype=np.float32)
    if width:
        has_vector = lengths == width
        flat = column.filter(pa.array(has_vector)).flatten().fill_null(0.0).to_numpy(zero_copy_only=False)
        vectors[has_vector] = flat.reshape(-1, width)
    return vectors
