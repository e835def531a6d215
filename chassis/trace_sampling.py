"""Which traces are recorded: a share of them, and under load not more than so many a second.

A recorded feed is some thirty-five spans; storing them alone takes 2.7 ms of CPU.
"""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.gcra import Gcra

BURST_S = 2.0  # so many seconds' worth may come at once: a person's clicks are never too many
LIMITED = (SpanKind.SERVER, SpanKind.CLIENT)


class UpTo(Sampler):
    """For spans that begin a trace: `ratio` of the traces, and of those that begin with a call `max_per_s` at most.

    Traces that begin inside (an envelope, a flush) are few by themselves, and link many others: the limit spares them.
    """

    def __init__(self, ratio: float, max_per_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._share = TraceIdRatioBased(ratio)
        self._max_per_s, self._clock = max_per_s, clock
        self._budget = Gcra(max_per_s, max_per_s * BURST_S)

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
        if found.decision is not Decision.RECORD_AND_SAMPLE or kind not in LIMITED or self._may_record():
            return found
        return SamplingResult(Decision.DROP, trace_state=trace_state)

    def get_description(self) -> str:
        """For OpenTelemetry."""
        return f"UpTo({self._max_per_s:g}/s of {self._share.get_description()})"

    def _may_record(self) -> bool:
        return self._budget.take(self._clock.monotonic_s(), 1.0) == 0.0
