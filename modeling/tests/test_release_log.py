"""What a rollback goes back to, whatever was announced, rolled back or announced by others before."""

from pathlib import Path

import pytest

from chassis.bundles import BundleStore
from chassis.errors import NotFound
from chassis.testing import InMemoryBus
from modeling.release import announce, write_bundle
from modeling.release_log import Announcement, previous, record, recorded


def _log(*versions: str) -> list[Announcement]:
    """A version with a `<` before it is a rollback."""
    return [Announcement(each.lstrip("<"), n, "test", each.startswith("<")) for n, each in enumerate(versions)]


def test_a_rollback_undoes_one_announcement_and_the_next_one_more() -> None:
    assert previous(_log("a", "b", "c"), "c") == "b"
    assert previous(_log("a", "b", "c", "<b"), "b") == "a"
    assert previous(_log("a", "b", "<a", "c"), "c") == "a"


def test_the_same_version_again_is_no_version_before() -> None:
    assert previous(_log("a", "b", "b"), "b") == "a"


@pytest.mark.parametrize(("versions", "live"), [((), ""), (("a",), "a"), (("a", "b", "<a"), "a"), (("a", "b"), "x")])
def test_without_a_version_before_there_is_nothing_to_go_back_to(versions: tuple[str, ...], live: str) -> None:
    with pytest.raises(NotFound, match="nothing to roll back to"):
        previous(_log(*versions), live)


async def test_every_announcement_is_remembered_in_order(tmp_path: Path) -> None:
    store, bus = BundleStore(str(tmp_path)), InMemoryBus()
    one = write_bundle(store, "popular", {"a": b"1"}, {}, "test")
    two = write_bundle(store, "popular", {"a": b"2"}, {}, "test")
    await announce(bus, [one])
    await announce(bus, [two])
    record(one, "somebody", is_rollback=True)
    found = recorded(store, "popular")
    assert [(each.version, each.is_rollback) for each in found] == [
        (one.version, False),
        (two.version, False),
        (one.version, True),
    ]
    assert recorded(store, "other") == []
