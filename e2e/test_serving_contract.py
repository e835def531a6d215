"""What a reader of sequences is promised, over real gRPC: statuses, schemas, freshness, completeness, rights."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import grpc
import pyarrow as pa
import pytest

from corkboard.session import Session
from e2e.definition_files import WITHIN_S, compiled, definitions_with, page, versions_in_metrics
from e2e.house import House, eventually
from e2e.surface import event, publish
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2
from protos.tables import table_to_batch
from sequences.definitions.columns import sequence_schema
from sequences.definitions.testing import repository_definitions

PRIVATE = '''
"""A sequence that only one tenant may read."""

from sequences.definitions.sequence import Sequence

secret = Sequence(
    name="secret", owner="test", event_types=("save",), columns=("event_id", "event_time_ms"), tenants=("trust",)
)
'''
AUDIT_WITHIN_S = 40.0  # events are looked for ten seconds after their acceptance
FRESHNESS_WINDOW_S = 600.0  # of what became readable in the last five minutes, however late
STUB = indexer_pb2_grpc.SequenceServiceStub


def status_of(house: House, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
    """The plain gRPC status of a call, without the project's own client."""

    async def work() -> tuple[grpc.StatusCode, str]:
        async with grpc.aio.insecure_channel(house.endpoints.address("indexer")) as channel:
            try:
                await getattr(STUB(channel), method)(request, timeout=5.0)
            except grpc.aio.AioRpcError as error:
                return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""

    return asyncio.run(work())


def get(user: str = "person-00045", name: str = "engagement", **fields: Any) -> pb.GetSequenceRequest:
    return pb.GetSequenceRequest(user_id=user, sequence=name, **fields)


def call(session: Session, method: str, request: Any) -> Coroutine[Any, Any, Any]:
    return session.call("indexer", STUB, method, request)


