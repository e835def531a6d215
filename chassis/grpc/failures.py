"""What a caller is told about an exception that is no chassis error: a clear status, never our internals."""

import uuid
from typing import ClassVar

from grpc import aio

from chassis.errors import CorkboardError, DeadlineExceeded, Verdict
from chassis.grpc.status import from_rpc_error
from chassis.logs import get_logger


class Unimplemented(CorkboardError):
    """The contract has this method, this server has not."""

    status: ClassVar[str] = "UNIMPLEMENTED"
    verdict: ClassVar[Verdict] = Verdict.PARK


class Internal(CorkboardError):
    """A bug; the correlation id finds its traceback in the log."""


def as_answer(error: Exception, method: str, expired_after_s: float | None) -> CorkboardError:
    """The error to answer with; a bug is logged here, once, with its traceback.

    `expired_after_s` is the time the method had when it was this deadline that ended it.
    """
    if isinstance(error, TimeoutError) and expired_after_s is not None:
        return DeadlineExceeded(f"{method} did not end within {expired_after_s:.3f} s")
    if isinstance(error, NotImplementedError):
        return Unimplemented(f"{method} is not implemented")
    if isinstance(error, aio.AioRpcError):
        return from_rpc_error(error)
    correlation_id = uuid.uuid4().hex
    get_logger(__name__).error("rpc_failed", method=method, correlation_id=correlation_id, exc_info=error)
    return Internal(f"internal error, correlation id {correlation_id}")
