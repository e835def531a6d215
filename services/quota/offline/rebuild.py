"""Rebuilds an empty ledger from the rules topic, which holds every published rule.

`python -m services.quota.offline.rebuild` with the same QUOTA_ variables as the service, while it is stopped. Drafts,
audit records and revoked rules are not on the topic; versions go on from the published ones.
"""

import asyncio
import os
import sys

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import Conflict, CorkboardError
from chassis.kafka.bus import Bus, Record
from chassis.lifecycle import Tasks
from chassis.logs import get_logger
from chassis.shell import Shell
from protos.contracts import CONTRACTS
from protos.quota.v1 import quota_pb2 as pb
from protos.rules import parse_rule_version, rule_from_proto
from protos.topics import QUOTA_RULES
from services.quota.config import Config
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.ports import RuleLedger
from services.quota.wiring import open_ledger

ACTOR = "rebuild"
STOP_S = 5.0

log = get_logger(__name__)


async def rebuild(bus: Bus, ledger: RuleLedger, clock: Clock) -> int:
    """Read the whole topic, then write every published rule in one transaction; how many.

    Raises: Conflict when the ledger holds rules already, Unavailable when the topic cannot be read.
    """
    if await ledger.list_rules("", is_published_only=False):
        raise Conflict("the ledger is not empty: rebuild into a new file")
    found = await _read_topic(bus)
    step = Step("rebuild", ACTOR, f"from topic {QUOTA_RULES.name}", clock.now_ms())
    await ledger.write([AuditRecord(step, None, version) for _, version in sorted(found.items())])
    return len(found)


async def _read_topic(bus: Bus) -> dict[str, RuleVersion]:
    found: dict[str, RuleVersion] = {}

    def on_record(record: Record) -> None:
        key = (record.key or b"").decode()
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = _version(record.value)

    table = bus.table("rebuild", QUOTA_RULES, on_record)
    tasks = Tasks()
    async with tasks:
        try:
            await table.start(tasks)
        except CorkboardError as error:
            failure: CorkboardError | None = error  # told outside: the group would wrap it
        else:
            failure = None
        await table.stop(Deadline.after(STOP_S))
        await tasks.end()
    if failure is not None:
        raise failure
    return found


def _version(value: bytes) -> RuleVersion:
    message: pb.RuleVersion = parse_rule_version(value)
    rule = rule_from_proto(message.rule, message.version)
    by = message.changed_by
    return RuleVersion(rule, RuleState.PUBLISHED, message.changed_time_ms, by, message.why, created_by=by)


async def _run(config: Config) -> int:
    ledger = open_ledger(config.ledger_path, config.ledger_url)
    shell = Shell("quota", config, CONTRACTS)
    await ledger.database.open()
    try:
        num_rules = await rebuild(shell.bus, ledger.rules, SYSTEM_CLOCK)
        # The lost ledger knew its epoch and its leases: a time in seconds is above any epoch it had, and the quiet
        # period is the longest that a lease of it can still be in use.
        now_ms = SYSTEM_CLOCK.now_ms()
        await ledger.leader.start_over(now_ms // 1000, int(config.lease_duration_s * 1000))
        return num_rules
    finally:
        await ledger.database.stop(Deadline.after(STOP_S))


def main() -> int:
    """Exit code 0 when rebuilt."""
    try:
        num_rules = asyncio.run(_run(load(Config, "QUOTA_", os.environ)))
    except CorkboardError as error:
        log.error("ledger not rebuilt", error=str(error), field=error.field)
        return 1
    log.info("ledger rebuilt", rules=num_rules)
    return 0


if __name__ == "__main__":
    sys.exit(main())
