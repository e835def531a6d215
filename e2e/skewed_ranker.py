"""`python -m e2e.skewed_ranker`: the real root with a skew between what it sends and what training computes.

PLANTED_SKEW names it; `none` is the root as it is.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from chassis.lifecycle import run
from services.ranker.app import rank
from services.ranker.config import Config
from services.ranker.domain.preprocess import build_tensors
from services.ranker.wiring import build

Tensors = Mapping[str, Any]


def ages_in_ms(tensors: Tensors) -> Tensors:
    """Milliseconds where the model was trained on seconds."""
    return {name: value * 1_000 if name.endswith("_age_s") else value for name, value in tensors.items()}


SKEWS: Mapping[str, Callable[[Tensors], Tensors]] = {"none": lambda tensors: tensors, "ages_in_ms": ages_in_ms}


def main() -> int:
    """The whole life of the process."""
    skew = SKEWS[os.environ.pop("PLANTED_SKEW")]
    setattr(rank, "build_tensors", lambda *given: skew(build_tensors(*given)))  # noqa: B010  # it is rank's own import
    return run("ranker", Config, build)


if __name__ == "__main__":
    sys.exit(main())