@pytest.fixture(scope="module")
def private(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The sequence `secret` while the module runs."""
    folder = definitions_with(tmp_path_factory.mktemp("private") / "definitions", {"sequences/secret.py": PRIVATE})
    change = compiled(house, folder)
    house.command("definitions", "activate", str(change["compiled"]))

    async def is_active() -> bool:
        return versions_in_metrics(house)["indexer"] == {str(change["compiled"])}

    asyncio.run(eventually(is_active, WITHIN_S))
    yield
    house.command("definitions", "rollback")


@pytest.mark.parametrize("name", ["engagement", "negative"])
@pytest.mark.parametrize("method", ["GetSequence", "BatchGetSequences"])
def test_an_unknown_user_is_an_empty_sequence_with_its_schema(house: House, method: str, name: str) -> None:
    async def work(session: Session) -> pb.GetSequenceResponse:
        if method == "GetSequence":
            answer: pb.GetSequenceResponse = await call(session, method, get("never-seen", name))
            return answer
        found = await call(session, method, pb.BatchGetSequencesRequest(user_ids=["never-seen"], sequence=name))
        [one] = found.sequences
        return one  # type: ignore[no-any-return]

    answer = house.run(work)
    events = table_to_batch(answer.events)
    expected = sequence_schema(repository_definitions(), name)
    assert (events.num_rows, answer.num_total, answer.newest_event_time_ms) == (0, 0, 0)
    assert [(field.name, field.type) for field in events.schema] == [(field.name, field.type) for field in expected]
    assert answer.definitions_version and answer.as_of_ms


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetSequence", get(name="dreams")),
        ("BatchGetSequences", pb.BatchGetSequencesRequest(user_ids=["u"], sequence="dreams")),
        ("DescribeSequence", pb.DescribeSequenceRequest(sequence="dreams")),
    ],
)
def test_an_unknown_sequence_is_not_found_and_the_known_ones_are_told(house: House, method: str, request_: Any) -> None:
    code, details = status_of(house, method, request_)
    assert code is grpc.StatusCode.NOT_FOUND
    assert "dreams" in details and "engagement" in details


@pytest.mark.parametrize("method", ["GetSequence", "BatchGetSequences"])
def test_unknown_columns_are_an_invalid_argument_that_names_each(house: House, method: str) -> None:
    columns = ["event_id", "shoe_size", "mood"]
    one = get(columns=columns)
    many = pb.BatchGetSequencesRequest(user_ids=["u"], sequence="engagement", columns=columns)
    code, details = status_of(house, method, one if method == "GetSequence" else many)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "shoe_size" in details and "mood" in details and "event_id" not in details


def test_a_column_of_another_sequence_is_unknown(house: House) -> None:
    code, details = status_of(house, "GetSequence", get(name="negative", columns=["dwell_s"]))
    assert (code, "dwell_s" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("tenant", ["", "default", "ads", "trusty", "*"])
def test_a_tenant_without_the_right_is_denied(house: House, tenant: str) -> None:
    many = pb.BatchGetSequencesRequest(user_ids=["u"], sequence="secret", tenant=tenant)
    for method, request in (("GetSequence", get(name="secret", tenant=tenant)), ("BatchGetSequences", many)):
        code, details = status_of(house, method, request)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "secret" in details


@pytest.mark.usefixtures("private")
def test_the_tenant_with_the_right_reads(house: House) -> None:
    assert status_of(house, "GetSequence", get(name="secret", tenant="trust")) == (grpc.StatusCode.OK, "")
    code, _ = status_of(house, "GetSequence", get(name="secret", tenant="trust", columns=["pin_id"]))
    assert code is grpc.StatusCode.INVALID_ARGUMENT  # rights first, then columns


def test_a_denied_tenant_learns_nothing_of_columns(house: House, private: None) -> None:  # noqa: ARG001
    code, _ = status_of(house, "GetSequence", get(name="secret", tenant="ads", columns=["shoe_size"]))
    assert code is grpc.StatusCode.PERMISSION_DENIED


def test_every_answer_tells_freshness_and_completeness(house: House) -> None:
    async def work(session: Session) -> None:
        sent = [event("person-00046", "long_view", "pin-000002", attributes_json=b'{"dwell_s": 5}') for _ in range(40)]
        verdicts = await publish(session, sent)
        assert {verdict.outcome for verdict in verdicts} == {ingest_pb2.OUTCOME_ACCEPTED}

        async def is_audited() -> bool:
            answer = await call(session, "GetSequence", get("person-00046"))
            return bool(answer.completeness_num_events >= 1 and answer.num_total >= len(sent))

        await eventually(is_audited, AUDIT_WITHIN_S)
        one = await call(session, "GetSequence", get("person-00046"))
        batch = pb.BatchGetSequencesRequest(user_ids=["person-00046", "nobody"], sequence="engagement")
        many = (await call(session, "BatchGetSequences", batch)).sequences
        described = await call(session, "DescribeSequence", pb.DescribeSequenceRequest(sequence="engagement"))
        for answer in (one, *many, described):
            assert answer.completeness_ratio == 1.0
            assert answer.completeness_num_events >= 1
            assert 0 < answer.freshness_p99_s < FRESHNESS_WINDOW_S  # tests before may have stopped services
            assert answer.definitions_version == one.definitions_version

    house.run(work)


def test_a_description_tells_schema_quality_and_targets(house: House) -> None:
    async def work(session: Session) -> pb.DescribeSequenceResponse:
        await publish(session, [event("person-00047", "save", "pin-000002") for _ in range(10)])

        async def is_counted() -> bool:
            found = await call(session, "DescribeSequence", pb.DescribeSequenceRequest(sequence="engagement"))
            return bool(found.num_events >= 10)

        await eventually(is_counted, WITHIN_S)
        answer: pb.DescribeSequenceResponse = await call(
            session, "DescribeSequence", pb.DescribeSequenceRequest(sequence="engagement")
        )
        return answer

    found = house.run(work)
    definition = repository_definitions().sequences["engagement"]
    assert pa.ipc.read_schema(pa.py_buffer(found.arrow_schema)).names == list(definition.columns)
    assert set(found.coverage_ratio) == set(definition.columns)
    assert found.coverage_ratio["event_id"] == 1.0
    assert 0 <= found.coverage_ratio["value_micros"] < 1.0
    assert 0 < found.freshness_p50_s <= found.freshness_p99_s
    assert found.freshness_p50_s <= found.lag_p50_s <= found.lag_p99_s
    assert 0 <= found.late_ratio <= 1
    assert sum(found.rows_by_definitions_version.values()) == found.num_events
    assert found.target_freshness_p99_s == definition.freshness_p99_s
    assert found.target_completeness_ratio == definition.completeness_ratio


def test_quality_is_on_the_admin_port(house: House) -> None:
    lines = page(house, "indexer", "/metrics").splitlines()
    for name in ("freshness_seconds", "completeness_ratio", "late_ratio", "target_freshness_seconds"):
        assert any(line.startswith(f"sequence_{name}{{") and 'sequence="engagement"' in line for line in lines), name
    [used] = versions_in_metrics(house)["indexer"]
    rows = [line for line in lines if line.startswith("indexer_rows_by_definitions_total{")]
    assert any(line.split('"')[1].startswith("d-") for line in rows), used
