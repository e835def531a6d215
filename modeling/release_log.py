"""Which versions of a model bundle were announced, in order: what a rollback goes back to.

The announcement topic is compacted and keeps the newest only, so every announcement is also a small bundle in the
store, under `announced-<name>`, whose version tells its place in the order.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from chassis.bundles import BundleStore, Release
from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Conflict, Corrupt, NotFound

PREFIX = "announced-"
FILE = "announcement.json"


@dataclass(frozen=True)
class Announcement:
    """One change of what is live; `time_ms` is epoch milliseconds."""

    version: str
    time_ms: int
    announced_by: str
    is_rollback: bool = False


def record(release: Release, announced_by: str, *, is_rollback: bool = False) -> None:
    """Remember it in the store that the release lies in. Raises: what BundleStore.write raises."""
    store, time_ms = _store_of(release), SYSTEM_CLOCK.now_ms()
    while True:
        announcement = Announcement(release.version, time_ms, announced_by, is_rollback)
        content = json.dumps(asdict(announcement), sort_keys=True).encode()
        try:
            store.write(f"{PREFIX}{release.name}", f"{time_ms:015d}", {FILE: content})
        except Conflict:  # another one in the same millisecond
            time_ms += 1
            continue
        return


def recorded(store: BundleStore, name: str) -> list[Announcement]:
    """Every announcement of `name`, oldest first. Raises: Corrupt."""
    releases = sorted(store.list(f"{PREFIX}{name}"), key=lambda release: release.version)
    try:
        return [Announcement(**json.loads((store.open(release) / FILE).read_bytes())) for release in releases]
    except (TypeError, ValueError, OSError) as error:
        raise Corrupt(f"an announcement under {PREFIX}{name} cannot be read: {error}") from error


def previous(announcements: Sequence[Announcement], live: str) -> str:
    """The version that was live before `live`; a rollback undoes one announcement, the next one the one before.

    Raises: NotFound when nothing was live before.
    """
    stack = _stack(announcements)
    while stack and stack[-1] != live:  # announced by somebody who kept no record: unwind to what is known
        stack.pop()
    if len(stack) < 2:
        raise NotFound(f"no version was live before {live or 'now'}: there is nothing to roll back to")
    return stack[-2]


def _stack(announcements: Iterable[Announcement]) -> list[str]:
    stack: list[str] = []
    for each in announcements:
        if each.is_rollback:
            while len(stack) > 1 and stack[-1] != each.version:
                stack.pop()
        elif stack[-1:] != [each.version]:
            stack.append(each.version)
    return stack


def _store_of(release: Release) -> BundleStore:
    return BundleStore(release.uri.rstrip("/").rsplit("/", 2)[0])
