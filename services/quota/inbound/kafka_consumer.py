"""Takes in what every process used."""

from collections.abc import Sequence

from chassis.errors import Invalid
from chassis.kafka.bus import Record
from chassis.protection.usage import UsageWindow
from protos.rules import decode_usage
from services.quota.ports import UsageLedger

GROUP = "quota-usage"


class UsageInbound:
    """Handles records of topic quota.usage; when it returns they are in the ledger, each once."""

    def __init__(self, ledger: UsageLedger) -> None:
        self._ledger = ledger

    async def handle(self, records: Sequence[Record]) -> None:
        """Raises: Corrupt or Invalid for a record that can never be taken, Unavailable when the ledger is away."""
        await self._ledger.add_usage([_window(record) for record in records if record.value is not None])


def _window(record: Record) -> UsageWindow:
    window = decode_usage(record.value or b"")
    units = (window.admitted, window.refused, window.shadow_refused)
    # A comparison with NaN is false, so it is refused too.
    is_sound = all(0 <= unit < float("inf") for unit in units)
    if not (window.key and is_sound and window.window_start_ms >= 0):
        raise Invalid(f"usage window of {window.key!r} has no key, or units {units} that nobody can use", field="value")
    return window
