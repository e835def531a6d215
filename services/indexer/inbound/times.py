"""Times of record values that the stores and the lake can hold."""

from chassis.errors import Corrupt

LATEST_MS = 253_402_300_799_999  # the end of year 9999: no later day is known to Python, nor to the lake's readers


def check_time(where: str, field: str, time_ms: int) -> None:
    """Raises: Corrupt for a time before 1970 or after year 9999, such as nanoseconds taken for milliseconds."""
    if not 0 <= time_ms <= LATEST_MS:
        raise Corrupt(f"{field} at {where} is {time_ms}, no epoch milliseconds", field=field, reason="bad_time")
