"""Chassis errors to gRPC status and back, with google.rpc details so that nothing is lost on the way.

ErrorInfo carries reason and field, BadRequest the field of an invalid input, RetryInfo when a retry can succeed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from chassis.errors import (
    CallerRefused,
    Conflict,
    CorkboardError,
    Corrupt,
    DeadlineExceeded,
    Invalid,
    NotFound,
    Overloaded,
    OverQuota,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from chassis.reason import reason_of

DOMAIN = "corkboard"
CALLER_REFUSED = CallerRefused("").reason
RETRY_AFTER_KEY = "retry-after"
RATE_LIMIT_POLICY_KEY = "ratelimit-policy"
RATE_LIMIT_KEY = "ratelimit"
DETAILS_KEY = "grpc-status-details-bin"
# A message travels as text, where each byte that is no printable ASCII takes three, and up to twice inside of the
# details, in base64: 3 + 2 × 4/3 of it, which with the field fits into the 8 kB of metadata that a client takes.
MAX_MESSAGE_BYTES = 1024
MAX_FIELD_BYTES = 128
# Said by a peer that refuses without naming a time: short enough to be useful, long enough not to hammer it.
DEFAULT_RETRY_AFTER_S = 0.1

Metadata = Sequence[tuple[str, str | bytes]]

_ERROR_BY_CODE: dict[grpc.StatusCode, type[CorkboardError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: Invalid,
    grpc.StatusCode.OUT_OF_RANGE: Invalid,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNIMPLEMENTED: NotFound,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,  # our own cancellation arrives as CancelledError, so the peer did it
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.DATA_LOSS: Corrupt,
}
# How gRPC itself words a refused message size; the same bytes can never succeed, so it is not overload.
_TOO_LARGE = "larger than max"


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """What a server aborts a call with."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def to_status(error: CorkboardError, *, info: dict[str, str] | None = None) -> RpcStatus:
    """The status of `error`; `info` is added to the ErrorInfo metadata."""
    code = grpc.StatusCode[error.status]
    message = _cut(error.message, MAX_MESSAGE_BYTES)
    rich = status_pb2.Status(code=code.value[0], message=message)
    for detail in _details(error, info or {}):
        rich.details.add().Pack(detail)
    metadata: list[tuple[str, str | bytes]] = [(DETAILS_KEY, rich.SerializeToString())]
    if error.retry_after_s is not None:
        metadata.append((RETRY_AFTER_KEY, str(math.ceil(error.retry_after_s))))  # whole seconds, as in HTTP
    if isinstance(error, OverQuota):
        metadata += _rate_limit(error)
    return RpcStatus(code, message, tuple(metadata))


def from_rpc_error(error: aio.AioRpcError, *, peer: str = "") -> CorkboardError:
    """The chassis error a failed call stands for; `peer` names the callee in the message."""
    message = error.details() or error.code().name.lower()
    details = _Details.of(error.trailing_metadata() or ())
    error_type = _error_type(error.code(), message)
    if error_type is PermissionDenied and details.reason == CALLER_REFUSED:
        error_type = CallerRefused
    result = error_type(
        f"{peer}: {message}" if peer else message,
        field=details.field,
        reason=details.reason or _reason(error.code(), error_type),
        retry_after_s=details.retry_after_s,
    )
    if error_type is Overloaded and result.retry_after_s is None:
        result.retry_after_s = DEFAULT_RETRY_AFTER_S
    return result


def _cut(text: str, max_bytes: int) -> str:
    return text.encode(errors="replace")[:max_bytes].decode(errors="ignore")


def _rate_limit(error: OverQuota) -> list[tuple[str, str | bytes]]:
    """The fields of the IETF draft "RateLimit header fields for HTTP": policy, and what is left of it."""
    name = quote(error.field, safe="/*:._-")  # metadata is ASCII
    wait_s = math.ceil(error.retry_after_s or 0.0)
    return [
        (RATE_LIMIT_POLICY_KEY, f'"{name}";q={math.floor(error.limit)};w={math.ceil(error.period_s)}'),
        (RATE_LIMIT_KEY, f'"{name}";r=0;t={wait_s}'),
    ]


def _details(error: CorkboardError, info: dict[str, str]) -> Iterable[Message]:
    field = _cut(error.field, MAX_FIELD_BYTES)
    metadata = {**info, **({"field": field} if field else {})}
    yield error_details_pb2.ErrorInfo(reason=reason_of(error), domain=DOMAIN, metadata=metadata)
    if error.field and isinstance(error, Invalid):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=_cut(error.message, MAX_MESSAGE_BYTES)
        )
        yield error_details_pb2.BadRequest(field_violations=[violation])
    if error.retry_after_s is not None:
        retry_info = error_details_pb2.RetryInfo()
        retry_info.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        yield retry_info


def _error_type(code: grpc.StatusCode, message: str) -> type[CorkboardError]:
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in message:
        return Invalid
    return _ERROR_BY_CODE.get(code, CorkboardError)


def _reason(code: grpc.StatusCode, error_type: type[CorkboardError]) -> str:
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and error_type is Invalid:
        return "message_too_large"
    return code.name.lower() if code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.CANCELLED) else ""


@dataclass(slots=True)
class _Details:
    """What the peer's trailing metadata says beyond code and message."""

    field: str = ""
    reason: str = ""
    retry_after_s: float | None = None

    @classmethod
    def of(cls, metadata: Iterable[tuple[str, str | bytes]]) -> "_Details":
        details = cls()
        for key, value in metadata:
            if key == DETAILS_KEY and isinstance(value, bytes):
                details._read_rich(value)
            elif key == RETRY_AFTER_KEY and details.retry_after_s is None:
                details.retry_after_s = _seconds(value)
        return details

    def _read_rich(self, value: bytes) -> None:
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        try:
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    self.reason, self.field = info.reason, info.metadata.get("field", self.field)
                elif detail.Unpack(bad) and bad.field_violations:
                    self.field = self.field or bad.field_violations[0].field
                elif detail.Unpack(retry):
                    self.retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
        except DecodeError:  # a foreign peer may put anything there; code and message still stand
            return


def _seconds(value: str | bytes) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
