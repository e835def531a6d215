"""Models trained once for all tests."""

import pytest
import torch

from services.cg.offline.fit_generators import Fitted, Job, fit_all
from services.cg.tests.world import training_data


@pytest.fixture(scope="session")
def fitted() -> Fitted:
    torch.set_num_threads(1)
    return fit_all(training_data(), Job(seed=3))
