"""What a load found, as numbers: percentiles over all and by second, errors by code, degraded parts."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from corkboard.load.driver import Sample

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
LATE_LIMIT_MS = 50.0  # a generator that sends later than this measures its own machine


def summarise(samples: Sequence[Sample], duration_s: float) -> dict[str, Any]:
    """One row per kind of call and second; latencies in ms, of good answers, from the intended time of sending."""
    kinds = sorted({sample.kind for sample in samples})
    return {
        "duration_s": duration_s,
        "by_kind": {kind: _kind([one for one in samples if one.kind == kind], duration_s) for kind in kinds},
        "by_second": _by_second(samples),
        "sender": sender(samples),
    }


def sender(samples: Sequence[Sample]) -> dict[str, Any]:
    """How punctual the sender itself was; when it `is_late`, latencies are partly its own."""
    late_ms = round(float(np.quantile([one.late_ms for one in samples], 0.99)), 1) if samples else 0.0
    return {"late_p99_ms": late_ms, "is_late": late_ms > LATE_LIMIT_MS}


def latencies(samples: Sequence[Sample]) -> dict[str, float]:
    """Quantiles over the good answers; empty when there is none."""
    values = [one.latency_ms for one in samples if one.is_ok]
    if not values:
        return {}
    return {name: round(float(np.quantile(values, share)), 1) for name, share in QUANTILES.items()}


def _kind(samples: Sequence[Sample], duration_s: float) -> dict[str, Any]:
    good = [one for one in samples if one.is_ok]
    return {
        "num_calls": len(samples),
        "num_ok": len(good),
        "goodput_per_s": round(len(good) / duration_s, 2),
        "latency_ms": latencies(samples),
        "errors": dict(Counter(one.code for one in samples if not one.is_ok)),
        "num_degraded": sum(bool(one.degraded) for one in good),
        "degraded": dict(Counter(part for one in good for part in one.degraded).most_common()),
    }


def _by_second(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    seconds: dict[tuple[int, str], list[Sample]] = {}
    for sample in samples:
        seconds.setdefault((int(sample.at_s), sample.kind), []).append(sample)
    return [
        {
            "second": second,
            "kind": kind,
            "num_calls": len(group),
            "num_ok": sum(one.is_ok for one in group),
            "num_degraded": sum(bool(one.degraded) for one in group),
            **{key: value for key, value in latencies(group).items() if key in ("p50", "p99", "max")},
        }
        for (second, kind), group in sorted(seconds.items())
    ]
