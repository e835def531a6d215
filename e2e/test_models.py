"""Models in a running house: a version is released and rolled back while it serves, user states follow sequences."""

import http.client
import json
import time
from typing import Any

import pytest

from chassis.bundles import BundleStore
from corkboard.session import Session
from e2e.house import House, eventually
from e2e.surface import event, feed_request, get_feed, publish
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc

SWAPPED_WITHIN_S = 10.0
STORED_WITHIN_S = 20.0  # a second to settle, a quarter for the round, and a busy machine
USER = "person-00021"


def _served(house: House) -> dict[str, str]:
    """Version in use by bundle, as cg says."""
    connection = http.client.HTTPConnection("127.0.0.1", house.endpoints.ports.admin("cg", 0), timeout=5.0)
    try:
        connection.request("GET", "/bundles")
        found: dict[str, str] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def _wait_until_served(house: House, name: str, version: str) -> None:
    give_up_s = time.monotonic() + SWAPPED_WITHIN_S
    while _served(house).get(name) != version:
        assert time.monotonic() < give_up_s, f"cg serves {_served(house)} and not {name} {version}"
        time.sleep(0.1)


def _rows(house: House, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(house.command("models", "list", name, "--json"))
    return rows


def test_a_version_is_released_and_rolled_back_while_the_house_serves(house: House) -> None:
    (live,) = (row for row in _rows(house, "popular") if row["is_live"])
    store = BundleStore(str(house.home.bundles))
    (release,) = (each for each in store.list("popular") if each.version == live["version"])
    folder = store.open(release)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    store.write("popular", "next", {**files, "evaluation.json": b"{}"})
    house.command("models", "release", "popular", "next")
    _wait_until_served(house, "popular", "next")
    assert [row["version"] for row in _rows(house, "popular") if row["is_live"]] == ["next"]
    said = json.loads(house.command("models", "rollback", "popular", "--json"))
    assert said == {"name": "popular", "live": live["version"], "replaced": "next"}
    _wait_until_served(house, "popular", live["version"])
    code, error = house.attempt("models", "rollback", "popular")
    assert code == 3 and "nothing to roll back to" in error
    assert house.run(lambda session: get_feed(session, feed_request(USER))).items


def test_a_users_stored_state_follows_the_sequence(house: House) -> None:
    version = _served(house)["contextual"]

    async def stored(session: Session) -> indexer_pb2.UserVector:
        request = indexer_pb2.GetUserRequest(user_id=USER, vectors=["contextual"])
        answer = await session.call("indexer", indexer_pb2_grpc.FeatureServiceStub, "GetUser", request)
        vectors: list[indexer_pb2.UserVector] = list(answer.vectors)
        assert len(vectors) == 1
        return vectors[0]

    async def work(session: Session) -> None:
        before = await stored(session)
        assert before.encoder_version == version, "training published it"
        feed = await get_feed(session, feed_request(USER, page_size=30))
        pins = [item.pin_id for item in feed.items]
        await publish(session, [event(USER, "save", pin) for pin in pins[:25]])

        async def is_new() -> bool:
            after = await stored(session)
            is_moved = after.computed_time_ms > before.computed_time_ms
            return is_moved and after.encoder_version == version and after.vector.data != before.vector.data

        await eventually(is_new, STORED_WITHIN_S)

    house.run(work)


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
def test_generators_are_evaluated_per_surface_on_what_the_house_has_seen(house: House) -> None:
    (report,) = json.loads(house.command("evaluate", "cg", "--seeds", "1", "--json", timeout_s=280.0))
    home, related = report["models"], report["related"]["models"]
    assert home.keys() >= {"popularity", "item_knn", "ease", "ease_recency", "two_tower", "sasrec", "contextual"}
    for rows in (home, related):
        assert all(0.0 <= row["recall@100"]["low"] <= row["recall@100"]["high"] <= 1.0 for row in rows.values())
    by_name = {name: row["recall@100"]["mean"] for name, row in related.items()}
    assert by_name["contextual"] > by_name["popularity"], by_name
