"""Which traces are recorded: a share of them, and under load not more than so many a second.

A recorded feed is some thirty-five spans; storing them alone takes 2.7 ms of CPU.
"""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from chassis.clock import SYSTEM_CLOCK, Clock

BURST_S = 2.0  # so many seconds' worth may come at once: a person's clicks are never too many
LIMITED = (SpanKind.SERVER, SpanKind.CLIENT)


class UpTo(Sampler):
    """For spans that begin a trace: `ratio` of the traces, and of those that begin with a call `max_per_s` at most.

    Traces that begin inside (an envelope, a flush) are few by themselves, and link many others: the limit spares them.
    """

    def __init__(self, ratio: float, max_per_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._share = TraceIdRatioBased(ratio)
        self._max_per_s, self._clock = max_per_s, clock
        self._num_left = max_per_s * BURST_S
        self._counted_s = clock.monotonic_s()

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """As OpenTelemetry asks it."""
        found = self._share.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if found.decision is not Decision.RECORD_AND_SAMPLE or kind not in LIMITED or self._has_one_left():
            return found
        return SamplingResult(Decision.DROP, trace_state=trace_state)

    def get_description(self) -> str:
        """For OpenTelemetry."""
        return f"UpTo({self._max_per_s:g}/s of {self._share.get_description()})"

    def _has_one_left(self) -> bool:
        now_s = self._clock.monotonic_s()
        earned = (now_s - self._counted_s) * self._max_per_s
        self._num_left = min(self._max_per_s * BURST_S, self._num_left + earned)
        self._counted_s = now_s
        if self._num_left < 1.0:
            return False
        self._num_left -= 1.0
        return True
