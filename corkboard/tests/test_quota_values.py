"""Amounts and times of the quota commands read both ways."""

import pytest

from chassis.errors import Invalid
from corkboard.commands.quota_values import parse_amount, parse_span_ms, shown_amount, shown_limit, shown_time


@pytest.mark.parametrize(
    ("text", "amount"), [("100", 100.0), ("500m", 0.5), ("16Gi", 16 * 2.0**30), ("1e3", 1e3), ("-1", -1.0)]
)
def test_amount_is_read(text: str, amount: float) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "much", "1Xi", "1 2"])
def test_no_amount_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_amount(text)


def test_span_is_read_and_nonsense_refused() -> None:
    assert (parse_span_ms("90s"), parse_span_ms("1.5h"), parse_span_ms("28d")) == (90_000, 5_400_000, 2_419_200_000)
    for text in ("", "5", "5y", "-1h"):
        with pytest.raises(Invalid):
            parse_span_ms(text)


def test_what_is_shown() -> None:
    assert shown_amount(16 * 2.0**30, "bytes") == "16 GiB"
    assert (shown_amount(2.5, "cores"), shown_amount(-1.0, "pods")) == ("2.5 cores", "")
    assert shown_limit(100.0, "requests", 60.0, "rate") == "100 requests / 60 s"
    assert shown_limit(3.0, "pods", 1.0, "capacity") == "3 pods"
    assert (shown_time(1_750_000_000_000), shown_time(0)) == ("2025-06-15 15:06:40", "")
