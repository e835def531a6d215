"""Gates: at the limit they open, beyond it they close, and what was not measured never passes."""

import numpy as np
import pytest

from sequences.parity import gates
from sequences.parity.agreement import FieldAgreement
from sequences.parity.causes import CauseCount
from sequences.parity.gates import Gate, Missing, Thresholds
from sequences.parity.matching import HOUR_MS, HourMatch
from sequences.parity.model_effect import ModelEffect
from sequences.parity.overlap import Overlap

LIMITS = Thresholds()
ONES = np.ones(200)


def hour(num_common: int, num_left: int = 1000, num_right: int = 1000, at: int = 0) -> HourMatch:
    return HourMatch(hour_ms=at * HOUR_MS, num_left=num_left, num_right=num_right, num_common=num_common)


def field(num_equal: int, num_compared: int = 1000, kind: str = "equal") -> FieldAgreement:
    return FieldAgreement.model_validate(
        {"column": "c", "kind": kind, "num_compared": num_compared, "num_equal": num_equal, "num_values": 1}
    )


def unknown(num_events: int) -> CauseCount:
    return CauseCount(missing_on="new", cause="unknown", detail="", num_events=num_events)


def tier_1(hours: list[HourMatch], fields: list[FieldAgreement], causes: list[CauseCount]) -> dict[str, Gate]:
    return {gate.name: gate for gate in gates.tier_1(hours, fields, causes, LIMITS)}


def test_equal_sides_open_every_gate_of_tier_1() -> None:
    found = tier_1([hour(1000)], [field(1000)], [])
    assert {gate.verdict for gate in found.values()} == {"passed"}
    assert set(found) == {"match_rate", "agreement:c", "unknown_ratio"}


@pytest.mark.parametrize(("num_common", "verdict"), [(998, "passed"), (997, "failed")])
def test_the_worst_hour_decides(num_common: int, verdict: str) -> None:
    """998 of 1002 are 99.6 %, 997 of 1003 are 99.4 %."""
    assert tier_1([hour(1000), hour(num_common, at=1)], [field(1)], [])["match_rate"].verdict == verdict


@pytest.mark.parametrize(
    ("hours", "why"),
    [
        ([hour(0, 0, 0)], "either side"),
        ([hour(0, 10, 0)], "the new side"),
        ([hour(0, 0, 10)], "the old side"),
        ([hour(1000), hour(0, 0, 0, at=1)], "1 of 2 hours"),
        ([], "either side"),
    ],
)
def test_hours_and_sides_without_events_are_not_measured(hours: list[HourMatch], why: str) -> None:
    gate = tier_1(hours, [field(1000)], [])["match_rate"]
    assert (gate.verdict, gate.value, gate.is_open) == ("not measured", None, False)
    assert why in gate.why


def test_columns_agree_in_all_but_one_of_a_thousand() -> None:
    assert tier_1([hour(1)], [field(999)], [])["agreement:c"].verdict == "passed"
    assert tier_1([hour(1)], [field(998)], [])["agreement:c"].verdict == "failed"


def test_a_column_that_went_closes_the_gate_and_one_that_came_has_none() -> None:
    assert tier_1([hour(1)], [field(0, kind="only in old")], [])["agreement:c"].verdict == "failed"
    assert "agreement:c" not in tier_1([hour(1)], [field(0, kind="only in new"), field(9, 9)][:1], [])


def test_without_common_events_no_column_agrees() -> None:
    gate = tier_1([hour(1)], [field(0, 0)], [])["agreement"]
    assert (gate.verdict, gate.is_open) == ("not measured", False)


def test_unknown_causes_count_against_all_events() -> None:
    assert tier_1([hour(10_000, 10_000, 10_000)], [field(1)], [unknown(5)])["unknown_ratio"].verdict == "passed"
    assert tier_1([hour(10_000, 10_000, 10_000)], [field(1)], [unknown(6)])["unknown_ratio"].verdict == "failed"
    assert tier_1([hour(0, 0, 0)], [field(1)], [])["unknown_ratio"].verdict == "not measured"


def tier_2(jaccard: float = 1.0, kendall: float = 1.0, lag_s: float = 0.0, num_bad: int = 200) -> dict[str, str]:
    """Verdicts when `num_bad` of 200 users have these values and the others are perfect."""
    values = [
        np.concatenate([np.full(num_bad, bad), np.full(200 - num_bad, good)])
        for bad, good in ((jaccard, 1.0), (kendall, 1.0), (lag_s, 0.0))
    ]
    return {gate.name: gate.verdict for gate in gates.tier_2_sequences(Overlap(*values), LIMITS)}


def test_sequences_are_held_to_means_and_to_the_worst_hundredth() -> None:
    assert set(tier_2().values()) == {"passed"}
    assert tier_2(jaccard=0.98)["jaccard_mean"] == "failed"
    assert tier_2(jaccard=0.5, num_bad=3) == tier_2() | {"jaccard_p1": "failed"}
    assert tier_2(jaccard=0.5, num_bad=1) == tier_2()
    assert tier_2(kendall=0.9, num_bad=3)["kendall_mean"] == "failed"
    assert tier_2(lag_s=-1.0)["lag_p50_s"] == "failed"
    assert tier_2(lag_s=-59.0, num_bad=3) == tier_2()
    assert tier_2(lag_s=-61.0, num_bad=3) == tier_2() | {"lag_p99_s": "failed"}


def test_a_ranker_may_change_its_mind_a_little() -> None:
    found = gates.tier_2_model(ModelEffect(ONES * 0.005, ONES * 0.95), LIMITS)
    assert {gate.verdict for gate in found} == {"passed"}
    found = gates.tier_2_model(ModelEffect(ONES * 0.0051, ONES * 0.94), LIMITS)
    assert {gate.verdict for gate in found} == {"failed"}


def test_what_is_missing_closes_gates_unless_definitions_say_there_is_nothing() -> None:
    for missing, verdict, is_open in (
        (Missing(why="no ranker"), "not measured", False),
        (Missing(why="no sequence", by_definition=True), "not applicable", True),
    ):
        found = [*gates.tier_2_sequences(missing, LIMITS), *gates.tier_2_model(missing, LIMITS)]
        assert {(gate.verdict, gate.is_open, gate.why) for gate in found} == {(verdict, is_open, missing.why)}
        assert len(found) == 7


def test_users_without_two_common_events_do_not_count_for_order_and_nobody_is_not_measured() -> None:
    nan = np.full(3, np.nan)
    found = {gate.name: gate for gate in gates.tier_2_sequences(Overlap(ONES, nan, ONES), LIMITS)}
    assert found["kendall_mean"].verdict == "not measured"
    empty = np.zeros(0)
    assert not any(gate.is_open for gate in gates.tier_2_sequences(Overlap(empty, empty, empty), LIMITS))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_value_that_is_no_number_was_not_measured(value: float | None) -> None:
    gate = gates.verdict("x", 1, "x", "<=", 1.0, value)
    assert (gate.verdict, gate.is_open) == ("not measured", False)
