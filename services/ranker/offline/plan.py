"""How much a ranker is trained on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RankerPlan:
    """Requests, passes over histories and then over requests, and the seed of everything."""

    max_requests: int = 40_000
    max_served_requests: int = 10_000
    num_foresight_epochs: int = 20
    num_epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 4e-3
    seed: int = 17
