"""The columns of a pin that others may ask for."""

import pyarrow as pa

PIN_SCHEMA: pa.Schema = pa.schema(
    [
        ("pin_id", pa.string()),
        ("title", pa.string()),
        ("link", pa.string()),
        ("image_url", pa.string()),
        ("topics", pa.list_(pa.string())),
        ("creator_id", pa.string()),
        ("advertiser_id", pa.string()),
        ("price_micros", pa.int64()),
        ("created_time_ms", pa.int64()),
        ("locale", pa.string()),
        ("quality_score", pa.float32()),
        ("content_group", pa.string()),
        ("safety_labels", pa.list_(pa.string())),
        ("content_vector", pa.list_(pa.float32())),
        ("content_vector_version", pa.string()),
        ("semantic_id", pa.list_(pa.int32())),
    ]
)
