"""Lua scripts and plain commands in one round trip, each script sent by its digest."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

Argument = bytes | str | int


@dataclass(frozen=True)
class Script:
    """A Lua script of this folder."""

    source: str
    digest: str


def script(name: str) -> Script:
    """Read `<name>.lua`."""
    source = resources.files("services.indexer.outbound").joinpath(f"{name}.lua").read_text()
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True)
class Call:
    """One script with its keys and arguments. It must be idempotent: a lost answer makes the caller repeat it."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument]

    def command(self, is_by_digest: bool) -> tuple[Argument, ...]:
        """The command to send."""
        how: tuple[Argument, ...] = ("EVALSHA", self.script.digest) if is_by_digest else ("EVAL", self.script.source)
        return (*how, len(self.keys), *self.keys, *self.arguments)


async def execute(connection: "Redis", calls: Sequence[Call | tuple[Argument, ...]]) -> list[Any]:
    """One answer per call, in order. A script the server does not know is sent whole and remembered there.

    Raises: the first error of the server or of the connection.
    """
    answers = await _send(connection, [_command(call, True) for call in calls])
    unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if unknown:
        again = await _send(connection, [_command(calls[place], False) for place in unknown])
        for place, answer in zip(unknown, again, strict=True):
            answers[place] = answer
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


def _command(call: Call | tuple[Argument, ...], is_by_digest: bool) -> tuple[Argument, ...]:
    return call.command(is_by_digest) if isinstance(call, Call) else call


async def _send(connection: "Redis", commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
    if len(commands) == 1:  # most reads; a pipeline of one takes a tenth of a millisecond more
        return [await _one(connection, commands[0])]
    pipeline = connection.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    return answers


async def _one(connection: "Redis", command: tuple[Argument, ...]) -> Any:
    try:
        return await connection.execute_command(*command)  # type: ignore[no-untyped-call]
    except ResponseError as error:
        return error
