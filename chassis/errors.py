"""The one tree of errors: each class has one gRPC status name and one verdict for a stream."""

from enum import Enum
from typing import Any, ClassVar


class Verdict(Enum):
    """What a stream consumer does with the record that raised."""

    RETRY = "retry"
    PARK = "park"
    DROP = "drop"


class CorkboardError(Exception):
    """Raised with facts: what was asked, what was found, which id.

    `field` names the input at fault; `reason` is a short machine word (snake_case); `retry_after_s` tells when a
    retry can succeed.
    """

    status: ClassVar[str] = "INTERNAL"
    verdict: ClassVar[Verdict] = Verdict.RETRY

    def __init__(self, message: str, *, field: str = "", reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.reason = reason
        self.retry_after_s = retry_after_s


class Invalid(CorkboardError):
    """The input can never succeed as it is."""

    status = "INVALID_ARGUMENT"
    verdict = Verdict.PARK


class NotFound(CorkboardError):
    """What was named does not exist."""

    status = "NOT_FOUND"
    verdict = Verdict.PARK


class Conflict(CorkboardError):
    """Somebody else changed it first."""

    status = "ABORTED"
    verdict = Verdict.RETRY


class Unauthenticated(CorkboardError):
    """It cannot be told who the caller is."""

    status = "UNAUTHENTICATED"
    verdict = Verdict.RETRY  # a certificate is wrong, not the record


class PermissionDenied(CorkboardError):
    """The caller may not do this."""

    status = "PERMISSION_DENIED"
    verdict = Verdict.PARK


class CallerRefused(PermissionDenied):
    """Nobody of that identity may do this, whatever they ask for: a table or a release is at fault, not the input."""

    verdict = Verdict.RETRY

    def __init__(self, message: str, *, field: str = "caller", reason: str = "caller_refused", **rest: Any) -> None:
        super().__init__(message, field=field, reason=reason, **rest)


class Overloaded(CorkboardError):
    """Out of quota or capacity; `retry_after_s` is set."""

    status = "RESOURCE_EXHAUSTED"
    verdict = Verdict.RETRY


class OverQuota(Overloaded):
    """Out of quota by the rule `field`: at most `limit` units per `period_s` seconds."""

    def __init__(self, message: str, *, rule: str, limit: float, period_s: float, retry_after_s: float) -> None:
        super().__init__(message, field=rule, reason="quota", retry_after_s=retry_after_s)
        self.limit, self.period_s = limit, period_s


class Unavailable(CorkboardError):
    """A dependency cannot be reached now."""

    status = "UNAVAILABLE"
    verdict = Verdict.RETRY


class DeadlineExceeded(CorkboardError):
    """The time given is over."""

    status = "DEADLINE_EXCEEDED"
    verdict = Verdict.RETRY


class Corrupt(CorkboardError):
    """Stored or received bytes are not what they claim to be."""

    status = "DATA_LOSS"
    verdict = Verdict.PARK
