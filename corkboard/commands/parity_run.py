"""One parity run from the candidate bundle to the kept report."""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chassis.bundles import BundleStore
from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Invalid
from corkboard.commands.output import Output
from corkboard.commands.parity_jobs import compare, scored
from corkboard.commands.parity_shadow import running
from corkboard.commands.parity_versions import InUse, definitions_of
from corkboard.local.home import Home
from corkboard.local.shadow import Shadow
from corkboard.session import Endpoints
from sequences.definitions.compile import write_bundle
from sequences.parity import gates
from sequences.parity.candidate import Candidate, candidate
from sequences.parity.gates import Thresholds
from sequences.parity.run import ParityRun, Settings

S = 1000
TICK_S = 0.5


@dataclass(frozen=True)
class Order:
    """What to compare and for how long. `replay_s` of the log before now are read as well by a shadow."""

    event_types: tuple[str, ...]
    against: Literal["shadow", "batch"]
    new: str
    for_s: float
    replay_s: float
    settle_s: float
    last: int
    max_users: int


class ParityRunner:
    """In one local Corkboard."""

    def __init__(self, home: Home, endpoints: Endpoints, in_use: InUse, output: Output) -> None:
        self._home = home
        self._endpoints = endpoints
        self._in_use = in_use
        self._output = output
        self._store = BundleStore(str(home.bundles))

    def run(self, order: Order) -> ParityRun:
        """Compare, judge and return; nothing of a shadow is left. Raises: Invalid, NotFound, Unavailable."""
        started_s, run_id = time.monotonic(), f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{order.event_types[0]}"
        chosen = self._candidate(order)
        with ExitStack() as stack:
            shadow = None
            if order.against == "shadow":
                write_bundle(chosen.definitions, self._store)
                shadow = Shadow(
                    f"parity-{run_id.lower().replace('_', '-')}"[:40].rstrip("-"), chosen.definitions.version
                )
                since_ms = SYSTEM_CLOCK.now_ms() - round(order.replay_s * S)
                stack.enter_context(running(shadow, self._home, self._endpoints, since_ms, self._output))
                from_ms = since_ms if order.replay_s else SYSTEM_CLOCK.now_ms()
                until_ms = SYSTEM_CLOCK.now_ms() + round(order.for_s * S)
                self._wait("events flow through both", until_ms)
                self._wait("settling", until_ms + round(order.settle_s * S))
            else:
                until_ms = SYSTEM_CLOCK.now_ms() - round(order.settle_s * S)
                from_ms = until_ms - round(order.for_s * S)
            settings = self._settings(order, chosen, from_ms, until_ms)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="corkboard-parity-")))
            findings, missing = compare(settings, shadow, self._home, self._endpoints, folder, self._output)
            effect = missing or scored(settings, self._home, folder, self._output)
        findings = findings.model_copy(
            update={"gates": (*findings.gates, *gates.tier_2_model(effect, Thresholds()))},
        )
        return ParityRun(
            run_id=run_id,
            settings=settings,
            findings=findings,
            left_out=chosen.left_out,
            duration_s=round(time.monotonic() - started_s, 1),
        )

    def _candidate(self, order: Order) -> Candidate:
        active = definitions_of(self._store, self._in_use.definitions.version)
        if order.against == "batch":
            unknown = [name for name in order.event_types if name not in active.events]
            if unknown:
                raise Invalid(f"{active.version} has no event type {', '.join(unknown)}", field="event_type")
            return Candidate(active, ())
        if not order.new:
            raise Invalid("--new VERSION says which definitions the event types come from", field="new")
        return candidate(active, definitions_of(self._store, order.new), order.event_types)

    def _settings(self, order: Order, chosen: Candidate, from_ms: int, until_ms: int) -> Settings:
        return Settings(
            event_types=order.event_types,
            against=order.against,
            old_version=self._in_use.definitions.version,
            new_version=chosen.definitions.version,
            wanted_version=order.new or chosen.definitions.version,
            from_ms=from_ms,
            until_ms=until_ms,
            settle_s=order.settle_s,
            last=order.last,
            max_users=order.max_users,
            ranker_version=self._in_use.ranker_version,
        )

    def _wait(self, what: str, until_ms: int) -> None:
        left_s = max(0, until_ms - SYSTEM_CLOCK.now_ms()) / S
        with self._output.progress(f"{what}, s", round(left_s)) as advance:
            shown, begin_s = 0, time.monotonic()
            while (passed_s := time.monotonic() - begin_s) < left_s:
                time.sleep(min(TICK_S, left_s - passed_s))
                done = int(time.monotonic() - begin_s)
                advance(done - shown)
                shown = done
