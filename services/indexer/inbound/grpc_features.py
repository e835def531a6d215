"""corkboard.indexer.v1.FeatureService."""

import asyncio
from typing import Any

from chassis.errors import CorkboardError
from protos.common.v1.common_pb2 import History
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc
from protos.tables import batch_to_table
from protos.tensors import numpy_to_tensor
from services.indexer.app.read_features import ReadFeatures
from services.indexer.app.read_sequences import ReadSequences
from services.indexer.domain.users import UserVector
from services.indexer.inbound.grpc_sequences import ask_of


class FeatureServicer(indexer_pb2_grpc.FeatureServiceServicer):
    """Messages in and out; what may be asked is decided in the app."""

    def __init__(self, features: ReadFeatures, sequences: ReadSequences) -> None:
        self._features, self._sequences = features, sequences

    async def BatchGetPins(self, request: pb.BatchGetPinsRequest, _context: Any) -> pb.BatchGetPinsResponse:
        """Many pins."""
        rows, missing = await self._features.pins(request.pin_ids, request.columns)
        return pb.BatchGetPinsResponse(pins=batch_to_table(rows), missing=missing)

    async def GetUser(self, request: pb.GetUserRequest, _context: Any) -> pb.GetUserResponse:
        """One user."""
        found, history = await asyncio.gather(
            self._features.user(request.user_id, request.surface), self._history(request)
        )
        wanted = set(request.vectors)
        return pb.GetUserResponse(
            vectors=[_vector(each) for each in found.vectors if not wanted or each.encoder in wanted],
            profile=found.profile,
            seen_pin_ids=found.seen_pin_ids,
            blocked_pin_ids=found.blocked_pin_ids,
            sequence_version=found.version,
            history=history,
        )

    async def _history(self, request: pb.GetUserRequest) -> History | None:
        """None when it was not asked for or cannot be read: whoever needs it asks again, and hears why."""
        if not request.HasField("history"):
            return None
        wanted = request.history
        try:
            [answer] = await self._sequences.get([request.user_id], ask_of(wanted))
        except CorkboardError:
            return None
        return History(
            sequence=wanted.sequence,
            events=batch_to_table(answer.events.rows),
            max_events=wanted.max_events,
            sequence_version=answer.events.version,
            num_total=answer.events.num_total,
            definitions_version=answer.definitions_version,
        )


def _vector(each: UserVector) -> pb.UserVector:
    return pb.UserVector(
        encoder=each.encoder,
        encoder_version=each.encoder_version,
        vector=numpy_to_tensor(each.vector),
        computed_time_ms=each.computed_time_ms,
    )
