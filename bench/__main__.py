"""`python -m bench [CASE…] [--json]`: figures of the whole house on this machine, kept in bench/results/."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench import feed_latency, freshness, machine
from e2e.house import House

RESULTS = Path(__file__).parent / "results"
CASES = {"feed": feed_latency.measure, "freshness": freshness.measure}
PORT_BASE = 23100


def main() -> int:
    """Run the cases against one house; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), help=f"of: {', '.join(CASES)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), PORT_BASE)
        house.up()
        try:
            house.command("world", "--json", timeout_s=300.0)
            house.command("train", "all", "--json", timeout_s=400.0)
            reports = [run(case, house) for case in arguments.cases]
        finally:
            house.down()
    for report in reports:
        sys.stdout.write(json.dumps(report) + "\n" if arguments.json else _lines(report))
    return 0 if all(gate["holds"] for report in reports for gate in report["gates"]) else 1


def run(case: str, house: House) -> dict[str, object]:
    """One case, with the machine it ran on; also written to results/."""
    report = {"case": case, **machine.describe(), **CASES[case](house), "resident_mb": house.resident_mb()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{case}.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def _lines(report: dict[str, object]) -> str:
    gates = report["gates"]
    assert isinstance(gates, list)
    rows = [f"  {'ok  ' if g['holds'] else 'MISS'} {g['name']}: {g['value']:.1f} (goal ≤ {g['goal']:g})" for g in gates]
    return "\n".join([f"{report['case']}:", *rows, ""])


if __name__ == "__main__":
    sys.exit(main())
