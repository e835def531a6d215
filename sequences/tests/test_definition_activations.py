"""A rollback goes back one activation at a time, whatever was rolled back before."""

from pathlib import Path

import pytest

from chassis.bundles.store import BundleStore
from chassis.errors import NotFound
from sequences.definitions.activations import Activation, previous, record, recorded


class Story:
    """What is active after each step."""

    def __init__(self, store: BundleStore, active: str) -> None:
        self.store, self.active, self.time_ms = store, active, 0

    def activate(self, version: str) -> None:
        self._go(version, is_rollback=False)

    def roll_back(self) -> str:
        self._go(previous(recorded(self.store), self.active), is_rollback=True)
        return self.active

    def _go(self, version: str, *, is_rollback: bool) -> None:
        self.time_ms += 1
        record(self.store, Activation(version, self.active, is_rollback, self.time_ms, "test"))
        self.active = version


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """The first version was announced by somebody who kept no record, as `corkboard up` does."""
    return Story(BundleStore(str(tmp_path)), "v1")


def test_rollbacks_undo_one_activation_each(story: Story) -> None:
    story.activate("v2")
    story.activate("v3")
    assert [story.roll_back(), story.roll_back()] == ["v2", "v1"]
    with pytest.raises(NotFound, match="before v1"):
        story.roll_back()


def test_an_activation_after_a_rollback_forgets_what_was_undone(story: Story) -> None:
    story.activate("v2")
    story.roll_back()
    story.activate("v3")
    assert story.roll_back() == "v1"


def test_the_same_version_again_is_no_step(story: Story) -> None:
    story.activate("v2")
    story.activate("v2")
    assert story.roll_back() == "v1"


def test_a_version_that_came_back_has_its_own_place(story: Story) -> None:
    for version in ("v2", "v1", "v3"):
        story.activate(version)
    assert [story.roll_back() for _ in range(3)] == ["v1", "v2", "v1"]


def test_without_records_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing was active before"):
        previous(recorded(BundleStore(str(tmp_path))), "v1")
