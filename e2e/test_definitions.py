"""Definitions change while everything runs: compiled, compared, activated, rolled back; no process is restarted."""

import asyncio
import json
from pathlib import Path

import pytest

from chassis.errors import NotFound
from corkboard.session import Session
from e2e.definition_files import WITHIN_S, compiled, definitions_with, versions_in_metrics
from e2e.house import House, eventually
from e2e.surface import event, publish, sequence
from protos.indexer.v1 import indexer_pb2, indexer_pb2_grpc
from protos.ingest.v1 import ingest_pb2
from protos.tables import table_to_batch

NEW = {
    "events/wink.py": '''
"""An event type that a test adds."""

from sequences.definitions.event_type import Attribute, EventType

note = Attribute(name="note", type="string", max_length=64)
wink = EventType(name="wink", owner="test", retention_days=30, attributes=(note,))
''',
    "enrichments/wink.py": '''
"""Enrichments that a test adds, with executors that are there."""

from sequences.definitions.enrichment import Column, Enrichment

wink_note = Enrichment(
    name="wink_note",
    owner="test",
    executor="validate_schema",
    reads=("event_type", "attributes"),
    event_types=("wink",),
    writes=(Column(name="note", type="string"),),
)
wink_words = Enrichment(
    name="wink_words",
    owner="test",
    executor="normalise_text",
    reads=("note",),
    event_types=("wink",),
    writes=(Column(name="note_normalised", type="string"),),
)
''',
    "sequences/winks.py": '''
"""A sequence that a test adds."""

from sequences.definitions.sequence import Sequence

winks = Sequence(
    name="winks",
    owner="test",
    event_types=("wink",),
    columns=("event_id", "event_type", "event_time_ms", "pin_id", "note_normalised"),
)
''',
}
ADDED = [["added", "events/wink"], ["added", "enrichments/wink_note"], ["added", "enrichments/wink_words"]]
PEOPLE = [f"person-{number:05d}" for number in range(50, 58)]
REFUSED = (ingest_pb2.OUTCOME_REJECTED, "unknown_event_type")
TAKEN = (ingest_pb2.OUTCOME_ACCEPTED, "")


