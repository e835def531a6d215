"""Every setting of the indexer."""

import json
from typing import Literal

from pydantic import Field, field_validator

from chassis.redis.security import RedisConfig


class Config(RedisConfig):
    """Read from INDEXER_* by `chassis.config.load`."""

    role: Literal["online", "lake", "all"] = Field(
        "online", description="online = store of this zone and its RPCs; lake = the one writer of the tables."
    )
    redis_url: str = Field("redis://127.0.0.1:7379/0", description="Online store of this zone (Redis or Valkey).")
    read_timeout_s: float = Field(
        0.2, gt=0, description="Seconds after which a read of one user is UNAVAILABLE; large batches get a multiple."
    )
    write_timeout_s: float = Field(5.0, gt=0, description="Seconds after which a write of one envelope is repeated.")
    lake_dir: str = Field(".corkboard/lake", description="Folder of the default catalog (SQLite) and warehouse.")
    lake_catalog_properties: str = Field(
        "{}", description="JSON object of pyiceberg catalog properties, over the defaults that lake_dir gives."
    )
    lake_commit_interval_s: float = Field(30.0, gt=0, description="Seconds that a record waits for its commit at most.")
    lake_commit_bytes: int = Field(128 * 1024 * 1024, gt=0, description="Buffered bytes that trigger a commit.")
    lake_commit_events: int = Field(
        50_000,
        gt=0,
        description="Buffered rows that trigger a commit, so that a backlog is not read at one fetch per interval.",
    )
    definitions_version: str = Field("", description="Work with this version only; empty = with what is active.")
    shadow: str = Field(
        "",
        pattern="^[a-z0-9-]{0,40}$",
        description="Name of a run beside the real one, which reads the events of that enrich; empty = the real one.",
    )

    reliability_interval_s: float = Field(
        300.0,
        ge=0,
        description="Seconds between two counts of what the ranker said and what happened (lake); 0 = none is made.",
    )
    reliability_window_s: float = Field(
        3_600.0, gt=0, description="Seconds after serving within which an action counts as what happened."
    )
    lake_upkeep_interval_s: float = Field(
        600.0, gt=0, description="Seconds between two rounds of merging small files and expiring old snapshots."
    )
    lake_keep_snapshots: int = Field(20, ge=1, description="Newest snapshots of each table that never expire.")
    lake_keep_s: float = Field(
        3_600.0, gt=0, description="Age that a snapshot reaches before it expires; longer than any reader takes."
    )

    @field_validator("lake_catalog_properties")
    @classmethod
    def _is_object(cls, value: str) -> str:
        parsed = json.loads(value)
        if not isinstance(parsed, dict) or not all(isinstance(each, str) for each in parsed.values()):
            raise ValueError("must be a JSON object of strings")
        return value

    @property
    def has_online(self) -> bool:
        """Whether this process serves and fills the online store."""
        return self.role in ("online", "all")

    @property
    def has_lake(self) -> bool:
        """Whether this process writes the lake."""
        return self.role in ("lake", "all")
