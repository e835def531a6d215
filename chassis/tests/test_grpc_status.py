"""Every chassis error survives the trip over gRPC."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from chassis import errors
from chassis.grpc.status import DETAILS_KEY, from_rpc_error, to_status


def _travel(error: errors.CorkboardError) -> errors.CorkboardError:
    status = to_status(error)
    return from_rpc_error(
        aio.AioRpcError(status.code, aio.Metadata(), aio.Metadata(*status.trailing_metadata), status.message)
    )


def _rpc_error(code: grpc.StatusCode, message: str = "", *metadata: tuple[str, str | bytes]) -> errors.CorkboardError:
    return from_rpc_error(aio.AioRpcError(code, aio.Metadata(), aio.Metadata(*metadata), message))


@pytest.mark.parametrize(
    "error_type",
    [
        errors.Invalid,
        errors.NotFound,
        errors.Conflict,
        errors.PermissionDenied,
        errors.Unauthenticated,
        errors.Overloaded,
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.Corrupt,
    ],
)
def test_each_error_comes_back_as_itself(error_type: type[errors.CorkboardError]) -> None:
    sent = error_type("asked for 7, found 3", field="num_pins", reason="too_few", retry_after_s=0.25)
    received = _travel(sent)
    assert type(received) is error_type
    assert (received.message, received.field, received.reason) == (sent.message, "num_pins", "too_few")
    assert received.retry_after_s == pytest.approx(0.25)


def test_invalid_names_its_field_in_a_bad_request_detail() -> None:
    metadata = dict(to_status(errors.Invalid("page_size is 0", field="page_size")).trailing_metadata)
    details = status_pb2.Status.FromString(metadata[DETAILS_KEY]).details
    bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
    assert details[0].Unpack(info) and details[1].Unpack(bad)
    assert (info.domain, info.reason) == ("corkboard", "invalid")
    assert bad.field_violations[0].field == "page_size"


def test_overload_tells_plain_clients_whole_seconds() -> None:
    metadata = dict(to_status(errors.Overloaded("full", retry_after_s=1.2)).trailing_metadata)
    assert metadata["retry-after"] == "2"


def test_overload_of_a_foreign_peer_still_has_a_retry_time() -> None:
    assert (_rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED).retry_after_s or 0) > 0
    assert _rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "", ("retry-after", "3")).retry_after_s == 3.0


def test_message_too_large_is_invalid_and_not_overload() -> None:
    error = _rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 4)")
    assert isinstance(error, errors.Invalid)
    assert error.reason == "message_too_large"


@pytest.mark.parametrize("junk", [b"", b"\xff\xff\xff", b"\x00"])
def test_junk_details_do_not_hide_the_status(junk: bytes) -> None:
    error = _rpc_error(grpc.StatusCode.NOT_FOUND, "no such rule", (DETAILS_KEY, junk))
    assert isinstance(error, errors.NotFound)
    assert error.message == "no such rule"


def test_unknown_is_an_internal_error() -> None:
    error = _rpc_error(grpc.StatusCode.UNKNOWN, "boom")
    assert type(error) is errors.CorkboardError
    assert error.status == "INTERNAL"


def test_long_message_is_cut_so_that_metadata_fits() -> None:
    status = to_status(errors.Invalid("x" * 100_000, field="f"))
    assert len(status.message) + sum(len(value) for _, value in status.trailing_metadata) < 8 * 1024
