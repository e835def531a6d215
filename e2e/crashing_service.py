"""`python -m e2e.crashing_service SERVICE`: the real service, which kills itself at a step of its own choosing.

CRASH_STEP names the step and CRASH_AT its how-manieth pass; SIGKILL, so nothing is flushed, finished or said.
"""

import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer

from chassis.kafka import arrow
from chassis.kafka.intake import Intake
from chassis.kafka.producer import KafkaProducer
from chassis.lifecycle import run

STEPS = {
    "enrich": ("fetch", "decode", "enrich", "write", "commit"),
    "indexer": ("fetch", "decode", "write", "written", "commit"),
}


class Fuse:
    """Burns down by one with each pass."""

    def __init__(self, num_passes: int) -> None:
        self._left = num_passes

    def pass_by(self) -> None:
        """The last pass does not return."""
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which does not come to be when the fuse is down."""

        @functools.wraps(function)
        def fused(*arguments: Any, **options: Any) -> Any:
            self.pass_by()
            return function(*arguments, **options)

        return fused

    def after(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """`function`, whose effect is there when the fuse is down, and nobody learns it."""

        @functools.wraps(function)
        async def fused(*arguments: Any, **options: Any) -> Any:
            result = await function(*arguments, **options)
            self.pass_by()
            return result

        return fused


def enrich(step: str, fuse: Fuse) -> int:
    """Enrich, while it handles events."""
    from sequences.engine.engine import Engine
    from services.enrich.config import Config
    from services.enrich.wiring import build

    _patch_shared(step, fuse)
    if step == "enrich":
        _patch(Engine, "run", fuse.after)
    elif step == "write":
        _patch(KafkaProducer, "send", fuse.after)
    elif step == "commit":
        _patch(AIOKafkaConsumer, "commit", fuse.before)
    return run("enrich", Config, build)


def indexer(step: str, fuse: Fuse) -> int:
    """The indexer's online role."""
    from services.indexer.config import Config
    from services.indexer.outbound.redis_sequences import RedisSequenceStore
    from services.indexer.wiring import build

    _patch_shared(step, fuse)
    if step == "write":
        _patch(RedisSequenceStore, "append", fuse.before)
    elif step == "written":
        _patch(RedisSequenceStore, "append", fuse.after)
    elif step == "commit":
        _patch(AIOKafkaConsumer, "commit", fuse.before)
    return run("indexer", Config, build)


def _patch(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    setattr(owner, name, wrap(getattr(owner, name)))


def _patch_shared(step: str, fuse: Fuse) -> None:
    if step == "fetch":
        _patch(Intake, "add", fuse.before)
    elif step == "decode":
        _patch(arrow, "decode", fuse.before)


if __name__ == "__main__":
    service = sys.argv[1]
    chosen = os.environ.pop("CRASH_STEP")
    fuse = Fuse(int(os.environ.pop("CRASH_AT")))
    sys.exit({"enrich": enrich, "indexer": indexer}[service](chosen, fuse))
