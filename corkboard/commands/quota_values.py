"""Amounts, spans of time and points in time, as people write and read them on the command line."""

import re
from datetime import UTC, datetime

from chassis.errors import Invalid

SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
FACTORS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
FACTORS |= {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", 1)}


def parse_amount(text: str) -> float:
    """`100`, `500m`, `16Gi`. Raises: Invalid."""
    match = re.fullmatch(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?nan|[-+]?inf)([a-zA-Z]*)", text.strip())
    if match is None or match.group(2) not in FACTORS:
        raise Invalid(f"{text!r} is no amount such as 100, 500m or 16Gi", field="limit")
    return float(match.group(1)) * FACTORS[match.group(2)]


def parse_span_ms(text: str) -> int:
    """`90s`, `15m`, `2h`, `28d` in milliseconds. Raises: Invalid."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise Invalid(f"{text!r} is no span of time such as 90s, 15m, 2h or 28d", field="last")
    return int(float(match.group(1)) * SECONDS[match.group(2)] * 1000)


def shown_time(time_ms: int) -> str:
    """UTC to the second; "" for 0."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if time_ms else ""


def shown_amount(amount: float, unit: str) -> str:
    """Bytes in the unit that reads best, everything else as it is; "" for what is not known (negative)."""
    if amount < 0:
        return ""
    if unit == "bytes":
        for suffix in ("Ti", "Gi", "Mi", "Ki"):
            if amount >= FACTORS[suffix]:
                return f"{amount / FACTORS[suffix]:.4g} {suffix}B"
    return f"{amount:.6g} {unit}"


def shown_limit(limit: float, unit: str, period_s: float, kind: str) -> str:
    """`100 requests / 1 s`, or `16 GiB` of capacity."""
    return shown_amount(limit, unit) if kind == "capacity" else f"{shown_amount(limit, unit)} / {period_s:g} s"
