"""Bad input over real gRPC: the right status each time, and the next good call works."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from chassis.errors import Invalid, NotFound
from corkboard import feed_client
from corkboard.session import Session
from e2e.house import House
from e2e.surface import event, feed_request, get_feed, publish, sequence
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2

METHODS = {
    "blender": "corkboard.blender.v1.FeedService/GetFeed",
    "ingest": "corkboard.ingest.v1.IngestService/PublishEvents",
    "indexer": "corkboard.indexer.v1.SequenceService/GetSequence",
    "cg": "corkboard.cg.v1.RetrievalService/Retrieve",
    "ranker": "corkboard.ranker.v1.RankingService/Rank",
    "ranker-leaf": "corkboard.ranker.v1.ScoringService/Score",
    "quota": "corkboard.quota.v1.QuotaService/GetRule",
    "enrich": "corkboard.enrich.v1.EnrichService/PreviewEvent",
}


@contextmanager
def refused(field: str) -> Iterator[None]:
    """The call inside is refused, and the refusal names `field`."""
    with pytest.raises(Invalid) as caught:
        yield
    assert caught.value.field == field
    assert caught.value.message


@pytest.mark.parametrize("service", METHODS)
def test_malformed_protobuf_is_invalid_argument(house: House, service: str) -> None:
    async def work() -> None:
        async with grpc.aio.insecure_channel(house.endpoints.address(service)) as channel:
            call: Any = channel.unary_unary(f"/{METHODS[service]}")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"\xff\xff\xff\xff garbage", timeout=5.0)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "Traceback" not in (caught.value.details() or "")
        assert "DecodeError" not in (caught.value.details() or "")

    asyncio.run(work())


@pytest.mark.parametrize("page_size", [0, -1, 101, 1_000_000_000])
def test_a_page_size_out_of_range_names_the_field(house: House, page_size: int) -> None:
    async def work(session: Session) -> None:
        with refused("page_size"):
            await get_feed(session, feed_request(page_size=page_size))

    house.run(work)


@pytest.mark.parametrize("token", ["forged", "AAAA.BBBB", "é" * 50, "x" * 4000])
def test_a_forged_page_token_is_refused(house: House, token: str) -> None:
    async def work(session: Session) -> None:
        with refused("page_token"):
            await get_feed(session, feed_request(page_token=token))

    house.run(work)


def test_somebody_elses_page_token_is_refused(house: House) -> None:
    async def work(session: Session) -> None:
        token = (await get_feed(session, feed_request("person-00030"))).next_page_token
        with refused("page_token"):
            await get_feed(session, feed_request("person-00031", page_token=token))
        flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
        with refused("page_token"):
            await get_feed(session, feed_request("person-00030", page_token=flipped))

    house.run(work)


def test_an_unknown_surface_is_refused_with_the_known_ones(house: House) -> None:
    async def work(session: Session) -> None:
        with pytest.raises(Invalid, match=r"surface.*home"):
            await get_feed(session, feed_request(surface="moon"))

    house.run(work)


def test_an_unknown_user_gets_a_feed(house: House) -> None:
    async def work(session: Session) -> None:
        feed = await get_feed(session, feed_request("nobody-ever-saw-me"))
        assert len(feed.items) == 10
        assert await sequence(session, "nobody-ever-saw-me") == []

    house.run(work)


@pytest.mark.parametrize("user", ["", "x" * 129, "   "])
def test_a_bad_user_id_is_refused(house: House, user: str) -> None:
    async def work(session: Session) -> None:
        with refused("user_id"):
            await get_feed(session, feed_request(user))

    house.run(work)


def test_each_bad_event_gets_its_own_verdict_and_the_good_one_passes(house: House) -> None:
    async def work(session: Session) -> None:
        events = [
            event("person-00040", "save", "pin-000001"),
            event("person-00040", "moonwalk", "pin-000001"),
            event("", "save", "pin-000001"),
            event("person-00040", "save", "pin-000001", event_time_ms=1),
            event("person-00040", "save", "pin-000001", event_time_ms=9_999_999_999_999),
            event("person-00040", "long_view", "pin-000001", attributes_json=b'{"dwell_s": "long"}'),
            event("person-00040", "long_view", "pin-000001", attributes_json=b"{not json"),
        ]
        verdicts = await publish(session, events)
        assert [verdict.outcome for verdict in verdicts] == [ingest_pb2.OUTCOME_ACCEPTED] + [
            ingest_pb2.OUTCOME_REJECTED
        ] * 6
        assert [verdict.code for verdict in verdicts[1:5]] == [
            "unknown_event_type",
            "missing_field",
            "too_old",
            "in_future",
        ]
        assert all(verdict.message for verdict in verdicts[1:])

    house.run(work)


def test_the_same_event_again_is_a_duplicate_and_counts_once(house: House) -> None:
    async def work(session: Session) -> None:
        once = event("person-00041", "save", "pin-000002", event_id="only-once")
        assert (await publish(session, [once]))[0].outcome == ingest_pb2.OUTCOME_ACCEPTED
        assert (await publish(session, [once]))[0].outcome == ingest_pb2.OUTCOME_DUPLICATE
        await asyncio.sleep(0.8)
        assert [row[1] for row in await sequence(session, "person-00041")].count("only-once") == 1

    house.run(work)


def test_unknown_sequences_columns_and_requests_are_named(house: House) -> None:
    async def work(session: Session) -> None:
        stub = indexer_pb2_grpc.SequenceServiceStub
        with pytest.raises(NotFound, match="dreams"):
            await session.call(
                "indexer", stub, "GetSequence", indexer_pb2.GetSequenceRequest(user_id="u", sequence="dreams")
            )
        request = indexer_pb2.GetSequenceRequest(user_id="u", sequence="engagement", columns=["shoe_size"])
        with pytest.raises(Invalid, match="shoe_size"):
            await session.call("indexer", stub, "GetSequence", request)
        with pytest.raises(NotFound):
            await feed_client.explain(session, "0" * 32, ())

    house.run(work)
