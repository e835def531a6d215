"""What a scenario is: a load, faults drawn from a seed, and the names of the invariants that must hold all the same."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chassis.errors import Invalid
from corkboard.load.plan import Call, Phase, plan_calls

DURATION_S = 30.0
ROUND_S = 60.0  # a longer run has the faults of a fresh draw in each
CALLS_PER_S = 6.0  # what two cores that also run the load and six other things answer in time
MIX = {"feed": 0.5, "events": 0.5}
NUM_USERS = 50


@dataclass(frozen=True)
class Fault:
    """`action` on `target` at `at_s`, undone after `for_s`; `strength` is in the action's own unit."""

    at_s: float
    action: str
    target: str
    for_s: float = 0.0
    strength: float = 0.0


Draw = Callable[[random.Random], tuple[Fault, ...]]


@dataclass(frozen=True)
class Scenario:
    """A load with faults. What it needs beside the house, its control has as well: `link` (caller, callee) puts a proxy
    between the two, `twins` have a second process, the answers of `wrong` can be spoilt; `house` is plain, tls
    or zones (a, where the load is, and b)."""

    name: str
    description: str
    faults: Draw
    checks: tuple[str, ...]
    phases: tuple[Phase, ...] = (Phase(CALLS_PER_S, DURATION_S),)
    control_phases: tuple[Phase, ...] = ()
    link: tuple[str, str] | None = None
    twins: tuple[str, ...] = ()
    wrong: str = ""
    house: str = "plain"
    bad_bundles: tuple[str, ...] = ()
    needs_rebuild: bool = False
    repeats: float = 0.0
    shuffles: bool = False
    clock_steps_ms: int = 0
    ends_with_faults: bool = False
    num_rounds: int = 1

    def lasting(self, duration_s: float) -> "Scenario":
        """The same over a longer time: each phase longer by the same factor, faults drawn anew for each minute. A
        control that is shorter than the run stays as it is.

        Raises: Invalid for a scenario that is as long as what it does.
        """
        if self.ends_with_faults:
            raise Invalid(f"{self.name} is as long as its restarts take", field="duration")
        whole_s, control_s = (sum(one.duration_s for one in each) for each in (self.phases, self.control_phases))
        return replace(
            self,
            phases=tuple(replace(phase, duration_s=phase.duration_s * duration_s / whole_s) for phase in self.phases),
            control_phases=self.control_phases if control_s < whole_s else (Phase(CALLS_PER_S, duration_s),),
            num_rounds=max(1, int(duration_s / ROUND_S)),
        )

    def calls(self, seed: int, *, is_control: bool) -> list[Call]:
        """The calls of the run, or of its control."""
        return plan_calls((is_control and self.control_phases) or self.phases, MIX, NUM_USERS, seed)

    def plan(self, seed: int) -> dict[str, Any]:
        """What a run with this seed does, for a reader and for `replay`."""
        return {
            "scenario": self.name,
            "seed": seed,
            "duration_s": sum(phase.duration_s for phase in self.phases),
            "faults": [vars(fault) for fault in self.schedule(seed)],
        }

    def schedule(self, seed: int) -> tuple[Fault, ...]:
        """The faults of this seed, by time."""
        drawn = [fault for number in range(self.num_rounds) for fault in self._round(seed, number)]
        return tuple(sorted(drawn, key=lambda fault: fault.at_s))

    def _round(self, seed: int, number: int) -> Sequence[Fault]:
        chance = random.Random(f"{self.name} {seed}" + (f" {number}" if number else ""))
        return [replace(fault, at_s=fault.at_s + number * ROUND_S) for fault in self.faults(chance)]
