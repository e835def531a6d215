"""The leaf over gRPC."""

from collections.abc import Mapping

import numpy as np

from chassis.deadline import Deadline
from chassis.grpc.client import ChannelPool
from modeling.arrays import AnyArray
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import ScoringServiceStub
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from services.ranker.domain.ranking import Scores


class GrpcScorer:
    """One Score per ranking, of the leaf's current version of one model."""

    def __init__(self, pool: ChannelPool, *, model: str, timeout_s: float) -> None:
        self._pool = pool
        self._model = model
        self._timeout_s = timeout_s

    async def score(
        self, tensors: Mapping[str, AnyArray], user_id: str, sequence_version: int, deadline: Deadline
    ) -> Scores:
        """Calibrated probabilities per head. Raises: Unavailable, DeadlineExceeded, Invalid."""
        request = pb.ScoreRequest(
            model=self._model,
            inputs={name: numpy_to_tensor(value) for name, value in tensors.items()},
            user_id=user_id,
            sequence_version=sequence_version,
        )
        response = await self._pool.call(
            ScoringServiceStub, "Score", request, deadline=deadline.capped(self._timeout_s)
        )
        heads = {head: tensor_to_numpy(tensor).astype(np.float32) for head, tensor in response.outputs.items()}
        return Scores(heads, response.model, response.model_version, tuple(response.defaulted_inputs))
