"""The leaf over gRPC."""

from collections.abc import Mapping

import numpy as np

from chassis.deadline import Deadline
from chassis.grpc.client import ChannelPool
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import ScoringServiceStub
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from services.ranker.domain.ranking import Payload, Scores


class GrpcScorer:
    """One Score per ranking, at the leaves that host the model, of the version that the payload was trimmed for."""

    def __init__(self, pool_by_model: Mapping[str, ChannelPool], *, timeout_s: float) -> None:
        self._pool_by_model = pool_by_model
        self._timeout_s = timeout_s

    async def score(self, payload: Payload, user_id: str, sequence_version: int, deadline: Deadline) -> Scores:
        """Calibrated probabilities per head. Raises: Unavailable, DeadlineExceeded, Invalid."""
        request = pb.ScoreRequest(
            model=payload.model,
            inputs={name: numpy_to_tensor(value) for name, value in payload.tensors.items()},
            model_version=payload.model_version,
            user_id=user_id,
            sequence_version=sequence_version,
        )
        response = await self._pool_by_model[payload.model].call(
            ScoringServiceStub, "Score", request, deadline=deadline.capped(self._timeout_s)
        )
        heads = {head: tensor_to_numpy(tensor).astype(np.float32) for head, tensor in response.outputs.items()}
        return Scores(
            heads, response.model, response.model_version, tuple(response.defaulted_inputs), response.current_version
        )
