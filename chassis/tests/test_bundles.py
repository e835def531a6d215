"""A bundle is whole and verified, or it is not used; a failed swap keeps the old version."""

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from chassis.bundles import BundleStore, BundleWatcher, Release
from chassis.bundles.git import current_commit
from chassis.bundles.pinned import PinnedBundle
from chassis.bundles.release import MANIFEST, Manifest, sha256
from chassis.deadline import Deadline
from chassis.errors import Conflict, Corrupt, Invalid, NotFound, Unavailable
from chassis.kafka.topic import Topic
from chassis.lifecycle import Tasks
from chassis.metrics import Metrics
from chassis.testing import InMemoryBus, eventually

TOPIC = Topic(
    "bundles", key="name", value="JSON", owner="tests", consumers=("tests",), num_partitions=1, is_compacted=True
)
FILES = {"model/weights.bin": b"\x00\x01", "labels.json": b"{}"}


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(str(tmp_path / "store"))


def encode(release: Release) -> bytes:
    return json.dumps(asdict(release)).encode()


def decode(value: bytes) -> Release:
    try:
        return Release(**json.loads(value))
    except ValueError as error:
        raise Corrupt("not JSON") from error


def test_written_bundle_opens_with_the_same_bytes(store: BundleStore) -> None:
    release = store.write("ranker", "v1", FILES, {"dataset": "d7"}, released_by="ann")
    directory = store.open(release)
    assert {path: (directory / path).read_bytes() for path in FILES} == FILES
    manifest = json.loads((directory / MANIFEST).read_text())
    assert (manifest["inputs"], manifest["files"]["labels.json"]) == ({"dataset": "d7"}, sha256(b"{}"))
    assert (release.released_by, release.manifest_sha256) == ("ann", sha256((directory / MANIFEST).read_bytes()))


def test_directory_is_written_like_a_mapping(store: BundleStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "model").mkdir(parents=True)
    for path, data in FILES.items():
        (source / path).write_bytes(data)
    release = store.write("ranker", "v1", source)
    assert store.write("ranker", "v1", FILES) == release


def test_same_content_again_changes_nothing(store: BundleStore) -> None:
    assert store.write("ranker", "v1", FILES) == store.write("ranker", "v1", dict(FILES))


def test_same_version_with_other_content_is_a_conflict(store: BundleStore) -> None:
    release = store.write("ranker", "v1", FILES)
    with pytest.raises(Conflict, match=r"labels\.json"):
        store.write("ranker", "v1", FILES | {"labels.json": b"[]"})
    store.open(release)


def test_writers_at_once_leave_one_whole_version(store: BundleStore) -> None:
    outcomes: list[str] = []

    def write(content: bytes) -> None:
        try:
            store.open(store.write("ranker", "v1", {"a": content}))
            outcomes.append("written")
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=write, args=(bytes([number % 2]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 4 + ["written"] * 4
    assert [release.version for release in store.list("ranker")] == ["v1"]


def test_failed_write_leaves_nothing_behind(store: BundleStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "good").write_bytes(b"1")
    (source / "gone").symlink_to(tmp_path / "nowhere")
    release = store.write("ranker", "v1", source)  # a dangling link is no file
    assert json.loads((store.open(release) / MANIFEST).read_text())["files"].keys() == {"good"}
    with pytest.raises(Invalid):
        store.write("ranker", "v2", tmp_path / "nowhere")
    assert [each.version for each in store.list("ranker")] == ["v1"]
    assert [path.name for path in (tmp_path / "store" / "ranker").iterdir()] == ["v1"]


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b", "a//b", "", ".", "C:/x", "a\\b", MANIFEST])
def test_path_that_leaves_the_bundle_is_refused_when_written(store: BundleStore, path: str) -> None:
    with pytest.raises(Invalid):
        store.write("ranker", "v1", {path: b"x"})


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b"])
def test_path_that_leaves_the_bundle_is_refused_when_read(store: BundleStore, path: str) -> None:
    release = store.write("ranker", "v1", FILES)
    manifest = store.open(release) / MANIFEST
    forged = Manifest("ranker", "v1", "2026-01-01T00:00:00+00:00", "", {}, {path: sha256(b"x")}).to_bytes()
    manifest.write_bytes(forged)
    with pytest.raises(Corrupt):
        store.open(replace(release, manifest_sha256=sha256(forged)))


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 201])
def test_name_that_is_no_folder_is_refused(store: BundleStore, name: str) -> None:
    with pytest.raises(Invalid):
        store.write(name, "v1", FILES)
    with pytest.raises(Invalid):
        store.write("ranker", name, FILES)


def damage_file(directory: Path) -> None:
    (directory / "labels.json").write_bytes(b"[]")


