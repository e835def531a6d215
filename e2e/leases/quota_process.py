"""The real quota service, but for its clock: `python -m e2e.leases.quota_process` with QUOTA_ variables."""

import sys

from chassis.lifecycle import Service, run
from e2e.leases.skewed_clock import clock_of_environment
from services.quota.config import Config
from services.quota.wiring import build


def _build(config: Config) -> Service:
    return build(config, clock=clock_of_environment())


if __name__ == "__main__":
    sys.exit(run("quota", Config, _build))
