"""Use case: why a served feed looks as it does."""

import re
from collections.abc import Sequence

from chassis.errors import Invalid
from services.blender.domain.explanation import Explanation, explain
from services.blender.ports import ExplanationStore

REQUEST_ID = re.compile(r"[0-9a-f]{32}")
MAX_WHY_NOT = 100


class ExplainFeed:
    """Reads blender's own record."""

    def __init__(self, explanations: ExplanationStore) -> None:
        self._explanations = explanations

    async def __call__(self, request_id: str, why_not_pin_ids: Sequence[str]) -> Explanation:
        """Raises: Invalid; NotFound for a request that is unknown or too long ago; Unavailable."""
        if not REQUEST_ID.fullmatch(request_id):
            raise Invalid(
                f"request_id {request_id[:64]!r} is not 32 hex digits", field="request_id", reason="malformed"
            )
        if len(why_not_pin_ids) > MAX_WHY_NOT:
            raise Invalid(
                f"{len(why_not_pin_ids)} pins to explain, at most {MAX_WHY_NOT}",
                field="why_not_pin_ids",
                reason="too_many",
            )
        return explain(await self._explanations.load(request_id), why_not_pin_ids)