def damage_manifest(directory: Path) -> None:
    (directory / MANIFEST).write_bytes((directory / MANIFEST).read_bytes() + b" ")


def remove_file(directory: Path) -> None:
    (directory / "labels.json").unlink()


def add_file(directory: Path) -> None:
    (directory / "extra.py").write_bytes(b"evil")


def link_outside(directory: Path) -> None:
    outside = directory.parent.parent.parent / "outside"
    outside.write_bytes(b"{}")
    (directory / "labels.json").unlink()
    (directory / "labels.json").symlink_to(outside)


@pytest.mark.parametrize("damage", [damage_file, damage_manifest, remove_file, add_file, link_outside])
def test_anything_that_differs_is_corrupt(store: BundleStore, damage: Callable[[Path], None]) -> None:
    release = store.write("ranker", "v1", FILES)
    damage(store.open(release))
    with pytest.raises(Corrupt):
        store.open(release)


def test_missing_bundle_is_not_found(store: BundleStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store.open(Release("ranker", "v9", str(tmp_path / "store" / "ranker" / "v9"), "0" * 64, 0))
    assert store.list("ranker") == []


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "file:///etc"},
        {"uri": "http://169.254.169.254/latest"},
        {"uri": "memory://ranker/v1"},
        {"uri": "no-such-protocol://x"},
        {"uri": ""},
        {"name": "../../ranker"},
        {"version": "../../../var/lib/x"},
        {"manifest_sha256": "../x"},
        {"manifest_sha256": "0" * 63},
    ],
    ids=str,
)
def test_an_announcement_cannot_make_a_process_read_from_elsewhere(
    store: BundleStore, tmp_path: Path, change: dict[str, Any]
) -> None:
    """With what lies there having the right bytes."""
    release = store.write("ranker", "v1", FILES)
    moved = tmp_path / "elsewhere"
    shutil.copytree(store.open(release), moved)
    with pytest.raises(Corrupt):
        store.open(replace(release, uri=str(moved)))
    with pytest.raises(Corrupt):
        store.open(replace(release, **change))
    assert moved.is_dir() and store.open(release).is_dir(), "nothing was removed"


def test_versions_are_listed_oldest_first(store: BundleStore) -> None:
    for version in ("b", "a", "c"):
        store.write("ranker", version, {"v": version.encode()})
    times = [release.released_time_ms for release in store.list("ranker")]
    assert times == sorted(times)
    assert {release.version for release in store.list("ranker")} == {"a", "b", "c"}
    assert store.names() == ["ranker"]


def test_remote_bundle_is_copied_and_a_damaged_copy_is_replaced(tmp_path: Path) -> None:
    store = BundleStore(f"memory://{tmp_path.name}", cache_dir=tmp_path / "cache")
    release = store.write("ranker", "v1", FILES)
    directory = store.open(release)
    assert directory.is_relative_to(tmp_path / "cache")
    damage_file(directory)
    assert (store.open(release) / "labels.json").read_bytes() == b"{}"
    with pytest.raises(Conflict):
        store.write("ranker", "v1", {"a": b"other"})


def test_commit_is_read_from_the_repository_around(tmp_path: Path) -> None:
    assert current_commit(tmp_path) == "" or len(current_commit(tmp_path)) == 40
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "inner").mkdir()
    assert current_commit(tmp_path / "inner") == ""
    (tmp_path / ".git" / "packed-refs").write_text(f"{'b' * 40} refs/heads/main\n")
    assert current_commit(tmp_path / "inner") == "b" * 40
    (tmp_path / ".git" / "refs" / "heads" / "main").write_text("a" * 40 + "\n")
    assert current_commit(tmp_path / "inner") == "a" * 40


