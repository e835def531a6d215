"""The verdict of a scenario: what its checks find in the run with faults and not in the control."""

from collections.abc import Sequence
from dataclasses import dataclass

from e2e.chaos.checks import CHECKS
from e2e.chaos.history import History

HOLDS, VIOLATED, INCONCLUSIVE = "holds", "violated", "control fails too"


@dataclass(frozen=True)
class Finding:
    """One check: what it found with faults, and without."""

    check: str
    violations: tuple[str, ...]
    in_control: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """A control that fails cannot blame the faults, and is no pass either."""
        if self.in_control:
            return INCONCLUSIVE
        return VIOLATED if self.violations else HOLDS


@dataclass(frozen=True)
class Outcome:
    """A scenario with both histories."""

    scenario: str
    seed: int
    findings: tuple[Finding, ...]
    run: History
    control: History

    @property
    def holds(self) -> bool:
        return all(finding.verdict == HOLDS for finding in self.findings)


def judge(scenario: str, seed: int, checks: Sequence[str], run: History, control: History) -> Outcome:
    """Every check over both histories."""
    findings = tuple(
        Finding(name, tuple(CHECKS[name](run, control)), tuple(CHECKS[name](control, control))) for name in checks
    )
    return Outcome(scenario, seed, findings, run, control)
