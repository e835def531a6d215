"""Histories and stored vectors from the indexer."""

from collections.abc import Mapping, Sequence

from chassis.deadline import Deadline
from chassis.grpc.client import ChannelPool
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1.indexer_pb2_grpc import FeatureServiceStub, SequenceServiceStub
from protos.tables import table_to_batch
from protos.tensors import tensor_to_numpy
from services.cg.domain.event_columns import EVENTS, history_events
from services.cg.domain.retrieval import HistoryEvent, StoredVector


class GrpcHistories:
    """One GetSequence per retrieval."""

    def __init__(self, pool: ChannelPool, *, sequence: str, max_events: int, timeout_s: float) -> None:
        self._pool = pool
        self._sequence = sequence
        self._max_events = max_events
        self._timeout_s = timeout_s

    async def recent(self, user_id: str, deadline: Deadline) -> tuple[HistoryEvent, ...]:
        """The newest engagements, oldest first. Raises: Unavailable, DeadlineExceeded."""
        request = pb.GetSequenceRequest(
            user_id=user_id, sequence=self._sequence, max_events=self._max_events, columns=EVENTS.names
        )
        response = await self._pool.hedged(
            SequenceServiceStub, "GetSequence", request, deadline=deadline.capped(self._timeout_s)
        )
        if not response.events.ipc_stream:
            return ()
        return history_events(table_to_batch(response.events))


class GrpcUserVectors:
    """One GetUser, only for users without a readable history."""

    def __init__(self, pool: ChannelPool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    async def stored(self, user_id: str, encoders: Sequence[str], deadline: Deadline) -> Mapping[str, StoredVector]:
        """The newest stored vector by encoder. Raises: Unavailable, DeadlineExceeded."""
        request = pb.GetUserRequest(user_id=user_id, vectors=encoders)
        response = await self._pool.hedged(
            FeatureServiceStub, "GetUser", request, deadline=deadline.capped(self._timeout_s)
        )
        oldest_first = sorted(response.vectors, key=lambda vector: vector.computed_time_ms)
        wanted = [vector for vector in oldest_first if vector.encoder in encoders]
        return {each.encoder: StoredVector(each.encoder_version, tensor_to_numpy(each.vector)) for each in wanted}
