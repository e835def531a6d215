"""What the figures were measured on, and how fast it was at that moment."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

SIDE = 512
ROUNDS = 10


def describe() -> dict[str, object]:
    """Commit, time, processor and a calibration: single-thread fp32 GEMM in GFLOP/s."""
    return {
        "commit": _commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_average": [round(each, 1) for each in os.getloadavg()],  # of 1, 5 and 15 minutes, before the case began
        "calibration": {"gemm_gflops": round(_gemm_gflops(), 1)},
    }


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return done.stdout.strip() or "unknown"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gemm_gflops() -> float:
    a = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    best_s = min(_timed(a) for _ in range(ROUNDS))
    return 2 * SIDE**3 / best_s / 1e9


def _timed(a: np.ndarray) -> float:
    start_s = time.perf_counter()
    a @ a
    return time.perf_counter() - start_s
