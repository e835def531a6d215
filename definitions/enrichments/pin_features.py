"""What is known about the pin that was acted upon, and when it happened."""

from sequences.definitions.enrichment import Column, Enrichment

pin_features = Enrichment(
    name="pin_features",
    owner="feed",
    executor="lookup_pin",
    reads=("pin_id",),
    description="One batched look-up per envelope; null when the pin or the feature service is unknown.",
    event_types=("impression", "click", "save", "long_view", "hide", "share", "conversion", "rating"),
    parameters={"price_bands_micros": [1, 10_000_000, 50_000_000, 200_000_000]},
    on_missing="null",
    timeout_s=0.5,
    writes=(
        Column(name="pin_topics", type="list<string>"),
        Column(name="pin_advertiser_id", type="string"),
        Column(name="pin_price_band", type="int32"),
        Column(name="pin_created_time_ms", type="int64"),
    ),
)
time_features = Enrichment(
    name="time_features",
    owner="feed",
    executor="time_features",
    reads=("event_time_ms", "pin_created_time_ms"),
    description="Hour and weekday in UTC, age of the pin at the event.",
    writes=(
        Column(name="hour_of_day", type="int32"),
        Column(name="day_of_week", type="int32"),
        Column(name="pin_age_h", type="float32"),
    ),
)
