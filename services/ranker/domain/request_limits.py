"""What a ranking may ask for: beyond it a request is refused by its field, before anything is read for it."""

from chassis.errors import Invalid
from services.ranker.domain.ranking import RankAsk

MAX_CANDIDATES = 2_000
MAX_ID_CHARS = 128  # as ingest takes them
MAX_VERSIONS = 64
LATEST_MS = 253_402_300_799_000  # the year 9999


def check(ask: RankAsk) -> None:
    """Raises: Invalid naming the field; what is too long is not repeated."""
    if len(ask.candidates) > MAX_CANDIDATES:
        raise Invalid(f"{len(ask.candidates)} candidates, at most {MAX_CANDIDATES} are ranked", field="candidates")
    if not ask.user_id:
        raise Invalid("user_id is empty: name whose feed is ranked, an unknown user is ranked too", field="user_id")
    for name, value in (("user_id", ask.user_id), ("surface", ask.surface), ("request_id", ask.request_id)):
        check_length(name, value)
    if not 0 <= ask.request_time_ms <= LATEST_MS:
        raise Invalid(
            f"request_time_ms is {ask.request_time_ms}, no time in epoch milliseconds; 0 = now", field="request_time_ms"
        )
    for place, pin_id in enumerate(ask.candidates.pin_ids):
        if not 0 < len(pin_id) <= MAX_ID_CHARS:
            field = f"candidates[{place}].pin_id"
            raise Invalid(f"{field} has {len(pin_id)} characters, must have 1..{MAX_ID_CHARS}", field=field)
    if len(ask.versions) > MAX_VERSIONS:
        raise Invalid(f"{len(ask.versions)} versions, at most {MAX_VERSIONS} are logged", field="versions")
    for name, version in ask.versions.items():
        check_length("versions", name)
        check_length("versions", version)


def check_length(field: str, value: str) -> None:
    """Raises: Invalid."""
    if len(value) > MAX_ID_CHARS:
        raise Invalid(f"{field} has {len(value)} characters, at most {MAX_ID_CHARS} are allowed", field=field)
