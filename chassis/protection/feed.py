"""Brings the rules of the compacted topic into force, and the last good ones from disk when the topic is away."""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Invalid, Unavailable
from chassis.kafka.bus import Bus, Record
from chassis.kafka.topic import Topic
from chassis.logs import get_logger
from chassis.protection.protection import Protection
from chassis.protection.rule import Rule, check_rule

CATCH_UP_S = 5.0  # start-up never waits longer for rules: without them nothing is refused
RETRY_S = 5.0

log = get_logger(__name__)


class RuleFeed:
    """Follows the rules topic. A record that cannot be read, or a rule that is not acceptable, leaves the rule of its
    key as it was. A missing topic never stops the start: the last good rules of `state_dir` (or none) are in force.
    """

    def __init__(
        self,
        bus: Bus,
        topic: Topic,
        decode: Callable[[bytes], Rule],
        protection: Protection,
        state_dir: str | Path,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = "rules"
        self._decode, self._protection, self._clock = decode, protection, clock
        self._table, self._patience = bus.table(self.name, topic, self._on_record), bus.patience
        self._file = Path(state_dir) / "rules.json"
        self._rules: dict[str, Rule] = {}
        self._is_caught_up = False
        self.num_bad_records = 0

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Last-good rules, then the topic; returns within `CATCH_UP_S` whether or not the topic is there."""
        for rule in await asyncio.to_thread(_load, self._file):
            self._rules[rule.key] = rule
        self._protection.set_rules(self._rules.values())
        following = tasks.create_task(self._follow(tasks))
        await self._patience.wait(following, CATCH_UP_S)

    async def stop(self, deadline: Deadline) -> None:
        """Stop following; the rules stay in force."""
        await self._table.stop(deadline)

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        from_disk = dict(self._rules)
        while True:
            try:
                await self._table.start(tasks)
                break
            except Unavailable as error:
                log.warning("rules topic unavailable, last good rules in force", error=str(error))
                await self._clock.sleep(RETRY_S)
        # What only the disk knew was revoked while this process was away.
        self._rules = {key: rule for key, rule in self._rules.items() if rule is not from_disk.get(key)}
        self._is_caught_up = True
        await self._enforce()

    async def _on_record(self, record: Record) -> None:
        key = (record.key or b"").decode(errors="replace")
        before = self._rules.get(key)
        try:
            self._apply(key, record.value)
        except CorkboardError:
            self.num_bad_records += 1
            raise  # the table counts it and says why
        if self._is_caught_up and self._rules.get(key) != before:
            await self._enforce()

    def _apply(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._rules.pop(key, None)
            return
        rule = self._decode(value)
        check_rule(rule)
        if rule.key != key:
            raise Invalid(f"rule {rule.key!r} came under key {key!r}", field="key")
        self._rules[key] = rule

    async def _enforce(self) -> None:
        self._protection.set_rules(self._rules.values())
        try:
            await asyncio.to_thread(_save, self._file, list(self._rules.values()))
        except OSError as error:
            log.warning("last good rules not kept", file=str(self._file), error=str(error))


def _load(file: Path) -> list[Rule]:
    try:
        return [Rule(**fields) for fields in json.loads(file.read_text())]
    except FileNotFoundError:
        return []
    except (OSError, TypeError, ValueError) as error:
        log.warning("last good rules not readable", file=str(file), error=str(error))
        return []


def _save(file: Path, rules: list[Rule]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    staging.write_text(json.dumps([asdict(rule) for rule in rules]))
    os.replace(staging, file)
