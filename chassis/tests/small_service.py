"""A process for tests of `run`: `python -m chassis.tests.small_service`; SMALL_MODE says what becomes of it."""

import asyncio
import sys
from typing import Literal

from pydantic import Field

from chassis.config import ServiceConfig
from chassis.errors import Invalid
from chassis.health import Health
from chassis.lifecycle import Service, run
from chassis.logs import get_logger
from chassis.tests.parts import RecordingPart, crash, forever


class Config(ServiceConfig):
    """What to do after the start."""

    mode: Literal["serve", "crash", "stuck", "refuse", "bug"] = Field("serve", description="What to do.")


class Stuck(RecordingPart):
    """Never starts."""

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        get_logger("stuck").info("waiting")
        await forever()


def build(config: Config) -> Service:
    """One part."""
    if config.mode == "refuse":
        raise Invalid("two settings do not fit", field="SMALL_MODE")
    if config.mode == "bug":
        raise RuntimeError("bug in wiring")
    if config.mode == "stuck":
        return Service("small", parts=[Stuck("stuck", [])], doors=[], health=Health())
    part = RecordingPart("boiler", [], task=crash if config.mode == "crash" else forever)
    return Service("small", parts=[part], doors=[], health=Health())


if __name__ == "__main__":
    sys.exit(run("small", Config, build))
