"""Definitions change while everything runs: compiled, compared, activated; no process is restarted."""

import json
import shutil
from pathlib import Path

from corkboard.session import Session
from e2e.house import House, eventually
from e2e.surface import event, publish
from protos.ingest.v1 import ingest_pb2

ACTIVE_WITHIN_S = 5.0
NEW_TYPE = '''
"""An event type that a test adds."""

from sequences.definitions.event_type import EventType

wink = EventType(name="wink", owner="test", retention_days=30)
'''


def test_a_new_event_type_is_accepted_without_a_restart(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    shutil.copytree(Path(__file__).parents[1] / "definitions", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "events" / "wink.py").write_text(NEW_TYPE)
    changes = json.loads(house.command("definitions", "diff", "--folder", str(folder), "--json"))
    assert [change.split()[:2] for change in changes["changes"]] == [["added", "events/wink"]]
    pids = {name: house.pid(name) for name in ("ingest", "enrich", "indexer")}

    async def outcome(session: Session) -> int:
        return (await publish(session, [event("person-00003", "wink", "pin-000001")]))[0].outcome

    assert house.run(outcome) == ingest_pb2.OUTCOME_REJECTED
    house.command("definitions", "activate", changes["compiled"])
    try:

        async def accepted(session: Session) -> None:
            async def now() -> bool:
                return await outcome(session) == ingest_pb2.OUTCOME_ACCEPTED

            await eventually(now, ACTIVE_WITHIN_S)

        house.run(accepted)
        assert {name: house.pid(name) for name in pids} == pids
    finally:
        house.command("definitions", "activate", changes["active"])


def test_a_broken_definition_is_refused_and_nothing_changes(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    shutil.copytree(Path(__file__).parents[1] / "definitions", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "events" / "broken.py").write_text("raise RuntimeError('boom')\n")
    code, said = house.attempt("definitions", "compile", "--folder", str(folder))
    assert code == 2
    assert "boom" in said


def test_a_preview_shows_what_each_executor_did(house: House) -> None:
    text = house.command(
        "preview", '{"user_id": "person-00003", "event_type": "save", "pin_id": "pin-000001"}', "--json"
    )
    preview = json.loads(text)
    assert preview["is_kept"] is True
    assert {run["executor"] for run in preview["runs"]} >= {"lookup_pin", "time_features"}
    assert preview["row"]["pin_id"] == "pin-000001"
