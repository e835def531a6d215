"""corkboard.indexer.v1.FeatureService."""

from typing import Any

from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc
from protos.tables import batch_to_table
from protos.tensors import numpy_to_tensor
from services.indexer.app.read_features import ReadFeatures
from services.indexer.domain.users import UserVector


class FeatureServicer(indexer_pb2_grpc.FeatureServiceServicer):
    """Messages in and out; what may be asked is decided in the app."""

    def __init__(self, features: ReadFeatures) -> None:
        self._features = features

    async def BatchGetPins(self, request: pb.BatchGetPinsRequest, _context: Any) -> pb.BatchGetPinsResponse:
        """Many pins."""
        rows, missing = await self._features.pins(request.pin_ids, request.columns)
        return pb.BatchGetPinsResponse(pins=batch_to_table(rows), missing=missing)

    async def GetUser(self, request: pb.GetUserRequest, _context: Any) -> pb.GetUserResponse:
        """One user."""
        found = await self._features.user(request.user_id, request.surface)
        wanted = set(request.vectors)
        return pb.GetUserResponse(
            vectors=[_vector(each) for each in found.vectors if not wanted or each.encoder in wanted],
            profile=found.profile,
            seen_pin_ids=found.seen_pin_ids,
            blocked_pin_ids=found.blocked_pin_ids,
            sequence_version=found.version,
        )


def _vector(each: UserVector) -> pb.UserVector:
    return pb.UserVector(
        encoder=each.encoder,
        encoder_version=each.encoder_version,
        vector=numpy_to_tensor(each.vector),
        computed_time_ms=each.computed_time_ms,
    )
