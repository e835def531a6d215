"""CloudEvents attributes as Kafka headers (CloudEvents 1.0, Kafka protocol binding, binary mode)."""

from datetime import UTC, datetime


def headers(type: str, source: str, id: str, schema_version: str, content_type: str) -> dict[str, str]:
    """Headers of one record; `traceparent` is added by the producer."""
    return {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_type": type,
        "ce_source": source,
        "ce_time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "content-type": content_type,
        "schema-version": schema_version,
    }
