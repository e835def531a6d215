"""Popular lists outlive the process, so that a start without cg and Kafka still has pins to serve."""

from pathlib import Path

import pytest

from chassis.errors import Corrupt
from chassis.testing import InMemoryBus, eventually
from services.blender.domain.candidate import Candidate
from services.blender.outbound.json_popular_lists import FILE, JsonPopularLists
from services.blender.tests.running_blender import levels_of, running_blender


def _lists() -> dict[str, list[Candidate]]:
    pins = [
        Candidate(f"pin-{n}", "popular", 1.0 / (n + 1), n, {"popular": 1.0 / (n + 1)}, "group" * (n % 2))
        for n in range(5)
    ]
    return {"": pins, "de": pins[2:3]}


def test_lists_come_back_as_they_were_kept(tmp_path: Path) -> None:
    files = JsonPopularLists(tmp_path / "new" / "folder")
    assert files.load() == {}
    files.keep(_lists())
    found = files.load()
    assert found[""] == _lists()[""]
    assert [each.pin_id for each in found["de"]] == ["pin-2"]
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [FILE], "nothing is left beside it"


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b'{"format": 99}', b'{"format": 1, "lists": {"": [[1]]}}'])
def test_a_damaged_copy_is_corrupt_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(Corrupt, match=FILE):
        JsonPopularLists(tmp_path).load()


async def test_a_restart_without_cg_and_kafka_serves_the_list_of_the_last_run(tmp_path: Path) -> None:
    async with running_blender(tmp_path) as first:
        await first.feed()
        await eventually((tmp_path / "state" / FILE).is_file)
    away = InMemoryBus()
    away.is_available = False
    async with running_blender(tmp_path, bus=away, cg_mood="refuse") as second:
        response = await second.feed(user_id="newcomer", page_size=10)
        assert levels_of(response)["cg"] == "popular"
        assert len(response.items) == 10
        assert {item.reason_code for item in response.items} == {"popular"}


async def test_a_damaged_copy_does_not_keep_the_service_from_starting(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_bytes(b"no json")
    async with running_blender(tmp_path) as blender:
        assert (await blender.feed(page_size=10)).items