class Loader:
    """What a service does with bundles: it loads beside and then swaps one reference."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.poison: set[str] = set()

    async def apply(self, release: Release, directory: Path) -> None:
        await asyncio.sleep(0)
        if release.version in self.poison:
            raise RuntimeError("planted")
        self.loaded.append(f"{release.version}:{(directory / 'labels.json').read_text()}")


@asynccontextmanager
async def watching(watcher: BundleWatcher) -> AsyncIterator[None]:
    tasks = Tasks()
    await tasks.__aenter__()
    try:
        await watcher.start(tasks)
        yield
    finally:
        await watcher.stop(Deadline.after(1.0))
        await tasks.end()
        await tasks.__aexit__(None, None, None)


class World:
    """A store, a topic and a loader."""

    def __init__(self, folder: Path) -> None:
        self.store = BundleStore(str(folder / "store"))
        self.bus = InMemoryBus()
        self.loader = Loader()
        self.metrics = Metrics("tests")
        self.state_dir = folder / "state"
        self.producer = self.bus.producer()

    def watcher(self, names: set[str] | None = None) -> BundleWatcher:
        return BundleWatcher(
            self.bus, TOPIC, decode, self.store, names, self.loader.apply, self.state_dir, self.metrics
        )

    async def release(self, version: str, name: str = "ranker") -> Release:
        release = self.store.write(name, version, {"labels.json": version.encode()})
        await self.producer.send(TOPIC, encode(release), key=name.encode())
        return release

    def count(self, outcome: str, name: str = "ranker") -> float:
        value = self.metrics.registry.get_sample_value("bundle_swaps_total", {"name": name, "outcome": outcome})
        return value or 0.0


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_newest_announcement_is_loaded_at_start_and_later_ones_follow(world: World) -> None:
    await world.release("v1")
    await world.release("v2")
    watcher = world.watcher({"ranker"})
    async with watching(watcher):
        assert world.loader.loaded == ["v2:v2"]  # v1 was never loaded
        await world.release("v3")
        await eventually(lambda: watcher.versions == {"ranker": "v3"}, within_s=5)
    assert world.count("swapped") == 2


async def test_failed_swap_keeps_the_old_version_and_is_counted(world: World) -> None:
    await world.release("v1")
    watcher = world.watcher()
    async with watching(watcher):
        world.loader.poison = {"v2"}
        await world.release("v2")
        damage_file(world.store.open(await world.release("v3")))
        await world.producer.send(TOPIC, b"garbage", key=b"ranker")
        await eventually(lambda: world.count("undecodable") == 1, within_s=5)
        assert watcher.versions == {"ranker": "v1"}
        await world.release("v4")
        await eventually(lambda: watcher.versions == {"ranker": "v4"}, within_s=5)
    assert world.count("failed") >= 1


async def test_other_names_are_left_alone(world: World) -> None:
    await world.release("v1", name="other")
    watcher = world.watcher({"ranker"})
    async with watching(watcher):
        assert watcher.versions == {}


async def test_restart_needs_neither_topic_nor_store(world: World) -> None:
    await world.release("v1")
    async with watching(world.watcher({"ranker"})):
        pass
    world.bus = InMemoryBus()
    shutil.rmtree(world.state_dir.parent / "store")
    again = world.watcher({"ranker"})
    async with watching(again):
        assert again.versions == {"ranker": "v1"}
    assert world.loader.loaded == ["v1:v1", "v1:v1"]
    assert world.count("last_good") == 1


async def test_start_without_the_topic_uses_the_last_good_copy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.bundles.watcher.CATCH_UP_S", 0.05)
    await world.release("v1")
    async with watching(world.watcher({"ranker"})):
        pass
    world.bus.is_available = False
    again = world.watcher({"ranker"})
    async with watching(again):
        assert again.versions == {"ranker": "v1"}
    with pytest.raises(Unavailable):  # without a copy it cannot start
        async with watching(world.watcher({"ranker", "other"})):
            pass


async def test_damaged_last_good_copy_is_not_used(world: World) -> None:
    await world.release("v1")
    async with watching(world.watcher({"ranker"})):
        pass
    (copy,) = world.state_dir.glob("bundles/ranker/v1-*")
    damage_file(copy)
    world.bus = InMemoryBus()
    again = world.watcher({"ranker"})
    async with watching(again):
        assert again.versions == {}
    assert world.count("last_good_failed") == 1


async def test_withdrawn_bundle_stays_in_use(world: World) -> None:
    await world.release("v1")
    watcher = world.watcher()
    async with watching(watcher):
        await world.producer.send(TOPIC, None, key=b"ranker")
        await eventually(lambda: world.count("withdrawn") == 1, within_s=5)
        assert watcher.versions == {"ranker": "v1"}


async def test_old_version_announced_again_is_a_rollback(world: World) -> None:
    first = await world.release("v1")
    await world.release("v2")
    watcher = world.watcher()
    async with watching(watcher):
        await world.producer.send(TOPIC, encode(first), key=b"ranker")
        await eventually(lambda: watcher.versions == {"ranker": "v1"}, within_s=5)


async def test_a_pinned_version_is_applied_once_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    store, metrics = BundleStore(str(tmp_path / "store")), Metrics("test")
    releases = [store.write("model", version, {"a": version.encode()}) for version in ("v1", "v2")]
    applied: list[Release] = []
    pinned = PinnedBundle(store, "model", "v1", lambda release, _: applied.append(release), metrics)
    async with asyncio.TaskGroup() as tasks:
        await pinned.start(tasks)
        await pinned.stop(Deadline.after(1.0))
    assert [release.version for release in applied] == [releases[0].version]
    with pytest.raises(NotFound, match="no version 'v3'"):
        async with asyncio.timeout(5):
            await PinnedBundle(store, "model", "v3", lambda *_: None, metrics).start(asyncio.TaskGroup())
