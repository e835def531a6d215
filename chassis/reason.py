"""The short machine word that says why something failed; one word list for RPC details, degradations and metrics."""

import re
from functools import cache

from chassis.errors import CorkboardError

INTERNAL = "internal"


def reason_of(error: BaseException) -> str:
    """The error's own reason, else one from its class: `unavailable`, `deadline_exceeded`; a bug is `internal`."""
    if not isinstance(error, CorkboardError):
        return "deadline_exceeded" if isinstance(error, TimeoutError) else INTERNAL
    return error.reason or _class_reason(type(error).__name__)


@cache
def _class_reason(class_name: str) -> str:
    if class_name == CorkboardError.__name__:
        return INTERNAL
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()
