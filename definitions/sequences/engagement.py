"""The sequences that models and filters read."""

from sequences.definitions.sequence import Sequence

WINDOW_DAYS = 18_250  # max_events is the bound that matters; imported ratings span decades

engagement = Sequence(
    name="engagement",
    owner="feed",
    max_events=2048,
    window_days=WINDOW_DAYS,
    description="What a person chose; the history of every ranking and retrieval model.",
    event_types=("click", "save", "long_view", "share", "conversion", "rating"),
    columns=(
        "event_id",
        "event_type",
        "event_time_ms",
        "pin_id",
        "surface",
        "request_id",
        "traceparent",
        "dwell_s",
        "value_micros",
        "rating",
        "pin_topics",
        "pin_advertiser_id",
        "pin_price_band",
        "hour_of_day",
        "day_of_week",
        "pin_age_h",
    ),
)
negative = Sequence(
    name="negative",
    owner="feed",
    max_events=2048,
    window_days=365,
    description="What a person does not want to see again.",
    event_types=("hide",),
    columns=(
        "event_id",
        "event_type",
        "event_time_ms",
        "pin_id",
        "surface",
        "request_id",
        "traceparent",
        "pin_topics",
        "pin_advertiser_id",
    ),
)
