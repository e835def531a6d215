"""The settings of blender."""

from pydantic import Field

from chassis.redis.security import RedisConfig


class Config(RedisConfig):
    """Read from BLENDER_* variables."""

    grpc_port: int = Field(default=7107, ge=0, le=65535, description="port of the feed API; 0 = any free one")
    admin_port: int = Field(default=7207, ge=0, le=65535, description="port of health, metrics and config; 0 = any")
    indexer_target: str = Field(default="127.0.0.1:7103", description="addresses of indexer, host:port@zone,...")
    cg_target: str = Field(default="127.0.0.1:7104", description="addresses of cg, host:port@zone,...")
    ranker_target: str = Field(default="127.0.0.1:7105", description="addresses of the ranker root, host:port@zone,...")
    sequence: str = Field(
        default="engagement",
        description="name of the sequence that is read once for cg and the ranker; empty = each reads it itself",
    )
    read_history: int = Field(
        default=512, ge=1, le=2_048, description="newest events read of it; who reads more reads them itself"
    )
    redis_url: str = Field(default="redis://127.0.0.1:7379/0", description="the zone's Valkey, for sessions")
    get_feed_timeout_ms: int = Field(default=250, ge=20, le=10_000, description="cap of a GetFeed deadline")
    max_concurrent_feeds: int = Field(
        default=32, ge=1, le=1_024, description="feeds at once; one takes about 7 ms of CPU, more would all be late"
    )
    answer_margin_ms: int = Field(default=25, ge=0, le=1_000, description="kept free at the end to send the answer")
    session_timeout_ms: int = Field(default=50, ge=1, le=1_000, description="cap of one session read or write")
    session_ttl_s: int = Field(default=900, ge=10, le=86_400, description="how long a session can be continued")
    explanation_ttl_s: int = Field(default=86_400, ge=60, le=604_800, description="how long a feed can be explained")
    explain_enabled: bool = Field(default=True, description="whether served feeds are kept to be explained")
    page_token_key: str = Field(
        default="",
        description="secret that signs page tokens, the same in every replica; empty = random per process",
    )
    served_queue_size: int = Field(default=2_000, ge=1, le=100_000, description="served feeds waiting for the log")
    served_num_workers: int = Field(default=64, ge=1, le=256, description="served feeds written to the log at once")
    compiled_slate: bool = Field(default=False, description="fill slates with the compiled loop; needs numba")
    popular_refresh_s: float = Field(default=30.0, gt=0, le=3_600, description="age at which popular lists are renewed")
    popular_size: int = Field(default=200, ge=1, le=2_000, description="pins in a popular list")
    num_remembered_users: int = Field(default=5_000, ge=1, le=1_000_000, description="users whose last feed is kept")
    num_remembered_pins: int = Field(default=20_000, ge=1, le=1_000_000, description="pins whose features are kept")
    features_max_age_s: float = Field(
        default=300.0,
        ge=0,
        le=3_600,
        description="age of kept features that are used without asking; 0 = always ask",
    )
