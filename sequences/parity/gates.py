"""The limits that a cut-over must keep, and the verdict on each: what was not measured never passes."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sequences.definitions.definition import Frozen
from sequences.parity.agreement import FieldAgreement
from sequences.parity.causes import CauseCount
from sequences.parity.matching import HourMatch
from sequences.parity.model_effect import ModelEffect
from sequences.parity.overlap import Overlap

Verdict = Literal["passed", "failed", "not measured", "not applicable"]
Doubles = NDArray[np.float64]


class Thresholds(Frozen):
    """Defaults of every gate; ratios, seconds for lag."""

    match_rate: float = Field(default=0.995, ge=0, le=1)
    field_agreement: float = Field(default=0.999, ge=0, le=1)
    unknown_ratio: float = Field(default=0.0005, ge=0, le=1)
    jaccard_mean: float = Field(default=0.99, ge=0, le=1)
    jaccard_p1: float = Field(default=0.9, ge=0, le=1)
    kendall_mean: float = Field(default=0.999, ge=-1, le=1)
    lag_p50_s: float = 0.0
    lag_p99_s: float = -60.0
    score_delta_mean: float = Field(default=0.005, ge=0)
    top_overlap_mean: float = Field(default=0.95, ge=0, le=1)


class Gate(Frozen):
    """One limit. `value` is None when it was not measured; `why` then says what was missing."""

    name: str
    tier: Literal[1, 2]
    what: str
    limit: Literal[">=", "<="]
    threshold: float
    value: float | None
    verdict: Verdict
    why: str = ""

    @property
    def is_open(self) -> bool:
        """Whether a cut-over may go through."""
        return self.verdict in ("passed", "not applicable")


class Missing(Frozen):
    """Why a tier-2 measurement is not there. `by_definition`: there is nothing to measure, and never will be."""

    why: str
    by_definition: bool = False


def tier_1(
    hours: Sequence[HourMatch], fields: Sequence[FieldAgreement], causes: Sequence[CauseCount], limits: Thresholds
) -> list[Gate]:
    """Match rate of the worst hour, agreement per column, share of events that nothing explains."""
    return [_match_rate(hours, limits), *_fields(fields, limits), _unknown(hours, causes, limits)]


def tier_2_sequences(found: Overlap | Missing, limits: Thresholds) -> list[Gate]:
    """Set overlap, order and lag over the sampled users. Quantiles are those of the worse side of an interval."""
    groups = (lambda _: np.zeros(0)) if isinstance(found, Missing) else (lambda name: getattr(found, name))
    return [
        _gate(groups("jaccard_G"), found, "jaccard_mean", "set overlap, mean", ">=", limits.jaccard_mean, _mean),
        _gate(groups("jaccard_G"), found, "jaccard_p1", "set overlap, 1st percentile", ">=", limits.jaccard_p1, _p1),
        _gate(groups("kendall_G"), found, "kendall_mean", "order of common events", ">=", limits.kendall_mean, _mean),
        _gate(groups("lag_s_G"), found, "lag_p50_s", "lag of newest event, median", ">=", limits.lag_p50_s, _p50),
        _gate(groups("lag_s_G"), found, "lag_p99_s", "lag that 99 % keep", ">=", limits.lag_p99_s, _p1),
    ]


def tier_2_model(found: ModelEffect | Missing, limits: Thresholds) -> list[Gate]:
    """What a frozen ranker makes of the difference."""
    missing = isinstance(found, Missing)
    delta, top = (np.zeros(0),) * 2 if isinstance(found, Missing) else (found.score_delta_R, found.top_overlap_R)
    assert missing or len(delta) == len(top)  # noqa: S101 - both are per request
    return [
        _gate(delta, found, "score_delta_mean", "change of ranker scores", "<=", limits.score_delta_mean, _mean),
        _gate(top, found, "top_overlap_mean", "top ten kept", ">=", limits.top_overlap_mean, _mean),
    ]


def closed(gates: Iterable[Gate]) -> list[Gate]:
    """Those that stand in the way."""
    return [gate for gate in gates if not gate.is_open]


def _match_rate(hours: Sequence[HourMatch], limits: Thresholds) -> Gate:
    empty = [hour for hour in hours if hour.rate is None]
    rates = [hour.rate for hour in hours if hour.rate is not None]
    one_sided = [
        side for side in ("left", "right") if rates and not sum(getattr(hour, f"num_{side}") for hour in hours)
    ]
    why = ""
    if not rates:
        why = "no events on either side"
    elif one_sided:
        why = f"no events on the {'old' if one_sided == ['left'] else 'new'} side"
    elif empty:
        why = f"no events in {len(empty)} of {len(hours)} hours, the first at {empty[0].hour_ms} ms"
    value = None if why else min(rates)
    return verdict("match_rate", 1, "events on both sides, worst hour", ">=", limits.match_rate, value, why)


def _fields(fields: Sequence[FieldAgreement], limits: Thresholds) -> list[Gate]:
    compared = [each for each in fields if each.kind != "only in new"]
    if not any(each.num_compared for each in compared):
        why = "no event is on both sides"
        return [verdict("agreement", 1, "columns that agree", ">=", limits.field_agreement, None, why)]
    return [
        verdict(f"agreement:{each.column}", 1, each.kind, ">=", limits.field_agreement, each.ratio) for each in compared
    ]


def _unknown(hours: Sequence[HourMatch], causes: Sequence[CauseCount], limits: Thresholds) -> Gate:
    num_any = sum(hour.num_left + hour.num_right - hour.num_common for hour in hours)
    num_unknown = sum(each.num_events for each in causes if each.cause == "unknown")
    value, why = (num_unknown / num_any, "") if num_any else (None, "no events on either side")
    return verdict("unknown_ratio", 1, "events that nothing explains", "<=", limits.unknown_ratio, value, why)


def _gate(
    values: Doubles,
    found: object,
    name: str,
    what: str,
    limit: Literal[">=", "<="],
    threshold: float,
    statistic: Callable[[Doubles], float],
) -> Gate:
    if isinstance(found, Missing):
        gate = verdict(name, 2, what, limit, threshold, None, found.why)
        return gate.model_copy(update={"verdict": "not applicable"}) if found.by_definition else gate
    known = values[~np.isnan(values)]
    value, why = (statistic(known), "") if len(known) else (None, "no sampled user has enough events")
    return verdict(name, 2, what, limit, threshold, value, why)


def verdict(
    name: str,
    tier: Literal[1, 2],
    what: str,
    limit: Literal[">=", "<="],
    threshold: float,
    value: float | None,
    why: str = "",
) -> Gate:
    """The gate with its verdict; a value that is no finite number was not measured."""
    if value is None or not np.isfinite(value):
        why = why or f"the value is {value}"
        return Gate(
            name=name,
            tier=tier,
            what=what,
            limit=limit,
            threshold=threshold,
            value=None,
            verdict="not measured",
            why=why,
        )
    is_kept = value >= threshold if limit == ">=" else value <= threshold
    return Gate(
        name=name,
        tier=tier,
        what=what,
        limit=limit,
        threshold=threshold,
        value=float(value),
        verdict="passed" if is_kept else "failed",
    )


def _mean(values: Doubles) -> float:
    return math.fsum(values.tolist()) / len(values)  # exact: 200 times the limit has the limit as its mean


def _p1(values: Doubles) -> float:
    return float(np.quantile(values, 0.01, method="lower"))


def _p50(values: Doubles) -> float:
    return float(np.quantile(values, 0.5, method="lower"))
