"""ScoringService on the wire."""

from typing import Any

from chassis.metrics import Metrics
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import ScoringServiceServicer
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from services.ranker.app.score import Score
from services.ranker.domain.hosted_model import ScoreAsk
from services.ranker.domain.request_limits import check_length


class ScoringServer(ScoringServiceServicer):
    """Tensors to arrays and back."""

    def __init__(self, score: Score, metrics: Metrics) -> None:
        self._score = score
        self._defaulted = metrics.counter(
            "defaulted_inputs_total", "Inputs that were absent or misshapen and took their default.", ("input",)
        )
        self._not_finite = metrics.counter(
            "not_finite_values_total", "Input numbers that were NaN, infinite or out of range and took their default."
        )

    async def Score(self, request: pb.ScoreRequest, context: Any) -> pb.ScoreResponse:  # noqa: ARG002
        """Scores prepared tensors with one model."""
        for field, value in (("model", request.model), ("user_id", request.user_id)):
            check_length(field, value)
        tensors = {name: tensor_to_numpy(tensor) for name, tensor in request.inputs.items()}
        ask = ScoreAsk(tensors, request.user_id, request.sequence_version)
        scored = await self._score(request.model, ask, request.model_version)
        for name in scored.answer.defaulted_inputs:
            self._defaulted.labels(name).inc()
        self._not_finite.inc(scored.answer.num_not_finite)
        return pb.ScoreResponse(
            outputs={head: numpy_to_tensor(p) for head, p in scored.answer.probability_by_head.items()},
            model=scored.model,
            model_version=scored.model_version,
            defaulted_inputs=scored.answer.defaulted_inputs,
            current_version=scored.current_version,
        )
