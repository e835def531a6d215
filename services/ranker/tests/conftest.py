"""A model trained once for all tests."""

import pytest
import torch

from services.ranker.offline.fit_ranker import FittedRanker, RankerPlan, fit_ranker
from services.ranker.tests.world import served, training_data

PLAN = RankerPlan(max_requests=1_000, num_epochs=4, batch_size=64, seed=3)


@pytest.fixture(scope="session")
def fitted() -> FittedRanker:
    torch.set_num_threads(1)
    return fit_ranker(training_data(served=served()), PLAN)
