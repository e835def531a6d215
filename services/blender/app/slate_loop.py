"""Which loop fills slates in this process."""

import asyncio

import numpy as np

from chassis.deadline import Deadline
from chassis.errors import Invalid
from services.blender.domain.diversity.features import of_vectors
from services.blender.domain.diversity.strategies import DiversityPlan
from services.blender.domain.greedy import Greedy, greedy
from services.blender.domain.slate import fill


class SlateLoop:
    """A part: with `is_compiled` it has the compiled loop ready before the first feed."""

    name = "slate loop"

    def __init__(self, *, is_compiled: bool = False) -> None:
        self._is_compiled = is_compiled
        self.loop: Greedy = greedy

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002 - nothing goes on afterwards
        """Compile, which takes seconds where no cache is. Raises: Invalid when numba is not installed."""
        if self._is_compiled:
            self.loop = await asyncio.to_thread(_compiled)

    async def stop(self, deadline: Deadline) -> None:
        """Nothing to end."""


def _compiled() -> Greedy:
    try:
        from services.blender.domain.slate_compiled import greedy_compiled
    except ImportError as error:
        raise Invalid(
            "the compiled slate needs numba: pip install corkboard[compiled], or set BLENDER_COMPILED_SLATE=false",
            field="compiled_slate",
        ) from error
    fill(np.zeros(2), of_vectors(np.eye(2)), DiversityPlan(), [], 2, loop=greedy_compiled)
    return greedy_compiled
