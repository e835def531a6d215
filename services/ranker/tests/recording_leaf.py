"""A leaf over real gRPC that keeps what it was sent, and models that read other features than the trained one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import torch
from grpc import aio

from modeling.arrays import AnyArray
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import ScoringServiceServicer, add_ScoringServiceServicer_to_server
from protos.tensors import numpy_to_tensor
from services.ranker.domain.features import FEATURES, prepare
from services.ranker.domain.history_ranker import HistoryRanker, RankerSettings, input_names
from services.ranker.offline.calibrating import Calibrated
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.tests.world import WIDTH


class RecordingLeaf(ScoringServiceServicer):
    """Says that it runs `current_version` and gives every candidate the same probability, or passes requests on."""

    def __init__(self, behind: Any = None) -> None:
        self._behind = behind
        self.current_version = ""
        self.responses: list[pb.ScoreResponse] = []
        self.requests: list[pb.ScoreRequest] = []

    async def Score(self, request: pb.ScoreRequest, context: Any) -> pb.ScoreResponse:
        """Keeps the request."""
        self.requests.append(request)
        response = self._uniform(request) if self._behind is None else await self._behind.Score(request, timeout=2)
        self.responses.append(response)
        return response

    def _uniform(self, request: pb.ScoreRequest) -> pb.ScoreResponse:
        column = np.full(request.inputs["candidate_pin"].shape[0], 0.5, dtype=np.float32)
        return pb.ScoreResponse(
            outputs={"click": numpy_to_tensor(column)}, model=request.model, current_version=self.current_version
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its address."""
        server = aio.server()
        add_ScoringServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(0)


def untrained(*generators: str, seed: int = 5) -> FittedRanker:
    """A bundle whose model reads the scores of these generators; its weights are random."""
    torch.manual_seed(seed)
    model = HistoryRanker(RankerSettings(WIDTH, generators))
    random = np.random.default_rng(seed)
    given: dict[str, AnyArray] = {
        "candidate_content": random.normal(size=(3, WIDTH)).astype(np.float32),
        "history_content": random.normal(size=(2, WIDTH)).astype(np.float32),
        "history_event_type": np.asarray([1, 2]),
    }
    golden = prepare(given, [name for name in FEATURES if name in input_names(model.settings)], 2, 3, WIDTH).tensors
    return FittedRanker(model, Calibrated({}, {}), golden, {})
