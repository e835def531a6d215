"""Use case: the pure slate step, for other callers."""

import asyncio

from services.blender.app.slate_loop import SlateLoop
from services.blender.domain.blending import BlendInput, blend
from services.blender.domain.slate import Slate

INLINE_SIZE = 50_000  # candidates times picks that take under a millisecond; more goes to a thread


class BlendSlate:
    """One slate for given candidates."""

    def __init__(self, slates: SlateLoop) -> None:
        self._slates = slates

    async def __call__(self, given: BlendInput) -> Slate:
        """Raises: Invalid naming the field at fault."""
        if len(given.ids) * min(given.slate_size, len(given.ids)) <= INLINE_SIZE:
            return blend(given, self._slates.loop)
        return await asyncio.to_thread(blend, given, self._slates.loop)
