"""Which versions were activated, in order: what a rollback goes back to.

The announcement topic is compacted and keeps the newest only, so every activation is also a small bundle in the
store, whose name tells its place in the order.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from chassis.bundles.store import BundleStore
from chassis.errors import Corrupt, NotFound

NAME = "definitions-activated"
FILE = "activation.json"


@dataclass(frozen=True)
class Activation:
    """One change of what is active. `replaced` is "" for the first; `time_ms` is epoch milliseconds."""

    version: str
    replaced: str
    is_rollback: bool
    time_ms: int
    activated_by: str


def record(store: BundleStore, activation: Activation) -> None:
    """Remember it. Raises: Conflict when another one has the same time."""
    content = json.dumps(asdict(activation), sort_keys=True).encode()
    store.write(NAME, f"{activation.time_ms:015d}", {FILE: content})


def recorded(store: BundleStore) -> list[Activation]:
    """Every activation, oldest first. Raises: Corrupt."""
    releases = sorted(store.list(NAME), key=lambda release: release.version)
    try:
        return [Activation(**json.loads((store.open(release) / FILE).read_bytes())) for release in releases]
    except (TypeError, ValueError, OSError) as error:
        raise Corrupt(f"an activation under {NAME} cannot be read: {error}") from error


def previous(activations: Sequence[Activation], active: str) -> str:
    """The version that was active before `active`; a rollback undoes one activation, the next rollback the one before.

    Raises: NotFound when nothing was active before.
    """
    stack = _stack(activations)
    while stack and stack[-1] != active:  # announced by somebody who kept no record: unwind to what is known
        stack.pop()
    if len(stack) < 2:
        raise NotFound(f"nothing was active before {active or 'now'}: there is no version to roll back to")
    return stack[-2]


def _stack(activations: Iterable[Activation]) -> list[str]:
    stack: list[str] = []
    for each in activations:
        if each.is_rollback:
            while len(stack) > 1 and stack[-1] != each.version:
                stack.pop()
            continue
        if each.replaced and stack[-1:] != [each.replaced]:
            stack.append(each.replaced)
        if stack[-1:] != [each.version]:
            stack.append(each.version)
    return stack
