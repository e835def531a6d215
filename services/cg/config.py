"""Everything about candidate generation that is decided at start."""

from typing import Literal

from pydantic import Field

from chassis.config import ServiceConfig


class Config(ServiceConfig):
    """Read from CG_* variables."""

    grpc_port: int = Field(default=7104, ge=0, le=65535, description="port of the gRPC door; 0 = any free")
    admin_port: int = Field(default=7204, ge=0, le=65535, description="port of the admin server; 0 = any free")
    indexer_target: str = Field(default="127.0.0.1:7103", description="addresses of the indexer, as host:port[@zone],…")
    sequence: str = Field(default="engagement", description="name of the sequence that histories are read from")
    max_history: int = Field(default=100, ge=1, le=2_048, description="newest events read per retrieval")
    history_timeout_s: float = Field(default=0.15, gt=0, description="longest wait for the indexer, seconds")
    retrieve_timeout_s: float = Field(default=1.0, gt=0, description="longest retrieval, seconds")
    torch_num_threads: int = Field(default=1, ge=1, description="threads of one model pass")
    state_refresh_events: int = Field(
        default=5, ge=0, le=10_000, description="new events after which a stored user state is made anew; 0 = never"
    )
    state_refresh_delay_s: float = Field(
        default=1.0, ge=0, le=60, description="seconds the indexer has to store those events before they are read"
    )
    state_refresh_max_per_s: int = Field(
        default=50, ge=4, le=10_000, description="user states made per second at most; one costs about 2 ms of CPU"
    )
    fresh_explore_share: float = Field(
        default=0.2, ge=0, le=1, description="share of fresh slots for pins that few people were shown"
    )
    fresh_few_impressions: int = Field(
        default=10, ge=1, le=1_000_000, description="deliveries below which a pin may take an explored slot"
    )
    contextual_state: Literal["fresh", "stored"] = Field(
        default="fresh", description="hidden state of a readable history: made in the request, or as it was stored"
    )
    index_kind: Literal["auto", "exact", "ann"] = Field(
        default="auto", description="how vectors are searched: exact, ann (a graph), or auto: what costs less"
    )
