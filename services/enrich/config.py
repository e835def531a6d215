"""What an operator may set on enrich; ENRICH_<NAME> in the environment."""

from pydantic import Field

from chassis.config import ServiceConfig


class Config(ServiceConfig):
    """Settings of enrich."""

    grpc_port: int = Field(default=7102, ge=0, le=65_535, description="port of the gRPC door; 0 = any free one")
    admin_port: int = Field(default=7202, ge=0, le=65_535, description="port of health and metrics; 0 = any free one")
    indexer_target: str = Field(default="127.0.0.1:7103", description="addresses of indexer, host:port[@zone],...")
    group: str = Field(
        default="enrich",
        min_length=1,
        description="group of events, over all zones; GROUP.pins is that of pins",
    )
    max_concurrent_batches: int = Field(default=4, ge=1, le=64, description="batches in the engine at once")
    pin_cache_rows: int = Field(default=50_000, ge=0, description="pins remembered for look-ups, ~0.5 kB each")
    pin_cache_ttl_s: float = Field(default=60.0, gt=0, description="age at which a remembered pin is asked for again")
    missing_pin_ttl_s: float = Field(default=1.0, gt=0, description="the same for a pin that was unknown")
    definitions_version: str = Field(default="", description="work with this version only; empty = with what is active")
    shadow: str = Field(
        default="",
        pattern="^[a-z0-9-]{0,40}$",
        description="name of a run beside the real one: own group and topics, events only; empty = the real one",
    )
