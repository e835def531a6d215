"""Use case: take pins, tell a verdict on each, once Kafka has those that were accepted."""

import asyncio
from collections.abc import Sequence

from chassis.clock import Clock
from chassis.criticality import prioritised
from chassis.errors import Invalid, Unavailable
from sequences.definitions.definitions import Definitions
from services.ingest.domain.event import Outcome, Verdict
from services.ingest.domain.pin import Pin
from services.ingest.domain.pin_rules import accept_pin
from services.ingest.domain.tenant import normalise_tenant
from services.ingest.ports import DefinitionsInUse, PinLog, Quota

MAX_PINS = 100
RETRY_AFTER_S = 1.0
RESOURCE = "surface/ingest/PublishPins/"
BYTES_RESOURCE = "bytes/surface/ingest/PublishPins/"


class PublishPins:
    """Validation and acknowledgement of pins."""

    def __init__(
        self, definitions: DefinitionsInUse, log: PinLog, quota: Quota, clock: Clock, ack_timeout_s: float
    ) -> None:
        self._definitions = definitions
        self._log = log
        self._quota = quota
        self._clock = clock
        self._ack_timeout_s = ack_timeout_s

    async def __call__(self, pins: Sequence[Pin], tenant: str, num_bytes: int = 0) -> Sequence[Verdict]:
        """One verdict per pin, in order; versions of one pin keep their order. `num_bytes` = of the request.

        Raises: Invalid for too many pins, Overloaded over quota or memory, Unavailable while Kafka is away or no
        definitions are known; sending all again is safe.
        """
        if len(pins) > MAX_PINS:
            raise Invalid(f"{len(pins)} pins, at most {MAX_PINS} are allowed", field="pins", reason="too_large")
        width = vector_width(self._definitions.current)
        tenant = normalise_tenant(tenant)
        if pins:
            self._quota.admit_all(
                [
                    (prioritised(RESOURCE + tenant), float(len(pins))),
                    (prioritised(BYTES_RESOURCE + tenant), float(num_bytes)),
                ]
            )
        now_ms = self._clock.now_ms()
        verdicts: list[Verdict] = []
        versions: dict[str, list[Pin]] = {}
        for pin in pins:
            try:
                accepted = accept_pin(pin, now_ms, width)
            except Invalid as error:
                verdicts.append(Verdict(pin.pin_id, Outcome.REJECTED, error.reason, error.field, error.message))
                continue
            versions.setdefault(accepted.pin_id, []).append(accepted)
            verdicts.append(Verdict(pin.pin_id, Outcome.ACCEPTED))
        await self._publish(versions)
        return verdicts

    async def _publish(self, versions: dict[str, list[Pin]]) -> None:
        try:
            async with asyncio.timeout(self._ack_timeout_s):
                results = await asyncio.gather(*map(self._in_order, versions.values()), return_exceptions=True)
        except TimeoutError as error:
            raise Unavailable(
                f"not acknowledged within {self._ack_timeout_s} s",
                reason="kafka_unavailable",
                retry_after_s=RETRY_AFTER_S,
            ) from error
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _in_order(self, pins: Sequence[Pin]) -> None:
        for pin in pins:
            await self._log.publish(pin)


def vector_width(definitions: Definitions) -> int | None:
    """How wide a given vector must be: what the active encoder of pins makes."""
    for enrichment in definitions.enrichments.values():
        if enrichment.executor == "content_vector":
            width = enrichment.parameters.get("dimensions")
            return width if isinstance(width, int) else None
    return None
