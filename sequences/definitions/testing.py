"""The repository's own definitions, and rows such as they make, for tests of every room."""

import random
from functools import cache
from pathlib import Path
from typing import Any

from sequences.definitions.collect import collect
from sequences.definitions.definitions import Definitions
from sequences.definitions.sequence import Sequence
from sequences.definitions.validate import check

START_MS = 1_750_000_000_000
ROOT = Path(__file__).parents[2] / "definitions"


@cache
def repository_definitions() -> Definitions:
    """Compiled in this process, and valid."""
    definitions = collect(ROOT)
    check(definitions)
    return definitions


def made_up_rows(sequence: Sequence, chance: random.Random, num_rows: int = 256) -> list[dict[str, Any]]:
    """Rows as live ones look, for the columns of the repository's sequences, oldest first."""

    def some(value: Any, event_type: str, *types: str) -> Any:
        return value if event_type in types else None

    rows, time_ms = [], START_MS
    for _ in range(num_rows):
        kind = chance.choice(sequence.event_types)
        time_ms += chance.randrange(3_600_000)
        rows.append(
            {
                "event_id": f"{chance.getrandbits(128):032x}",
                "event_type": kind,
                "event_time_ms": time_ms,
                "pin_id": f"pin-{chance.randrange(10**6):06d}",
                "surface": chance.choice(("home", "related", "search")),
                "request_id": f"{chance.getrandbits(128):032x}",
                "traceparent": f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01",
                "dwell_s": some(chance.random() * 100, kind, "click", "long_view"),
                "value_micros": some(chance.randrange(10**8), kind, "conversion"),
                "rating": some(chance.randrange(10) / 2, kind, "rating"),
                "pin_topics": [f"topic-{chance.randrange(300)}" for _ in range(2)],
                "pin_advertiser_id": f"advertiser-{chance.randrange(500)}" if chance.random() < 0.3 else "",
                "pin_price_band": chance.randrange(5),
                "hour_of_day": time_ms // 3_600_000 % 24,
                "day_of_week": time_ms // 86_400_000 % 7,
                "pin_age_h": chance.random() * 1000,
            }
        )
    return rows
