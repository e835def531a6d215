"""What an operator may set on ingest; INGEST_<NAME> in the environment."""

from pydantic import Field

from chassis.config import ServiceConfig


class Config(ServiceConfig):
    """Settings of ingest."""

    grpc_port: int = Field(default=7101, ge=0, le=65_535, description="port of the gRPC door; 0 = any free one")
    admin_port: int = Field(default=7201, ge=0, le=65_535, description="port of health and metrics; 0 = any free one")
    flush_delay_ms: float = Field(
        default=50.0, gt=0, le=1000, description="shortest time between two envelopes of a partition, milliseconds"
    )
    envelope_max_events: int = Field(
        default=512, ge=500, le=4096, description="events of one envelope; a whole request fits"
    )
    ack_timeout_s: float = Field(
        default=6.0, gt=0, le=60, description="longest wait for Kafka before UNAVAILABLE, seconds"
    )
    max_pending_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024, description="events and pins waiting for Kafka; above: RESOURCE_EXHAUSTED"
    )
    num_recent_ids: int = Field(
        default=200_000, ge=0, description="acknowledged event ids remembered to tell duplicates, ~0.3 kB each"
    )