class Stream:
    """Publishes saves without a pause, and remembers which were acknowledged."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.saves: dict[str, set[str]] = {user: set() for user in PEOPLE}
        self.winks: dict[str, set[str]] = {user: set() for user in PEOPLE}
        self.refused: list[str] = []

    async def run(self) -> None:
        while True:
            events = [event(user, "save", "pin-000001") for user in PEOPLE]
            for sent, verdict in zip(events, await publish(self._session, events), strict=True):
                if verdict.outcome == ingest_pb2.OUTCOME_ACCEPTED:
                    self.saves[sent.user_id].add(sent.event_id)
                else:
                    self.refused.append(f"{verdict.code}: {verdict.message}")
            await asyncio.sleep(0.05)

    async def wink(self, user: str = PEOPLE[0]) -> tuple[int, str]:
        """Outcome and code of one more wink."""
        sent = event(user, "wink", "pin-000001", attributes_json=b'{"note": "  Hello   WORLD "}')
        [verdict] = await publish(self._session, [sent])
        if verdict.outcome == ingest_pb2.OUTCOME_ACCEPTED:
            self.winks[user].add(sent.event_id)
        return verdict.outcome, verdict.code

    async def winks_are(self, expected: tuple[int, str]) -> None:
        async def holds() -> bool:
            return await self.wink() == expected

        await eventually(holds, WITHIN_S)


async def winks_of(session: Session, user: str) -> dict[str, str | None]:
    """Event id -> what the new enrichment made of it."""
    request = indexer_pb2.GetSequenceRequest(user_id=user, sequence="winks", columns=["event_id", "note_normalised"])
    answer = await session.call("indexer", indexer_pb2_grpc.SequenceServiceStub, "GetSequence", request)
    return {row["event_id"]: row["note_normalised"] for row in table_to_batch(answer.events).to_pylist()}


def test_a_new_type_and_enrichment_come_and_go_while_events_flow(house: House, tmp_path: Path) -> None:
    change = compiled(house, definitions_with(tmp_path / "definitions", NEW))
    assert isinstance(change["changes"], list)
    assert [each.split()[:2] for each in change["changes"]] == [*ADDED, ["added", "sequences/winks"]]
    names = ("ingest", "enrich", "indexer", "indexer-lake", "cg", "ranker", "blender")
    pids = {name: house.pid(name) for name in names}
    before, after = {str(change["active"])}, {str(change["compiled"])}
    assert set(map(frozenset, versions_in_metrics(house).values())) == {frozenset(before)}

    async def journey(session: Session) -> Stream:
        stream = Stream(session)
        flowing = asyncio.create_task(stream.run())
        try:
            assert await stream.wink() == REFUSED
            await asyncio.to_thread(house.command, "definitions", "activate", str(change["compiled"]))
            try:
                await stream.winks_are(TAKEN)
                for user in PEOPLE:
                    assert await stream.wink(user) == TAKEN
                await all_swapped(after)
                await every_wink_is_readable(session, stream)
            finally:
                await asyncio.to_thread(house.command, "definitions", "rollback")
            await stream.winks_are(REFUSED)
            await all_swapped(before)
            with pytest.raises(NotFound, match="winks"):
                await winks_of(session, PEOPLE[0])
            await asyncio.sleep(0.5)
            assert not flowing.done()
        finally:
            flowing.cancel()
            await asyncio.gather(flowing, return_exceptions=True)
        await every_save_is_readable(session, stream)
        return stream

    async def all_swapped(version: set[str]) -> None:
        async def holds() -> bool:
            found = await asyncio.to_thread(versions_in_metrics, house)
            return all(each == version for each in found.values())

        await eventually(holds, WITHIN_S)

    stream = house.run(journey)
    assert stream.refused == []
    assert sum(map(len, stream.saves.values())) > 100
    assert {name: house.pid(name) for name in names} == pids


async def every_wink_is_readable(session: Session, stream: Stream) -> None:
    """Each accepted one, from the first, with the column of the new enrichment."""
    for user, sent in stream.winks.items():
        expected = dict.fromkeys(sent, "hello world")

        async def is_readable(user: str = user, expected: dict[str, str] = expected) -> bool:
            return await winks_of(session, user) == expected

        await eventually(is_readable, WITHIN_S)


async def every_save_is_readable(session: Session, stream: Stream) -> None:
    """Each acknowledged one, once."""
    for user, sent in stream.saves.items():

        async def is_readable(user: str = user, sent: set[str] = sent) -> bool:
            found = [row[1] for row in await sequence(session, user)]
            return sorted(each for each in found if each in sent) == sorted(sent)

        await eventually(is_readable, WITHIN_S)


def test_a_broken_definition_is_refused_and_nothing_changes(house: House, tmp_path: Path) -> None:
    broken = {"events/broken.py": "raise RuntimeError('boom')\n"}
    folder = definitions_with(tmp_path / "definitions", broken)
    before = versions_in_metrics(house)
    code, said = house.attempt("definitions", "compile", "--folder", str(folder))
    assert code == 2
    assert "events/broken.py" in said and "boom" in said
    assert versions_in_metrics(house) == before


def test_a_type_change_without_a_new_version_is_not_activated(house: House, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "definitions" / "enrichments" / "pin_features.py").read_text()
    assert 'name="hour_of_day", type="int32"' in text
    attributes = (Path(__file__).parents[1] / "definitions" / "events" / "shopping.py").read_text()
    assert 'type="int64"' in attributes
    shopping = attributes.replace('type="int64"', 'type="float64"')
    change = compiled(house, definitions_with(tmp_path / "definitions", {"events/shopping.py": shopping}))
    code, said = house.attempt("definitions", "activate", str(change["compiled"]))
    assert code == 2
    assert "events/conversion" in said and "raise the version" in said
    assert compiled(house, definitions_with(tmp_path / "same", {}))["active"] == change["active"]


def test_lint_tells_findings_and_costs(house: House, tmp_path: Path) -> None:
    found = json.loads(house.command("definitions", "lint", "--json"))
    assert found["num_errors"] == 0
    assert {cost["sequence"] for cost in found["sequences"]} == {"engagement", "negative"}
    assert all(cost["bytes_per_user"] > 0 for cost in found["sequences"])
    assert all(cost["cpu_s_per_row"] > 0 for cost in found["enrichments"])
    null = NEW["sequences/winks.py"].replace('("wink",)', '("save",)')
    folder = definitions_with(tmp_path / "definitions", NEW | {"sequences/winks.py": null})
    code, _ = house.attempt("definitions", "lint", "--folder", str(folder), "--json")
    assert code == 1
    codes = {finding["code"] for finding in json.loads(house.last_printed)["findings"]}
    assert "always_null_column" in codes


def test_a_preview_shows_what_each_executor_did(house: House) -> None:
    text = house.command(
        "preview", '{"user_id": "person-00003", "event_type": "save", "pin_id": "pin-000001"}', "--json"
    )
    preview = json.loads(text)
    assert preview["is_kept"] is True
    assert {run["executor"] for run in preview["runs"]} >= {"lookup_pin", "time_features"}
    assert preview["row"]["pin_id"] == "pin-000001"
