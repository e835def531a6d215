"""Use case: the pure slate step, for other callers."""

import asyncio

from services.blender.domain.blending import BlendInput, blend
from services.blender.domain.slate import Slate

INLINE_SIZE = 50_000  # candidates times picks that take under a millisecond; more goes to a thread


async def blend_slate(given: BlendInput) -> Slate:
    """Raises: Invalid naming the field at fault."""
    if len(given.ids) * min(given.slate_size, len(given.ids)) <= INLINE_SIZE:
        return blend(given)
    return await asyncio.to_thread(blend, given)
