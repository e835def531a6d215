"""What a person does with a pin that is shown: looking follows liking, buying follows wanting."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from protos.ingest.v1 import ingest_pb2

ACTIONS = ("click", "long_view", "save", "share", "hide", "conversion")
MISSING_DWELL_SHARE = 0.12  # of clicks: the page was left by closing the app
TYPICAL_DWELL_S = 7.0
WANTING_SHARE = 0.25  # of wanting that shows in clicks and saves


@dataclass(frozen=True)
class Shown:
    """One pin on one place of a feed; ids are texts. `wanting` is None for a pin that cannot be bought."""

    request_id: str
    user_id: str
    pin_id: str
    time_ms: int
    like: float
    wanting: float | None = None
    is_bot: bool = False


def reactions(random: np.random.Generator, shown: Shown) -> Iterator[ingest_pb2.Event]:
    """A person's reactions to one pin; probabilities follow the liking, and the wanting of ads."""
    for action in _drawn(random, shown):
        delay_ms = min(120_000, int(random.exponential(60_000))) if action == "conversion" else 0
        yield ingest_pb2.Event(
            event_id=f"{shown.request_id}-{int(shown.pin_id.rsplit('-', 1)[1])}-{action}",
            user_id=shown.user_id,
            event_type=action,
            event_time_ms=shown.time_ms + 1_500 + delay_ms,
            pin_id=shown.pin_id,
            surface="home",
            request_id=shown.request_id,
            attributes_json=json.dumps(_attributes(random, action, shown)).encode(),
        )


def _drawn(random: np.random.Generator, shown: Shown) -> list[str]:
    if shown.is_bot:
        return ["click"]
    like = shown.like + WANTING_SHARE * (shown.wanting or 0.0)
    click = random.random() < _logistic(like - 1.6)
    drawn = ["click"] if click else []
    if click and random.random() < _logistic(like - 0.5):
        drawn.append("long_view")
    if random.random() < _logistic(like - 2.6):
        drawn.append("save")
    if click and random.random() < 0.04 * _logistic(like):
        drawn.append("share")
    if click and shown.wanting is not None and random.random() < _logistic(1.5 * shown.wanting - 2.5):
        drawn.append("conversion")
    if not drawn and random.random() < 0.25 * _logistic(-like - 2.0):
        drawn.append("hide")
    return drawn


def _attributes(random: np.random.Generator, action: str, shown: Shown) -> dict[str, float]:
    if action == "click" and not shown.is_bot and random.random() >= MISSING_DWELL_SHARE:
        # whoever thinks of buying reads longer, whether it is bought in the end or not
        pull = 0.3 * shown.like + 0.5 * (shown.wanting or 0.0)
        return {"dwell_s": round(float(np.clip(TYPICAL_DWELL_S * np.exp(pull + random.normal(0, 0.7)), 0.3, 600)), 1)}
    if action == "long_view":
        return {"dwell_s": round(float(10 + random.exponential(20) * (1 + max(0.0, shown.like))), 1)}
    if action == "conversion":
        return {"value_micros": int(random.lognormal(3.2, 0.8) * 1e6)}
    return {}


def _logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))
